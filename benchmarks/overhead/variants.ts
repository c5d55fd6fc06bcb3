/**
 * The ways to run one kernel that are compared.
 *
 *   plain, plain again   the module as asc made it, twice with different bytes around it: the A/A pair
 *   sherd                compileProgram + Instance, one budget larger than the whole run: the fast copy straight through
 *   sherd in quanta      the same as a worker thread runs it (host/node/quantum.ts), over one long run
 *   asyncify             benchmarks/asyncify: polls + Binaryen's Asyncify at -O3, never unwound
 *   ablation             Binaryen's -O3 alone, with polls that call the host, and with Asyncify but no polls; sherd
 *                        without counted loops (host/compile/counted.ts)
 *
 * V1  Every call gets a fresh instance, so that first touches of memory cost all variants the same.
 * V2  The engine sees different bytes for each variant: no compiled code is shared.
 */

import { compileProgram } from '../../host/compile/index.js';
import { Pace } from '../../host/node/pace.js';
import { nodePlatform } from '../../host/node/platform.js';
import { DEFAULT_QUANTUM_US } from '../../host/node/pool.js';
import { runQuantum } from '../../host/node/quantum.js';
import { Instance, LoadedModule } from '../../host/runtime/index.js';
import type { Platform } from '../../host/types/platform.js';
import type { RunResult } from '../../host/types/state.js';
import { asyncify } from '../asyncify/instrument.js';
import { bareHost } from '../lib/bare-host.js';
import { timeOnce, type Variant } from '../lib/timing.js';
import { unlike } from '../lib/wasm.js';
import type { Program } from './programs.js';

const MAX_BUDGET = 0x7fffffff;

export const NAMES = {
  plain: 'plain',
  again: 'plain again',
  sherd: 'sherd',
  quantum: 'sherd in quanta',
  asyncify: 'asyncify',
  optimised: 'binaryen -O3',
  polls: '+ polls that call the host',
  unpolled: '+ asyncify, no polls',
  everyPassage: 'sherd, polls in every passage',
} as const;

export interface Prepared {
  readonly program: Program;
  readonly loaded: LoadedModule;
  readonly variants: readonly Variant[];
  /** The module that each variant runs, for sizes and cold calls. */
  readonly modules: Readonly<Record<'plain' | 'sherd' | 'asyncify', Uint8Array>>;
  readonly safepoints: number;
  readonly fuel: bigint;
}

type Run = (parameter: number) => number;

function exportOf(module: WebAssembly.Module, imports: WebAssembly.Imports): Run {
  const run = new WebAssembly.Instance(module, imports).exports.run;
  if (typeof run !== 'function') throw new Error('no export `run`');
  return run as Run;
}

export function plainVariant(name: string, program: Program, mark: string): Variant {
  const module = new WebAssembly.Module(unlike(program.bytes, mark));
  return {
    name,
    prepare: () => {
      const run = exportOf(module, {});
      return () => run(program.parameter) | 0;
    },
  };
}

export function asyncifyVariant(
  name: string,
  program: Program,
  bytes: Uint8Array,
  mark: string,
): Variant {
  const module = new WebAssembly.Module(unlike(bytes, mark));
  const poll = (): void => {
    throw new Error('the poll budget ran out');
  };
  return {
    name,
    prepare: () => {
      const run = exportOf(module, { poll: { poll } });
      return () => run(program.parameter) | 0;
    },
  };
}

/** Raw arguments of `run(parameter)`. */
export function argumentBytes(parameter: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setInt32(0, parameter, true);
  return bytes;
}

/** The checksum that a kernel returned. */
export function resultOf(result: RunResult): number {
  if (result.kind !== 'done')
    throw new Error(
      `ended with ${result.kind}${result.kind === 'trap' ? `: ${result.trap.message}` : ''}`,
    );
  return new DataView(result.results.buffer, result.results.byteOffset).getInt32(0, true);
}

/** Runs an instance to its end, `budget` safepoints at a time. Gives the kernel's checksum. */
export function finish(instance: Instance, budget: number): number {
  for (;;) {
    const result = instance.run(budget);
    if (result.kind !== 'quantum') return resultOf(result);
  }
}

/** To the end as a worker thread goes there: quanta of a length in time. */
export function finishInQuanta(instance: Instance): number {
  const quantumNs = DEFAULT_QUANTUM_US * 1e3;
  const clock = { nowNs: nodePlatform.monotonicNs, isCalled: () => false };
  const guest = { guest: instance, pace: new Pace(quantumNs), stopAtFuel: null };
  for (let warmedNs = 0; ; ) {
    const { result, setupNs } = runQuantum({ ...guest, warmedNs }, clock, quantumNs);
    warmedNs = result === undefined ? warmedNs + setupNs : 0;
    if (result !== undefined && result.kind !== 'quantum') return resultOf(result);
  }
}

export function startInstance(loaded: LoadedModule, program: Program): Instance {
  return Instance.start(loaded, bareHost(), {
    entry: 'run',
    entryArgs: argumentBytes(program.parameter),
    limitPages: 0,
  });
}

export function sherdVariant(
  name: string,
  program: Program,
  loaded: LoadedModule,
  budget: number,
): Variant {
  return {
    name,
    prepare: () => {
      const instance = startInstance(loaded, program);
      return () => finish(instance, budget);
    },
  };
}

function quantaVariant(program: Program, loaded: LoadedModule): Variant {
  return {
    name: NAMES.quantum,
    prepare: () => {
      const instance = startInstance(loaded, program);
      return () => finishInQuanta(instance);
    },
  };
}

/** A shard module of this program that shares no compiled code with another one. */
export function loadSherd(program: Program, platform: Platform, mark: string): LoadedModule {
  return LoadedModule.load(compileProgram(unlike(program.bytes, mark), platform), platform);
}

/** Builds all variants of one kernel. */
export function prepare(program: Program, platform: Platform): Prepared {
  const shard = compileProgram(unlike(program.bytes, 'sherd'), platform);
  const loaded = LoadedModule.load(shard, platform);
  const baseline = asyncify(program.bytes);
  return {
    program,
    loaded,
    variants: [
      plainVariant(NAMES.plain, program, 'a'),
      plainVariant(NAMES.again, program, 'b'),
      sherdVariant(NAMES.sherd, program, loaded, MAX_BUDGET),
      asyncifyVariant(NAMES.asyncify, program, baseline.bytes, 'asyncify'),
    ],
    modules: { plain: program.bytes, sherd: shard.bytes, asyncify: baseline.bytes },
    safepoints: shard.sizes.safepoints,
    fuel: fuelOf(loaded, program),
  };
}

/** The baseline taken apart, and sherd without what makes it fast: what the parts cost one by one. */
export function ablationVariants(program: Program, platform: Platform): readonly Variant[] {
  const made = (name: string, polls: boolean, pass: boolean): Variant => {
    const { bytes } = asyncify(program.bytes, { polls, asyncify: pass });
    return asyncifyVariant(name, program, bytes, name);
  };
  const bytes = unlike(program.bytes, NAMES.everyPassage);
  const polled = compileProgram(bytes, platform, { pollEveryPassage: true });
  return [
    sherdVariant(NAMES.everyPassage, program, LoadedModule.load(polled, platform), MAX_BUDGET),
    made(NAMES.optimised, false, false),
    made(NAMES.polls, true, false),
    made(NAMES.unpolled, false, true),
  ];
}

export function fuelOf(loaded: LoadedModule, program: Program): bigint {
  const instance = startInstance(loaded, program);
  finish(instance, MAX_BUDGET);
  return instance.fuelUsed;
}

/** One long run, plain, straight through, and in quanta: what a node's thread does with every guest. */
export function quantumVariants({ program, loaded }: Prepared): readonly Variant[] {
  const long = { ...program, parameter: program.longParameter };
  return [
    plainVariant(NAMES.plain, long, 'a'),
    sherdVariant(NAMES.sherd, long, loaded, MAX_BUDGET),
    quantaVariant(long, loaded),
  ];
}

export type ColdWay = 'plain' | 'again' | 'sherd' | 'quanta' | 'asyncify';

/**
 * Wall time of the first call in a module the engine has never seen; making the module and the instance is left out, making
 * continuations is not. Plain twice: the A/A pair. sherd twice: in one go, and in quanta as worker threads run every guest. The order is
 * turned from round to round.
 */
export function coldCalls(
  program: Program,
  modules: Prepared['modules'],
  platform: Platform,
  round: number,
): Record<ColdWay, number> {
  const mark = `cold-${round}`;
  const variants: Record<ColdWay, () => Variant> = {
    plain: () => plainVariant(NAMES.plain, program, mark),
    sherd: () => sherdVariant(NAMES.sherd, program, loadSherd(program, platform, mark), MAX_BUDGET),
    quanta: () => quantaVariant(program, loadSherd(program, platform, `${mark}-quanta`)),
    again: () => plainVariant(NAMES.again, program, `${mark}-again`),
    asyncify: () => asyncifyVariant(NAMES.asyncify, program, modules.asyncify, mark),
  };
  const ways = Object.keys(variants) as ColdWay[];
  const order = ways.map((_, i) => ways[(i + round) % ways.length]!);
  if (round % 2 === 1) order.reverse();
  const wallMs: Partial<Record<ColdWay, number>> = {};
  for (const way of order) wallMs[way] = timeOnce(variants[way]()).wallMs;
  return wallMs as Record<ColdWay, number>;
}
