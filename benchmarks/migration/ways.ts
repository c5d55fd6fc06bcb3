/**
 * The ways to turn a stopped shard into bytes and back: the capsule and its peers.
 *
 *   capsule          encodeCapsule: pages that differ from the initial image, hashed by section and as a whole
 *   full dump        the whole memory copied behind a msgpack head, one SHA-256 (the usual answer without a base)
 *   full dump+gzip   the same, then zlib level 6
 *   v8.serialize     the state as V8's structured clone writes it, memory included; no hash
 *   structured clone the state through a message port, as to a worker: encoding posts and receives it, decoding is the copy
 *                    into an instance's memory
 *   memcpy           one copy of the whole memory into memory that was touched before: the physical limit of anything
 *                    that keeps all of it. Into a fresh target: the same, with the page faults that all others pay too
 *
 * Where a way lets its caller choose the memory (capsule, full dump, memcpy), memory that was used before is given, as the
 * node process does: fresh memory costs a page fault every 4 KiB, which is more than the work itself and its noise.
 *
 * W1  Every way but memcpy restores the memory exactly; `verify` checks it before anything is timed.
 */
import { deserialize, serialize } from 'node:v8';
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads';
import { gunzipSync, gzipSync } from 'node:zlib';
import { decodeCapsule, encodeCapsule } from '../../host/capsule/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { encodePlain } from '../../host/types/pack.js';
import type { BaseImage, ShardState } from '../../host/types/state.js';

const FACTS = { shardId: 's-bench', epoch: 1, specHash: 'c'.repeat(64), references: [] };
const HEAD_BYTES = 4;
const PAGE_BYTES = 4096;
const WASM_PAGE_BYTES = 65_536;

export interface Way {
  readonly name: string;
  encode(state: ShardState, base: BaseImage): Uint8Array;
  /** The memory that the bytes stand for. */
  decode(bytes: Uint8Array, base: BaseImage): Uint8Array;
}

function memoryOf(state: ShardState): Uint8Array {
  return state.memory?.bytes ?? new Uint8Array(0);
}

const used = new Map<string, Uint8Array>();

/** Memory for this purpose: the same again while the size is the same; zero at first. */
function usedBefore(purpose: string, bytes: number): Uint8Array {
  let known = used.get(purpose);
  if (known?.length !== bytes) {
    known = new Uint8Array(bytes);
    used.set(purpose, known);
  }
  return known;
}

/** Decodes into an instance's memory, which holds the base (or already the state). */
function capsuleWay(name: string): Way {
  const targets = new WeakMap<BaseImage, Uint8Array>();
  return {
    name,
    encode: (state, base) =>
      encodeCapsule({ ...FACTS, state, base }, nodePlatform, (bytes) =>
        usedBefore(`${name} encode`, bytes),
      ).bytes,
    decode: (bytes, base) => {
      const decoded = decodeCapsule(bytes, nodePlatform);
      const pages = decoded.header.memory?.pages ?? 0;
      let target = targets.get(base);
      if (target === undefined) {
        target = new Uint8Array(pages * WASM_PAGE_BYTES);
        for (const [page, content] of base.nonZero) target.set(content, page * PAGE_BYTES);
        targets.set(base, target);
      }
      decoded.fill(base, target);
      return target;
    },
  };
}

function dump(state: ShardState): Uint8Array {
  const { memory, ...rest } = state;
  const head = encodePlain({ ...rest, pages: memory?.pages ?? 0 });
  const bytes = usedBefore('dump', HEAD_BYTES + head.length + memoryOf(state).length);
  new DataView(bytes.buffer).setUint32(0, head.length, true);
  bytes.set(head, HEAD_BYTES);
  bytes.set(memoryOf(state), HEAD_BYTES + head.length);
  nodePlatform.sha256(bytes);
  return bytes;
}

function undump(bytes: Uint8Array): Uint8Array {
  nodePlatform.sha256(bytes);
  const headBytes = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const memory = bytes.subarray(HEAD_BYTES + headBytes);
  const target = usedBefore('undump', memory.length);
  target.set(memory);
  return target;
}

const fullDump: Way = { name: 'full dump', encode: dump, decode: undump };

const fullDumpGzip: Way = {
  name: 'full dump+gzip',
  encode: (state) => gzipSync(dump(state)),
  decode: (bytes) => undump(gunzipSync(bytes)),
};

const v8Serialize: Way = {
  name: 'v8.serialize',
  encode: (state) => serialize(state),
  // What it gives is a view of its input; the memory of an instance is a copy.
  decode: (bytes) => memoryOf(deserialize(bytes) as ShardState).slice(),
};

const { port1, port2 } = new MessageChannel();
port2.unref();

const structuredClone: Way = {
  name: 'structured clone',
  encode: (state) => {
    port1.postMessage(state);
    const received = receiveMessageOnPort(port2) as { message: ShardState };
    return memoryOf(received.message);
  },
  decode: (bytes) => {
    const target = usedBefore('unclone', bytes.length);
    target.set(bytes);
    return target;
  },
};

const memcpyFresh: Way = {
  name: 'memcpy, fresh target',
  encode: (state) => memoryOf(state).slice(),
  decode: (bytes) => bytes.slice(),
};

/** Copies into memory that has been touched before. */
function copyWarm(bytes: Uint8Array): Uint8Array {
  const pool = usedBefore('memcpy', bytes.length);
  pool.set(bytes);
  return pool;
}

const memcpy: Way = {
  name: 'memcpy',
  encode: (state) => copyWarm(memoryOf(state)),
  // A copy of its own to copy from: encoding and decoding share the pool.
  decode: (bytes) => copyWarm(bytes === used.get('memcpy') ? bytes.slice() : bytes),
};

/** `capsule A/A` is the same code again: what differs between the two is noise. */
export const WAYS: readonly Way[] = [
  capsuleWay('capsule'),
  capsuleWay('capsule A/A'),
  fullDump,
  fullDumpGzip,
  v8Serialize,
  structuredClone,
  memcpyFresh,
  memcpy,
];

/** Throws when a way loses a bit. */
export function verify(way: Way, state: ShardState, base: BaseImage): Uint8Array {
  const bytes = way.encode(state, base);
  if (Buffer.compare(way.decode(bytes, base), memoryOf(state)) !== 0) {
    throw new Error(`${way.name} does not restore the memory`);
  }
  return bytes;
}
