/**
 * The capsule's header: who this is and all of its state that is small. Canonical msgpack of one map.
 *
 * Does: turn a header into bytes and back, checking every field. Does not: hold frames, globals, host state or memory.
 *
 *     shardId epoch specHash            whose state, written by which holder
 *     programHash moduleHash abi        what can carry it on
 *     base                              null: the module's initial image. Else the hash of an earlier capsule of the shard, whose
 *                                       memory this one's is compared with (format version 2; needs a memory)
 *     below                             only when not empty: the names of the capsules that the base is based on itself, newest
 *                                       first: what the chain consists of is known from its newest link alone
 *     references                        hashes of the blobs that the host state names
 *     fuelUsed calls growRefused droppedSegments pending
 *     droppedElements tables            only when not empty: element segments; [index, size, slot, function + 1, …] a table
 *     memory                            null or {pages, limitPages}
 *     deadBytes                         only when not 0: so many bytes of the memory were dead, and are zeros here
 *     anything else                     kept as it is (`unknown`) and written again
 *
 * H1  Keys are sorted (encodePlain), so the order is fixed for all versions.
 * H2  Hashes are 32 raw bytes.
 * H3  An argument of a pending call that is not a 32-bit integer or a bigint is stored as its 8 float64 bytes: -0 and
 *     NaN payloads survive.
 */
import { invariant } from '../types/errors.js';
import { decodePlain, encodePlain } from '../types/pack.js';
import type { Hash } from '../types/platform.js';
import type {
  Call,
  CapsuleImage,
  PendingCall,
  Plain,
  ShardState,
  TableState,
  Wait,
} from '../types/state.js';
import { bytesToHex, hexToBytes, isHash } from './bytes.js';
import { MAX_WASM_PAGES, WASM_PAGE_BYTES } from './memory.js';

const HASH_BYTES = 32;
/** Longest chain of capsules, the full one included. */
export const CHAIN_LINKS_MAX = 256;

type BaseName = Pick<CapsuleImage, 'capsule' | 'below'>;

export interface CapsuleHeader {
  readonly shardId: string;
  readonly epoch: number;
  readonly specHash: Hash;
  readonly programHash: Hash;
  readonly moduleHash: Hash;
  readonly abi: number;
  /** Base of the memory section: the name of an earlier capsule; null is the module's initial image. */
  readonly base: Hash | null;
  /** Names of the capsules that the base is based on itself, newest first. */
  readonly below: readonly Hash[];
  /** Blobs that the host state names, sorted. */
  readonly references: readonly Hash[];
  readonly fuelUsed: bigint;
  readonly calls: readonly Call[];
  readonly growRefused: boolean;
  readonly droppedSegments: readonly number[];
  readonly droppedElements: readonly number[];
  readonly tables: readonly TableState[];
  readonly pending: PendingCall | null;
  readonly memory: { readonly pages: number; readonly limitPages: number } | null;
  /** Bytes of the memory that were dead (dead.ts): whatever they were, they are zeros here. */
  readonly deadBytes: number;
  /** Fields of later versions, kept on encoding. */
  readonly unknown: Readonly<Record<string, Plain>>;
}

/** The part of a header that does not come from the state. */
export interface HeaderFacts {
  readonly shardId: string;
  readonly epoch: number;
  readonly specHash: Hash;
  readonly references: readonly Hash[];
  /** Of a capsule that this one is made from. */
  readonly deadBytes?: number;
  readonly unknown?: Readonly<Record<string, Plain>>;
}

/** Every blob that the capsule needs besides module and spec: its chain of bases, and what its host state names. */
export function neededBlobs({ base, below, references }: CapsuleHeader): Hash[] {
  return [...new Set([...(base === null ? [] : [base]), ...below, ...references])].sort();
}

type Fail = (reason: string) => Error;

export function encodeHeader(
  state: ShardState,
  facts: HeaderFacts,
  base: BaseName | null,
): Uint8Array {
  for (const hash of [facts.specHash, state.programHash, state.moduleHash, ...facts.references]) {
    invariant(isHash(hash), `${JSON.stringify(hash)} is a hash`);
  }
  checkBase(state, base);
  invariant(ascending(facts.references), 'references are sorted and unique');
  invariant(ascending(state.droppedSegments), 'dropped segments are sorted and unique');
  const known = {
    shardId: facts.shardId,
    epoch: facts.epoch,
    specHash: hexToBytes(facts.specHash),
    programHash: hexToBytes(state.programHash),
    moduleHash: hexToBytes(state.moduleHash),
    abi: state.abi,
    base: base === null ? null : hexToBytes(base.capsule),
    references: facts.references.map(hexToBytes),
    fuelUsed: state.fuelUsed,
    calls: state.calls,
    growRefused: state.growRefused,
    droppedSegments: state.droppedSegments,
    pending: state.pending === null ? null : packPending(state.pending),
    memory:
      state.memory === null
        ? null
        : { pages: state.memory.pages, limitPages: state.memory.limitPages },
  };
  const { droppedElements = [], tables = [] } = state;
  invariant(ascending(droppedElements), 'dropped elements are sorted and unique');
  invariant(ascending(tables.map((t) => t.index)), 'tables are sorted and unique');
  const references = {
    ...(droppedElements.length > 0 ? { droppedElements } : {}),
    ...(tables.length > 0
      ? { tables: tables.map(({ index, size, changes }) => [index, size, ...changes]) }
      : {}),
  };
  const below = base?.below.map(hexToBytes) ?? [];
  const chain = below.length > 0 ? { below } : {};
  const { deadBytes = 0 } = facts;
  const dead = deadBytes > 0 ? { deadBytes } : {};
  return encodePlain({ ...facts.unknown, ...known, ...references, ...chain, ...dead });
}

function checkBase({ memory }: ShardState, base: BaseName | null): void {
  if (base === null) return;
  invariant(memory !== null, 'a base has a memory');
  const names = [base.capsule, ...base.below];
  invariant(names.every(isHash) && isChain(names), 'a chain is bounded and names each link once');
}

function isChain(names: readonly Hash[]): boolean {
  return names.length < CHAIN_LINKS_MAX && new Set(names).size === names.length;
}

export function decodeHeader(bytes: Uint8Array, version: number, fail: Fail): CapsuleHeader {
  let value: unknown;
  try {
    value = decodePlain(bytes);
  } catch (cause) {
    throw fail(cause instanceof Error ? cause.message : String(cause));
  }
  const fields = new Fields(value, fail);
  const header = {
    shardId: fields.text('shardId'),
    epoch: fields.count('epoch'),
    specHash: fields.hash('specHash'),
    programHash: fields.hash('programHash'),
    moduleHash: fields.hash('moduleHash'),
    abi: fields.count('abi'),
    base: version === 1 ? fields.nothing('base') : fields.hashOrNull('base'),
    below: version === 1 ? [] : fields.some('below', isHashBytes).map(bytesToHex),
    references: fields.list('references', isHashBytes).map(bytesToHex),
    fuelUsed: fields.bigint('fuelUsed'),
    calls: fields.list('calls', isCall),
    growRefused: fields.flag('growRefused'),
    droppedSegments: fields.list('droppedSegments', isCount),
    droppedElements: fields.some('droppedElements', isCount),
    tables: fields.some('tables', isTable).map(unpackTable),
    pending: unpackPending(fields.take('pending'), fail),
    memory: unpackMemory(fields.take('memory'), fail),
    deadBytes: fields.countOrNone('deadBytes'),
  };
  if (header.base !== null && header.memory === null) throw fail('a base without a memory');
  if (header.base === null && header.below.length > 0) throw fail('a chain without a base');
  if (header.base !== null && !isChain([header.base, ...header.below]))
    throw fail('the chain of bases is too long, or names a link twice');
  if (header.deadBytes > (header.memory?.pages ?? 0) * WASM_PAGE_BYTES)
    throw fail('more dead bytes than memory');
  if (!ascending(header.references)) throw fail('references are not sorted');
  if (!ascending(header.droppedElements)) throw fail('dropped elements are not sorted');
  if (!ascending(header.tables.map((t) => t.index))) throw fail('tables are not sorted');
  if (!ascending(header.droppedSegments)) throw fail('dropped segments are not sorted');
  return { ...header, unknown: fields.rest() };
}

function isCall(value: unknown): value is Call {
  return value === null || typeof value === 'string';
}

function ascending(list: readonly (string | number)[]): boolean {
  return list.every((each, i) => i === 0 || (list[i - 1] as string | number) < each);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isTable(value: unknown): value is number[] {
  return (
    Array.isArray(value) && value.length >= 2 && value.length % 2 === 0 && value.every(isCount)
  );
}

function unpackTable([index, size, ...changes]: readonly number[]): TableState {
  return { index: index as number, size: size as number, changes };
}

function isHashBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === HASH_BYTES;
}

/** Reads a map field by field, remembering which were asked for. */
class Fields {
  readonly #map: Record<string, unknown>;
  readonly #fail: Fail;

  constructor(value: unknown, fail: Fail) {
    const isMap =
      typeof value === 'object' &&
      value !== null &&
      !Array.isArray(value) &&
      !(value instanceof Uint8Array);
    if (!isMap) throw fail('not a map');
    this.#map = { ...(value as Record<string, unknown>) };
    this.#fail = fail;
  }

  /** A list that is there only when it is not empty. */
  some<T>(key: string, each: (value: unknown) => value is T): readonly T[] {
    if (!Object.hasOwn(this.#map, key)) return [];
    const list = this.list(key, each);
    if (list.length === 0) throw this.#fail(`field ${key} is empty`);
    return list;
  }

  /** A number that is there only when it is not 0. */
  countOrNone(key: string): number {
    if (!Object.hasOwn(this.#map, key)) return 0;
    const value = this.count(key);
    if (value === 0) throw this.#fail(`field ${key} is 0`);
    return value;
  }

  take(key: string): unknown {
    if (!Object.hasOwn(this.#map, key)) throw this.#fail(`no field ${key}`);
    const value = this.#map[key];
    delete this.#map[key];
    return value;
  }

  #as<T>(key: string, check: (value: unknown) => value is T): T {
    const value = this.take(key);
    if (!check(value)) throw this.#fail(`malformed field ${key}`);
    return value;
  }

  text = (key: string): string => this.#as(key, (v): v is string => typeof v === 'string');
  flag = (key: string): boolean => this.#as(key, (v): v is boolean => typeof v === 'boolean');
  hash = (key: string): Hash => bytesToHex(this.#as(key, isHashBytes));
  hashOrNull = (key: string): Hash | null => {
    const bytes = this.#as(key, (v): v is Uint8Array | null => v === null || isHashBytes(v));
    return bytes === null ? null : bytesToHex(bytes);
  };
  count = (key: string): number => this.#as(key, isCount);
  bigint = (key: string): bigint =>
    this.#as(key, (v): v is bigint => typeof v === 'bigint' && v >= 0n);
  nothing = (key: string): null => this.#as(key, (v): v is null => v === null);
  list = <T>(key: string, each: (value: unknown) => value is T): readonly T[] =>
    this.#as(key, (v): v is T[] => Array.isArray(v) && v.every(each));

  /** Refuses what nobody asked for: only the header itself keeps fields of later versions. */
  end(what: string): void {
    const [key] = Object.keys(this.#map);
    if (key !== undefined) throw this.#fail(`unknown field ${key} in ${what}`);
  }

  rest(): Record<string, Plain> {
    return this.#map as Record<string, Plain>;
  }
}

function unpackMemory(value: unknown, fail: Fail): CapsuleHeader['memory'] {
  if (value === null) return null;
  const fields = new Fields(value, fail);
  const memory = { pages: fields.count('pages'), limitPages: fields.count('limitPages') };
  fields.end('memory');
  if (memory.pages > MAX_WASM_PAGES) throw fail(`memory of ${memory.pages} pages`);
  return memory;
}

function packPending(pending: PendingCall): Plain {
  return { name: pending.name, args: pending.args.map(packArg), wait: packWait(pending.wait) };
}

function packWait(wait: Wait): Plain {
  return wait.kind === 'blob' ? { kind: wait.kind, hash: hexToBytes(wait.hash) } : { ...wait };
}

function packArg(arg: number | bigint): Plain {
  if (typeof arg === 'bigint' || Object.is(arg, arg | 0)) return arg;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, arg, true);
  return bytes;
}

function unpackPending(value: unknown, fail: Fail): PendingCall | null {
  if (value === null) return null;
  const fields = new Fields(value, fail);
  const args = fields.list('args', isArg).map((arg) => {
    if (!(arg instanceof Uint8Array)) return arg;
    return new DataView(arg.buffer, arg.byteOffset, 8).getFloat64(0, true);
  });
  const pending = {
    name: fields.text('name'),
    args,
    wait: unpackWait(fields.take('wait'), fail),
  };
  fields.end('pending');
  return pending;
}

function isArg(value: unknown): value is number | bigint | Uint8Array {
  if (value instanceof Uint8Array) return value.length === 8;
  return typeof value === 'bigint' || (typeof value === 'number' && Object.is(value, value | 0));
}

function unpackWait(value: unknown, fail: Fail): Wait {
  const fields = new Fields(value, fail);
  const wait = waitOf(fields, fail);
  fields.end('wait');
  return wait;
}

function waitOf(fields: Fields, fail: Fail): Wait {
  const kind = fields.text('kind');
  switch (kind) {
    case 'until':
      return { kind, monotonicNs: fields.bigint('monotonicNs') };
    case 'blob':
      return { kind, hash: fields.hash('hash') };
    case 'yield':
      return { kind };
    default:
      throw fail(`unknown wait ${kind}`);
  }
}
