/**
 * The recorded traces that the oracle is judged on, and how hosts are put together from them.
 *
 *     names   ├──── 40 % train ────┤── 25 % validate ──┤──── 35 % final ────┤     by a hash of the name
 *     days    ├─ three of the first four train ─┤ one of them validate ┤ the fifth: final
 *
 * Does: read them from a folder outside the project, split, compose. Does not: forecast.
 *
 * D1  Names and days of training and test are disjoint (most names occur on several days).
 * D2  A composition is drawn by its seed alone. D3  Nothing of the final part is read unless it is asked for.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { randomFrom } from '../lib/statistics.js';

export type Part = 'develop' | 'validate' | 'final';

export interface Row {
  readonly name: string;
  readonly values: Float64Array;
}

/** One experiment: what may be learned from, what is forecast, what counts as full. */
export interface Case {
  readonly name: string;
  readonly intervalS: number;
  readonly horizon: number;
  readonly capacity: number;
  readonly train: readonly { readonly rows: readonly Row[]; readonly intervalS: number }[];
  readonly test: readonly Row[];
  /** First step of the test rows that is scored. */
  readonly from: number;
}

const DAYS = ['20110303', '20110306', '20110309', '20110322', '20110325'] as const;
const FINAL_DAY = 4;
export const STEP_S = 300;
export const HORIZON = 6;

export function hasTraces(folder: string): boolean {
  return existsSync(join(folder, 'planetlab', `planetlab-${DAYS[0]}.csv.gz`));
}

function lines(folder: string, file: string): string[] {
  return gunzipSync(readFileSync(join(folder, file)))
    .toString()
    .trim()
    .split('\n');
}

function rowsOf(text: readonly string[]): Row[] {
  return text
    .filter((line) => !line.startsWith('#'))
    .map((line) => {
      const [name = '', ...fields] = line.split(',');
      return {
        name,
        values: Float64Array.from(fields, (f) => (f === '' ? Number.NaN : Number(f))),
      };
    });
}

const cache = new Map<string, readonly Row[]>();
function cached(key: string, make: () => Row[]): readonly Row[] {
  const known = cache.get(key) ?? make();
  cache.set(key, known);
  return known;
}

export const planetlab = (folder: string, day: number): readonly Row[] =>
  cached(`planetlab${day}`, () => rowsOf(lines(folder, `planetlab/planetlab-${DAYS[day]}.csv.gz`)));
export const google = (folder: string): readonly Row[] =>
  cached('google', () => rowsOf(lines(folder, 'gcd/cpu.csv.gz')));
export const surf = (folder: string): readonly Row[] =>
  cached('surf', () => rowsOf(lines(folder, 'surf/jobs-mhz-30s.csv.gz')));

/** Whole-cluster series: a column each. */
export function clusters(folder: string): readonly Row[] {
  return cached('clusters', () =>
    ['azure-v2', 'google-2019'].flatMap((file) => {
      const [head = '', ...rest] = lines(folder, `cluster/${file}-5min.csv.gz`);
      const fields = rest.map((line) => line.split(','));
      return head.split(',').flatMap((name, column) =>
        name === 'timestamp'
          ? []
          : [
              {
                name: `${file}-${name}`,
                values: Float64Array.from(fields, (f) => Number(f[column])),
              },
            ],
      );
    }),
  );
}

/** Bitbrains VMs on a grid of five minutes; NaN where there is no sample. */
export function bitbrains(folder: string): readonly Row[] {
  return cached('bitbrains', () => {
    const samples = lines(folder, 'bitbrains/fifty-vms-days-1-20.csv.gz')
      .slice(1)
      .map((line) => {
        const [vm = '', endMs, lengthMs, , mhz] = line.split(',');
        return { vm, endMs: Number(endMs), lengthMs: Number(lengthMs), mhz: Number(mhz) };
      });
    const first = samples.reduce(
      (least, { endMs, lengthMs }) => Math.min(least, endMs - lengthMs),
      Infinity,
    );
    const last = samples.reduce((most, { endMs }) => Math.max(most, endMs), 0);
    const index = (ms: number): number => Math.round((ms - first) / (STEP_S * 1000));
    const rows = new Map<string, Float64Array>();
    for (const { vm, endMs, lengthMs, mhz } of samples) {
      const values = rows.get(vm) ?? new Float64Array(index(last)).fill(Number.NaN);
      rows.set(vm, values.fill(mhz, index(endMs - lengthMs), index(endMs)));
    }
    return [...rows].map(([name, values]) => ({ name, values }));
  });
}

/** FNV-1a, mixed: uniform in [0, 1). */
export function share(name: string): number {
  let h = 2166136261;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 16777619);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return ((h ^ (h >>> 12)) >>> 0) / 4294967296;
}

function partOf(name: string): 'train' | 'validate' | 'final' {
  const s = share(name);
  return s < 0.4 ? 'train' : s < 0.65 ? 'validate' : 'final';
}

/** Hosts of `size` machines each: sums, in an order drawn by the seed. A missing sample counts as the machine's last. */
export function compose(machines: readonly Row[], size: number, seed: number): Row[] {
  const random = randomFrom(seed);
  const order = [...machines];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const hosts: Row[] = [];
  for (let i = 0; i + size <= order.length; i += size) {
    const members = order.slice(i, i + size);
    const values = new Float64Array(members[0]!.values.length);
    for (const member of members) {
      let last = 0;
      member.values.forEach((value, t) => {
        if (!Number.isNaN(value)) last = value;
        values[t]! += last;
      });
    }
    hosts.push({ name: `host-${String(hosts.length).padStart(3, '0')}`, values });
  }
  return hosts;
}

function percentile(rows: readonly Row[], q: number): number {
  const all = Float64Array.from(
    rows.flatMap(({ values }) => [...values].filter((v) => !Number.isNaN(v))),
  ).sort();
  return all[Math.floor(q * (all.length - 1))] || 1;
}

function inUnitsOf(capacity: number, rows: readonly Row[]): Row[] {
  return rows.map(({ name, values }) => ({
    name,
    values: values.map((value) => value / capacity),
  }));
}

/** Composition `seed` of PlanetLab hosts of 12 machines; `size` may differ. */
export function planetlabCase(folder: string, part: Part, seed: number, size = 12): Case {
  const testDay = part === 'final' ? FINAL_DAY : seed % FINAL_DAY;
  const days = [0, 1, 2, 3].filter((day) => day !== testDay);
  const of = (day: number, group: string): Row[] =>
    planetlab(folder, day).filter(({ name }) => partOf(name) === group);
  const train = days.map((day) => compose(of(day, 'train'), size, seed * 31 + day));
  const test = compose(of(testDay, part === 'final' ? 'final' : 'validate'), size, seed * 31 + 17);
  const capacity = percentile(train.flat(), 0.95);
  return {
    name: `PlanetLab × ${size}`,
    intervalS: STEP_S,
    horizon: HORIZON,
    capacity: 1,
    train: train.map((rows) => ({ rows: inUnitsOf(capacity, rows), intervalS: STEP_S })),
    test: inUnitsOf(capacity, test),
    from: 24,
  };
}

/**
 * Composition `seed` of Bitbrains hosts of 5 machines: two thirds of the time to learn from, the last third is scored.
 * Before the final part only the first two thirds of the record are looked at.
 */
export function bitbrainsCase(folder: string, part: Part, seed: number, size = 5): Case {
  const all = bitbrains(folder);
  const steps = all[0]?.values.length ?? 0;
  const end = part === 'final' ? steps : Math.floor((steps * 2) / 3);
  const from = Math.floor((end * 2) / 3);
  const hosts = compose(all, size, seed * 31 + 5).map(({ name, values }) => ({
    name,
    values: values.slice(0, end),
  }));
  const past = hosts.map(({ name, values }) => ({ name, values: values.slice(0, from) }));
  const capacity = percentile(past, 0.95);
  return {
    name: `Bitbrains × ${size}`,
    intervalS: STEP_S,
    horizon: HORIZON,
    capacity: 1,
    train: [],
    test: inUnitsOf(capacity, hosts),
    from,
  };
}

const JOB_STEPS_MIN = 20;

/**
 * Domains that were never seen: PlanetLab machines and Google job-days to learn from, SURF jobs or whole clusters to
 * forecast; and the reverse. Machines, jobs and days of the final part are others.
 */
export function transferCases(folder: string, part: Part): Case[] {
  const side = (name: string): boolean =>
    part === 'final' ? partOf(name) === 'final' : partOf(name) === 'validate';
  const learned = (rows: readonly Row[]): Row[] =>
    rows.filter(({ name }) => partOf(name) === 'train');
  const days = part === 'final' ? [FINAL_DAY] : [0];
  const machines = planetlab(folder, 1).filter(({ name }) => partOf(name) === 'train');
  const jobs = surf(folder).filter(({ values }) => values.length >= JOB_STEPS_MIN);
  const clusterRows = clusters(folder);
  const steps = clusterRows[0]?.values.length ?? 0;
  const half = (row: Row): Row => ({
    name: row.name,
    values: part === 'final' ? row.values.slice(steps / 2) : row.values.slice(0, steps / 2),
  });
  const fromHosts = [
    { rows: machines, intervalS: STEP_S },
    { rows: learned(google(folder)), intervalS: STEP_S },
  ];
  const fromOthers = [
    { rows: learned(jobs).map(short), intervalS: 30 },
    { rows: clusterRows.map(half), intervalS: STEP_S },
  ];
  const base = { horizon: HORIZON, from: 0 };
  const test = (rows: readonly Row[]): Row[] => rows.filter(({ name }) => side(name));
  const ofDays = days.flatMap((day) => test(planetlab(folder, day)));
  const cases: Omit<Case, 'capacity'>[] = [
    { ...base, name: 'SURF jobs', intervalS: 30, train: fromHosts, test: test(jobs).map(short) },
    { ...base, name: 'clusters', intervalS: STEP_S, train: fromHosts, test: clusterRows.map(half) },
    { ...base, name: 'PlanetLab machines', intervalS: STEP_S, train: fromOthers, test: ofDays },
    {
      ...base,
      name: 'Google job-days',
      intervalS: STEP_S,
      train: fromOthers,
      test: test(google(folder)),
    },
  ];
  return cases.map((one) => ({ ...one, capacity: percentile(one.test, 0.95) }));
}

/** At most four hours of a job: else a few long jobs would be most of all points. */
function short({ name, values }: Row): Row {
  return { name, values: values.slice(0, 480) };
}
