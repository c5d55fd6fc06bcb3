/**
 * State Capsule, format version 2: encode and decode. Version 1, which had its memory in 4 KiB pages, is still read.
 *
 * Does: turn a `ShardState` into canonical bytes and back, exactly. Does not: run, store or send anything.
 *
 * A capsule is an envelope (envelope.ts: prologue, section table, sections; all hashed) with these sections:
 *
 *     id  name      content                                                        file
 *      1  header    msgpack map: identity, fuel, pending call, memory size …       header.ts
 *      2  frames    see below                                                      here
 *      3  globals   all mutable globals in index order, 8 bytes each (v128: 16)    here
 *      4  host      msgpack: the host side's own snapshot                          types/pack.ts
 *      5  memory    the 64-byte units that differ from the base; none if the       memory.ts
 *                   module has no memory
 *     16 …          later: key id, signature
 *
 *     frames = args bytes LEB · args · results bytes LEB · results · count LEB ·
 *              { function LEB · safepoint LEB · slot words (8 bytes) LEB · slots } per frame, outermost first
 *
 * The base is the module's initial image, or the memory of an earlier capsule that the header names: then this is a delta,
 * and the chain of its bases is needed to resume it (chain.ts). All other sections are whole in every capsule.
 *
 * C1  Canonical: equal states (with equal facts and base) give equal bytes. Nothing in a capsule depends on the clock,
 *     the machine, the order of keys or what was encoded before.
 * C2  Exact: `decode(encode(state)).state(base)` equals the state, except that the host's plain data follows the rules
 *     of types/pack.ts (-0 is 0).
 * C3  Any changed bit is refused with SHERD_CAPSULE_DAMAGED naming the section; another format version or an unknown
 *     required section with SHERD_CAPSULE_VERSION; another module or base than it has with SHERD_CAPSULE_MISMATCH, and a
 *     delta without its base with SHERD_CAPSULE_INCOMPLETE.
 * C4  Decoding holds views of the given bytes; the memory is allocated only in `state()`, after its size was checked
 *     against the caller's limit.
 * C5  One output buffer, the caller's if it gives one. The buffer is not shared with anything: it
 *     can be transferred.
 */
import { type Difference, UNIT_BYTES } from '../core/difference.js';
import type { DeadRange } from '../core/scan.js';
import { invariant, SherdError } from '../types/errors.js';
import { decodePlain, encodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import type { FrameState, MemoryBase, Plain, ShardState } from '../types/state.js';
import { ByteReader, lebBytes, writeLeb } from './bytes.js';
import {
  type Allocate,
  damaged,
  ENTRY_BYTES,
  type EnvelopeKind,
  hasMagic,
  layOut,
  magicOf,
  PROLOGUE_BYTES,
  readEnvelope,
  type Section,
  type SectionPlan,
  seal,
  versionOf,
} from './envelope.js';
import { type CapsuleHeader, decodeHeader, encodeHeader, type HeaderFacts } from './header.js';
import {
  MAX_WASM_PAGES,
  planMemory,
  readMemory,
  restoreMemory,
  WASM_PAGE_BYTES,
  writeMemory,
} from './memory.js';

const ID = { header: 1, frames: 2, globals: 3, host: 4, memory: 5 } as const;
const NAMES = new Map<number, SectionName>(
  Object.entries(ID).map(([name, id]) => [id, name as SectionName]),
);
const SLOT_WORD_BYTES = 8;
const EMPTY = new Uint8Array(0);
/** What a runtime's frame store holds at most (compile/store-module.ts), and what a frame takes there beside its slots. */
const FRAME_STORE_BYTES = 64 << 20;
const FRAME_HEAD_BYTES = 8;
const MIN_FRAME_BYTES = 3;

export type SectionName = keyof typeof ID;

export const CAPSULE: EnvelopeKind = {
  magic: magicOf('SHERD'),
  noun: 'capsule',
  version: 2,
  sectionName: (id) => NAMES.get(id),
};

/** What a capsule weighs, by section, and what its memory section holds. */
export interface CapsuleSizes {
  readonly totalBytes: number;
  /** Prologue and section table. */
  readonly envelopeBytes: number;
  readonly headerBytes: number;
  readonly framesBytes: number;
  readonly globalsBytes: number;
  readonly hostBytes: number;
  readonly memoryBytes: number;
  /** The whole memory. */
  readonly spaceBytes: number;
  readonly storedBytes: number;
  /** Named as zero, because the base is not zero there. */
  readonly zeroedBytes: number;
  readonly runs: number;
}

export interface EncodeInput extends HeaderFacts {
  readonly state: ShardState;
  readonly base: MemoryBase;
  /** Ranges of the memory that need not be kept: the capsule stands for the memory with zeros there. */
  readonly dead?: readonly DeadRange[];
}

export interface EncodedCapsule {
  readonly bytes: Uint8Array;
  /** SHA-256 of the bytes: the capsule's name as a blob. */
  readonly hash: Hash;
  readonly sizes: CapsuleSizes;
}

/** Encodes a stopped shard. `references` are the blobs that the host state names, sorted. */
export function encodeCapsule(
  input: EncodeInput,
  platform: Platform,
  allocate?: Allocate,
): EncodedCapsule {
  const { state, base, dead = [] } = input;
  const memoryPlan = state.memory === null ? null : planMemory(state.memory, base, platform, dead);
  const deadBytes = dead.reduce((sum, { first, end }) => sum + end - first, input.deadBytes ?? 0);
  const header = encodeHeader(
    state,
    { ...input, deadBytes },
    'capsule' in base && state.memory !== null ? base : null,
  );
  const host = encodePlain(state.host as object);
  const plans: SectionPlan[] = [
    { id: ID.header, required: true, bytes: header.length },
    { id: ID.frames, required: true, bytes: framesBytes(state) },
    { id: ID.globals, required: true, bytes: state.globals.length },
    { id: ID.host, required: true, bytes: host.length },
  ];
  if (memoryPlan !== null) plans.push({ id: ID.memory, required: true, bytes: memoryPlan.bytes });
  const layout = layOut(CAPSULE, plans, allocate);
  const [headerTarget, framesTarget, globalsTarget, hostTarget, memoryTarget] = layout.sections;
  headerTarget?.set(header);
  writeFrames(framesTarget as Uint8Array, state);
  globalsTarget?.set(state.globals);
  hostTarget?.set(host);
  if (memoryPlan !== null) writeMemory(memoryTarget as Uint8Array, memoryPlan);
  seal(layout, plans, platform);
  const sizes = sizesOf(layout.bytes.length, plans, state.memory?.pages ?? 0, memoryPlan?.scanned);
  return { bytes: layout.bytes, hash: platform.sha256(layout.bytes), sizes };
}

function sizesOf(
  totalBytes: number,
  plans: readonly { readonly id: number; readonly bytes: number }[],
  wasmPages: number,
  memory: Pick<Difference, 'dataUnits' | 'zeroUnits' | 'runs'> | null | undefined,
): CapsuleSizes {
  const of = (id: number): number => plans.find((plan) => plan.id === id)?.bytes ?? 0;
  const tableBytes = plans.length * ENTRY_BYTES;
  return {
    totalBytes,
    envelopeBytes: PROLOGUE_BYTES + tableBytes,
    headerBytes: of(ID.header),
    framesBytes: of(ID.frames),
    globalsBytes: of(ID.globals),
    hostBytes: of(ID.host),
    memoryBytes: of(ID.memory),
    spaceBytes: wasmPages * WASM_PAGE_BYTES,
    storedBytes: (memory?.dataUnits ?? 0) * UNIT_BYTES,
    zeroedBytes: (memory?.zeroUnits ?? 0) * UNIT_BYTES,
    runs: memory?.runs ?? 0,
  };
}

function framesBytes(state: ShardState): number {
  let bytes = lebBytes(state.args.length) + state.args.length;
  bytes += lebBytes(state.results.length) + state.results.length;
  bytes += lebBytes(state.frames.length);
  for (const { func, safepoint, slots } of state.frames) {
    invariant(slots.length % SLOT_WORD_BYTES === 0, 'slots are whole 8-byte words');
    bytes += lebBytes(func) + lebBytes(safepoint) + lebBytes(slots.length / SLOT_WORD_BYTES);
    bytes += slots.length;
  }
  return bytes;
}

function writeFrames(target: Uint8Array, state: ShardState): void {
  let at = 0;
  for (const part of [state.args, state.results]) {
    at = writeLeb(target, at, part.length);
    target.set(part, at);
    at += part.length;
  }
  at = writeLeb(target, at, state.frames.length);
  for (const { func, safepoint, slots } of state.frames) {
    at = writeLeb(target, at, func);
    at = writeLeb(target, at, safepoint);
    at = writeLeb(target, at, slots.length / SLOT_WORD_BYTES);
    target.set(slots, at);
    at += slots.length;
  }
  invariant(at === target.length, 'the frames section is full');
}

interface Stack {
  readonly args: Uint8Array;
  readonly results: Uint8Array;
  readonly frames: readonly FrameState[];
}

function readFrames(section: Uint8Array, fail: (reason: string) => Error): Stack {
  const reader = new ByteReader(section, fail);
  const args = reader.take(reader.leb());
  const results = reader.take(reader.leb());
  const count = reader.leb();
  if (count > reader.left / MIN_FRAME_BYTES)
    throw fail(`${count} frames in ${section.length} bytes`);
  if (count * FRAME_HEAD_BYTES > FRAME_STORE_BYTES)
    throw fail(`${count} frames that no store can hold`);
  const frames: FrameState[] = [];
  let storeBytes = 0;
  for (let i = 0; i < count; i++) {
    const func = reader.leb();
    const safepoint = reader.leb();
    const bytes = reader.leb() * SLOT_WORD_BYTES;
    storeBytes += FRAME_HEAD_BYTES + bytes;
    if (storeBytes > FRAME_STORE_BYTES) throw fail(`${count} frames that no store can hold`);
    frames.push({ func, safepoint, slots: bytes === 0 ? EMPTY : reader.take(bytes) });
  }
  reader.end();
  return { args, results, frames };
}

export interface DecodeOptions {
  /** Refuse a capsule of any other shard module. */
  readonly moduleHash?: Hash;
  /** Refuse a memory larger than this many Wasm pages. Default: Wasm's own limit, 65,536. */
  readonly maxMemoryPages?: number;
  /** Names the file or blob in errors. */
  readonly at?: string;
  /** The hash of all the bytes was compared just now, by the store: they are not hashed again. */
  readonly verified?: boolean;
}

/** Where `state()` puts the memory, instead of allocating one: e.g. the new instance's own. */
export interface MemoryTarget {
  readonly bytes: Uint8Array;
  /** What the target holds now. */
  readonly holds: 'zeros' | 'base';
}

/** A verified capsule. Its parts are views of the bytes that were decoded. */
export interface DecodedCapsule {
  readonly bytes: Uint8Array;
  /** SHA-256 of the bytes: the capsule's name as a blob (computed when asked for). */
  readonly hash: Hash;
  readonly formatVersion: number;
  readonly header: CapsuleHeader;
  readonly frames: readonly FrameState[];
  readonly args: Uint8Array;
  readonly results: Uint8Array;
  readonly globals: Uint8Array;
  readonly host: Plain;
  readonly memory: Difference | null;
  readonly sizes: CapsuleSizes;
  /** Every section with its hash, in file order; those of later versions included. */
  readonly sections: readonly Section[];
  /** The state, its memory rebuilt on the base that the header names. */
  state(base: MemoryBase, target?: MemoryTarget): ShardState;
  /** The state with an empty memory view: `fill` writes the memory where it is wanted. */
  stateApart(): ShardState;
  /** Writes the memory into a target of its size that holds the base. */
  fill(base: MemoryBase, target: Uint8Array): void;
}

/** True when the bytes begin like a capsule. */
export function isCapsule(bytes: Uint8Array): boolean {
  return hasMagic(bytes, CAPSULE.magic);
}

/** Verifies and decodes. Throws SHERD_CAPSULE_DAMAGED, _VERSION or _MISMATCH. */
export function decodeCapsule(
  bytes: Uint8Array,
  platform: Platform,
  options: DecodeOptions = {},
): DecodedCapsule {
  const sections = readEnvelope(CAPSULE, bytes, platform, options.at, options.verified);
  const failIn =
    (name: SectionName) =>
    (reason: string): SherdError =>
      damaged(CAPSULE.noun, name, reason, options.at);
  const section = (name: SectionName): Uint8Array => {
    const [found, second] = sections.filter((each) => each.id === ID[name]);
    if (found === undefined) throw failIn(name)('missing');
    if (second !== undefined) throw failIn(name)('there are two');
    return found.bytes;
  };
  const formatVersion = versionOf(bytes);
  const header = decodeHeader(section('header'), formatVersion, failIn('header'));
  checkHeader(header, options);
  const stack = readFrames(section('frames'), failIn('frames'));
  const globals = section('globals');
  const host = decodeHost(section('host'), options.at, failIn('host'));
  const memory = decodeMemory(header, formatVersion, sections, section, failIn('memory'));
  const plans = sections.map((each) => ({ id: each.id, bytes: each.bytes.length }));
  let hash: Hash | undefined;
  return {
    bytes,
    get hash() {
      hash ??= platform.sha256(bytes);
      return hash;
    },
    formatVersion,
    header,
    ...stack,
    globals,
    host,
    memory,
    sizes: sizesOf(bytes.length, plans, header.memory?.pages ?? 0, memory),
    sections,
    state: (base, target) => {
      const bytes = memory === null ? EMPTY : rebuild(header, memory, base, target, platform);
      return buildState({ header, stack, globals, host }, bytes);
    },
    stateApart: () => buildState({ header, stack, globals, host }, EMPTY),
    fill: (base, target) => {
      if (memory === null) return;
      rebuild(header, memory, base, { bytes: target, holds: 'base' }, platform);
    },
  };
}

/** Only the header of a capsule whose hash was compared just now: e.g. what it is based on. Throws SHERD_CAPSULE_DAMAGED. */
export function headerOf(bytes: Uint8Array, platform: Platform, at?: string): CapsuleHeader {
  const fail = (reason: string): SherdError => damaged(CAPSULE.noun, 'header', reason, at);
  const sections = readEnvelope(CAPSULE, bytes, platform, at, true);
  const found = sections.find(({ id }) => id === ID.header);
  if (found === undefined) throw fail('missing');
  return decodeHeader(found.bytes, versionOf(bytes), fail);
}

function checkHeader(header: CapsuleHeader, options: DecodeOptions): void {
  const { moduleHash, maxMemoryPages = MAX_WASM_PAGES, at } = options;
  if (moduleHash !== undefined && moduleHash !== header.moduleHash) {
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      `capsule belongs to shard module ${header.moduleHash.slice(0, 12)}, not to ${moduleHash.slice(0, 12)}`,
      { at, next: 'resume it with the module that it was taken from', exitCode: 2 },
    );
  }
  const pages = header.memory?.pages ?? 0;
  if (pages > maxMemoryPages) {
    throw damaged(
      CAPSULE.noun,
      'header',
      `memory of ${pages} pages where ${maxMemoryPages} are allowed`,
      at,
    );
  }
}

function decodeHost(
  section: Uint8Array,
  at: string | undefined,
  fail: (reason: string) => Error,
): Plain {
  try {
    return decodePlain(section, at === undefined ? {} : { at }) as Plain;
  } catch (cause) {
    throw fail(cause instanceof Error ? cause.message : String(cause));
  }
}

function decodeMemory(
  header: CapsuleHeader,
  version: number,
  sections: readonly Section[],
  section: (name: SectionName) => Uint8Array,
  fail: (reason: string) => Error,
): Difference | null {
  if (header.memory !== null)
    return readMemory(section('memory'), header.memory.pages, version, fail);
  if (sections.some((each) => each.id === ID.memory)) throw fail('the shard has no memory');
  return null;
}

interface Parts {
  readonly header: CapsuleHeader;
  readonly stack: Stack;
  readonly globals: Uint8Array;
  readonly host: Plain;
}

function buildState(parts: Parts, memoryBytes: Uint8Array): ShardState {
  const { header, stack, globals, host } = parts;
  const { programHash, moduleHash, abi, calls, fuelUsed, pending, droppedSegments, growRefused } =
    header;
  const { droppedElements, tables } = header;
  return {
    programHash,
    moduleHash,
    abi,
    calls,
    args: stack.args,
    fuelUsed,
    frames: stack.frames,
    results: stack.results,
    pending,
    globals,
    memory: header.memory === null ? null : { ...header.memory, bytes: memoryBytes },
    droppedSegments,
    ...(droppedElements.length > 0 ? { droppedElements } : {}),
    ...(tables.length > 0 ? { tables } : {}),
    growRefused,
    host,
  };
}

function nameOf(base: MemoryBase): Hash | null {
  return 'capsule' in base ? base.capsule : null;
}

/** A base that is not the one that the capsule names gives another memory: refused. */
function checkBase(header: CapsuleHeader, base: MemoryBase): void {
  const given = nameOf(base);
  const wanted = header.base;
  if (given === wanted) return;
  if (wanted === null || given !== null) {
    const text = (name: Hash | null): string =>
      name === null ? "the module's image" : `capsule ${name.slice(0, 12)}`;
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      `capsule is based on ${text(wanted)}, not on ${text(given)}`,
      { next: 'resolve its chain of bases', exitCode: 2 },
    );
  }
  throw new SherdError(
    'SHERD_CAPSULE_INCOMPLETE',
    `capsule holds only what changed since capsule ${wanted.slice(0, 12)}, which is not at hand`,
    { next: 'use the cluster that it came from, or a full capsule', exitCode: 2 },
  );
}

function rebuild(
  header: CapsuleHeader,
  memory: Difference,
  base: MemoryBase,
  target: MemoryTarget | undefined,
  platform: Platform,
): Uint8Array {
  const pages = header.memory?.pages ?? 0;
  checkBase(header, base);
  if (base.pages > pages) {
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      `capsule has a memory of ${pages} pages, its base has ${base.pages}`,
      { next: 'resume it with the module that it was taken from', exitCode: 2 },
    );
  }
  const bytes = target?.bytes ?? new Uint8Array(pages * WASM_PAGE_BYTES);
  invariant(bytes.length === pages * WASM_PAGE_BYTES, 'the target has the size of the memory');
  restoreMemory(bytes, target?.holds ?? 'zeros', memory, base, platform);
  return bytes;
}
