/**
 * Moves of real programs: run, stop, capture, encode, decode, resume, run on; several times, within one process.
 *
 *   freezing   asking until stopped is not in here: the program stops at a given fuel
 *   capture    the stopped instance's state as data (memory is a view)
 *   encode     that state as a capsule, hashed             } the shard stands still during these: "frozen"
 *   decode     verified, memory rebuilt on the base image  }
 *   resume     a new instance, memory written into it      }
 *   first      its first 1,000 safepoints: the continuation is compiled here if it is new
 *
 * Beside it the capsule without dead memory (capsule/dead.ts): its size, and what finding that takes. Nothing goes on from it.
 *
 * M1  The run that moved and a run that never stopped have the same capsule at the end, bit for bit, else it throws.
 */
import { gzipSync } from 'node:zlib';
import {
  deadRanges,
  decodeCapsule,
  encodeCapsule,
  packBytes,
  unpackBytes,
} from '../../host/capsule/index.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import {
  createGuestHost,
  encodeSpec,
  Instance,
  LoadedModule,
  restoreGuestHost,
} from '../../host/runtime/index.js';
import type { GuestHost, ShardSpec } from '../../host/types/host.js';
import { compileGuest, plainSpec } from '../lib/guest.js';
import { chooseKernels, loadProgram } from '../overhead/programs.js';
import { argumentBytes } from '../overhead/variants.js';

export interface Subject {
  readonly name: string;
  readonly args: readonly string[];
  /** Safepoints between two moves. */
  readonly stride: number;
  /** It is a kernel of benchmarks/overhead, in its long form. */
  readonly kernel?: boolean;
  /** Its capsule, packed, is to be no larger. */
  readonly mostBytes?: number;
}

const SMALL_BYTES = 4_096;

export const SUBJECTS: readonly Subject[] = [
  { name: 'raytracer', args: ['960', '540', '6'], stride: 3_000_000 },
  { name: 'nbody', args: ['5000000'], stride: 3_000_000, mostBytes: SMALL_BYTES },
  { name: 'perft', args: ['6'], stride: 3_000_000, mostBytes: SMALL_BYTES },
  { name: 'fannkuch', args: [], stride: 3_000_000, kernel: true, mostBytes: SMALL_BYTES },
  { name: 'sat', args: ['--pigeons', '9'], stride: 3_000_000 },
  { name: 'gc', args: ['300000'], stride: 3_000_000 },
];

export interface Move {
  readonly capsuleBytes: number;
  readonly memoryBytes: number;
  readonly gzipBytes: number;
  /** The capsule as files have it (capsule/packed.ts), and what packing it takes: no part of `frozen`. */
  readonly packedBytes: number;
  readonly packMs: number;
  /** The same without dead memory, and the time to find that. */
  readonly leanBytes: number;
  readonly leanPackedBytes: number;
  readonly deadMs: number;
  readonly frames: number;
  readonly captureMs: number;
  readonly encodeMs: number;
  readonly decodeMs: number;
  readonly resumeMs: number;
  readonly firstMs: number;
  readonly dumpMs: number;
  readonly gzipMs: number;
}

export interface Moved {
  readonly name: string;
  readonly moves: readonly Move[];
}

const FIRST_FUEL = 1_000;
const NO_BLOBS = { get: () => undefined };

export interface Placed {
  readonly host: GuestHost;
  readonly instance: Instance;
}

/** A program, or a kernel of benchmarks/overhead, compiled and with what it is started with. */
export async function load(
  root: string,
  subject: Pick<Subject, 'name' | 'args' | 'kernel'>,
): Promise<{ loaded: LoadedModule; spec: ShardSpec }> {
  if (subject.kernel === true) return loadKernel(root, subject);
  const module = await compileGuest(root, `assembly/programs/${subject.name}.ts`);
  const spec = plainSpec(module, {
    programName: subject.name,
    entry: '_start',
    entryArgs: new Uint8Array(0),
    args: [subject.name, ...subject.args],
  });
  return { loaded: LoadedModule.load(module, nodePlatform), spec };
}

async function loadKernel(
  root: string,
  { name }: Pick<Subject, 'name'>,
): Promise<{ loaded: LoadedModule; spec: ShardSpec }> {
  const [kernel] = chooseKernels(name);
  if (kernel === undefined) throw new Error(`${name} is no kernel`);
  const { bytes, longParameter } = await loadProgram(root, kernel);
  const module = compileProgram(bytes, nodePlatform);
  const entryArgs = argumentBytes(longParameter);
  const spec = plainSpec(module, { programName: name, entry: 'run', entryArgs, args: [name] });
  return { loaded: LoadedModule.load(module, nodePlatform), spec };
}

export function start(loaded: LoadedModule, spec: ShardSpec): Placed {
  const host = createGuestHost(spec, NO_BLOBS, nodePlatform);
  const { entry, entryArgs } = spec;
  return { host, instance: Instance.start(loaded, host, { entry, entryArgs, limitPages: 0 }) };
}

/** Runs exactly this many safepoints. */
export function runOn({ instance, host }: Placed, fuel: number): void {
  const target = instance.fuelUsed + BigInt(fuel);
  while (instance.fuelUsed < target) {
    const result = instance.run(Number(target - instance.fuelUsed));
    host.drainOutput();
    if (result.kind !== 'quantum') throw new Error(`ended too early: ${result.kind}`);
  }
}

function pack(placed: Placed, loaded: LoadedModule, specHash: string, dropDead = false) {
  const state = placed.instance.capture();
  const dead = dropDead ? deadRanges(state, loaded.module) : [];
  const facts = { shardId: 's-bench', epoch: 1, specHash, references: placed.host.references() };
  return () => encodeCapsule({ ...facts, state, base: loaded.baseImage(), dead }, nodePlatform);
}

function timed<T>(action: () => T): [T, number] {
  const started = process.hrtime.bigint();
  const value = action();
  return [value, Number(process.hrtime.bigint() - started) / 1e6];
}

function move(
  placed: Placed,
  loaded: LoadedModule,
  spec: ShardSpec,
  specHash: string,
): [Placed, Move] {
  const [encode, captureMs] = timed(() => pack(placed, loaded, specHash));
  const [{ bytes }, encodeMs] = timed(encode);
  const memory = placed.instance.capture().memory?.bytes ?? new Uint8Array(0);
  const [dumped, dumpMs] = timed(() => {
    const copy = memory.slice();
    nodePlatform.sha256(copy);
    return copy;
  });
  const [zipped, gzipMs] = timed(() => gzipSync(dumped));
  const [packed, packMs] = timed(() => packBytes(bytes, nodePlatform));
  if (Buffer.compare(unpackBytes(packed, nodePlatform), bytes) !== 0)
    throw new Error(`${spec.programName}: a packed capsule is not what it was`);
  const [encodeLean, deadMs] = timed(() => pack(placed, loaded, specHash, true));
  const lean = encodeLean().bytes;
  const [decoded, decodeMs] = timed(() => {
    const capsule = decodeCapsule(bytes, nodePlatform, { moduleHash: spec.moduleHash });
    return { state: capsule.state(loaded.baseImage()), frames: capsule.frames.length };
  });
  const [target, resumeMs] = timed((): Placed => {
    const host = restoreGuestHost(spec, decoded.state.host, NO_BLOBS, nodePlatform);
    return { host, instance: Instance.resume(loaded, host, decoded.state) };
  });
  const [, firstMs] = timed(() => runOn(target, FIRST_FUEL));
  return [
    target,
    {
      capsuleBytes: bytes.length,
      memoryBytes: memory.length,
      gzipBytes: zipped.length,
      packedBytes: packed.length,
      packMs,
      leanBytes: lean.length,
      leanPackedBytes: packBytes(lean, nodePlatform).length,
      deadMs: Math.max(0, deadMs - captureMs),
      frames: decoded.frames,
      captureMs,
      encodeMs,
      decodeMs,
      resumeMs,
      firstMs,
      dumpMs,
      gzipMs,
    },
  ];
}

/** Moves the program `count` times and checks the result against a run that never stopped (M1). */
export async function moveProgram(root: string, subject: Subject, count: number): Promise<Moved> {
  const { loaded, spec } = await load(root, subject);
  const specHash = nodePlatform.sha256(encodeSpec(spec));
  let placed = start(loaded, spec);
  const moves: Move[] = [];
  for (let i = 0; i < count; i++) {
    runOn(placed, subject.stride);
    const [target, figures] = move(placed, loaded, spec, specHash);
    placed = target;
    moves.push(figures);
  }
  const straight = start(loaded, spec);
  runOn(straight, count * (subject.stride + FIRST_FUEL));
  if (pack(straight, loaded, specHash)().hash !== pack(placed, loaded, specHash)().hash) {
    throw new Error(`${subject.name}: the run that moved differs from the one that did not`);
  }
  return { name: subject.name, moves };
}
