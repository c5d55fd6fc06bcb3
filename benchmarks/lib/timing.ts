/**
 * Interleaved timing: every round runs each variant once, in an order that changes from round to round.
 *
 *   round 0   C A D B      drawn, from a seed
 *   round 1   B D A C      the same backwards: a drift of the machine hits all variants alike
 *   round 2   A D B C      drawn anew: no variant always runs in the caches and pages that one other leaves behind
 *
 * Does: warm up, run the rounds, check that all variants agree. Does not: interpret the times.
 *
 * T0  The clock is the CPU time of this thread: on a shared machine, wall time measures the others. CPU time of the whole process
 *     is no clock for a kernel: the engine's collector marks in a thread of its own, beginning where an instance was made, 40 ms
 *     of CPU time beside a kernel of 40 ms that it does not slow down. It and wall time are kept beside.
 * T1  Only the returned closure of `prepare()` is timed; instances are made before the clock starts.
 * T2  Every variant gives the same checksum in every call, else the benchmark throws: a wrong result has no time.
 */
import { randomFrom } from './statistics.js';
import { threadCpuNs } from './thread-clock.js';

export interface Variant {
  readonly name: string;
  /** Makes a fresh instance; the closure runs the kernel once and gives its checksum. */
  prepare(): () => number;
}

export interface WarmUp {
  /** At least this long and this often… */
  readonly minMs: number;
  readonly minCalls: number;
  /** …then until the last calls vary less than `settled` (relative), or this long. */
  readonly settled: number;
  readonly maxMs: number;
}

export const WARM_UP: WarmUp = { minMs: 400, minCalls: 6, settled: 0.04, maxMs: 6_000 };

export interface Timed {
  /** CPU time of this thread. */
  readonly ms: number;
  /** CPU time of the process: the engine's helper threads too. */
  readonly processMs: number;
  readonly wallMs: number;
  readonly checksum: number;
}

export function timeOnce(variant: Variant): Timed {
  const call = variant.prepare();
  const cpu = process.cpuUsage();
  const started = process.hrtime.bigint();
  const threadNs = threadCpuNs();
  const checksum = call();
  const ms = (threadCpuNs() - threadNs) / 1e6;
  const wallMs = Number(process.hrtime.bigint() - started) / 1e6;
  const { user, system } = process.cpuUsage(cpu);
  return { ms, processMs: (user + system) / 1e3, wallMs, checksum };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Calls a variant until the engine has tiered up and the times have settled. Gives the number of calls. */
export async function warmUp(variant: Variant, settings: WarmUp = WARM_UP): Promise<number> {
  const times: number[] = [];
  let totalMs = 0;
  for (;;) {
    const { ms } = timeOnce(variant);
    times.push(ms);
    totalMs += ms;
    await pause(ms < 5 ? 2 : 5); // background compilation gets its results installed
    if (times.length < settings.minCalls || totalMs < settings.minMs) continue;
    const last = times.slice(-4);
    if (Math.max(...last) / Math.min(...last) - 1 < settings.settled || totalMs > settings.maxMs)
      return times.length;
  }
}

/** Times in ms by variant name, one a round. */
export type Times = ReadonlyMap<string, readonly number[]>;

export interface Rounds {
  readonly cpu: Times;
  readonly process: Times;
  readonly wall: Times;
}

export async function interleave(variants: readonly Variant[], rounds: number): Promise<Rounds> {
  const none = (): Map<string, number[]> => new Map(variants.map(({ name }) => [name, []]));
  const times = { cpu: none(), process: none(), wall: none() };
  let expected: number | undefined;
  for (let round = 0; round < rounds; round++) {
    for (const variant of orderOf(variants, round)) {
      const { ms, processMs, wallMs, checksum } = timeOnce(variant);
      expected ??= checksum;
      if (checksum !== expected)
        throw new Error(`${variant.name}: checksum ${checksum}, others ${expected}`);
      times.cpu.get(variant.name)!.push(ms);
      times.process.get(variant.name)!.push(processMs);
      times.wall.get(variant.name)!.push(wallMs);
    }
    await pause(1);
  }
  return times;
}

/** A drawn order for two rounds, in the second backwards. */
function orderOf<T>(items: readonly T[], round: number): T[] {
  const random = randomFrom(1 + (round >> 1));
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return round % 2 === 0 ? order : order.reverse();
}
