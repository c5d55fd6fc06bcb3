/**
 * What Linux tells besides the busy share: limits of the process's control group, pressure, network, run queue.
 *
 *   /proc/self/cgroup            0::/a/b                     this process's group (cgroup v2); its limits and those above it hold
 *   /sys/fs/cgroup/a/b/          cpu.max       200000 100000      so many µs of CPU time each so many µs; `max` = no limit
 *                                cpu.stat      usage_usec 123     CPU time that the group has had
 *                                memory.max    1073741824         `max` = no limit
 *                                memory.current, memory.stat      in use; `inactive_file` of it can be taken back at once
 *   /proc/pressure/cpu           some avg10=1.50 avg60=… total=9  share of time in which somebody waited, %; sum of it, µs
 *   /proc/net/dev                eth0: bytes packets … (8 received, 8 sent)
 *   /proc/loadavg                0.20 0.18 0.12 1/80 11206        of 80 threads 1 runs or could
 *
 * Does: read and parse; keep the counters' last values. Does not: decide what is the node's capacity (collect.ts does).
 *
 * X1  A file that is missing, cut short or strange gives nothing: the field is absent, and the next read is as if it were the first.
 * X2  Rates are those between two reads, by the rules of oracle/resample.ts (R7): a counter that went back gives none.
 * X3  Loopback, and interfaces that only pass on what another one carries (bridges, containers' ends), are left out of the network.
 */
import { Rate } from '../oracle/resample.js';
import type { NodeSampleValues } from '../types/records.js';

type ReadText = (path: string) => string | undefined;

const CGROUP_ROOT = '/sys/fs/cgroup';
/** Deeper groups than this are not looked at one by one. */
const DEPTH_MAX = 32;
const PASSED_ON = /^(lo|veth.*|docker.*|br-.*|virbr.*|cni.*|flannel.*|cali.*|ifb.*|dummy.*)$/;

/** A limit of the process's group or of one above it. */
export interface Limit {
  /** Directory of the group that has it. */
  readonly path: string;
  readonly value: number;
}

/** Path of the process's group in the unified hierarchy; undefined where there is none. */
export function parseCgroup(text: string | undefined): string | undefined {
  const path = /^0::(\/\S*)$/m.exec(text ?? '')?.[1];
  return path === undefined || path.split('/').includes('..') ? undefined : path;
}

/** Cores' worth of time that the group may have; undefined: no limit. */
export function parseCpuMax(text: string | undefined): number | undefined {
  const [, quota, period] = /^(\d+)(?: (\d+))?\s*$/.exec(text ?? '') ?? [];
  const cores = Number(quota) / Number(period ?? 100_000);
  return cores > 0 && Number.isFinite(cores) ? cores : undefined;
}

export function parseBytes(text: string | undefined): number | undefined {
  const bytes = /^\d+\s*$/.test(text ?? '') ? Number(text) : Number.NaN;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `name value` lines. */
export function parseNamed(text: string | undefined, name: string): number | undefined {
  return parseBytes(new RegExp(`^${name} (\\d+)$`, 'm').exec(text ?? '')?.[1]);
}

export interface Pressure {
  /** Share of the last ten seconds, 0..1. */
  readonly share: number;
  readonly totalUs: number;
}

export function parsePressure(text: string | undefined): Pressure | undefined {
  const [, percent, total] = /^some avg10=(\d+(?:\.\d+)?) .*\btotal=(\d+)$/m.exec(text ?? '') ?? [];
  if (percent === undefined) return undefined;
  return { share: Math.min(1, Number(percent) / 100), totalUs: Number(total) };
}

/** Bytes received and sent so far (X3); undefined when the text is not what it should be. */
export function parseNetDev(text: string | undefined): number | undefined {
  let bytes: number | undefined;
  for (const [, name = '', figures = ''] of (text ?? '').matchAll(/^\s*([^\s:|]+):\s*(.*)$/gm)) {
    const numbers = figures.trim().split(/\s+/).map(Number);
    if (numbers.length < 16 || !numbers.every(Number.isFinite)) continue;
    if (!PASSED_ON.test(name)) bytes = (bytes ?? 0) + numbers[0]! + numbers[8]!;
  }
  return bytes;
}

/** Threads that run or could. */
export function parseLoadavg(text: string | undefined): number | undefined {
  return parseBytes(/^\S+ \S+ \S+ (\d+)\/\d+ \d+\s*$/.exec(text ?? '')?.[1]);
}

/** The tightest limit of the process's group and of those above it; undefined: there is none. */
export function limitOf(readText: ReadText, file: 'cpu.max' | 'memory.max'): Limit | undefined {
  const parse = file === 'cpu.max' ? parseCpuMax : parseBytes;
  let path = parseCgroup(readText('/proc/self/cgroup'));
  let tightest: Limit | undefined;
  for (let depth = 0; path !== undefined && depth < DEPTH_MAX; depth++) {
    const directory = path === '/' ? CGROUP_ROOT : `${CGROUP_ROOT}${path}`;
    const value = parse(readText(`${directory}/${file}`));
    if (value !== undefined && value > 0 && value < (tightest?.value ?? Number.POSITIVE_INFINITY))
      tightest = { path: directory, value };
    path = path === '/' ? undefined : path.slice(0, Math.max(1, path.lastIndexOf('/')));
  }
  return tightest;
}

/** Memory of the group that cannot be taken back at once. */
export function groupMemoryBytes(readText: ReadText, { path }: Limit): number | undefined {
  const current = parseBytes(readText(`${path}/memory.current`));
  if (current === undefined) return undefined;
  const inactive = parseNamed(readText(`${path}/memory.stat`), 'inactive_file') ?? 0;
  return Math.max(0, current - inactive);
}

/** Figures that may be absent. */
export type LinuxSample = Pick<
  NodeSampleValues,
  'cpuPressure' | 'memoryPressure' | 'ioPressure' | 'networkBytesPerS' | 'runQueue'
>;

const PRESSURES = [
  ['cpuPressure', 'cpu'],
  ['memoryPressure', 'memory'],
  ['ioPressure', 'io'],
] as const;

export class LinuxFigures {
  readonly #readText: ReadText;
  /** Group whose pressure counts; undefined: the machine's. */
  readonly #group: string | undefined;
  readonly #pressures = PRESSURES.map(() => new Rate());
  readonly #network = new Rate();

  constructor(readText: ReadText, group: string | undefined) {
    this.#readText = readText;
    this.#group = group;
  }

  read(nowMs: number): LinuxSample {
    const sample: { -readonly [K in keyof LinuxSample]: LinuxSample[K] } = {};
    PRESSURES.forEach(([name, resource], i) => {
      const pressure = this.#pressure(resource);
      const rate = this.#pressures[i]!.take(nowMs, pressure?.totalUs ?? Number.NaN);
      if (pressure === undefined) return;
      // Microseconds a second; the first time, or after a reset, the mean of the last ten seconds.
      sample[name] = rate === undefined ? pressure.share : Math.min(1, rate / 1e6);
    });
    const bytes = parseNetDev(this.#readText('/proc/net/dev'));
    const network = this.#network.take(nowMs, bytes ?? Number.NaN);
    if (network !== undefined) sample.networkBytesPerS = network;
    const running = parseLoadavg(this.#readText('/proc/loadavg'));
    if (running !== undefined) sample.runQueue = running;
    return sample;
  }

  #pressure(resource: string): Pressure | undefined {
    const own = this.#group === undefined ? undefined : `${this.#group}/${resource}.pressure`;
    const text = own === undefined ? undefined : this.#readText(own);
    return parsePressure(text ?? this.#readText(`/proc/pressure/${resource}`));
  }
}
