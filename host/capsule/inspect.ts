/**
 * What is inside a capsule or a shard module, as JSON-able reports.
 *
 * Does: name what is stored: stack, live locals, globals, pending call, memory map, host state, sizes, hashes.
 * Does not: run anything, or know what the host state means. Printing is render.ts.
 *
 * P1  A report never fails for a capsule that decoded: where module and capsule disagree it shows raw bytes.
 * P2  Everything is text, number, boolean, list or map; 64-bit numbers are decimal text.
 */
import { plainFunction } from '../compile/index.js';
import { DATA, type Difference, eachRun, UNIT_BYTES } from '../core/difference.js';
import type { FunctionInfo, SafepointInfo, ShardModule } from '../types/module.js';
import type { Hash } from '../types/platform.js';
import type { BaseImage, Call, FrameState, PendingCall, ValType } from '../types/state.js';
import { bytesToHex } from './bytes.js';
import type { CapsuleSizes, DecodedCapsule } from './capsule.js';
import { PAGE_BYTES } from './memory.js';
import { type Json, numberText, outline, readValue, valueBytes } from './values.js';

/** Gives the place in the source that a code offset of the program came from. */
export type Locate = (
  offset: number,
) => { readonly file: string; readonly line: number; readonly column: number } | undefined;

const MAX_FRAMES = 400;
const MAX_RANGES = 16;

export interface LocalReport {
  /** Name from the name section, else `param N`, `local N` or `operand N`. */
  readonly name: string;
  readonly type: ValType;
  readonly value: string;
}

export interface FrameReport {
  /** 0 is the innermost frame, the one that stopped. */
  readonly depth: number;
  readonly func: number;
  readonly name: string | null;
  readonly safepoint: number;
  readonly kind: string | null;
  /** Byte offset in the program's original binary. */
  readonly offset: number | null;
  readonly locals: readonly LocalReport[];
  /** `file:line:column` in the program's source; absent when nobody looked. */
  readonly source?: string | null;
  /** The slots as they are, when the module is not at hand or does not fit. */
  readonly raw: string | null;
}

export interface PendingReport {
  readonly name: string;
  readonly args: readonly string[];
  readonly wait: string;
}

export interface RangeReport {
  readonly kind: 'data' | 'zero';
  readonly address: number;
  readonly bytes: number;
}

export interface MemoryReport {
  /** In 64 KiB Wasm pages, as are the limit's. */
  readonly wasmPages: number;
  readonly limitWasmPages: number;
  readonly totalBytes: number;
  readonly storedBytes: number;
  readonly zeroedBytes: number;
  readonly likeBaseBytes: number;
  /** Size of what was dead (--drop-dead): zeros in the capsule, whatever was there. */
  readonly deadBytes: number;
  /** Of those: not zero, equal to the module's initial image; null when that is not the base, or was not given. */
  readonly likeNonZeroBaseBytes: number | null;
  readonly runs: number;
  /** The largest ranges that differ from the base, largest first. */
  readonly ranges: readonly RangeReport[];
  readonly growRefused: boolean;
  readonly droppedSegments: readonly number[];
}

export interface CapsuleReport {
  readonly kind: 'capsule';
  readonly formatVersion: number;
  readonly hash: Hash;
  readonly shardId: string;
  readonly epoch: number;
  readonly specHash: Hash;
  readonly programHash: Hash;
  readonly moduleHash: Hash;
  readonly abi: number;
  /** True when the module given is the capsule's own, so that names and types are right. */
  readonly named: boolean;
  readonly status: 'not started' | 'stopped' | 'finished';
  readonly fuelUsed: string;
  /** Exports; null: the start function. */
  readonly calls: readonly Call[];
  readonly args: string;
  readonly results: string;
  readonly pending: PendingReport | null;
  readonly framesTotal: number;
  /** Innermost first; of a very deep stack both ends. */
  readonly frames: readonly FrameReport[];
  readonly globals: readonly {
    readonly index: number;
    readonly name: string | null;
    readonly type: ValType | null;
    readonly value: string;
  }[];
  readonly memory: MemoryReport | null;
  readonly host: Json;
  readonly references: readonly Hash[];
  readonly unknown: Json;
  readonly sizes: CapsuleSizes;
  readonly sections: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly hash: Hash;
  }[];
}

/** Reports on a decoded capsule. With its module: names and types; with the base image: the full memory map. */
export function inspectCapsule(
  decoded: DecodedCapsule,
  module: ShardModule | undefined,
  base?: BaseImage,
  locate?: Locate,
): CapsuleReport {
  const { header, sections } = decoded;
  const own = module?.moduleHash === header.moduleHash ? module : undefined;
  const { shardId, epoch, specHash, programHash, moduleHash, abi, calls, references } = header;
  return {
    kind: 'capsule',
    formatVersion: decoded.formatVersion,
    hash: decoded.hash,
    shardId,
    epoch,
    specHash,
    programHash,
    moduleHash,
    abi,
    named: own !== undefined,
    status: statusOf(decoded),
    fuelUsed: header.fuelUsed.toString(),
    calls,
    args: bytesToHex(decoded.args),
    results: bytesToHex(decoded.results),
    pending: header.pending === null ? null : pendingReport(header.pending),
    framesTotal: decoded.frames.length,
    frames: frameReports(decoded.frames, own, locate),
    globals: globalReports(decoded.globals, own),
    memory: memoryReport(decoded, base),
    host: outline(decoded.host),
    references,
    unknown: outline(header.unknown),
    sizes: decoded.sizes,
    sections: sections.map(({ name, bytes, hash }) => ({ name, bytes: bytes.length, hash })),
  };
}

function statusOf(decoded: DecodedCapsule): CapsuleReport['status'] {
  if (decoded.header.calls.length === 0) return 'finished';
  return decoded.frames.length === 0 && decoded.header.fuelUsed === 0n ? 'not started' : 'stopped';
}

function pendingReport({ name, args, wait }: PendingCall): PendingReport {
  const texts = args.map((arg) => (typeof arg === 'bigint' ? arg.toString() : numberText(arg)));
  switch (wait.kind) {
    case 'until':
      return { name, args: texts, wait: `until guest clock ${wait.monotonicNs} ns` };
    case 'blob':
      return { name, args: texts, wait: `for blob ${wait.hash}` };
    case 'yield':
      return { name, args: texts, wait: 'for its next turn' };
  }
}

function frameReports(
  frames: readonly FrameState[],
  module: ShardModule | undefined,
  locate: Locate | undefined,
): FrameReport[] {
  const last = frames.length - 1;
  const reports: FrameReport[] = [];
  for (let depth = 0; depth <= last; depth++) {
    if (depth === MAX_FRAMES / 2 && frames.length > MAX_FRAMES)
      depth = frames.length - MAX_FRAMES / 2;
    const frame = frames[last - depth];
    if (frame !== undefined) reports.push(frameReport(frame, depth, module, locate));
  }
  return reports;
}

function functionOf(module: ShardModule | undefined, index: number): FunctionInfo | undefined {
  return module?.functions[index - module.imports.length];
}

function frameReport(
  frame: FrameState,
  depth: number,
  module: ShardModule | undefined,
  locate: Locate | undefined,
): FrameReport {
  const info = functionOf(module, frame.func);
  const safepoint = info?.safepoints[frame.safepoint];
  const locals =
    info === undefined || safepoint === undefined ? undefined : localReports(frame, info);
  return {
    depth,
    func: frame.func,
    name: info?.name ?? null,
    safepoint: frame.safepoint,
    kind: safepoint?.kind ?? null,
    offset: safepoint?.offset ?? null,
    ...(locate === undefined ? {} : { source: sourceOf(safepoint, locate) }),
    locals: locals ?? [],
    raw: locals === undefined ? bytesToHex(frame.slots) : null,
  };
}

function sourceOf(safepoint: SafepointInfo | undefined, locate: Locate): string | null {
  // An entry poll stands before the first instruction: it has no offset of its own.
  const place =
    safepoint === undefined || safepoint.kind === 'entry' ? undefined : locate(safepoint.offset);
  if (place === undefined) return null;
  return `${place.file}:${place.line}${place.column === 0 ? '' : `:${place.column}`}`;
}

/** Undefined when the slots do not fit the resume map (P1). */
function localReports(frame: FrameState, info: FunctionInfo): LocalReport[] | undefined {
  const reports: LocalReport[] = [];
  let at = 0;
  for (const slotIndex of info.safepoints[frame.safepoint]?.live ?? []) {
    const slot = info.slots[slotIndex];
    if (slot === undefined) return undefined;
    const bytes = frame.slots.subarray(at, at + valueBytes(slot.type));
    at += valueBytes(slot.type);
    if (at > frame.slots.length) return undefined;
    reports.push({ name: localName(info, slot.local, slotIndex), ...readValue(slot.type, bytes) });
  }
  return at === frame.slots.length ? reports : undefined;
}

function localName(info: FunctionInfo, local: number, slot: number): string {
  if (local < 0) return `operand ${slot}`;
  const kind = local < info.params.length ? 'param' : 'local';
  return info.localNames.get(local) ?? `${kind} ${local}`;
}

function globalReports(
  bytes: Uint8Array,
  module: ShardModule | undefined,
): CapsuleReport['globals'] {
  const globals = module?.mutableGlobals;
  const total = globals?.reduce((sum, each) => sum + valueBytes(each.type), 0);
  if (globals === undefined || total !== bytes.length) {
    const words = Array.from({ length: bytes.length / 8 }, (_, i) =>
      bytes.subarray(8 * i, 8 * i + 8),
    );
    return words.map((word, i) => ({
      index: i,
      name: null,
      type: null,
      value: `0x${bytesToHex(word)}`,
    }));
  }
  let at = 0;
  return globals.map(({ index, type, name }) => {
    const value = readValue(type, bytes.subarray(at, at + valueBytes(type)));
    at += valueBytes(type);
    return { index, name: name ?? null, ...value };
  });
}

function memoryReport(decoded: DecodedCapsule, base: BaseImage | undefined): MemoryReport | null {
  const { header, memory } = decoded;
  if (header.memory === null || memory === null) return null;
  const { pages: wasmPages, limitPages: limitWasmPages } = header.memory;
  const { spaceBytes, storedBytes, zeroedBytes, runs } = decoded.sizes;
  const known = header.base === null ? base : undefined;
  return {
    wasmPages,
    limitWasmPages,
    totalBytes: spaceBytes,
    storedBytes,
    zeroedBytes,
    likeBaseBytes: spaceBytes - storedBytes - zeroedBytes,
    deadBytes: header.deadBytes,
    likeNonZeroBaseBytes: known === undefined ? null : unitsKept(known, memory) * UNIT_BYTES,
    runs,
    ranges: largestRanges(memory),
    growRefused: header.growRefused,
    droppedSegments: header.droppedSegments,
  };
}

function largestRanges({ table }: Difference): RangeReport[] {
  const largest: RangeReport[] = [];
  eachRun(table, (kind, first, count) => {
    const bytes = count * UNIT_BYTES;
    if (largest.length === MAX_RANGES && bytes <= (largest.at(-1)?.bytes ?? 0)) return;
    const place = largest.findLastIndex((range) => range.bytes >= bytes) + 1;
    const range = { kind: kind === DATA ? 'data' : 'zero', address: first * UNIT_BYTES, bytes };
    largest.splice(place, 0, range as RangeReport);
    if (largest.length > MAX_RANGES) largest.pop();
  });
  return largest;
}

/** Non-zero units of the base outside all runs. */
function unitsKept(base: BaseImage, { table }: Difference): number {
  const perPage = PAGE_BYTES / UNIT_BYTES;
  const pages = [...base.nonZero].sort(([a], [b]) => a - b);
  /** Non-zero units of a page within these units of the memory. */
  const nonZero = ([page, bytes]: readonly [number, Uint8Array], from: number, to: number) => {
    let found = 0;
    const start = page * perPage;
    for (let unit = Math.max(from, start); unit < Math.min(to, start + perPage); unit++) {
      const at = (unit - start) * UNIT_BYTES;
      if (bytes.subarray(at, at + UNIT_BYTES).some((byte) => byte !== 0)) found++;
    }
    return found;
  };
  let kept = 0;
  for (const page of pages) kept += nonZero(page, 0, Number.POSITIVE_INFINITY);
  let next = 0;
  eachRun(table, (_, first, count) => {
    for (; next < pages.length && (pages[next]![0] + 1) * perPage <= first; next++);
    for (let i = next; i < pages.length && pages[i]![0] * perPage < first + count; i++)
      kept -= nonZero(pages[i]!, first, first + count);
  });
  return kept;
}

export interface FunctionReport {
  readonly index: number;
  readonly name: string | null;
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
  readonly instrumented: boolean;
  readonly safepoints: readonly {
    readonly kind: string;
    readonly offset: number;
    readonly live: number;
  }[];
  readonly slots: number;
  readonly calls: readonly number[];
  readonly indirectCalls: boolean;
  readonly loops: number;
  readonly loopDepth: number;
  readonly instructions: number;
  readonly readsMemory: boolean;
  readonly writesMemory: boolean;
}

export interface ModuleReport {
  readonly kind: 'module';
  readonly moduleHash: Hash;
  readonly programHash: Hash;
  readonly abi: number;
  readonly sizes: ShardModule['sizes'];
  readonly imports: readonly {
    readonly name: string;
    readonly params: readonly ValType[];
    readonly results: readonly ValType[];
  }[];
  readonly exports: readonly { readonly name: string; readonly func: number }[];
  readonly hasStart: boolean;
  readonly memory: { readonly minPages: number; readonly maxPages: number | null } | null;
  readonly mutableGlobals: readonly {
    readonly index: number;
    readonly type: ValType;
    readonly name: string | null;
  }[];
  readonly functions: readonly FunctionReport[];
}

/** Reports on a shard module: its dependency graph and its resume map. */
export function inspectModule(module: ShardModule): ModuleReport {
  const { moduleHash, programHash, abi, sizes, hasStart, memory } = module;
  return {
    kind: 'module',
    moduleHash,
    programHash,
    abi,
    sizes,
    imports: module.imports.map(({ module: from, field, params, results }) => ({
      name: `${from}.${field}`,
      params,
      results,
    })),
    exports: [...module.exports].map(([name, func]) => ({ name, func })),
    hasStart,
    memory:
      memory === undefined
        ? null
        : { minPages: memory.minPages, maxPages: memory.maxPages ?? null },
    mutableGlobals: module.mutableGlobals.map((each) => ({ ...each, name: each.name ?? null })),
    functions: module.functions.map(functionReport),
  };
}

function functionReport(info: FunctionInfo): FunctionReport {
  const { localNames: _names, slots, safepoints, name, ...rest } = plainFunction(info);
  return {
    ...rest,
    name: name ?? null,
    slots: slots.length,
    safepoints: safepoints.map(({ kind, offset, live }) => ({ kind, offset, live: live.length })),
  };
}
