/**
 * The library: programs as values.
 *
 *   import { compile, start, resume } from 'sherd';
 *
 *   const module = await compile('prog.ts');             // AssemblyScript, .wasm, or bytes
 *   const shard = await start(module, { args: ['7'] });  // runs in a worker thread of this process
 *   for await (const { stream, bytes } of shard.output) process[stream].write(bytes);
 *   const { reason, code } = await shard.result;
 *
 *   const capsule = await shard.pause();                 // a Uint8Array: keep it, send it
 *   const again = await resume(capsule);                 // here, or in another process on another machine
 *
 * Does: compile, run, pause and resume one shard a worker thread. Does not: need a cluster, or write any file.
 *
 * L1  `pause` gives everything: the capsule holds module, inputs and files. Output before the pause is not given again.
 * L2  `result` never rejects for something that the program did: traps and quotas are results. It rejects with a
 *     SherdError when sherd failed, and with the signal's reason when it was aborted.
 */
import { fileURLToPath } from 'node:url';
import {
  decodeBundle,
  decodeCapsule,
  isPacked,
  requireComplete,
  unpackBytes,
} from './capsule/index.js';
import { loadProgram, loadProgramBytes } from './cli/program.js';
import { chunksOf, snapshotDirectory } from './node/directories.js';
import { newSpec } from './node/new-spec.js';
import { nodePlatform } from './node/platform.js';
import { Solo, type SoloEnd, type SoloStart } from './node/solo.js';
import {
  type CheckedStart,
  checkModule,
  checkRoom,
  checkStartOptions,
  fuel,
  type StartOptions,
} from './node/start-options.js';
import type { RunProgress } from './node/worker-messages.js';
import { decodeSpec, decodeTrees, encodeSpec } from './runtime/spec.js';
import { EXIT, invariant, SherdError, usageError } from './types/errors.js';
import type { Hash } from './types/hash.js';
import type { DirectoryTree, ShardSpec, TreeNode } from './types/host.js';
import type { ShardModule } from './types/module.js';
import type { ExitReason } from './types/records.js';

export type { StartOptions } from './node/start-options.js';
export { type ErrorCode, EXIT, SherdError } from './types/errors.js';
export type { CompileSizes, ShardModule } from './types/module.js';
export type { ExitReason } from './types/records.js';

/** A paused program with everything that it needs: a `.capsule` file's bytes. */
export type Capsule = Uint8Array;

export interface OutputPiece {
  readonly stream: 'stdout' | 'stderr';
  readonly bytes: Uint8Array;
}

export type ResumeOptions = Pick<StartOptions, 'signal'>;

export interface ShardResult {
  /** `paused`: by `pause()`; the others as in the CLI's status. */
  readonly reason: ExitReason | 'paused';
  /** The program's exit code, else one of EXIT. */
  readonly code: number;
  /** Trap kind and the like; empty for a plain exit. */
  readonly message: string;
  readonly guestStack: readonly string[];
  /** Raw results of the entry: 8 bytes each (v128: 16). */
  readonly results: Uint8Array;
  readonly fuelUsed: bigint;
  readonly memoryBytes: number;
  readonly ranMs: number;
  /** A file of one of `dirs` as the program left it, by guest path; undefined when there is none. */
  file(guestPath: string): Uint8Array | undefined;
}

/** `event.detail` of a shard's `progress` events, about five a second. */
export interface ShardProgress {
  readonly fuelUsed: bigint;
  readonly fuelPerSecond: number;
  readonly memoryBytes: number;
  readonly ranMs: number;
  readonly activity: string;
  /** Function of the last safepoint. */
  readonly safepoint: string | null;
}

/**
 * Compiles a program into a shard module.
 *
 * @param program path of a `.ts` (AssemblyScript) or `.wasm` file, or the bytes of a Wasm module
 * @throws SherdError with exit code 2 when the program is refused
 */
export async function compile(program: string | URL | Uint8Array): Promise<ShardModule> {
  if (program instanceof Uint8Array)
    return (await loadProgramBytes('program.wasm', program)).module;
  return (await loadProgram(pathOf(program))).module;
}

function pathOf(program: string | URL): string {
  if (typeof program === 'string') return program;
  if (!(program instanceof URL)) throw usageError('compile: not a path, file URL or Uint8Array');
  if (program.protocol !== 'file:')
    throw usageError(
      `compile: ${program.protocol} is not a file URL`,
      'fetch it and give the bytes',
    );
  return fileURLToPath(program);
}

/**
 * Starts a module in a worker thread.
 *
 * @throws SherdError with exit code 2 when the options make no sense; the signal's reason when it was aborted meanwhile
 */
export async function start(module: ShardModule, options: StartOptions = {}): Promise<Shard> {
  checkModule(module);
  const checked = checkStartOptions(options);
  options.signal?.throwIfAborted();
  const blobs = new Map<Hash, Uint8Array>();
  const spec = await specOf(module, checked, blobs);
  options.signal?.throwIfAborted();
  const specBytes = encodeSpec(spec);
  const specHash = nodePlatform.sha256(specBytes);
  const name = spec.programName;
  return new Shard(
    { name, module, spec: specBytes, specHash, capsule: null, ranMs: 0, blobs },
    options.signal,
  );
}

/**
 * Goes on where a capsule was paused.
 *
 * @throws SherdError `SHERD_CAPSULE_…` when it is damaged, of another version, thin, or put together from several shards
 */
export async function resume(capsule: Capsule, options: ResumeOptions = {}): Promise<Shard> {
  if (!(capsule instanceof Uint8Array)) throw usageError('resume: not a Uint8Array');
  options.signal?.throwIfAborted();
  // A copy: the caller may use the memory again while the shard still reads from it.
  const bytes = isPacked(capsule) ? unpackBytes(capsule, nodePlatform) : capsule.slice();
  const bundle = decodeBundle(bytes, nodePlatform);
  const decoded = decodeCapsule(bundle.capsule, nodePlatform);
  requireComplete(bundle, decoded);
  const { header } = decoded;
  const { module, spec } = bundle;
  invariant(module !== undefined && spec !== undefined, 'a complete bundle has module and spec');
  return new Shard(
    {
      name: decodeSpec(spec).programName,
      module: { moduleHash: header.moduleHash, bytes: module },
      spec,
      specHash: header.specHash,
      capsule: bundle.capsule,
      ranMs: bundle.ranMs ?? 0,
      blobs: new Map(bundle.blobs),
    },
    options.signal,
  );
}

/** A running program. Fires `progress` (CustomEvent<ShardProgress>) while it runs. */
export class Shard extends EventTarget {
  /** How it ended. Settled after all output has been handed over. */
  readonly result: Promise<ShardResult>;
  readonly #solo: Solo;
  readonly #blobs: ReadonlyMap<Hash, Uint8Array>;
  readonly #waiting = new Set<() => void>();

  /** @internal use `start` or `resume` */
  constructor(first: SoloStart, signal: AbortSignal | undefined) {
    super();
    this.#blobs = first.blobs;
    this.#solo = new Solo(first, {
      progress: (progress) => this.#progress(progress),
      readable: () => this.#wake(),
    });
    const onAbort = (): void => this.#solo.end(killedExit());
    signal?.addEventListener('abort', onAbort, { once: true });
    this.result = this.#solo.result
      .then((end) => {
        if (signal?.aborted === true && end.kind === 'ended' && end.exit.reason === 'killed')
          throw signal.reason;
        return this.#resultOf(end);
      })
      .finally(() => signal?.removeEventListener('abort', onAbort));
    this.result.catch(() => undefined);
  }

  /** Its output as it comes, to the end; several readers share the pieces. With nobody reading, the shard waits after some 32 MiB. */
  get output(): AsyncIterable<OutputPiece> {
    return { [Symbol.asyncIterator]: () => this.#pieces() };
  }

  /**
   * Stops it and gives everything that is needed to go on; `result` then says `paused`. Asked for more than once, it stops
   * at the earliest of the positions, and everybody who asked gets the same capsule.
   *
   * @param options.atFuel stop exactly there: the same instruction on every machine; at once when it is past that
   * @throws SherdError `SHERD_STATE` when it ended before
   */
  async pause(options: { readonly atFuel?: bigint } = {}): Promise<Capsule> {
    const atFuel = options.atFuel === undefined ? null : fuel('atFuel', options.atFuel);
    this.#solo.pause(atFuel);
    const end = await this.#solo.result;
    if (end.kind === 'paused') return end.bundle;
    throw new SherdError(
      'SHERD_STATE',
      `the program ended before it could be paused (${end.exit.reason})`,
    );
  }

  /** Ends it; `result` then says `killed`. */
  kill(): void {
    this.#solo.end(killedExit());
  }

  /** Ends it if it still runs, and waits for that: `await using shard = await start(module)`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.result.catch(() => undefined);
  }

  async *#pieces(): AsyncGenerator<OutputPiece> {
    for (;;) {
      const piece = this.#solo.read();
      if (piece !== undefined) {
        if (piece.stream !== 'artifact') yield { stream: piece.stream, bytes: piece.bytes };
        continue;
      }
      if (this.#solo.ended) return;
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve);
      });
    }
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  #progress(progress: RunProgress): void {
    const { state, fuelPerSecond, activity, safepoint } = progress;
    const detail: ShardProgress = { ...state, fuelPerSecond, activity, safepoint };
    this.dispatchEvent(new CustomEvent('progress', { detail }));
  }

  #resultOf(end: SoloEnd): ShardResult {
    const { fuelUsed, memoryBytes, ranMs } = end.state;
    if (end.kind === 'paused') {
      const nothing = {
        message: '',
        guestStack: [],
        results: new Uint8Array(0),
        file: () => undefined,
      };
      return { reason: 'paused', code: EXIT.paused, ...nothing, fuelUsed, memoryBytes, ranMs };
    }
    const trees = end.trees === null ? [] : decodeTrees(end.trees);
    const file = (path: string): Uint8Array | undefined => fileIn(trees, this.#blobs, path);
    return { ...end.exit, fuelUsed, memoryBytes, ranMs, file };
  }
}

function killedExit() {
  const code = EXIT.memoryOrKill;
  return {
    reason: 'killed',
    code,
    message: '',
    guestStack: [],
    results: new Uint8Array(0),
  } as const;
}

async function specOf(
  module: ShardModule,
  start: CheckedStart,
  blobs: Map<Hash, Uint8Array>,
): Promise<ShardSpec> {
  const { name, maxMemoryPages } = start;
  checkRoom(module, maxMemoryPages, {
    at: undefined,
    option: 'maxMemoryBytes',
    show: (bytes) => `${bytes} B`,
  });
  const put = async (hash: Hash, bytes: Uint8Array): Promise<void> => void blobs.set(hash, bytes);
  const dirs: DirectoryTree[] = [];
  for (const [guestPath, hostPath] of start.dirs) {
    dirs.push(await snapshotDirectory(hostPath, guestPath, false, put));
  }
  const stdin = await chunksOf(inOnePiece(start.stdin), put);
  return newSpec(module, { ...start, programName: name, stdin, dirs, priority: 0 }, name);
}

async function* inOnePiece(content: string | Uint8Array): AsyncGenerator<Uint8Array> {
  yield typeof content === 'string' ? new TextEncoder().encode(content) : content;
}

function fileIn(
  trees: readonly DirectoryTree[],
  blobs: ReadonlyMap<Hash, Uint8Array>,
  path: string,
): Uint8Array | undefined {
  for (const tree of trees) {
    const root = tree.guestPath === '/' ? '' : tree.guestPath;
    if (!path.startsWith(`${root}/`)) continue;
    let node: TreeNode | undefined = tree.root;
    for (const part of path.slice(root.length + 1).split('/')) {
      if (node?.kind !== 'dir') return undefined;
      node = node.entries.find(([name]) => name === part)?.[1];
    }
    if (node?.kind !== 'file') continue;
    return Buffer.concat(node.chunks.map((chunk) => blobs.get(chunk.hash) ?? new Uint8Array(0)));
  }
  return undefined;
}
