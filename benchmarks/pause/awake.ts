/**
 * Keeps the cores of this machine from halting, at nobody's cost.
 *
 * Does: start a process a core that spins in the scheduler's idle class (SCHED_IDLE: it runs where nothing else wants to, and gives
 * way at once), by `chrt` of util-linux. Does not: stop them; `kill` does.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { UsageError } from '../lib/options.js';

export function keepAwake(): ChildProcess[] {
  return Array.from({ length: availableParallelism() }, () => {
    const spin = [process.execPath, '-e', 'for (;;);'];
    const child = spawn('chrt', ['--idle', '0', ...spin], { stdio: 'ignore' });
    child.on('error', (cause) => {
      throw new UsageError(`--awake: chrt does not start (${cause.message}); install util-linux`);
    });
    process.once('exit', () => child.kill('SIGKILL'));
    return child;
  });
}
