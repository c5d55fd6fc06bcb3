/**
 * Talking to a child process that may be about to end.
 *
 * Does: tell it something, end it (asking first, then SIGTERM, then SIGKILL).
 * Does not: start children, or know what they are for (supervisor.ts).
 *
 * C1  A child that ends while it is told something is no error: its end is seen as such, by whoever waits for it. (Between
 *     the child's end and the moment this process hears of it, writing to it fails with EPIPE.)
 * C2  `endChild` resolves when the process is gone, whoever ended it.
 */
import type { ChildProcess } from 'node:child_process';

/** False: it could not be told, because it ends or has closed its end. */
export function tell(child: ChildProcess, message: object): Promise<boolean> {
  return new Promise((resolve) => {
    if (!child.connected) return resolve(false);
    // With a callback the error comes here, and not as an 'error' event of the child.
    child.send(message, (error) => resolve(error === null));
  });
}

/** Asks it to stop (`{ kind: 'stop' }`), and after `patienceMs` does not ask any more. */
export async function endChild(child: ChildProcess | undefined, patienceMs: number): Promise<void> {
  if (child?.pid === undefined || hasEnded(child)) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  if (!(await tell(child, { kind: 'stop' }))) child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
  await exited;
  clearTimeout(timer);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
