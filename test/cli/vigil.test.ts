/** Children that were stopped and are not continued are ended; those that stood still for another reason are not. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, expect, it } from 'vitest';
import { Vigil } from '../../host/cli/vigil.js';
import { isStopped } from '../../host/fabric/stopped.js';

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

async function child(): Promise<ChildProcess> {
  const code = 'process.stdout.write("here"); setInterval(() => undefined, 1000)';
  const started = spawn(process.execPath, ['-e', code]);
  children.push(started);
  await once(started.stdout, 'data');
  return started;
}

async function turn(process: ChildProcess, signal: 'SIGSTOP' | 'SIGCONT'): Promise<void> {
  process.kill(signal);
  while (isStopped(process.pid ?? 0) !== (signal === 'SIGSTOP'))
    await new Promise((resolve) => setTimeout(resolve, 5));
}

it('ends the one that stays stopped, after that time, and says so; not the others', async () => {
  const [stopped, busy, waking] = [await child(), await child(), await child()];
  const said: string[] = [];
  const watched = [
    { name: 'control', process: stopped },
    { name: 'n1', process: busy },
    { name: 'n2', process: waking },
    { name: 'n3', process: undefined },
  ];
  const vigil = new Vigil({ children: () => watched, log: (line) => said.push(line) });
  // A whole number: sums of fractions are not exact, and one look more or less counts.
  let nowMs = Math.ceil(performance.now());
  const look = (seconds: number): void => {
    for (const untilMs = nowMs + seconds * 1_000; nowMs < untilMs; ) {
      nowMs += 1_000;
      vigil.look(nowMs);
    }
  };
  await turn(stopped, 'SIGSTOP');
  await turn(waking, 'SIGSTOP');
  look(15);
  await turn(waking, 'SIGCONT');
  look(1);
  await turn(waking, 'SIGSTOP');
  look(4);
  expect(said).toEqual([]);
  const ended = once(stopped, 'exit');
  look(1);
  expect(await ended).toEqual([null, 'SIGKILL']);
  expect(said).toEqual([
    `control: is stopped (pid ${stopped.pid}) and was not continued for 20 s, ending it`,
  ]);
  expect([busy.exitCode, busy.signalCode, waking.exitCode, waking.signalCode]).toEqual(
    Array(4).fill(null),
  );
});

it('does not count the time in which this process itself stood still', async () => {
  const stopped = await child();
  const said: string[] = [];
  const watched = [{ name: 'n1', process: stopped }];
  const vigil = new Vigil({ children: () => watched, log: (line) => said.push(line) });
  await turn(stopped, 'SIGSTOP');
  const nowMs = performance.now();
  vigil.look(nowMs);
  vigil.look(nowMs + 3_600_000);
  expect(said).toEqual([]);
});
