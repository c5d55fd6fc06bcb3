/**
 * The ways to find what differs from a base, and their limits.
 *
 *   sherd            host/core/scan.ts: blocks of 64 KiB compared where they lie (memcmp), those that differ copied into
 *                    core.wasm, page by page or whole
 *   copy all         every block of the memory and of the base goes through core.wasm (what a browser does)
 *   base kept        the base stays in core.wasm's memory, the memory goes through it in blocks
 *   compare 4 KiB    Buffer.compare a page; those that differ go through core.wasm, one by one
 *   page hashes      no base is kept: SHA-256 of each page, compared with those of before. Finds pages, not units
 *   JavaScript       a loop over 32-bit words, units counted, nothing packed
 *
 *   memcpy           one copy of the memory into memory that was touched before: the limit that the bar names
 *   Buffer.compare   4 KiB a call, pages counted: the peer that the bar names
 *
 * A core on the guest's own memory is not among them: it cannot see the base (core.wasm has one memory), and would have
 * to write its results into the guest's.
 *
 * S1  Every way that finds units must find all of them: `changedUnits` is compared in every call.
 */
import { createHash } from 'node:crypto';
import { type Core, coreOf } from '../../host/core/core.js';
import { scan } from '../../host/core/scan.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { Sample } from './shapes.js';
import { UNIT_BYTES } from './shapes.js';

const BLOCK_BYTES = 65_536;
const PAGE_BYTES = 4096;
const WASM_PAGE_BYTES = 65_536;

export interface Way {
  readonly name: string;
  /** Finds units: the number must be the sample's. */
  readonly exact: boolean;
  run(sample: Sample): number;
}

/** What is made once a sample, before anything is timed. */
const made = new Map<string, { readonly sample: Sample; readonly value: unknown }>();

function once<T>(name: string, sample: Sample, make: () => T): T {
  const known = made.get(name);
  if (known?.sample === sample) return known.value as T;
  const value = make();
  made.set(name, { sample, value });
  return value;
}

const sherd = (name: string): Way => ({
  name,
  exact: true,
  run: ({ memory, base }) => scan({ memory, base }, nodePlatform).dataUnits,
});

const copyingPlatform = { ...nodePlatform, comparesFast: false };

const copyAll: Way = {
  name: 'copy all',
  exact: true,
  run: ({ memory, base }) => scan({ memory, base }, copyingPlatform).dataUnits,
};

interface RawExports {
  readonly memory: WebAssembly.Memory;
  begin(table: number, payload: number, limit: number): void;
  moveTable(table: number): void;
  scan(now: number, base: number, first: number, units: number): void;
  end(): void;
  dataUnits(): number;
}

const TABLE_AT = BLOCK_BYTES;
const PAYLOAD_AT = 2 * BLOCK_BYTES;
const PAYLOAD_BYTES = 4 * 2 ** 20;
const KEPT_AT = PAYLOAD_AT + PAYLOAD_BYTES;

const baseKept: Way = {
  name: 'base kept',
  exact: true,
  run(sample) {
    const { memory, base } = sample;
    const { core, bytes } = once('base kept', sample, () => {
      const instance = new WebAssembly.Instance(nodePlatform.coreModule(), {});
      const core = instance.exports as unknown as RawExports;
      core.memory.grow((KEPT_AT + memory.length) / WASM_PAGE_BYTES);
      const bytes = new Uint8Array(core.memory.buffer);
      bytes.set(base.bytes, KEPT_AT);
      return { core, bytes };
    });
    core.begin(TABLE_AT, PAYLOAD_AT, PAYLOAD_AT + PAYLOAD_BYTES);
    for (let at = 0; at < memory.length; at += BLOCK_BYTES) {
      bytes.set(memory.subarray(at, at + BLOCK_BYTES), 0);
      core.scan(0, KEPT_AT + at, at / UNIT_BYTES, BLOCK_BYTES / UNIT_BYTES);
      core.moveTable(TABLE_AT);
    }
    core.end();
    return core.dataUnits();
  },
};

const compareThenCore: Way = {
  name: 'compare 4 KiB',
  exact: true,
  run({ memory, base }) {
    const core: Core = coreOf(nodePlatform);
    core.beginScan();
    for (let at = 0; at < memory.length; at += PAGE_BYTES) {
      if (nodePlatform.equal(memory, at, base.bytes, at, PAGE_BYTES)) continue;
      core.putNow(memory, at, PAGE_BYTES);
      core.putBase(base.bytes, at, PAGE_BYTES, 0);
      core.scan(at / UNIT_BYTES, PAGE_BYTES / UNIT_BYTES, true);
    }
    return core.endScan().dataUnits;
  },
};

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64');

const pageHashes: Way = {
  name: 'page hashes',
  exact: false,
  run(sample) {
    const { memory, base } = sample;
    const before = once('page hashes', sample, () =>
      Array.from({ length: memory.length / PAGE_BYTES }, (_, page) =>
        digest(base.bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)),
      ),
    );
    let changed = 0;
    for (let page = 0; page < before.length; page++) {
      const at = page * PAGE_BYTES;
      if (digest(memory.subarray(at, at + PAGE_BYTES)) !== before[page]) changed++;
    }
    return changed;
  },
};

const javaScript: Way = {
  name: 'JavaScript',
  exact: true,
  run({ memory, base }) {
    const now = new Int32Array(memory.buffer);
    const before = new Int32Array(base.bytes.buffer);
    let changed = 0;
    for (let unit = 0; unit < now.length; unit += UNIT_BYTES / 4) {
      let different = 0;
      for (let i = unit; i < unit + UNIT_BYTES / 4; i++) different |= now[i]! ^ before[i]!;
      if (different !== 0) changed++;
    }
    return changed;
  },
};

const memcpy: Way = {
  name: 'memcpy',
  exact: false,
  run(sample) {
    const { memory } = sample;
    const target = once('memcpy', sample, () => new Uint8Array(memory.length).fill(1));
    target.set(memory);
    return 1;
  },
};

const bufferCompare: Way = {
  name: 'Buffer.compare 4 KiB',
  exact: false,
  run({ memory, base }) {
    let changed = 0;
    for (let at = 0; at < memory.length; at += PAGE_BYTES)
      if (!nodePlatform.equal(memory, at, base.bytes, at, PAGE_BYTES)) changed++;
    return changed;
  },
};

export const LIMIT = 'memcpy';
export const PEER = 'Buffer.compare 4 KiB';
export const OURS = 'sherd';

/** `sherd A/A` is the same code again: what differs between the two is noise. */
export const WAYS: readonly Way[] = [
  sherd(OURS),
  sherd('sherd A/A'),
  copyAll,
  baseKept,
  compareThenCore,
  pageHashes,
  javaScript,
  bufferCompare,
  memcpy,
];
