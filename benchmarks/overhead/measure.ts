/**
 * Measures one kernel: warm rounds, cold calls, sizes, and when asked one long run in quanta.
 *
 * Does: take times. Does not: print (report.ts).
 *
 * M1  A kernel whose own A/A ratio is outside AA_KERNEL_LIMIT is measured again, at most `retries` times; the last
 *     measurement counts, and the number of tries is shown.
 * M2  Ratios are to the uninstrumented module's median in the same rounds.
 */
import { nodePlatform } from '../../host/node/platform.js';
import { type Estimate, median, ratioOf } from '../lib/statistics.js';
import { interleave, type Rounds, type Times, timeOnce, WARM_UP, warmUp } from '../lib/timing.js';
import { type CodeSize, codeSize } from '../lib/wasm.js';
import type { Group } from './kernels.js';
import type { Program } from './programs.js';
import {
  ablationVariants,
  type ColdWay,
  coldCalls,
  NAMES,
  type Prepared,
  prepare,
  quantumVariants,
} from './variants.js';

const AA_KERNEL_LIMIT = 0.02;

export interface Plan {
  readonly rounds: number;
  readonly retries: number;
  readonly coldRounds: number;
  /** 0: no long run in quanta. */
  readonly quantumRounds: number;
  readonly quick: boolean;
  readonly ablation: boolean;
}

/** By variant name, one value a round. */
export type Samples = Readonly<Record<string, readonly number[]>>;
type Three<T> = Readonly<Record<'plain' | 'sherd' | 'asyncify', T>>;

export interface KernelResult {
  readonly name: string;
  readonly group: Group;
  readonly parameter: number;
  readonly fuel: string;
  readonly safepoints: number;
  readonly tries: number;
  readonly plainMs: number;
  /** By variant name, plain itself left out. */
  readonly ratio: Readonly<Record<string, Estimate>>;
  /** Wall time of first calls, one a round. */
  readonly coldMs: Readonly<Record<ColdWay, readonly number[]>>;
  readonly size: Three<CodeSize>;
  readonly quantum:
    | { readonly plainMs: number; readonly straight: Estimate; readonly quantum: Estimate }
    | undefined;
  readonly cpu: Samples;
  /** With the engine's helper threads. */
  readonly process: Samples;
  readonly wall: Samples;
}

function ratios(times: Times): Record<string, Estimate> {
  const base = times.get(NAMES.plain)!;
  return Object.fromEntries(
    [...times].flatMap(([name, values]) =>
      name === NAMES.plain ? [] : [[name, ratioOf(values, base)]],
    ),
  );
}

async function measureWarm(
  prepared: Prepared,
  plan: Plan,
): Promise<{ times: Rounds; tries: number }> {
  const variants = plan.ablation
    ? [...prepared.variants, ...ablationVariants(prepared.program, nodePlatform)]
    : prepared.variants;
  const settings = plan.quick ? { ...WARM_UP, minMs: 100, maxMs: 400 } : WARM_UP;
  for (const variant of variants) await warmUp(variant, settings);
  for (let tries = 1; ; tries++) {
    const times = await interleave(variants, plan.rounds);
    const aa = ratios(times.cpu)[NAMES.again]!.value;
    if (Math.abs(aa - 1) <= AA_KERNEL_LIMIT || tries > plan.retries) return { times, tries };
  }
}

function measureCold(prepared: Prepared, rounds: number): KernelResult['coldMs'] {
  const samples = Array.from({ length: rounds }, (_, round) =>
    coldCalls(prepared.program, prepared.modules, nodePlatform, round),
  );
  const of = (way: ColdWay): number[] => samples.map((sample) => sample[way]);
  const plain = { plain: of('plain'), again: of('again') };
  return { ...plain, sherd: of('sherd'), quanta: of('quanta'), asyncify: of('asyncify') };
}

async function measureQuantum(
  prepared: Prepared,
  rounds: number,
): Promise<KernelResult['quantum']> {
  if (rounds === 0) return undefined;
  const variants = quantumVariants(prepared);
  for (const variant of variants) timeOnce(variant);
  const { cpu } = await interleave(variants, rounds);
  const base = cpu.get(NAMES.plain)!;
  const ratio = (name: string): Estimate => ratioOf(cpu.get(name)!, base);
  return { plainMs: median(base), straight: ratio(NAMES.sherd), quantum: ratio(NAMES.quantum) };
}

export async function measureKernel(
  program: Program,
  group: Group,
  plan: Plan,
): Promise<KernelResult> {
  const prepared = prepare(program, nodePlatform);
  const coldMs = measureCold(prepared, plan.coldRounds);
  const { times, tries } = await measureWarm(prepared, plan);
  const quantum = await measureQuantum(prepared, plan.quantumRounds);
  const { plain, sherd, asyncify } = prepared.modules;
  return {
    name: program.name,
    group,
    parameter: program.parameter,
    fuel: prepared.fuel.toString(),
    safepoints: prepared.safepoints,
    tries,
    plainMs: median(times.cpu.get(NAMES.plain)!),
    ratio: ratios(times.cpu),
    coldMs,
    size: { plain: codeSize(plain), sherd: codeSize(sherd), asyncify: codeSize(asyncify) },
    quantum,
    cpu: Object.fromEntries(times.cpu),
    process: Object.fromEntries(times.process),
    wall: Object.fromEntries(times.wall),
  };
}
