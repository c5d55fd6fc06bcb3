/** A reader of the output that goes before anything is written. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

it.each(['--help', 'key --help', '--version'])(
  'does not keep %s from ending, quietly',
  async (line) => {
    const child = spawn(process.execPath, ['--max-old-space-size=64', MAIN, ...line.split(' ')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    child.stdout.destroy();
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const [code, signal] = await once(child, 'close');
    expect([code, signal, said]).toEqual([0, null, '']);
  },
  300_000,
);
