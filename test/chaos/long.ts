/**
 * The chaos run: one round after the other from seeds; a line for each, and what was found.
 *
 *   npm run chaos -- [--seed 1] [--rounds 10] [--faults 12] [--jobs 4] [--nodes 3] [--workers 2]
 *                    [--kinds ticks,sat,…] [--folder DIR] [--json FILE]
 *
 * Does: print, count, keep the folder of each round in which something was found. Does not: stop at a finding.
 *
 * L1  Round i of seed s is round 1 of seed s + i − 1: a finding is repeated with its own seed and --rounds 1.
 * L2  The last line counts rounds, faults and findings; the exit code is 1 when there were findings.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Processes } from './processes.js';
import { KINDS, Programs } from './programs.js';
import { playRound, type RoundReport } from './round.js';

const OPTIONS = {
  seed: { type: 'string', default: '1' },
  rounds: { type: 'string', default: '10' },
  faults: { type: 'string', default: '12' },
  jobs: { type: 'string', default: '4' },
  nodes: { type: 'string', default: '3' },
  workers: { type: 'string', default: '2' },
  kinds: { type: 'string' },
  folder: { type: 'string' },
  json: { type: 'string' },
} as const;

function commitOf(root: string): string {
  try {
    const args = ['-C', root, 'describe', '--always', '--dirty'];
    return execFileSync('git', args, { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

function countedFaults(reports: readonly RoundReport[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of reports.flatMap(({ faults }) => faults))
    counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function lineOf(round: RoundReport): string {
  const { seed, faults, jobs, restarts, seconds, stoodStillS, finding } = round;
  const still = stoodStillS === 0 ? '' : ` (${stoodStillS} s of them stopped)`;
  const end = finding === null ? 'as alone' : `FINDING ${finding}`;
  return `seed ${seed}: ${faults.length} faults, ${jobs} jobs, ${restarts} restarts, ${seconds} s${still}: ${end}`;
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const { seed: from, rounds: many, kinds: names } = values;
  const [first, rounds] = [Number(from), Number(many)];
  const faults = Number(values.faults);
  const sizes = {
    nodes: Number(values.nodes),
    workers: Number(values.workers),
    jobs: Number(values.jobs),
    kinds: KINDS.filter(({ name }) => names === undefined || names.split(',').includes(name)),
  };
  const parent = values.folder ?? tmpdir();
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(join(parent, 'sherd-chaos-'));
  process.env.XDG_CACHE_HOME = join(root, 'dist/.chaos/cache');
  const commit = commitOf(root);
  console.log(`chaos: commit ${commit}, Node ${process.version}, from seed ${first}, in ${folder}`);
  const programs = await Programs.make(new Processes(root, folder), folder);
  const reports: RoundReport[] = [];
  for (let seed = first; seed < first + rounds; seed++) {
    const place = join(folder, `seed-${seed}`);
    const round = await playRound({ root, folder: place, seed, faults, ...sizes, programs });
    reports.push(round);
    console.log(lineOf(round));
    if (round.finding !== null) console.log(`  kept: ${place}`);
    const all = { commit, node: process.version, faults: countedFaults(reports), rounds: reports };
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(all, null, 2)}\n`);
  }
  const findings = reports.filter(({ finding }) => finding !== null).length;
  const struck = reports.reduce((sum, round) => sum + round.faults.length, 0);
  console.log(`END ${rounds} rounds, ${struck} faults, ${findings} findings`);
  if (findings === 0) rmSync(folder, { recursive: true, force: true });
  return findings === 0 ? 0 : 1;
}
