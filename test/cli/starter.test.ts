/** nohup is recognised by its traces; what a harness started ends with the harness. */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startedWithNohup, watchStarter } from '../../host/cli/starter.js';

let proc: string;
beforeEach(async () => {
  proc = await mkdtemp(join(tmpdir(), 'cli-starter-'));
  await mkdir(join(proc, 'fd'));
  await mkdir(join(proc, 'fdinfo'));
});
afterEach(() => rm(proc, { recursive: true, force: true }));

async function descriptors(input: string, flags: string, output: string): Promise<void> {
  await writeFile(join(proc, 'fdinfo', '0'), `pos:\t0\nflags:\t${flags}\nmnt_id:\t25\n`);
  await symlink(input, join(proc, 'fd', '0'));
  await symlink(output, join(proc, 'fd', '1'));
}

describe('startedWithNohup', () => {
  it.each<[string, string, string, string, NodeJS.ProcessEnv, boolean]>([
    ['an input that can only be written', '/dev/null', '0100001', '/dev/pts/1', {}, true],
    ['an output called nohup.out', '/dev/pts/1', '0100002', '/home/me/nohup.out', {}, true],
    ['what the shell says', '/dev/pts/1', '02', 'x', { _: '/usr/bin/nohup' }, true],
    ['no input at all', '/dev/null', '0100000', '/dev/null', { _: '/usr/bin/node' }, false],
    ['a terminal', '/dev/pts/1', '0100002', '/dev/pts/1', {}, false],
    ['an output that is written to', '/tmp/x', '0100001', '/tmp/y', {}, false],
  ])('%s', async (_what, input, flags, output, env, expected) => {
    await descriptors(input, flags, output);
    expect(startedWithNohup(env, proc)).toBe(expected);
  });

  it('is not claimed where nothing can be known', () => {
    expect(startedWithNohup({}, join(proc, 'nowhere'))).toBe(false);
  });
});

describe('watchStarter', () => {
  it('says nothing while the starter lives', async () => {
    const stop = watchStarter(() => expect.unreachable());
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    stop();
  });
});
