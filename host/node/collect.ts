/**
 * Measures the machine for the node's beats: busy share, memory in use, delay of this process's event loop.
 *
 * Does: read /proc/stat and /proc/meminfo where they are, ask node:os where they are not, and keep one histogram of the event loop.
 * Does not: know about shards (the node adds what its workers do), smooth or forecast (the oracle does).
 *
 *   /proc/stat   cpu  user nice system idle iowait irq softirq steal …      ticks since boot, all cores
 *                     busy = all of these − idle − iowait;  share = Δbusy / Δall between two reads
 *
 * C1  Every value is finite; `cpu` is within 0..1. The first read has nothing to compare with and gives the share since boot.
 * C2  Counters that stood still or went back (suspend, container moved) give the share known before, and a new base.
 * C3  A missing or strange file is no error: the next source answers.
 */
import { readFileSync } from 'node:fs';
import { cpus, freemem, totalmem } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { NodeSampleValues } from '../types/records.js';

export type MachineSample = Omit<NodeSampleValues, 'guestCpu' | 'runnable'>;

export interface SampleCollector {
  /** What it is now; for the share and the delay: since the last read. */
  read(): MachineSample;
  close(): void;
}

/** Where the figures come from; replaced in tests. */
export interface SampleSources {
  /** A file's text; undefined when it cannot be read. */
  readonly readText: (path: string) => string | undefined;
  /** Ticks of all cores, by the operating system's own interface. */
  readonly osTicks: () => CpuTicks;
  readonly osMemoryUsedBytes: () => number;
  /** Longest delays of the event loop since the last call, ms. */
  readonly loopDelayMs: () => number;
  readonly close: () => void;
}

export interface CpuTicks {
  readonly busy: number;
  readonly all: number;
}

const LOOP_RESOLUTION_MS = 50;

export function collectSamples(sources: SampleSources = machineSources()): SampleCollector {
  let before: CpuTicks = { busy: 0, all: 0 };
  let share = 0;
  return {
    read() {
      const now = parseStat(sources.readText('/proc/stat')) ?? sources.osTicks();
      share = shareBetween(before, now, share);
      before = now;
      const used = parseMeminfo(sources.readText('/proc/meminfo')) ?? sources.osMemoryUsedBytes();
      return {
        cpu: share,
        memoryUsedBytes: orZero(used),
        eventLoopDelayMs: orZero(sources.loopDelayMs()),
      };
    },
    close: sources.close,
  };
}

/** Busy and all ticks of the machine; undefined when the text is not what it should be. */
export function parseStat(text: string | undefined): CpuTicks | undefined {
  const line = /^cpu\s+(.+)$/m.exec(text ?? '')?.[1];
  if (line === undefined) return undefined;
  // guest and guest_nice (the 9th and 10th) are counted in user and nice already
  const ticks = line.trim().split(/\s+/, 8).map(Number);
  if (ticks.length < 4 || !ticks.every(Number.isFinite)) return undefined;
  const all = ticks.reduce((sum, value) => sum + value, 0);
  return { busy: all - (ticks[3] ?? 0) - (ticks[4] ?? 0), all };
}

/** Memory that programs could not get; undefined when the text is not what it should be. */
export function parseMeminfo(text: string | undefined): number | undefined {
  const kibibytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text ?? '')?.[1]);
  const used = kibibytes('MemTotal') - kibibytes('MemAvailable');
  return Number.isFinite(used) ? Math.max(0, used) * 1_024 : undefined;
}

function shareBetween(before: CpuTicks, now: CpuTicks, known: number): number {
  const all = now.all - before.all;
  const busy = now.busy - before.busy;
  if (!(all > 0) || !(busy >= 0)) return known;
  return Math.min(1, busy / all);
}

function orZero(value: number): number {
  return Number.isFinite(value) ? Math.max(0, value) : 0;
}

function machineSources(): SampleSources {
  const histogram = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  histogram.enable();
  return {
    readText(path) {
      try {
        return readFileSync(path, 'utf8');
      } catch {
        return undefined;
      }
    },
    osTicks() {
      const sums = { busy: 0, all: 0 };
      for (const { times } of cpus()) {
        const busy = times.user + times.nice + times.sys + times.irq;
        sums.busy += busy;
        sums.all += busy + times.idle;
      }
      return sums;
    },
    osMemoryUsedBytes: () => totalmem() - freemem(),
    loopDelayMs() {
      // The histogram holds the time between two turns of its timer, which is set to the resolution.
      const delayMs = histogram.percentile(99) / 1e6 - LOOP_RESOLUTION_MS;
      histogram.reset();
      return delayMs;
    },
    close: () => histogram.disable(),
  };
}
