/**
 * Hostile capsules: what a seed makes of a real one, with all hashes right again, so that every inner decoder is reached.
 *
 *   raw       flips, cuts, pieces moved, of the whole file: hashes wrong
 *   envelope  ids, flags, offsets, sizes, order of the section table; root hash right
 *   section   bytes of one section flipped, cut, repeated, lengths that lie; sections dropped, doubled, swapped
 *   tree      header and host state as data: numbers at bounds, other types, lists shortened, repeated, deep nests
 *   frames    functions, safepoints, slots, counts · globals: lengths, words
 *   memory    the table of runs: gaps, counts, kinds, order, cuts, long numbers; payload fitted or not
 *
 * Does: make mutants (pure, seeded). Does not: judge (judge.ts) or count (mutate.ts).
 *
 * H1  But for `raw`, a mutant's hashes are right: only what its sections say can be refused.
 */
import { CAPSULE } from '../../host/capsule/capsule.js';
import {
  ENTRY_BYTES,
  type EnvelopeKind,
  layOut,
  PROLOGUE_BYTES,
  readEnvelope,
  type SectionPlan,
  seal,
} from '../../host/capsule/envelope.js';
import { nodePlatform } from '../../host/node/platform.js';
import { decodePlain, encodePlain } from '../../host/types/pack.js';
import type { Random } from '../exact/random.js';

export interface Part {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly required?: boolean;
}

/** A correctly hashed file of any parts; `patch` changes prologue and table before the root hash is made. */
export function forge(
  kind: EnvelopeKind,
  parts: readonly Part[],
  patch?: (bytes: Uint8Array, tableBytes: number) => void,
): Uint8Array {
  const plans: SectionPlan[] = parts.map(({ id, bytes, required = true }) => ({
    id,
    required,
    bytes: bytes.length,
    hash: nodePlatform.sha256(bytes),
  }));
  const layout = layOut(kind, plans);
  parts.forEach(({ bytes }, i) => {
    layout.sections[i]?.set(bytes);
  });
  seal(layout, plans, nodePlatform);
  if (patch === undefined) return layout.bytes;
  const tableBytes = parts.length * ENTRY_BYTES;
  patch(layout.bytes, tableBytes);
  const hashed = Buffer.concat([
    layout.bytes.subarray(0, 32),
    layout.bytes.subarray(PROLOGUE_BYTES, PROLOGUE_BYTES + tableBytes),
  ]);
  layout.bytes.set(Buffer.from(nodePlatform.sha256(hashed), 'hex'), 32);
  return layout.bytes;
}

export function partsOf(kind: EnvelopeKind, bytes: Uint8Array): Part[] {
  return readEnvelope(kind, bytes, nodePlatform).map(({ id, required, bytes: content }) => ({
    id,
    required,
    bytes: content,
  }));
}

const joined = (...parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(Buffer.concat(parts as Uint8Array[]));

const NUMBERS = [
  ...[0, 1, -1, 2, 127, 128, 255, 256, 4095, 4096, 65_535, 65_536, 65_537, 2 ** 24, 2 ** 31 - 1],
  ...[2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40, 2 ** 53 - 1, 2 ** 53, -(2 ** 31), 0.5, -0.5, 1e300],
  ...[Number.NaN, Number.POSITIVE_INFINITY],
];
const BIGINTS = [
  0n,
  1n,
  -1n,
  2n ** 31n,
  2n ** 32n,
  2n ** 62n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];

export function numberNear(random: Random, truth: number): number {
  return random.chance(0.5) ? truth + random.between(-3, 3) : random.pick(NUMBERS);
}

/** Flips, cuts, repeats or lies about lengths somewhere in these bytes. */
export function damagedBytes(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length === 0) return Uint8Array.of(random.below(256));
  const at = random.below(bytes.length);
  const length = random.between(1, 24);
  switch (random.below(7)) {
    case 0:
    case 1: {
      const copy = bytes.slice();
      for (let n = random.between(1, 4); n > 0; n--)
        copy[random.below(copy.length)]! ^= 1 << random.below(8);
      return copy;
    }
    case 2: {
      const copy = bytes.slice();
      copy[at] = random.pick([
        0, 1, 0x7f, 0x80, 0x9f, 0xc1, 0xc4, 0xc6, 0xc9, 0xd4, 0xd9, 0xdb, 0xdd, 0xdf, 0xff,
      ]);
      return copy;
    }
    case 3:
      return bytes.slice(0, at);
    case 4:
      return joined(bytes.subarray(0, at), bytes.subarray(at + length));
    case 5:
      return joined(bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at));
    default: {
      const lie = random.pick([
        [0xdd, 0xff, 0xff, 0xff, 0xff],
        [0xdd, 0x00, 0xff, 0xff, 0xff],
        [0xdf, 0xff, 0xff, 0xff, 0xff],
        [0xc6, 0xff, 0xff, 0xff, 0xff],
        [0xdb, 0x7f, 0xff, 0xff, 0xff],
        [0xff, 0xff, 0xff, 0xff, 0x0f],
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        new Array<number>(random.between(1, 4000)).fill(0x91),
        new Array<number>(random.between(1, 4000)).fill(0x81),
        [0xd4, 0x72, 0x40],
        [0xc9, 0x00, 0x00, 0x00, 0x08, 0x74, 0, 0, 0, 0, 0, 0, 0, 0],
      ]);
      return joined(bytes.subarray(0, at), Uint8Array.from(lie), bytes.subarray(at + 1));
    }
  }
}

type Tree = unknown;

/** Another value in the place of one. */
function otherLeaf(value: Tree, random: Random): Tree {
  if (random.chance(0.15))
    return random.pick<Tree>([null, true, 0, 1n, '', 'x', new Uint8Array(32), [], {}, [[]]]);
  if (typeof value === 'number') return numberNear(random, value);
  if (typeof value === 'bigint')
    return random.chance(0.4) ? value + BigInt(random.between(-3, 3)) : random.pick(BIGINTS);
  if (typeof value === 'boolean') return !value;
  if (value instanceof Uint8Array) return damagedBytes(value, random);
  if (typeof value === 'string')
    return random.pick([
      '',
      '.',
      '..',
      '../../etc',
      'a/b',
      '/',
      '\0',
      'x'.repeat(300),
      `${value}x`,
      value.slice(1),
    ]);
  return random.pick<Tree>([0, 7, 1n, 'null', true, [], {}]);
}

function nested(random: Random): Tree {
  let tree: Tree = null;
  for (let n = random.pick([5, 400, 998, 1001]); n > 0; n--)
    tree = random.chance(0.5) ? [tree] : { a: tree };
  return tree;
}

/** One change somewhere in plain data. */
export function otherTree(value: Tree, random: Random): Tree {
  if (random.chance(0.01)) return nested(random);
  if (Array.isArray(value) && value.length > 0) {
    const list = [...(value as Tree[])];
    const at = random.below(list.length);
    switch (random.below(9)) {
      case 0:
        list.splice(at, 1);
        break;
      case 1:
        list.splice(at, 0, list[random.below(list.length)]);
        break;
      case 2: {
        const other = random.below(list.length);
        [list[at], list[other]] = [list[other], list[at]];
        break;
      }
      case 3:
        list.push(...list);
        break;
      default:
        list[at] = otherTree(list[at], random);
    }
    return list;
  }
  const isMap = typeof value === 'object' && value !== null && !(value instanceof Uint8Array);
  if (isMap && !Array.isArray(value) && Object.keys(value).length > 0) {
    const map = { ...(value as Record<string, Tree>) };
    const key = random.pick(Object.keys(map));
    if (random.chance(0.08)) delete map[key];
    else if (random.chance(0.05)) map[`${key}2`] = map[key];
    else map[key] = otherTree(map[key], random);
    return map;
  }
  return otherLeaf(value, random);
}

function otherPlain(bytes: Uint8Array, random: Random): Uint8Array {
  try {
    let tree = decodePlain(bytes);
    for (let n = random.between(1, 3); n > 0; n--) tree = otherTree(tree, random);
    return encodePlain(tree as object);
  } catch {
    return damagedBytes(bytes, random); // what cannot be packed, or was damaged before
  }
}

function leb(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(Math.floor(value / 128))];
}

/** The frames section as numbers and slots, one thing of it changed. */
function otherFrames(bytes: Uint8Array, random: Random): Uint8Array {
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++] ?? 0; // it may have been damaged before
      value += (byte & 127) * 2 ** shift;
      if (byte < 128 || shift > 28) return Math.min(value, bytes.length);
    }
  };
  const take = (length: number): Uint8Array => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  let args = take(number());
  let results = take(number());
  let frames = Array.from({ length: number() }, () => {
    return { func: number(), safepoint: number(), slots: take(number() * 8) };
  });
  let lie = frames.length;
  const pick = (): number => random.below(Math.max(1, frames.length));
  const change = (make: (frame: (typeof frames)[number]) => (typeof frames)[number]): void => {
    const place = pick();
    frames = frames.map((frame, i) => (i === place ? make(frame) : frame));
  };
  const cap = (value: number): number => Math.min(2 ** 32 - 1, Math.max(0, Math.floor(value) || 0));
  switch (random.below(11)) {
    case 0:
      args = random.chance(0.5) ? new Uint8Array(random.below(40)) : damagedBytes(args, random);
      break;
    case 1:
      results = damagedBytes(results, random);
      break;
    case 2:
      change((frame) => ({ ...frame, func: cap(numberNear(random, frame.func)) }));
      break;
    case 3:
      change((frame) => ({ ...frame, safepoint: cap(numberNear(random, frame.safepoint)) }));
      break;
    case 4:
      change((frame) => ({ ...frame, slots: new Uint8Array(8 * random.below(12)) }));
      break;
    case 5:
    case 6:
      change((frame) => ({
        ...frame,
        slots: sameLength(damagedBytes(frame.slots, random), frame.slots),
      }));
      break;
    case 7:
      frames.splice(pick(), 1);
      break;
    case 8:
      if (frames.length > 0)
        frames = [
          ...frames,
          ...Array.from({ length: random.between(1, 2000) }, () => frames[pick()]!),
        ];
      break;
    case 9:
      frames.sort(() => random.between(-1, 1));
      break;
    default:
      lie = cap(numberNear(random, lie));
  }
  if (lie === Math.max(0, lie) && random.chance(0.95)) lie = frames.length;
  const out = [...leb(args.length), ...args, ...leb(results.length), ...results, ...leb(lie)];
  for (const { func, safepoint, slots } of frames)
    out.push(...leb(func), ...leb(safepoint), ...leb(slots.length / 8), ...slots);
  return Uint8Array.from(out);
}

function sameLength(bytes: Uint8Array, like: Uint8Array): Uint8Array {
  const out = like.slice();
  out.set(bytes.subarray(0, like.length));
  return out;
}

/** The memory section with one thing of its table changed; the payload as it was, or fitted to the table. */
function otherMemory(bytes: Uint8Array, random: Random): Uint8Array {
  const head = memoryHead(bytes);
  if (head === undefined) return damagedBytes(bytes, random); // cut before
  const runs = runsOf(head.table);
  const table = otherTableOfRuns(runs, random);
  const payload = random.chance(0.7) ? fitted(head.payload, table.runs) : head.payload;
  const words = [table.runs.length, head.unitBytes, table.bytes.length];
  if (random.chance(0.1)) {
    const at = random.below(words.length);
    words[at] = numberNear(random, words[at]!);
  }
  const first = new Uint8Array(MEMORY_HEAD_BYTES);
  const view = new DataView(first.buffer);
  words.forEach((word, i) => {
    view.setUint32(4 * i, capped(word), true);
  });
  return joined(first, table.bytes, payload);
}

const MEMORY_HEAD_BYTES = 12;
const capped = (value: number): number =>
  Math.min(2 ** 32 - 1, Math.max(0, Math.floor(value) || 0));

interface Run {
  readonly gap: number;
  readonly count: number;
  /** 0 to 3; 2 and 3 are none. */
  readonly kind: number;
}

function memoryHead(bytes: Uint8Array) {
  if (bytes.length < MEMORY_HEAD_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = MEMORY_HEAD_BYTES + view.getUint32(8, true);
  return {
    unitBytes: view.getUint32(4, true),
    table: bytes.subarray(MEMORY_HEAD_BYTES, end),
    payload: bytes.subarray(end),
  };
}

/** What a table says; it may have been damaged before. */
function runsOf(table: Uint8Array): Run[] {
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = table[at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128 || scale >= 2 ** 28) return value;
    }
  };
  const runs: Run[] = [];
  while (at < table.length) {
    const gap = number();
    const word = number();
    runs.push({ gap, count: Math.floor(word / 4), kind: word % 4 });
  }
  return runs;
}

/** One run changed, lost, doubled, cut in two, joined with the next or exchanged with it; or a number written longer. */
function otherTableOfRuns(runs: Run[], random: Random): { runs: Run[]; bytes: Uint8Array } {
  const list = [...runs];
  const at = random.below(Math.max(1, list.length));
  const run = list[at] ?? { gap: random.below(2_000), count: random.between(1, 9), kind: 0 };
  const next = list[at + 1];
  let longer = -1;
  switch (random.below(10)) {
    case 0:
      list[at] = { ...run, gap: capped(numberNear(random, run.gap)) };
      break;
    case 1:
      list[at] = { ...run, count: capped(numberNear(random, run.count)) };
      break;
    case 2:
      list[at] = { ...run, kind: random.below(4) };
      break;
    case 3:
      list.splice(at, 1);
      break;
    case 4:
      list.splice(at, 0, { ...run, gap: random.below(4), count: random.between(1, 4) });
      break;
    case 5: {
      const left = random.below(run.count + 1);
      const gap = random.chance(0.7) ? 0 : 1;
      list.splice(at, 1, { ...run, count: left }, { ...run, gap, count: run.count - left });
      break;
    }
    case 6:
      if (next !== undefined)
        list.splice(at, 2, { ...run, count: run.count + next.gap + next.count });
      break;
    case 7:
      if (next !== undefined) list.splice(at, 2, next, run);
      break;
    case 8:
      // The same units in other words: a stretch moved from one run to the next.
      if (next !== undefined && run.count > 1)
        list.splice(at, 2, { ...run, count: run.count - 1 }, { ...next, count: next.count + 1 });
      break;
    default:
      longer = random.below(2 * list.length + 1);
  }
  const numbers = list.flatMap(({ gap, count, kind }) => [gap, count * 4 + kind]);
  const bytes = numbers.flatMap((value, i) => (i === longer ? longLeb(value) : leb(value)));
  return { runs: list, bytes: Uint8Array.from(bytes) };
}

/** A number with a byte that it does not need. */
function longLeb(value: number): number[] {
  const short = leb(value);
  return [...short.slice(0, -1), short[short.length - 1]! | 128, 0];
}

/** As many bytes as the data runs of a table want, if that is not absurd. */
function fitted(payload: Uint8Array, runs: readonly Run[]): Uint8Array {
  const units = runs.reduce((sum, { kind, count }) => sum + (kind === 0 ? count : 0), 0);
  if (units > 20_000) return payload;
  const out = new Uint8Array(64 * units);
  out.set(payload.subarray(0, out.length));
  return out;
}

function otherSection(part: Part, random: Random): Part {
  const { id } = part;
  const [header, frames, globals, host, memory] = [1, 2, 3, 4, 5];
  const plain = id === header || id === host;
  if (random.chance(plain ? 0.2 : 0.1)) return { ...part, bytes: damagedBytes(part.bytes, random) };
  if (plain) return { ...part, bytes: otherPlain(part.bytes, random) };
  if (id === frames) return { ...part, bytes: otherFrames(part.bytes, random) };
  if (id === memory) return { ...part, bytes: otherMemory(part.bytes, random) };
  if (id === globals) {
    const damaged = damagedBytes(part.bytes, random);
    return { ...part, bytes: random.chance(0.7) ? sameLength(damaged, part.bytes) : damaged };
  }
  return { ...part, bytes: damagedBytes(part.bytes, random) };
}

/** Sections dropped, doubled, swapped, unknown ones added. */
export function otherParts(parts: readonly Part[], random: Random): Part[] {
  const list = [...parts];
  const at = random.below(list.length);
  switch (random.below(4)) {
    case 0:
      list.splice(at, 1);
      break;
    case 1:
      list.splice(at, 0, list[random.below(list.length)]!);
      break;
    case 2: {
      const other = random.below(list.length);
      [list[at], list[other]] = [list[other]!, list[at]!];
      break;
    }
    default:
      list.push({
        id: random.pick([6, 15, 16, 99, 65_535]),
        bytes: new Uint8Array(random.below(40)),
        required: random.chance(0.3),
      });
  }
  return list;
}

/** One field of prologue or table changed; the root hash is right. */
export function otherTable(random: Random): (bytes: Uint8Array, tableBytes: number) => void {
  return (bytes, tableBytes) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const entry =
      PROLOGUE_BYTES + ENTRY_BYTES * random.below(Math.max(1, tableBytes / ENTRY_BYTES));
    const wide = random.pick([16, 24, entry + 8, entry + 16, entry + 24]);
    const narrow = random.pick([8, 12, entry, entry + 4]);
    if (random.chance(0.6) && wide + 8 <= bytes.length) {
      const truth = view.getBigUint64(wide, true);
      const value = random.chance(0.5)
        ? truth + BigInt(random.between(-3, 3))
        : random.pick(BIGINTS);
      view.setBigUint64(wide, BigInt.asUintN(64, value), true);
    } else if (narrow + 4 <= bytes.length) {
      view.setUint32(narrow, numberNear(random, view.getUint32(narrow, true)) >>> 0, true);
    }
    if (random.chance(0.1) && entry + ENTRY_BYTES <= bytes.length)
      bytes[entry + 32 + random.below(32)]! ^= 1;
  };
}

/** What a seed makes of a capsule. */
export function capsuleMutant(good: Uint8Array, random: Random): Uint8Array {
  if (random.chance(0.05)) return damagedBytes(good, random);
  const parts = partsOf(CAPSULE, good);
  if (random.chance(0.06)) return forge(CAPSULE, parts, otherTable(random));
  if (random.chance(0.06)) return forge(CAPSULE, otherParts(parts, random));
  let changed = parts;
  for (let n = random.pick([1, 1, 1, 2, 3]); n > 0; n--) {
    const place = random.below(changed.length);
    changed = changed.map((part, i) => (i === place ? otherSection(part, random) : part));
  }
  return forge(CAPSULE, changed);
}

/**
 * What a seed makes of a chain (oldest first): its newest link changed, or one below it and the names in all above it, so
 * that the hash of every link is the one that it is called by.
 */
export function chainMutant(links: readonly Uint8Array[], random: Random): Uint8Array[] {
  const list = [...links];
  const at = random.chance(0.7) ? list.length - 1 : random.below(list.length);
  list[at] = capsuleMutant(list[at]!, random);
  const names: Uint8Array[] = [];
  for (const [i, link] of list.entries()) {
    if (i > at) list[i] = renamed(link, names);
    names.unshift(Uint8Array.from(Buffer.from(nodePlatform.sha256(list[i]!), 'hex')));
  }
  return list;
}

/** The link on bases with these names, newest first. */
function renamed(link: Uint8Array, names: readonly Uint8Array[]): Uint8Array {
  const [base, ...below] = names as [Uint8Array, ...Uint8Array[]];
  const parts = partsOf(CAPSULE, link).map((part) => {
    if (part.id !== 1) return part;
    const header = { ...(decodePlain(part.bytes) as object), base };
    const bytes = encodePlain(below.length === 0 ? header : { ...header, below });
    return { ...part, bytes };
  });
  return forge(CAPSULE, parts);
}
