/**
 * Puts parts of a run of all kernels together, for a machine that one has for minutes only.
 *
 *   --part A --kernels …   ─▶ results/NAME-A-nodeN.json ─┐
 *   --part B --kernels …   ─▶ results/NAME-B-nodeN.json ─┴─▶ --merge A,B: one report
 *
 * Does: read results, refuse what does not belong together. Does not: measure or judge.
 *
 * Q1  Every part is valid by itself, if its benchmark says so.
 * Q2  One machine, one Node.js, one plan; every kernel of the list is in exactly one part. The order is the list's.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Machine, resultName, UsageError } from './options.js';

/** What one run, or all parts of it together, measured. */
export interface Run<Plan, Result> {
  readonly machine: Machine;
  readonly plan: Plan;
  readonly results: readonly Result[];
}

/** What a part's file has besides. */
export interface Summarised {
  readonly summary?: { readonly valid?: boolean };
}

function readPart<Plan, Result>(root: string, name: string): Run<Plan, Result> {
  const path = join(root, 'benchmarks/results', `${name}.json`);
  if (!existsSync(path)) throw new UsageError(`--merge: no ${path}; measure it with --part first`);
  const part = JSON.parse(readFileSync(path, 'utf8')) as Run<Plan, Result> & Summarised;
  if (part.summary?.valid === false)
    throw new UsageError(`--merge: ${name} is void by its A/A pair`);
  return part;
}

/** The results of `--merge A,B` as one run of all `kernels`. */
export function mergeParts<Plan, Result extends { readonly name: string }>(
  root: string,
  benchmark: string,
  merge: string,
  kernels: readonly string[],
): Run<Plan, Result> {
  const names = merge.split(',').map((part) => resultName(`${benchmark}-${part}`, true, false));
  const parts = names.map((name) => readPart<Plan, Result>(root, name));
  const { machine, plan } = parts[0]!;
  const sameRun = (part: Run<Plan, Result>): string => JSON.stringify([part.machine, part.plan]);
  const other = parts.findIndex((part) => sameRun(part) !== sameRun(parts[0]!));
  if (other > 0)
    throw new UsageError(`--merge: ${names[other]} has another machine, Node.js or plan`);
  const measured = parts.flatMap(({ results }) => results);
  const results = kernels.map((name) => {
    const found = measured.filter((result) => result.name === name);
    if (found.length !== 1)
      throw new UsageError(`--merge: ${name} is in ${found.length} parts; it belongs in one`);
    return found[0]!;
  });
  return { machine, plan, results };
}
