/**
 * Options of a benchmark (`--rounds 15 --kernels gemm,fib`) and where its results go.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';

/** `--name value` pairs; unknown names are refused. */
export function parseOptions<T extends Readonly<Record<string, string>>>(
  args: readonly string[],
  defaults: T,
): T {
  const values: Record<string, string> = { ...defaults };
  for (let i = 0; i < args.length; i += 2) {
    const name = args[i]!.replace(/^--/, '');
    const value = args[i + 1];
    if (!args[i]!.startsWith('--') || !(name in defaults) || value === undefined) {
      throw new Error(
        `options are ${Object.keys(defaults)
          .map((key) => `--${key} VALUE`)
          .join(' ')}; not ${args[i]}`,
      );
    }
    values[name] = value;
  }
  return values as T;
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
