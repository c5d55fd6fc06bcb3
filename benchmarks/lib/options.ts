/**
 * Options of a benchmark (`--rounds 15 --kernels gemm,fib`) and where its results go.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

/** A wrong command line: run.mjs prints the message alone. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** `--name value` pairs; a name whose default is `no` is a flag and takes no value. Unknown names are refused. */
export function parseOptions<T extends Readonly<Record<string, string>>>(
  args: readonly string[],
  defaults: T,
): T {
  const values: Record<string, string> = { ...defaults };
  for (let i = 0; i < args.length; i++) {
    const name = args[i]!.replace(/^--/, '');
    const flag = defaults[name] === 'no';
    const value = flag ? 'yes' : args[i + 1];
    if (!args[i]!.startsWith('--') || !(name in defaults) || value === undefined) {
      const known = Object.entries(defaults).map(([key, standard]) =>
        standard === 'no' ? `--${key}` : `--${key} VALUE`,
      );
      throw new UsageError(`options are ${known.join(' ')} --node PATH; not ${args[i]}`);
    }
    values[name] = value;
    if (!flag) i++;
  }
  return values as T;
}

/** `NAME-node20`, and `-part` or `-quick` where the run was not the whole one: results of the one keep the other's. */
export function resultName(name: string, whole: boolean, quick: boolean): string {
  const major = process.versions.node.split('.')[0];
  return `${name}-node${major}${whole ? '' : '-part'}${quick ? '-quick' : ''}`;
}

export interface Machine {
  readonly node: string;
  readonly v8: string;
  readonly cpu: string;
  readonly cores: number;
}

export function machine(): Machine {
  const all = cpus();
  return {
    node: process.version,
    v8: process.versions.v8,
    cpu: all[0]?.model.trim() ?? 'unknown',
    cores: all.length,
  };
}

/** Writes benchmarks/results/NAME.EXTENSION under `root`; gives the path relative to it. */
export function writeResult(root: string, fileName: string, content: string): string {
  const folder = join(root, 'benchmarks/results');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, fileName), content);
  return `benchmarks/results/${fileName}`;
}
