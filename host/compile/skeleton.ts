/**
 * A shard module's skeleton, parsed, and what its resume map says about calls: all that a continuation is built from.
 *
 *   skeleton ── parsed once, when the shard module was read ──┐
 *   resume map: which functions can stop ── types with fuel ──┴──▶ the same answers as the call graph gave when compiling
 *
 * Does: answer what the analysis and the emitter ask about a call, without reading any other function's code. Only in a
 * module with reference values, where code can take a function's address (`ref.func`), all code is read, once.
 * Does not: check the map (continuation.ts does, for each function that it builds from).
 */
import type { ShardModule } from '../types/module.js';
import { EXPORT, PLAIN_ABI } from './abi.js';
import type { CallFacts } from './body.js';
import { ByteReader } from './bytes.js';
import { buildCallGraph, fuelTypes } from './callgraph.js';
import { parseModule, scanSections, type WasmModule } from './module.js';

const parsed = new WeakMap<ShardModule, WasmModule>();

/** Notes the parsed skeleton of a shard module that was just read or made. */
export function rememberSkeleton(shard: ShardModule, module: WasmModule): void {
  parsed.set(shard, module);
}

export function skeletonOf(shard: ShardModule): WasmModule {
  let module = parsed.get(shard);
  if (module === undefined) {
    module = parseModule(shard.skeleton);
    parsed.set(shard, module);
  }
  return module;
}

export interface SkeletonCalls extends CallFacts {
  carriesFuel(functionIndex: number): boolean;
}

/** Call facts of a shard module. */
export function callsOf(shard: ShardModule): SkeletonCalls {
  const module = skeletonOf(shard);
  return hasReferences(shard.bytes)
    ? buildCallGraph(module, shard.abi > PLAIN_ABI)
    : new MappedCalls(shard, module);
}

/** The shard module exports the helper for references: see instrument.ts. */
function hasReferences(bytes: Uint8Array): boolean {
  const section = scanSections(bytes).find(({ id }) => id === 7);
  if (section === undefined) return false;
  const r = new ByteReader(bytes, section.bodyStart, section.end);
  for (let n = r.count('export'); n > 0; n--) {
    if (r.name() === EXPORT.ref) return true;
    r.u8();
    r.u32();
  }
  return false;
}

/** Call facts of a module in whose code no address is taken, from its resume map. */
class MappedCalls implements SkeletonCalls {
  /** Per type index: 1 when indirect calls of it carry fuel. Made when it is first needed. */
  private fuel: Uint8Array | undefined;

  constructor(
    private readonly shard: ShardModule,
    private readonly module: WasmModule,
  ) {}

  get stopsInBulk(): boolean {
    return this.shard.abi > PLAIN_ABI;
  }

  isImport(functionIndex: number): boolean {
    return functionIndex < this.module.imports.length;
  }

  canStop(functionIndex: number): boolean {
    const k = functionIndex - this.module.imports.length;
    return k < 0 || this.shard.functions[k]?.instrumented === true;
  }

  entryPoll(functionIndex: number): boolean {
    const info = this.shard.functions[functionIndex - this.module.imports.length];
    return info?.safepoints.some(({ kind }) => kind === 'entry') === true;
  }

  indirectCanStop(typeIndex: number): boolean {
    this.fuel ??= fuelTypes(this.module, this.module.addressTaken, (f) => this.canStop(f));
    return this.fuel[typeIndex] === 1;
  }

  carriesFuel(functionIndex: number): boolean {
    if (this.isImport(functionIndex)) return false;
    if (this.canStop(functionIndex)) return true;
    return (
      this.module.addressTaken.has(functionIndex) &&
      this.indirectCanStop(this.module.functionTypes[functionIndex]!)
    );
  }
}
