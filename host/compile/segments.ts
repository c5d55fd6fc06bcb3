/**
 * Active segments that do not fit: the program traps while it is instantiated, before its first instruction.
 *
 *   (memory 1)  (data (i32.const 65534) "abcdef")       65534 + 6 > 65536: such a program can never run anywhere
 *   (table 2 funcref)  (elem (i32.const 1) $f $g)       1 + 2 > 2
 *
 * Does: evaluate offsets, say which segment does not fit, where data begins. Does not: check passive and declared segments.
 *
 * G1  Only what is certain is said: an offset that is not known here (a global's) is the engine's business.
 */
import { EXIT, SherdError } from '../types/errors.js';
import { ByteReader } from './bytes.js';
import { scanSections, type WasmModule } from './module.js';

const PAGE_BYTES = 65_536;
const DATA_SECTION = 11;

/** The value of a constant i32 expression, or undefined where a global takes part. Steps over its `end`. */
function offset(r: ByteReader): number | undefined {
  const stack: (number | undefined)[] = [];
  const binary = (apply: (a: number, b: number) => number): void => {
    const [b, a] = [stack.pop(), stack.pop()];
    stack.push(a === undefined || b === undefined ? undefined : apply(a, b));
  };
  for (;;) {
    switch (r.u8()) {
      case 0x0b: {
        const value = stack.pop();
        return value === undefined ? undefined : value >>> 0;
      }
      case 0x41:
        stack.push(r.s32());
        break;
      case 0x6a:
        binary((a, b) => (a + b) | 0);
        break;
      case 0x6b:
        binary((a, b) => (a - b) | 0);
        break;
      case 0x6c:
        binary(Math.imul);
        break;
      default: // global.get
        r.u32();
        stack.push(undefined);
    }
  }
}

function section(module: WasmModule, id: number): ByteReader | undefined {
  const found = module.sections.find((each) => each.id === id);
  return found === undefined ? undefined : new ByteReader(module.bytes, found.bodyStart, found.end);
}

/** Slots of every table at first. */
function tableSizes(module: WasmModule): number[] {
  const r = section(module, 4);
  const sizes: number[] = [];
  if (r === undefined) return sizes;
  for (let n = r.count('table'); n > 0; n--) {
    r.skip(1);
    const flags = r.u8();
    sizes.push(r.u32());
    if (flags & 1) r.u32();
  }
  return sizes;
}

/** Steps over the expression of one element. */
function skipReference(r: ByteReader): void {
  for (let op = r.u8(); op !== 0x0b; op = r.u8()) {
    if (op === 0xd0) r.s33();
    else r.u32();
  }
}

type Tell = (what: string, at: number, length: number, size: number) => void;

/** Flags: 1 not active, 2 with a table (and a kind), 4 expressions. */
function elements(module: WasmModule, tell: Tell): void {
  const r = section(module, 9);
  if (r === undefined) return;
  const sizes = tableSizes(module);
  const count = r.count('element');
  for (let index = 0; index < count; index++) {
    const flags = r.u32();
    const active = (flags & 1) === 0;
    const table = active && flags & 2 ? r.u32() : 0;
    const at = active ? offset(r) : undefined;
    if ((flags & 3) !== 0) r.skip(1);
    const length = r.count('element');
    for (let i = 0; i < length; i++) {
      if (flags & 4) skipReference(r);
      else r.u32();
    }
    if (at !== undefined) tell(`element segment ${index}`, at, length, sizes[table]!);
  }
}

function data(module: WasmModule, tell: Tell): void {
  const r = section(module, DATA_SECTION);
  if (r === undefined || module.memory === undefined) return;
  const size = module.memory.minPages * PAGE_BYTES;
  const count = r.count('data');
  for (let index = 0; index < count; index++) {
    const flags = r.u32();
    if (flags === 2) r.u32();
    const at = flags === 1 ? undefined : offset(r);
    const length = r.u32();
    r.skip(length);
    if (at !== undefined) tell(`data segment ${index}`, at, length, size);
  }
}

/** Throws SHERD_TRAP when a valid module traps while it is instantiated (G1). */
export function checkSegments(module: WasmModule): void {
  const tell: Tell = (what, at, length, size) => {
    if (at + length <= size) return;
    throw new SherdError(
      'SHERD_TRAP',
      `the program traps while it is instantiated: ${what} is out of bounds (${at} + ${length} > ${size})`,
      { next: 'no engine can start this module: rebuild it', exitCode: EXIT.trap },
    );
  };
  elements(module, tell);
  data(module, tell);
}

/** Where the data segments of a module begin, in order; undefined for one that is passive or whose place a global says. */
export function dataStarts(bytes: Uint8Array): (number | undefined)[] {
  const found = scanSections(bytes).find(({ id }) => id === DATA_SECTION);
  if (found === undefined) return [];
  const r = new ByteReader(bytes, found.bodyStart, found.end);
  return Array.from({ length: r.count('data') }, () => {
    const flags = r.u32();
    if (flags === 2) r.u32();
    const at = flags === 1 ? undefined : offset(r);
    r.skip(r.u32());
    return at;
  });
}
