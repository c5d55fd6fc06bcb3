/**
 * What changed from one capsule to another: fuel, call stack, globals, memory, host state, header.
 *
 * Does: compare two decoded capsules of any programs. Does not: run anything, or know what the host state means. Printing is
 * cli/commands/diff.ts.
 *
 * D1  Equal capsules give a report without changes, and only they do: what is not compared by name is compared by section.
 * D2  Memory is compared as it is, not as it is stored: a unit that one capsule stores and the other leaves to the base is equal
 *     when its bytes are. Without the module's image all that no capsule stores counts as zero. Deltas are not taken: the
 *     caller makes full capsules of them (chain.ts).
 */
import { invariant } from '../types/errors.js';
import type { ShardModule } from '../types/module.js';
import type { BaseImage, FrameState, Plain } from '../types/state.js';
import { bytesToHex } from './bytes.js';
import type { DecodedCapsule } from './capsule.js';
import { inspectCapsule } from './inspect.js';
import { PAGE_BYTES, WASM_PAGE_BYTES } from './memory.js';
import { eachPiece, type Region, type RegionHints, regions } from './memory-map.js';
import { type Json, outline } from './values.js';

const UNIT_BYTES = 64;
const MAX_RANGES = 24;
const MAX_CHANGES = 60;
const SAMPLE_BYTES = 16;
const ZEROS = new Uint8Array(PAGE_BYTES);

export interface Change {
  readonly name: string;
  readonly before: Json;
  readonly after: Json;
}

export interface RangeChange {
  readonly address: number;
  readonly bytes: number;
  readonly region: Region | null;
  /** The first bytes that differ. */
  readonly at: number;
  readonly before: string;
  readonly after: string;
}

export interface StackChange {
  /** Outermost frames that are the same in both, bit for bit. */
  readonly same: number;
  /** The others, innermost first. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

export interface CapsuleDiff {
  readonly equal: boolean;
  /** Both belong to one shard module. */
  readonly sameModule: boolean;
  readonly fuel: { readonly before: string; readonly after: string; readonly more: string };
  readonly bytes: { readonly before: number; readonly after: number };
  readonly header: readonly Change[];
  readonly stack: StackChange;
  readonly globals: readonly Change[];
  readonly memory: {
    readonly beforeBytes: number;
    readonly afterBytes: number;
    /** In units of 64 bytes, by region. Memory that only one has counts as far as it is not zero. */
    readonly changedBytes: number;
    readonly byRegion: Readonly<Record<Region, number>> | null;
    readonly rangesTotal: number;
    /** The largest ranges of changed units, by address. */
    readonly ranges: readonly RangeChange[];
  };
  readonly host: readonly Change[];
  readonly hostTotal: number;
}

export interface DiffOptions {
  /** The module of both, when they have one and it is at hand. */
  readonly module?: ShardModule | undefined;
  readonly base?: BaseImage | undefined;
  readonly stack?: RegionHints | undefined;
}

export function diffCapsules(
  before: DecodedCapsule,
  after: DecodedCapsule,
  { module, base, stack }: DiffOptions = {},
): CapsuleDiff {
  for (const { header } of [before, after])
    invariant(header.base === null, 'what is compared is a full capsule');
  const [a, b] = [inspectCapsule(before, module), inspectCapsule(after, module)];
  const sameModule = a.moduleHash === b.moduleHash;
  const host = plainChanges(before.host, after.host);
  return {
    equal: before.hash === after.hash,
    sameModule,
    fuel: {
      before: a.fuelUsed,
      after: b.fuelUsed,
      more: (BigInt(b.fuelUsed) - BigInt(a.fuelUsed)).toString(),
    },
    bytes: { before: before.bytes.length, after: after.bytes.length },
    header: headerChanges(before, after),
    stack: stackChange(before.frames, after.frames, module),
    globals: globalChanges(a.globals, b.globals),
    memory: memoryChange(before, after, sameModule ? base : undefined, stack),
    host: host.slice(0, MAX_CHANGES),
    hostTotal: host.length,
  };
}

const HEADER_FIELDS = [
  ...([
    'shardId',
    'epoch',
    'specHash',
    'programHash',
    'moduleHash',
    'abi',
    'base',
    'references',
  ] as const),
  ...([
    'calls',
    'growRefused',
    'droppedSegments',
    'droppedElements',
    'tables',
    'pending',
    'unknown',
  ] as const),
];

function headerChanges(before: DecodedCapsule, after: DecodedCapsule): Change[] {
  const changes: Change[] = [];
  for (const name of HEADER_FIELDS) {
    const [a, b] = [before.header[name] as Plain, after.header[name] as Plain];
    if (!samePlain(a, b)) changes.push({ name, before: outline(a), after: outline(b) });
  }
  const args: Change = {
    name: 'args',
    before: bytesToHex(before.args),
    after: bytesToHex(after.args),
  };
  const limit = (each: DecodedCapsule): Json => each.header.memory?.limitPages ?? null;
  const limits: Change = {
    name: 'memory limit, pages',
    before: limit(before),
    after: limit(after),
  };
  return [...changes, ...[args, limits].filter((each) => each.before !== each.after)];
}

function samePlain(a: Plain, b: Plain): boolean {
  return plainChanges(a, b).length === 0;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function stackChange(
  before: readonly FrameState[],
  after: readonly FrameState[],
  module: ShardModule | undefined,
): StackChange {
  let same = 0;
  for (; same < Math.min(before.length, after.length); same++) {
    const [a, b] = [before[same] as FrameState, after[same] as FrameState];
    if (a.func !== b.func || a.safepoint !== b.safepoint || !sameBytes(a.slots, b.slots)) break;
  }
  const label = ({ func, safepoint }: FrameState): string => {
    const name = module?.functions[func - module.imports.length]?.name;
    return `${name ?? `function ${func}`}, safepoint ${safepoint}`;
  };
  const rest = (frames: readonly FrameState[]): string[] =>
    frames.slice(same).reverse().slice(0, MAX_CHANGES).map(label);
  return { same, before: rest(before), after: rest(after) };
}

type Globals = ReturnType<typeof inspectCapsule>['globals'];

function globalChanges(before: Globals, after: Globals): Change[] {
  const changes: Change[] = [];
  for (let i = 0; i < Math.max(before.length, after.length); i++) {
    const [a, b] = [before[i], after[i]];
    if (a?.value === b?.value) continue;
    const known = a ?? b;
    const name = known?.name ?? `global ${known?.index ?? i}`;
    changes.push({ name, before: a?.value ?? null, after: b?.value ?? null });
  }
  return changes;
}

/** A page's bytes. */
type Pages = (page: number) => Uint8Array;

function pagesOf({ memory }: DecodedCapsule, base: BaseImage | undefined): Pages {
  const changed = new Map<number, Uint8Array>();
  if (memory !== null) {
    eachPiece(memory, (stored, address, bytes, from) => {
      const page = Math.floor(address / PAGE_BYTES);
      const own = changed.get(page) ?? Uint8Array.from(base?.nonZero.get(page) ?? ZEROS);
      changed.set(page, own);
      const at = address % PAGE_BYTES;
      if (stored) own.set(memory.payload.subarray(from, from + bytes), at);
      else own.fill(0, at, at + bytes);
    });
  }
  return (page) => changed.get(page) ?? base?.nonZero.get(page) ?? ZEROS;
}

function touchedPages({ memory }: DecodedCapsule, target: Set<number>): void {
  if (memory === null) return;
  eachPiece(memory, (_, address) => void target.add(Math.floor(address / PAGE_BYTES)));
}

function memoryChange(
  before: DecodedCapsule,
  after: DecodedCapsule,
  base: BaseImage | undefined,
  hints: RegionHints = { stackTop: undefined, stackPointer: undefined },
): CapsuleDiff['memory'] {
  const touched = new Set<number>();
  touchedPages(before, touched);
  touchedPages(after, touched);
  const [a, b] = [pagesOf(before, base), pagesOf(after, base)];
  const regionOf = base === undefined ? undefined : regions(base, hints);
  const byRegion = { data: 0, stack: 0, heap: 0 };
  const ranges: RangeChange[] = [];
  let changedBytes = 0;
  for (const page of [...touched].sort((x, y) => x - y)) {
    const [from, to] = [a(page), b(page)];
    const region = regionOf?.(page) ?? null;
    for (let unit = 0; unit < PAGE_BYTES; unit += UNIT_BYTES) {
      const first = firstDifference(from, to, unit);
      if (first < 0) continue;
      changedBytes += UNIT_BYTES;
      if (region !== null) byRegion[region] += UNIT_BYTES;
      addUnit(ranges, page * PAGE_BYTES, unit, first, from, to, region);
    }
  }
  const largest = [...ranges].sort((x, y) => y.bytes - x.bytes || x.address - y.address);
  const bytesOf = (each: DecodedCapsule): number =>
    (each.header.memory?.pages ?? 0) * WASM_PAGE_BYTES;
  return {
    beforeBytes: bytesOf(before),
    afterBytes: bytesOf(after),
    changedBytes,
    byRegion: regionOf === undefined ? null : byRegion,
    rangesTotal: ranges.length,
    ranges: largest.slice(0, MAX_RANGES).sort((x, y) => x.address - y.address),
  };
}

function firstDifference(a: Uint8Array, b: Uint8Array, unit: number): number {
  for (let i = unit; i < unit + UNIT_BYTES; i++) if (a[i] !== b[i]) return i;
  return -1;
}

function addUnit(
  ranges: RangeChange[],
  page: number,
  unit: number,
  first: number,
  from: Uint8Array,
  to: Uint8Array,
  region: Region | null,
): void {
  const last = ranges.at(-1);
  const address = page + unit;
  if (last !== undefined && last.region === region && last.address + last.bytes === address) {
    ranges[ranges.length - 1] = { ...last, bytes: last.bytes + UNIT_BYTES };
    return;
  }
  const sample = (bytes: Uint8Array): string =>
    bytesToHex(bytes.subarray(first, first + SAMPLE_BYTES));
  ranges.push({
    address,
    bytes: UNIT_BYTES,
    region,
    at: page + first,
    before: sample(from),
    after: sample(to),
  });
}

/** Leaves that differ, with their path. */
function plainChanges(before: Plain, after: Plain, path = ''): Change[] {
  if (Object.is(before, after)) return [];
  if (before instanceof Uint8Array && after instanceof Uint8Array && sameBytes(before, after))
    return [];
  const [a, b] = [entriesOf(before), entriesOf(after)];
  if (a === undefined || b === undefined || Array.isArray(before) !== Array.isArray(after))
    return [{ name: path, before: outline(before), after: outline(after) }];
  const changes: Change[] = [];
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const name = path === '' ? key : `${path}.${key}`;
    const [x, y] = [a.get(key), b.get(key)];
    if (x === undefined || y === undefined)
      changes.push({
        name,
        before: x === undefined ? null : outline(x),
        after: y === undefined ? null : outline(y),
      });
    else changes.push(...plainChanges(x, y, name));
  }
  return changes;
}

function entriesOf(value: Plain): Map<string, Plain> | undefined {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return undefined;
  return new Map(Object.entries(value));
}
