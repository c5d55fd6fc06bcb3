/**
 * Helpers for tests that run small modules: text to binary, a host without imports, raw values, chains of captures.
 */
import wabt from 'wabt';
import { bareHost } from '../../benchmarks/lib/bare-host.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance } from '../../host/runtime/instance.js';
import { LoadedModule } from '../../host/runtime/loaded.js';
import type { GuestHost, HostControl, HostFunction } from '../../host/types/host.js';
import type { RunResult, ShardState } from '../../host/types/state.js';

const tools = await wabt();

/** Assembles Wasm text (multi-value, SIMD, bulk memory on). */
export function wat(text: string): Uint8Array {
  const parsed = tools.parseWat('test.wat', text, {
    simd: true,
    bulk_memory: true,
    multi_value: true,
  });
  const bytes = parsed.toBinary({ write_debug_names: true }).buffer;
  parsed.destroy();
  return bytes;
}

/** Disassembles a module. */
export function text(bytes: Uint8Array): string {
  const module = tools.readWasm(bytes, {
    simd: true,
    bulk_memory: true,
    multi_value: true,
    reference_types: true,
    tail_call: true,
    exceptions: true,
    readDebugNames: true,
  });
  const out = module.toText({ foldExprs: false, inlineExport: false });
  module.destroy();
  return out;
}

export function load(bytes: Uint8Array): LoadedModule {
  return LoadedModule.load(compileProgram(bytes, nodePlatform), nodePlatform);
}

export type HostTable = (control: HostControl) => Record<string, HostFunction>;

/** A host that offers the given functions under module `env`. */
export function hostOf(table: HostTable = () => ({})): GuestHost {
  return bareHost((control) => new Map([['env', new Map(Object.entries(table(control)))]]));
}

/** Raw little-endian arguments: number → i32, bigint → i64. */
export function raw(...values: (number | bigint)[]): Uint8Array {
  const out = new Uint8Array(values.length * 8);
  const data = new DataView(out.buffer);
  values.forEach((value, i) => {
    if (typeof value === 'bigint') data.setBigInt64(i * 8, value, true);
    else data.setInt32(i * 8, value, true);
  });
  return out;
}

export function i32Of(result: RunResult): number {
  if (result.kind !== 'done')
    throw new Error(
      `ended with ${JSON.stringify(result, (_, v) => (typeof v === 'bigint' ? String(v) : v))}`,
    );
  return new DataView(result.results.buffer, result.results.byteOffset).getInt32(0, true);
}

/** A state that shares nothing with the instance it came from. */
export function detached(state: ShardState): ShardState {
  const frames = state.frames.map(({ func, safepoint, slots }) => ({ func, safepoint, slots }));
  return structuredClone({ ...state, frames });
}

export interface Chain {
  readonly result: RunResult;
  readonly stops: number;
}

/** Runs to the end, captured and resumed in a fresh instance after every `step` safepoints. */
export function runInSteps(
  loaded: LoadedModule,
  host: () => GuestHost,
  options: { entry: string; entryArgs: Uint8Array; limitPages?: number },
  step: number,
): Chain {
  let instance = Instance.start(loaded, host(), { limitPages: 0, ...options });
  for (let stops = 0; ; stops++) {
    const result = instance.run(step);
    if (result.kind !== 'quantum' && result.kind !== 'waiting') return { result, stops };
    instance = Instance.resume(loaded, host(), detached(instance.capture()));
  }
}
