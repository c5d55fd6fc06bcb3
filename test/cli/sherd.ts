/**
 * Runs the built command line in processes of its own, as a user would.
 *
 * Does: spawn, feed, signal, collect. Does not: assert.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly text: string;
  readonly stderr: string;
}

export interface SherdOptions {
  readonly cwd: string;
  readonly stdin?: string | Uint8Array;
  readonly env?: NodeJS.ProcessEnv;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when stderr or stdout has shown the text; rejects when the process ends before. */
  until(text: string): Promise<void>;
}

/** Starts `sherd ARGS…`; its cache and data directories lie in `cwd`, nothing of the user's is touched. */
export function startSherd(args: readonly string[], options: SherdOptions): Running {
  const env = {
    ...process.env,
    SHERD_FABRIC: '',
    XDG_CACHE_HOME: `${options.cwd}/cache`,
    XDG_STATE_HOME: `${options.cwd}/state`,
    TMPDIR: options.cwd,
    ...options.env,
  };
  const child = spawn(process.execPath, [MAIN, ...args], { cwd: options.cwd, env });
  const out: Buffer[] = [];
  let seen = '';
  let notice: () => void = () => undefined;
  const collect = (chunk: Buffer, into?: Buffer[]): void => {
    into?.push(chunk);
    seen += chunk.toString('latin1');
    notice();
  };
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => collect(chunk, out));
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    collect(chunk);
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.stdin ?? '');
  const ended = once(child, 'close').then(([code, signal]) => {
    const stdout = Buffer.concat(out);
    return { code, signal, stdout, text: stdout.toString(), stderr } as Ended;
  });
  const until = async (text: string): Promise<void> => {
    while (!seen.includes(text)) {
      const shown = new Promise<void>((resolve) => {
        notice = resolve;
      });
      const end = ended.then((last) => {
        throw new Error(`ended (${last.code}) before it said ${text}: ${last.stderr}`);
      });
      await Promise.race([shown, end]);
    }
  };
  ended.catch(() => undefined);
  return { child, ended, until };
}

export function sherd(args: readonly string[], options: SherdOptions): Promise<Ended> {
  return startSherd(args, options).ended;
}
