/**
 * Measures for the node's beats: which machine this is, its busy share and memory in use, what this process had of its cores, delay
 * of its event loop.
 *
 * Does: read /proc/stat, /proc/meminfo and what collect-linux.ts knows where they are, ask node:os where they are not, and keep one histogram of the event loop.
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
 *     cores, and under the same CPU quota: then their busy shares are of the same thing, and what one of them does is in the other's.
 * C5  Own time is the time that the process's threads really had (all of them: guests, engine, fabric), not the time between
 *     start and end of their work, which is longer on a machine where they have to wait.
 * C6  A quota of the control group (cgroup v2) that is less than the cores is the machine's capacity: `cores` is the quota, and the busy
 *     share is what the group had of it. Likewise its limit of memory. Quotas are read once: a node that gets another one is restarted.
 */
import { readFileSync, statSync } from 'node:fs';
import { availableParallelism, cpus, freemem, hostname, totalmem } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Rate } from '../oracle/resample.js';
import type { Machine, NodeSampleValues } from '../types/records.js';
import {
  groupMemoryBytes,
  type Limit,
  LinuxFigures,
  limitOf,
  parseNamed,
} from './collect-linux.js';

export type MachineSample = Omit<NodeSampleValues, 'guestCpu' | 'runnable'>;

export interface SampleCollector {
  readonly machine: Machine;
  /** Limit of the control group; undefined: all of the machine's memory. */
  readonly memoryBytes: number | undefined;
  /** What it is now; for the share and the delay: since the last read. */
  read(): MachineSample;
  close(): void;
}

/** Where the figures come from; replaced in tests. */
export interface SampleSources {
  /** A file's text; undefined when it cannot be read. */
  readonly readText: (path: string) => string | undefined;
  /** Number of a file or directory, the same for everybody under this kernel; undefined when it cannot be found. */
  readonly inodeOf: (path: string) => number | undefined;
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
  const { readText } = sources;
  const list = ALLOWED.exec(readText('/proc/self/status') ?? '')?.[1] ?? '';
  const allowed = parseCpuList(list);
  const whole = machineOf(sources, allowed === undefined ? '' : list, allowed);
  const quota = limitOf(readText, 'cpu.max');
  const isLimited = quota !== undefined && quota.value < whole.cores;
  const machine = isLimited ? limitedMachine(whole, quota, sources) : whole;
  const busy = isLimited ? new GroupShare(readText, quota) : new TickShare(sources, allowed);
  const memory = memoryLimit(readText);
  const linux = new LinuxFigures(readText, isLimited ? quota.path : undefined);
  let own = { atMs: sources.nowMs(), usedMs: sources.ownMs() };
  let ownCores = 0;
  return {
    machine,
    memoryBytes: memory?.value,
    read() {
      const nowMs = sources.nowMs();
      const cpu = busy.at(nowMs);
      const ownNow = { atMs: nowMs, usedMs: sources.ownMs() };
      const had = (ownNow.usedMs - own.usedMs) / (ownNow.atMs - own.atMs);
      if (had >= 0 && Number.isFinite(had)) ownCores = Math.min(machine.cores, had);
      own = ownNow;
      const grouped = memory === undefined ? undefined : groupMemoryBytes(readText, memory);
      const used = grouped ?? parseMeminfo(readText('/proc/meminfo'));
      return {
        cpu,
        ownCores,
        memoryUsedBytes: orZero(used ?? sources.osMemoryUsedBytes()),
        eventLoopDelayMs: orZero(sources.loopDelayMs()),
        ...linux.read(nowMs),
      };
    },
    close: sources.close,
  };
}

/** The control group's limit, where that is less than what the machine has. */
function memoryLimit(readText: SampleSources['readText']): Limit | undefined {
  const limit = limitOf(readText, 'memory.max');
  const total = /^MemTotal:\s+(\d+) kB$/m.exec(readText('/proc/meminfo') ?? '')?.[1];
  const isLess = limit !== undefined && !(limit.value >= Number(total) * 1_024);
  return isLess ? limit : undefined;
}

/** Busy share of the cores, by their ticks. */
class TickShare {
  readonly #sources: SampleSources;
  readonly #allowed: ReadonlySet<number> | undefined;
  #before: CpuTicks = { busy: 0, all: 0 };
  #share = 0;

  constructor(sources: SampleSources, allowed: ReadonlySet<number> | undefined) {
    this.#sources = sources;
    this.#allowed = allowed;
  }

  at(_nowMs: number): number {
    const { readText, osTicks } = this.#sources;
    const now = parseStat(readText('/proc/stat'), this.#allowed) ?? osTicks();
    this.#share = shareBetween(this.#before, now, this.#share);
    this.#before = now;
    return this.#share;
  }
}

/** Share of a quota that its group had (C6). */
class GroupShare {
  readonly #readText: SampleSources['readText'];
  readonly #quota: Limit;
  readonly #rate = new Rate();
  #share = 0;

  constructor(readText: SampleSources['readText'], quota: Limit) {
    this.#readText = readText;
    this.#quota = quota;
  }

  at(nowMs: number): number {
    const usPerS = this.#rate.take(nowMs, this.#used());
    if (usPerS !== undefined) this.#share = Math.min(1, usPerS / 1e6 / this.#quota.value);
    return this.#share;
  }

  #used(): number {
    return parseNamed(this.#readText(`${this.#quota.path}/cpu.stat`), 'usage_usec') ?? Number.NaN;
  }
}

/** C6. Groups are told from each other by their directory's number: in a container every path is `/`. */
function limitedMachine({ id }: Machine, { path, value }: Limit, sources: SampleSources): Machine {
  return { id: `${id}:${sources.inodeOf(path) ?? path}`, cores: value };
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
    inodeOf(path) {
      try {
        return statSync(path).ino;
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
