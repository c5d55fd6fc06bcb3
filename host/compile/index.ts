/**
 * The compiler: core Wasm in, shard module out.
 *
 *   program.wasm ─ parse ─ lower ─ call graph ─ space out ─ per function: analyse → plan → emit ─ assemble ─ + `sherd` section
 *
 * Does: the whole way for a core module; reads shard modules back.
 * Does not: compile sources (assemblyscript.ts) or run anything (runtime).
 *
 * C1  Deterministic: the same program gives the same shard module, byte for byte.
 * C2  The program is validated by the engine before it is rewritten, and so is the result.
 */
import { EXIT, SherdError } from '../types/errors.js';
import type { ImportInfo, ShardModule } from '../types/module.js';
import type { Platform } from '../types/platform.js';
import { ABI, PLAIN_ABI, SECTION_NAME } from './abi.js';
import { instrument, type Progress } from './instrument.js';
import { wrapImports } from './lower.js';
import { parseModule, scanSections, type WasmModule } from './module.js';
import { cutLongInstructions } from './pieces.js';
import { VAL_TYPE_NAME } from './plan.js';
import { functionsOf, safepointsOf } from './records.js';
import { withName } from './refusals.js';
import { appendSection, decodeSection, type SectionContent } from './section.js';
import { checkSegments } from './segments.js';
import { rememberSkeleton } from './skeleton.js';
import { SPACING } from './spacing.js';

export { ABI } from './abi.js';
export { functionLabel, plainFunction } from './records.js';

export interface CompileOptions {
  /** Told how far the rewriting is, a few hundred functions apart. */
  readonly progress?: Progress;
  /** A poll in every passage of every loop: for comparison. Fuel, resume map and results are the same. */
  readonly pollEveryPassage?: boolean;
  /** Instructions between polls, at most (spacing.ts). Another number gives another fuel. */
  readonly spacing?: number;
}

/** Compiles a core Wasm module (no imports, or functions only) into a shard module. */
export function compileProgram(
  given: Uint8Array,
  platform: Platform,
  options: CompileOptions = {},
): ShardModule {
  const bytes = plainArray(given);
  const program = parseModule(bytes);
  if (program.sections.some((s) => s.id === 0 && s.name === SECTION_NAME)) {
    throw new SherdError('SHERD_FEATURE_UNSUPPORTED', 'this is a shard module already', {
      next: 'run it as it is',
      exitCode: EXIT.refused,
    });
  }
  try {
    return shardModule(program, platform, options);
  } catch (error) {
    throw withName(error, program.names.functions);
  }
}

function shardModule(
  program: WasmModule,
  platform: Platform,
  options: CompileOptions,
): ShardModule {
  const { bytes } = program;
  const { module, out, codeBytes, records, stopsInBulk } = instrument(
    cutLongInstructions(wrapImports(program)),
    () => validate(bytes),
    {
      progress: options.progress,
      countsLoops: options.pollEveryPassage !== true,
      spacing: options.spacing ?? SPACING,
    },
  );
  checkSegments(program);
  const head = {
    abi: stopsInBulk ? ABI : PLAIN_ABI,
    programHash: platform.sha256(bytes),
    programBytes: bytes.length,
    programCodeBytes: programCodeBytes(program),
    dataSegments: module.dataSegments,
  };
  const sectionStart = appendSection(out, head, module, records);
  const shard = out.finish();
  const content = decodeSection(shard.subarray(sectionStart));
  return describe(shard, sectionStart, content, parseModule(content.skeleton), platform, codeBytes);
}

/** The same bytes as a Uint8Array itself: the passes see one kind of array, whatever the caller has. */
function plainArray(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Decodes a shard module. Throws SHERD_NOT_WASM, SHERD_WASM_MALFORMED, SHERD_CAPSULE_VERSION. */
export function readShardModule(shard: Uint8Array, platform: Platform): ShardModule {
  const bytes = plainArray(shard);
  const outer = sherdSection(bytes);
  if (outer === undefined) {
    throw new SherdError(
      'SHERD_FEATURE_UNSUPPORTED',
      'this is a plain Wasm module, not a shard module',
      {
        next: 'run `sherd compile` on it first',
        exitCode: EXIT.refused,
      },
    );
  }
  const content = decodeSection(bytes.subarray(outer.bodyStart, outer.end));
  const module = parseModule(content.skeleton);
  return describe(bytes, outer.bodyStart, content, module, platform, outer.codeBytes);
}

export function isShardModule(bytes: Uint8Array): boolean {
  try {
    return sherdSection(bytes) !== undefined;
  } catch (error) {
    if (error instanceof SherdError) return false;
    throw error;
  }
}

/** Finds the `sherd` section without decoding the rest. */
function sherdSection(
  bytes: Uint8Array,
): { bodyStart: number; end: number; codeBytes: number } | undefined {
  let codeLength = 0;
  for (const section of scanSections(bytes)) {
    if (section.id === 10) codeLength = section.end - section.bodyStart;
    if (section.id === 0 && section.name === SECTION_NAME) {
      return { bodyStart: section.bodyStart, end: section.end, codeBytes: codeLength };
    }
  }
  return undefined;
}

function programCodeBytes(module: WasmModule): number {
  const code = module.sections.find((s) => s.id === 10);
  return code === undefined ? 0 : code.end - code.bodyStart;
}

/** The engine has the last word on whether a program is valid; its message names the place. */
function validate(bytes: Uint8Array): void {
  if (WebAssembly.validate(bytes as Uint8Array<ArrayBuffer>)) return;
  let reason = 'the engine refuses it';
  try {
    new WebAssembly.Module(bytes as Uint8Array<ArrayBuffer>);
  } catch (error) {
    reason =
      error instanceof Error
        ? error.message.replace(/^WebAssembly\.Module\(\): /, '')
        : String(error);
  }
  throw new SherdError('SHERD_WASM_MALFORMED', `invalid Wasm: ${reason}`, {
    next: 'check the module with wasm-validate or rebuild it',
    exitCode: EXIT.refused,
  });
}

function describe(
  bytes: Uint8Array,
  sectionStart: number,
  content: SectionContent,
  module: WasmModule,
  platform: Platform,
  moduleCodeBytes: number,
): ShardModule {
  const imports = module.imports.map((entry): ImportInfo => {
    const type = module.types[entry.type]!;
    return {
      module: entry.module,
      field: entry.field,
      params: type.params.map((t) => VAL_TYPE_NAME[t]!),
      results: type.results.map((t) => VAL_TYPE_NAME[t]!),
    };
  });
  const section = bytes.subarray(sectionStart);
  const functions = functionsOf(section, content.recordAt, module);
  let safepoints = 0;
  for (let k = 0; k < functions.length; k++)
    safepoints += safepointsOf(section, content.recordAt[k]!);
  const shard: ShardModule = {
    bytes,
    moduleHash: platform.sha256(bytes),
    programHash: content.programHash,
    abi: content.abi,
    imports,
    exports: new Map(
      module.exports
        .filter((e) => e.kind === 0 && e.index >= imports.length)
        .map((e) => [e.name, e.index]),
    ),
    hasStart: module.start !== undefined,
    functions,
    memory: module.memory,
    mutableGlobals: module.globals.flatMap((g, index) =>
      g.mutable
        ? [{ index, type: VAL_TYPE_NAME[g.type]!, name: module.names.globals.get(index) }]
        : [],
    ),
    sizes: {
      programBytes: content.programBytes,
      moduleBytes: bytes.length,
      programCodeBytes: content.programCodeBytes,
      moduleCodeBytes,
      functionsInstrumented: functions.reduce((sum, f) => sum + (f.instrumented ? 1 : 0), 0),
      functionsTotal: functions.length,
      safepoints,
    },
    skeleton: content.skeleton,
  };
  rememberSkeleton(shard, module);
  return shard;
}
