/**
 * One small module, stopped everywhere: the plain engine's outcome, and sherd's straight and after hops at all distances.
 *
 * Does: assemble, run `run () -> value` (or another entry), compare results, traps, memory, globals, fuel and capsule hashes. Does not:
 * generate modules (generate.ts).
 *
 * Modules can import `fuzz.log` and `env.memory` (1 to 3 pages).
 *
 * E1  A trap's fuel is not compared; results, memory and what the host logged are.
 */
import { expect } from 'vitest';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { LoadedModule } from '../../host/runtime/index.js';
import type { ValType } from '../../host/types/state.js';
import {
  every,
  inSlices,
  Journey,
  type Outcome,
  type Subject,
  straight,
  through,
} from './drive.js';
import { assemble, fuzzFunctions, mix, rawValue, trapKind } from './modules.js';

export function everywhereSubject(name: string, text: string, entry = 'run'): Subject {
  return {
    name,
    loaded: LoadedModule.load(compileProgram(assemble(text), nodePlatform), nodePlatform),
    entry,
    entryArgs: new Uint8Array(),
    spec: undefined,
    blobs: new Map(),
    functions: (_control, log) => fuzzFunctions(log),
  };
}

const ALL_PAIRS_UP_TO = 9n;

interface Plain {
  readonly results: string;
  readonly trap: string | null;
  readonly output: string;
}

/** What the plain engine makes of it. */
function plain(text: string, entry: string, results: readonly ValType[]): Plain {
  const logged: string[] = [];
  const log = (x: number): number => {
    logged.push(String(x));
    return mix(x);
  };
  const module = new WebAssembly.Module(assemble(text));
  const output = (): string => (logged.length > 0 ? `log ${logged.join(' ')}` : '');
  try {
    const { exports } = new WebAssembly.Instance(module, {
      fuzz: { log },
      env: { memory: new WebAssembly.Memory({ initial: 1, maximum: 3 }) },
    });
    const value = (exports[entry] as () => unknown)();
    const values = (results.length === 1 ? [value] : (value ?? [])) as (number | bigint)[];
    const raw = results.map((type, i) => rawValue(type, values[i]!)).join('');
    return { results: raw, trap: null, output: output() };
  } catch (error) {
    return { results: '', trap: trapKind(error), output: output() };
  }
}

const shown = ({ results, trap, output }: Outcome): Plain => ({ results, trap, output });

/** The number of safepoints before the end, or shortly before a trap. */
function fuelOf(subject: Subject): bigint {
  const journey = Journey.begin(subject);
  while (journey.runTo(journey.fuel + 1n));
  return journey.fuel;
}

/** Asserts that the module behaves as in the plain engine however it is cut up. Gives its fuel. */
export function exactEverywhere(name: string, text: string, entry = 'run'): bigint {
  const each = everywhereSubject(name, text, entry);
  const index = each.loaded.module.exports.get(entry)! - each.loaded.module.imports.length;
  const expected = straight(each);
  expect(shown(expected)).toEqual(plain(text, entry, each.loaded.module.functions[index]!.results));
  for (const slice of [1, 2, 5])
    expect([slice, inSlices(each, slice).outcome]).toEqual([slice, expected]);
  const fuel = expected.fuel ?? fuelOf(each);
  const alone = new Map<bigint, string | undefined>();
  const hashAt = (at: bigint): string | undefined => {
    if (!alone.has(at)) alone.set(at, through(each, [at]).hops.get(at));
    return alone.get(at);
  };
  for (const [first, step] of cuts(fuel)) {
    const { outcome, hops } = through(each, every(step, fuel, first));
    expect([first, step, outcome]).toEqual([first, step, expected]);
    for (const [at, hash] of hops) expect([at, hashAt(at)]).toEqual([at, hash]);
  }
  return fuel;
}

/** First hop and distance: all pairs of a short run; of a longer one each single pause, and small distances in each phase. */
function* cuts(fuel: bigint): Generator<readonly [first: bigint, step: bigint]> {
  const all = fuel <= ALL_PAIRS_UP_TO;
  for (let step = 1n; step <= (all ? fuel : 3n); step++)
    for (let first = 1n; first <= (all ? fuel : step); first++) yield [first, step];
  if (!all) for (let first = 1n; first <= fuel; first++) yield [first, fuel];
}
