/**
 * Capsules without dead memory: programs end as if it were there.
 *
 * For programs of AssemblyScript with every runtime, of C, Rust and Zig: at PAUSES random positions of one run, the memory goes on
 * with other bytes (0xa5) where it was dead; output, exit code, fuel, globals and files are those of the run in one piece. Memory is not
 * compared at the end (what was freed differs, by definition); at each pause it is, with the full one.
 *
 * T1  Something was dead wherever it can be found: a test of nothing would pass, too.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  type AssemblyScriptOptions,
  compileAssemblyScript,
} from '../../host/compile/assemblyscript.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { LoadedModule } from '../../host/runtime/index.js';
import { readSource } from '../programs/compiled.js';
import { Journey, type Outcome, type Subject, straight } from './drive.js';
import { CASES, loadCase, programSpec, sampleText } from './programs.js';
import { Random } from './random.js';

const PAUSES = 200;
const ENOUGH_MS = 180_000;

function without(outcome: Outcome): Partial<Outcome> {
  const { memory: _, ...rest } = outcome;
  return rest;
}

/** Gives how many bytes were left out at each pause. */
function exactWithoutDead(subject: Subject, seed: number): number[] {
  const expected = straight(subject);
  if (expected.fuel === null) throw new Error(`the program traps: ${expected.trap}`);
  const random = new Random(seed);
  const positions = Array.from({ length: PAUSES }, () =>
    BigInt(1 + random.below(Number(expected.fuel))),
  ).sort((a, b) => (a < b ? -1 : 1));
  const journey = Journey.begin(subject);
  const left: number[] = [];
  for (const position of positions) {
    if (!journey.runTo(position)) break;
    left.push(journey.hopWithoutDead());
  }
  expect(without(journey.finish())).toEqual(without(expected));
  expect(left.length).toBeGreaterThan(PAUSES / 2);
  return left;
}

/** A WASI program that reads its input. */
function programOf(name: string, wasm: Uint8Array, input = ''): Subject {
  const shard = compileProgram(wasm, nodePlatform);
  const bytes = new TextEncoder().encode(input);
  const hash = nodePlatform.sha256(bytes);
  const stdin = bytes.length > 0 ? [{ hash, bytes: bytes.length }] : [];
  const spec = programSpec(shard, { programName: name, args: [name], env: [], stdin, dirs: [] });
  const loaded = LoadedModule.load(shard, nodePlatform);
  return {
    name,
    loaded,
    entry: '_start',
    entryArgs: new Uint8Array(0),
    spec,
    blobs: new Map([[hash, bytes]]),
  };
}

const median = (list: readonly number[]): number =>
  list.toSorted((a, b) => a - b)[list.length >> 1] ?? 0;

describe('example programs', () => {
  it.each(CASES)('$name', { timeout: ENOUGH_MS }, async (each) => {
    const left = exactWithoutDead(await loadCase(each), 3);
    // clang's own order of the memory, without exports, says nothing of where the stack ends.
    if ('program' in each.source) expect(median(left)).toBeGreaterThan(0);
    else expect(Math.max(...left)).toBe(0);
  });
});

/** Takes and gives memory all the time, by hand and through the collector; declares a buffer dead now and then. */
const CHURN = `
import { markDead, markLive, println } from 'sherd/guest';
class Node { constructor(public value: i32, public next: Node | null) {} }
let seed: u32 = 12345;
function next(): u32 { seed = seed * 1664525 + 1013904223; return seed >> 8; }
const held = new StaticArray<usize>(64);
let list: Node | null = null;
let sum: u64 = 0;
const table = new StaticArray<u32>(2000);
const tableAt = changetype<usize>(table);
for (let i = 0; i < 3000; i++) {
  const place = next() % 64;
  if (held[place] != 0) {
    sum = sum * 31 + load<u32>(held[place]);
    if ((next() & 3) == 0) {
      held[place] = heap.realloc(held[place], 8 + next() % 2000);
    } else {
      heap.free(held[place]);
      held[place] = 0;
    }
  } else {
    held[place] = heap.alloc(8 + next() % 3000);
    store<u32>(held[place], next());
  }
  list = new Node(i, i % 40 == 0 ? null : list);
  if (i % 300 == 0) {
    markLive(tableAt);
    for (let k = 0; k < table.length; k++) table[k] = next();
    for (let k = 0; k < table.length; k++) sum += table[k] ^ k;
    markDead(tableAt, 4 * table.length);
  }
  if (i % 1000 == 999) __collect();
}
for (let at: Node | null = list; at != null; at = at!.next) sum += at!.value;
println(sum.toString());
`;

describe('AssemblyScript', () => {
  it.each(
    (['incremental', 'minimal', 'stub'] as const).flatMap((runtime) =>
      [0, 3].map((optimizeLevel) => ({ runtime, optimizeLevel })),
    ),
  )(
    '$runtime, level $optimizeLevel',
    { timeout: ENOUGH_MS },
    async (options: AssemblyScriptOptions) => {
      const read = (path: string): string | null =>
        path === '/p/churn.ts' ? CHURN : readSource(path);
      const { wasm } = await compileAssemblyScript('/p/churn.ts', read, options);
      const left = exactWithoutDead(programOf('churn', wasm), 5);
      // The declared table (most of the fuel is spent in filling it), and all that TLSF has given back.
      if (options.runtime === 'stub') expect(new Set(left)).toEqual(new Set([0, 8_000]));
      else expect(median(left)).toBeGreaterThan(20_000);
    },
  );
});

const fixture = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../fixtures/${name}.wasm`, import.meta.url)));

/** C that is linked so that it says where its stack ends, with the leaves' red zones in use. */
describe('C', () => {
  const names = readdirSync(new URL('../fixtures/stacks/', import.meta.url)).sort();

  it('comes at four levels, linked in both ways', () => {
    const expected = ['O0', 'O1', 'O2', 'O3'].flatMap((level) => [
      `${level}.end.wasm`,
      `${level}.first.wasm`,
    ]);
    expect(names).toEqual(expected);
  });

  it.each(names)('%s', { timeout: ENOUGH_MS }, (name) => {
    const loaded = LoadedModule.load(
      compileProgram(fixture(`stacks/${name.replace('.wasm', '')}`), nodePlatform),
      nodePlatform,
    );
    const entryArgs = new Uint8Array(8).fill(3, 0, 1);
    const blobs = new Map();
    const left = exactWithoutDead(
      { name, loaded, entry: 'run', entryArgs, spec: undefined, blobs },
      9,
    );
    // The declared buffer, but when it is filled or read; besides the stack, but when a leaf uses what is below it.
    const [stack, buffer] = [40_000, 65_536];
    expect(left.some((bytes) => bytes > buffer + stack)).toBe(true);
    expect(left.some((bytes) => bytes > stack && bytes < buffer)).toBe(true);
    if (!name.startsWith('O0')) expect(left).toContain(buffer);
  });
});

describe('other compilers', () => {
  it('Rust: tally', { timeout: ENOUGH_MS }, () => {
    const left = exactWithoutDead(programOf('tally', fixture('tally'), sampleText(400)), 7);
    expect(median(left)).toBeGreaterThan(500_000);
  });

  it.each(['ledger', 'ledger.safe'])('Zig, without names: %s', { timeout: ENOUGH_MS }, (name) => {
    const left = exactWithoutDead(programOf(name, fixture(name), sampleText(150)), 7);
    expect(Math.max(...left)).toBe(0);
  });
});
