/**
 * What different compilers make: C at every optimisation level, Rust, Zig, AssemblyScript with every runtime.
 *
 * For each: the run in one piece is what the plain engine makes of the module (results or output, exit code), and a run with
 * PAUSES stops at random fuel values, each through a capsule into a new instance, is that run in all its facts.
 *
 * Does not: the longer chains and other processes of programs.test.ts.
 *
 * T1  Positions are drawn with a seed: a failure repeats.
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
import type { Hash } from '../../host/types/platform.js';
import { readSource } from '../programs/compiled.js';
import { runWasi } from '../programs/run-wasi.js';
import { Collected, type Outcome, type Subject, straight, through } from './drive.js';
import { rawValue } from './modules.js';
import { programSpec, sampleText } from './programs.js';
import { Random } from './random.js';

const PAUSES = 200;
const ENOUGH_MS = 120_000;
const FIXTURES = new URL('../fixtures/', import.meta.url);

const fixture = (name: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(new URL(`${name}.wasm`, FIXTURES)));

/** PAUSES different positions, ascending (all of them when there are fewer). */
function positions(fuel: bigint, seed: number): bigint[] {
  const random = new Random(seed);
  const found = new Set<bigint>();
  const wanted = fuel < BigInt(PAUSES) ? Number(fuel) : PAUSES;
  while (found.size < wanted) found.add(BigInt(1 + random.below(Number(fuel))));
  return [...found].sort((a, b) => (a < b ? -1 : 1));
}

/** Asserts that pauses change nothing; gives the outcome in one piece. */
function exactAcrossPauses(subject: Subject): Outcome {
  const expected = straight(subject);
  if (expected.fuel === null) throw new Error(`the program traps: ${expected.trap}`);
  expect(expected.fuel).toBeGreaterThan(BigInt(PAUSES));
  const { outcome, hops } = through(subject, positions(expected.fuel, 17));
  expect(hops.size).toBe(PAUSES);
  expect(outcome).toEqual(expected);
  return expected;
}

/** A module without imports that exports `run(i32) -> i32`. */
function exactFunction(name: string, bytes: Uint8Array<ArrayBuffer>, argument: number): void {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
  const entryArgs = new Uint8Array(8);
  new DataView(entryArgs.buffer).setInt32(0, argument, true);
  const loaded = LoadedModule.load(compileProgram(bytes, nodePlatform), nodePlatform);
  const subject = { name, loaded, entry: 'run', entryArgs, spec: undefined, blobs: new Map() };
  const { results } = exactAcrossPauses(subject);
  expect(results).toBe(rawValue('i32', (exports.run as (n: number) => number)(argument)));
}

/** A WASI program that reads stdin. */
async function exactProgram(name: string, wasm: Uint8Array, input: string): Promise<void> {
  const plain = await runWasi(wasm, { stdin: input });
  expect([plain.code, plain.trap]).toEqual([0, undefined]);
  expect(plain.stdout.length).toBeGreaterThan(0);
  const shard = compileProgram(wasm, nodePlatform);
  const bytes = new TextEncoder().encode(input);
  const hash: Hash = nodePlatform.sha256(bytes);
  const spec = programSpec(shard, {
    programName: name,
    args: ['program'],
    env: [],
    stdin: bytes.length > 0 ? [{ hash, bytes: bytes.length }] : [],
    dirs: [],
  });
  const loaded = LoadedModule.load(shard, nodePlatform);
  const blobs = new Map([[hash, bytes]]);
  const { entry, entryArgs } = spec;
  const outcome = exactAcrossPauses({ name, loaded, entry, entryArgs, spec, blobs });
  const collected = new Collected();
  collected.add([{ stream: 'stdout', bytes: plain.stdout }]);
  if (plain.stderr !== '') collected.add([{ stream: 'stderr', bytes: Buffer.from(plain.stderr) }]);
  expect([outcome.output, outcome.code ?? 0]).toEqual([collected.summary(), 0]);
}

describe('C', () => {
  const levels = readdirSync(new URL('levels/', FIXTURES)).map((f) => f.replace('.wasm', ''));

  it('comes at -O0, -O3, -Oz and with newer instructions', () => {
    expect(levels.sort()).toEqual(
      ['coremix', 'forth', 'luette']
        .flatMap((name) => ['O0', 'O3', 'Oz'].map((level) => `${name}.${level}`))
        .concat('coremix.O3-features')
        .sort(),
    );
  });

  it.each(levels)('%s', { timeout: ENOUGH_MS }, async (name) => {
    const bytes = fixture(`levels/${name}`);
    if (name.startsWith('forth')) {
      const source = ': f dup 2 < if else dup 1 - recurse swap 2 - recurse + then ; 11 f . cr';
      await exactProgram(name, bytes, `${source}\n`);
    } else exactFunction(name, bytes, 2);
  });
});

describe('Rust', () => {
  it('tally', { timeout: ENOUGH_MS }, async () => {
    await exactProgram('tally', fixture('tally'), sampleText(400));
  });
});

describe('Zig', () => {
  it.each(['ledger', 'ledger.safe'])('%s', { timeout: ENOUGH_MS }, async (name) => {
    await exactProgram(name, fixture(name), sampleText(150));
  });
});

/** Strings, arrays, maps and classes that are made and forgotten. */
const GARBAGE = `
class Node { constructor(public value: i32, public next: Node | null) {} }
let list: Node | null = null;
const names = new Map<string, f64>();
for (let i = 0; i < 300; i++) {
  list = new Node(i * 7, i % 50 == 0 ? null : list);
  names.set('k' + (i % 23).toString(), Math.sqrt(<f64>i));
}
let sum: i64 = 0;
for (let at: Node | null = list; at != null; at = at!.next) sum += at!.value;
const keys = names.keys().sort();
console.log(sum.toString() + ' ' + keys.join(','));
console.log(names.values().reduce<f64>((a, b) => a + b, 0.0).toString());
`;

describe('AssemblyScript', () => {
  const all: readonly (readonly [string, AssemblyScriptOptions])[] = [
    ['incremental -O0', { runtime: 'incremental', optimizeLevel: 0 }],
    ['incremental -O3z', { runtime: 'incremental', optimizeLevel: 3, shrinkLevel: 2 }],
    ['minimal -O0', { runtime: 'minimal', optimizeLevel: 0 }],
    ['minimal -O1', { runtime: 'minimal', optimizeLevel: 1, shrinkLevel: 1 }],
    ['minimal -O3', { runtime: 'minimal', optimizeLevel: 3, noAssert: true }],
    ['stub -O0', { runtime: 'stub', optimizeLevel: 0 }],
    ['stub -O2', { runtime: 'stub', optimizeLevel: 2 }],
    ['stub -O3z', { runtime: 'stub', optimizeLevel: 3, shrinkLevel: 2 }],
  ];

  it.each(all)('%s', { timeout: ENOUGH_MS }, async (name, options) => {
    const read = (path: string): string | null =>
      path === '/src/prog.ts' ? GARBAGE : readSource(path);
    const { wasm } = await compileAssemblyScript('/src/prog.ts', read, options);
    await exactProgram(name, wasm, '');
  });
});
