/**
 * Puts parts of a run of all kernels together: each was measured by itself, with an A/A pair of its own.
 *
 * Does: read results, refuse what does not belong together. Does not: measure or judge.
 *
 * Q1  Every part is valid by its own A/A pair (report.ts R1).
 * Q2  One machine, one Node.js, one plan; every kernel of the list is in exactly one part. The order is the list's.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Machine, UsageError } from '../lib/options.js';
import { KERNELS } from './kernels.js';
import type { KernelResult, Plan } from './measure.js';
import type { Summary } from './report.js';

/** What one run, or all parts of it together, measured. */
export interface Run {
  readonly machine: Machine;
  readonly plan: Plan;
  readonly results: readonly KernelResult[];
}

type Part = Run & { readonly summary: Summary };

function readPart(root: string, name: string): Part {
  const path = join(root, 'benchmarks/results', `${name}.json`);
  if (!existsSync(path)) throw new UsageError(`--merge: no ${path}; measure it with --part first`);
  const part = JSON.parse(readFileSync(path, 'utf8')) as Part;
  if (!part.summary.valid) throw new UsageError(`--merge: ${name} is void by its A/A pair`);
  return part;
}

/** The results of several parts as one run of all kernels. */
export function mergeParts(root: string, names: readonly string[]): Run {
  const parts = names.map((name) => readPart(root, name));
  const { machine, plan } = parts[0]!;
  const sameRun = (part: Part): string => JSON.stringify([part.machine, part.plan]);
  const other = parts.findIndex((part) => sameRun(part) !== sameRun(parts[0]!));
  if (other > 0)
    throw new UsageError(`--merge: ${names[other]} has another machine, Node.js or plan`);
  const measured = parts.flatMap(({ results }) => results);
  const results = KERNELS.map(({ name }) => {
    const found = measured.filter((result) => result.name === name);
    if (found.length !== 1)
      throw new UsageError(`--merge: ${name} is in ${found.length} parts; it belongs in one`);
    return found[0]!;
  });
  return { machine, plan, results };
}
