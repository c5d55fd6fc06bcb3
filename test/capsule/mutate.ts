/**
 * The long run of hostile capsules: `npm run fuzz:capsules [-- --mutants 1000000] [--from 1]`.
 *
 * Seeds take turns among real capsules of several programs; some are bundles, some chains. Does: count, measure the slowest
 * and the growth of the process's memory (looked at every 20 mutants), keep what is wrong in the temporary directory (of a
 * chain its newest link: the seed makes the rest). Does not: stop at a fault.
 *
 * N1  A mutant that takes longer than 5 s of a core, or 20 by which the process grows by more than twice the memory that its spec
 *     declares and a frame store may hold, is a fault.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Random } from '../exact/random.js';
import { bundleMutant } from './bundle-mutants.js';
import {
  allPrey,
  judgeBundle,
  judgeCapsule,
  judgeChain,
  judgePacked,
  LIMIT_PAGES,
  type Prey,
} from './judge.js';
import { capsuleMutant, chainMutant } from './mutants.js';
import { packedMutant } from './packed-mutants.js';

const LINE_EVERY = 20_000;
const MEASURE_EVERY = 20;
const MOST_MS = 5_000;
/** A frame store holds up to 64 MiB beside the memory. */
const MOST_GROWTH_KIB = 2 * (LIMIT_PAGES * 64 + 65_536);

/** One seed: makes its mutant and judges it. */
export async function trySeed(
  prey: readonly Prey[],
  seed: number,
): Promise<{ verdict: string; bytes: Uint8Array }> {
  const random = new Random(seed);
  const chosen = prey[seed % prey.length]!;
  if (chosen.bundle !== undefined && random.chance(0.04)) {
    const bytes = bundleMutant(chosen.bundle, random);
    return { bytes, verdict: await guarded(bytes, () => `bundle ${judgeBundle(bytes)}`) };
  }
  if (chosen.bundle !== undefined && random.chance(0.02)) {
    const inner = random.chance(0.5) ? chosen.bundle : bundleMutant(chosen.bundle, random);
    const bytes = packedMutant(inner, random);
    return { bytes, verdict: await guarded(bytes, () => `packed ${judgePacked(bytes)}`) };
  }
  if (chosen.below !== undefined) {
    const links = chainMutant([...chosen.below, chosen.capsule], random);
    const bytes = links[links.length - 1]!;
    const judged = async () => `chain ${await judgeChain(chosen, links)}`;
    return { bytes, verdict: await guarded(bytes, judged) };
  }
  const bytes = capsuleMutant(chosen.capsule, random);
  return { bytes, verdict: await guarded(bytes, () => judgeCapsule(chosen, bytes)) };
}

/** An error that carries the mutant. */
export class Fault extends Error {
  constructor(
    readonly bytes: Uint8Array,
    cause: unknown,
  ) {
    super(cause instanceof Error ? (cause.stack ?? cause.message) : String(cause), { cause });
  }
}

async function guarded(bytes: Uint8Array, run: () => string | Promise<string>): Promise<string> {
  try {
    return await run();
  } catch (cause) {
    throw new Fault(bytes, cause);
  }
}

/** Time of this process on a core: what else the machine does does not count. */
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

const maxRssKib = (): number => process.resourceUsage().maxRSS;

export async function main(args: string[], root: string): Promise<number> {
  const { values } = parseArgs({
    args: args.filter((each) => each !== '--capsules'),
    options: {
      mutants: { type: 'string', default: '1000000' },
      from: { type: 'string', default: '1' },
    },
  });
  const [count, from] = [Number(values.mutants), Number(values.from)];
  const prey = allPrey(`file://${root}/test/capsule/judge.ts`);
  const folder = mkdtempSync(join(tmpdir(), 'sherd-capsules-'));
  const verdicts = new Map<string, number>();
  const faults = new Map<string, number>();
  let [slowestMs, slowest, mostKib, most] = [0, 0, 0, 0];
  const startKib = maxRssKib();
  let before = startKib;
  const blame = (seed: number, what: string, bytes: Uint8Array): void => {
    const kind = what.split('\n').slice(0, 3).join(' | ').replace(/\d+/g, 'N');
    const times = (faults.get(kind) ?? 0) + 1;
    faults.set(kind, times);
    if (times > 3) return;
    const file = join(folder, `${seed}.capsule`);
    writeFileSync(file, bytes);
    console.log(`FAULT seed ${seed}: ${what} (${file})`);
  };
  const line = (n: number): void => {
    const shown = [...verdicts].sort().map(([verdict, times]) => `${verdict} ${times}`);
    console.log(
      `${n} mutants: ${shown.join(', ')}; ${[...faults.values()].reduce((a, b) => a + b, 0)} faults; ` +
        `slowest ${slowestMs.toFixed(0)} ms (seed ${slowest}); memory ${(startKib / 1024).toFixed(0)} MiB at first, ` +
        `${(maxRssKib() / 1024).toFixed(0)} at most, at once +${(mostKib / 1024).toFixed(0)} (before seed ${most})`,
    );
  };
  for (let seed = from; seed < from + count; seed++) {
    const start = cpuMs();
    let bytes: Uint8Array = new Uint8Array(0);
    try {
      const tried = await trySeed(prey, seed);
      bytes = tried.bytes;
      verdicts.set(tried.verdict, (verdicts.get(tried.verdict) ?? 0) + 1);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      bytes = error.bytes;
      blame(seed, error.message, bytes);
    }
    const ms = cpuMs() - start;
    if (ms > slowestMs) [slowestMs, slowest] = [ms, seed];
    if (ms > MOST_MS) blame(seed, `took ${ms.toFixed(0)} ms`, bytes);
    if (seed % MEASURE_EVERY === 0) {
      const now = maxRssKib();
      const grown = now - before;
      before = now;
      if (grown > mostKib) [mostKib, most] = [grown, seed];
      if (grown > MOST_GROWTH_KIB) blame(seed, `memory grew by ${grown} KiB up to it`, bytes);
    }
    if ((seed - from + 1) % LINE_EVERY === 0) line(seed - from + 1);
  }
  line(count);
  return faults.size === 0 ? 0 : 1;
}
