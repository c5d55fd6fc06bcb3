/** Children that end, or close their end, just when they are told something. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { endChild, tell } from '../../host/cli/child.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cli-child-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Resolves in the very moment in which it has made its mark, before anything else of it was heard. */
async function started(body: string): Promise<ChildProcess> {
  const script = join(directory, 'child.mjs');
  const mark = join(directory, 'mark');
  await writeFile(
    script,
    `import { writeFileSync } from 'node:fs';
     const mark = () => writeFileSync(${JSON.stringify(mark)}, '');
     ${body}`,
  );
  const child = fork(script, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const asleep = new Int32Array(new SharedArrayBuffer(4));
  while (!existsSync(mark)) Atomics.wait(asleep, 0, 0, 5);
  return child;
}

/** By the way that there is for it: a newer Node.js is aborted when the descriptor is closed under it. */
const CLOSES = `process.disconnect(); setImmediate(() => setImmediate(mark));`;
const STAYS = `process.on('message', (m) => { if (m.kind === 'stop') process.exit(7); }); mark();`;
const DEAF = `process.on('message', () => {}); process.on('SIGTERM', () => {}); mark();`;

describe('endChild', () => {
  it('ends one that listens, by asking', async () => {
    const child = await started(STAYS);
    await endChild(child, 60_000);
    expect(child.exitCode).toBe(7);
    await endChild(child, 60_000);
  });

  it('ends one that has closed its end, of which nothing was heard yet', async () => {
    const child = await started(`${CLOSES} setInterval(() => {}, 1000);`);
    expect(child.connected).toBe(true);
    await endChild(child, 60_000);
    expect(child.signalCode).toBe('SIGTERM');
  });

  it('ends one that listens to nothing', async () => {
    const child = await started(DEAF);
    await endChild(child, 200);
    expect(child.signalCode).toBe('SIGKILL');
  });

  it('has nothing to do where there is none', () => endChild(undefined, 1));
});

describe('tell', () => {
  it('says that it could not be told, and nothing else happens', async () => {
    const child = await started(CLOSES);
    const ended = once(child, 'exit');
    expect(await tell(child, { kind: 'stop' })).toBe(false);
    expect(await tell(child, { kind: 'stop' })).toBe(false);
    child.kill();
    await ended;
  });
});
