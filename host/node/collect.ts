/**
 * Measures for the node's beats: which machine this is, its busy share and memory in use, what this process had of its cores, delay
 * of its event loop.
 *
 * Does: read /proc/stat and /proc/meminfo where they are, ask node:os where they are not, and keep one histogram of the event loop.
 * Does not: know about shards (the node adds what its workers do), smooth or forecast (the oracle does).
 *
 *   /proc/stat   cpu  user nice system idle iowait irq softirq steal …      ticks since boot, all cores
 *        cpu0 user nice …   cpu1 …                                         one line a core that is there
 *                     busy = all of these − idle − iowait;  share = Δbusy / Δall between two reads
 *   /proc/self/status   Cpus_allowed_list: 0-1,4                           only these cores count: what else the machine does is no
 *                                                                          business of a process that may not go there
 *
 * C1  Every value is finite; `cpu` is within 0..1. The first read has nothing to compare with and gives the share since boot.
 * C2  Counters that stood still or went back (suspend, container moved) give the share known before, and a new base.
 * C3  A missing or strange file is no error: the next source answers.
 * C4  Two nodes name the same machine exactly if they run under the same kernel (its boot id; else the host's name) on the same set of
 *     cores: then their busy shares are of the same thing, and what one of them does is in the other's. A CPU quota (cgroup) is not seen.
 * C5  Own time is the time that the process's threads really had (all of them: guests, engine, fabric), not the time between
 *     start and end of their work, which is longer on a machine where they have to wait.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, hostname, totalmem } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Machine, NodeSampleValues } from '../types/records.js';

export type MachineSample = Omit<NodeSampleValues, 'guestCpu' | 'runnable'>;

export interface SampleCollector {
  readonly machine: Machine;
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
  readonly osCores: () => number;
  readonly hostName: () => string;
  /** Time that the threads of this process had so far, ms. */
  readonly ownMs: () => number;
  readonly nowMs: () => number;
  /** Longest delays of the event loop since the last call, ms. */
  readonly loopDelayMs: () => number;
  readonly close: () => void;
}

export interface CpuTicks {
  readonly busy: number;
  readonly all: number;
}

const LOOP_RESOLUTION_MS = 50;
const ALLOWED = /^Cpus_allowed_list:\s*(\S+)$/m;
/** More in one range is no list of cores. */
const CPUS_MAX = 65_536;

export function collectSamples(sources: SampleSources = machineSources()): SampleCollector {
  const list = ALLOWED.exec(sources.readText('/proc/self/status') ?? '')?.[1] ?? '';
  const allowed = parseCpuList(list);
  const machine = machineOf(sources, allowed === undefined ? '' : list, allowed);
  let before: CpuTicks = { busy: 0, all: 0 };
  let share = 0;
  let own = { atMs: sources.nowMs(), usedMs: sources.ownMs() };
  let ownCores = 0;
  return {
    machine,
    read() {
      const now = parseStat(sources.readText('/proc/stat'), allowed) ?? sources.osTicks();
      share = shareBetween(before, now, share);
      before = now;
      const ownNow = { atMs: sources.nowMs(), usedMs: sources.ownMs() };
      const had = (ownNow.usedMs - own.usedMs) / (ownNow.atMs - own.atMs);
      if (had >= 0 && Number.isFinite(had)) ownCores = Math.min(machine.cores, had);
      own = ownNow;
      const used = parseMeminfo(sources.readText('/proc/meminfo')) ?? sources.osMemoryUsedBytes();
      return {
        cpu: share,
        ownCores,
        memoryUsedBytes: orZero(used),
        eventLoopDelayMs: orZero(sources.loopDelayMs()),
      };
    },
    close: sources.close,
  };
}

/** C4. */
function machineOf(
  sources: SampleSources,
  list: string,
  allowed: ReadonlySet<number> | undefined,
): Machine {
  const boot = sources.readText('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
  const there = coresIn(sources.readText('/proc/stat'), allowed);
  const cores = there > 0 ? there : Math.max(1, sources.osCores());
  return { id: [boot === '' ? sources.hostName() : boot, list].join(':'), cores };
}

/** `0-1,4`, as the kernel writes it; undefined when it is no list. */
export function parseCpuList(list: string): ReadonlySet<number> | undefined {
  const allowed = new Set<number>();
  for (const part of list.split(',')) {
    const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
    const from = Number(first);
    const to = Number(last);
    if (!(to >= from && to - from < CPUS_MAX)) return undefined;
    for (let cpu = from; cpu <= to; cpu++) allowed.add(cpu);
  }
  return allowed;
}

/** Cores of the list that are there. */
function coresIn(text: string | undefined, allowed: ReadonlySet<number> | undefined): number {
  const there = [...(text ?? '').matchAll(/^cpu(\d+)\s/gm)].map((match) => Number(match[1]));
  return there.filter((cpu) => allowed?.has(cpu) !== false).length;
}

/** Busy and all ticks of these cores (of all when none of them is listed); undefined when the text is not what it should be. */
export function parseStat(
  text: string | undefined,
  allowed?: ReadonlySet<number>,
): CpuTicks | undefined {
  const sums = { busy: 0, all: 0 };
  for (const [, cpu, figures = ''] of (text ?? '').matchAll(/^cpu(\d+)\s+(.+)$/gm)) {
    const ticks = allowed?.has(Number(cpu)) === true ? parseTicks(figures) : undefined;
    sums.busy += ticks?.busy ?? 0;
    sums.all += ticks?.all ?? 0;
  }
  if (sums.all > 0) return sums;
  const total = /^cpu\s+(.+)$/m.exec(text ?? '')?.[1];
  return total === undefined ? undefined : parseTicks(total);
}

function parseTicks(figures: string): CpuTicks | undefined {
  // guest and guest_nice (the 9th and 10th) are counted in user and nice already
  const ticks = figures.trim().split(/\s+/, 8).map(Number);
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
    osCores: availableParallelism,
    hostName: hostname,
    ownMs() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1_000;
    },
    nowMs: () => performance.now(),
    loopDelayMs() {
      // The histogram holds the time between two turns of its timer, which is set to the resolution.
      const delayMs = histogram.percentile(99) / 1e6 - LOOP_RESOLUTION_MS;
      histogram.reset();
      return delayMs;
    },
    close: () => histogram.disable(),
  };
}
