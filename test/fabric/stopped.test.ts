/** Who of a data directory's processes stands still. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, it } from 'vitest';
import { isStopped, stoppedIn } from '../../host/fabric/stopped.js';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A process of that directory, stopped. */
async function stopped(directory: string, ...args: string[]): Promise<number> {
  const code = 'process.stdout.write("here"); setInterval(() => undefined, 1000)';
  const given = ['--fabric', `embedded:${directory}`, ...args];
  const child = spawn(process.execPath, ['-e', code, '--', ...given]);
  children.push(child);
  await once(child.stdout, 'data');
  const pid = child.pid ?? 0;
  expect(isStopped(pid)).toBe(false);
  expect(stoppedIn(directory).some((each) => each.pid === pid)).toBe(false);
  child.kill('SIGSTOP');
  while (!isStopped(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
  return pid;
}

it('is found by the directory, and named', async () => {
  const node = await stopped('/data/one', '--name', 'n2');
  const control = await stopped('/data/one', '/x/control/main.js');
  await stopped('/data/one-more', '--name', 'n2');
  const byPid = (a: { pid: number }, b: { pid: number }): number => a.pid - b.pid;
  expect(stoppedIn('/data/one').sort(byPid)).toEqual(
    [
      { pid: node, name: 'the node n2' },
      { pid: control, name: 'the control' },
    ].sort(byPid),
  );
  expect(stoppedIn('/data/none')).toEqual([]);
});
