/**
 * One shard in a worker thread of this process, without a cluster: what the library's `start` and `resume` give.
 *
 *   Solo ── load, run, capture, end ──▶ WorkerPool (one thread) ──▶ worker
 *        ◀── progress, output, captured, ended ──
 *
 * Does: hold the shard's blobs in memory, hand its output on as it comes, keep its quotas, make bundles of it.
 * Does not: write anything to disk, survive this process.
 *
 * S1  `result` is settled exactly once: ended, paused, or failed.
 * S2  Output is handed on in order, all of it before `result` is settled; nobody reading it stops the shard after
 *     OUTPUT_HELD_BYTES here and as much again in the worker, as with a pipe.
 * S3  After a pause the bundle is the only copy: the thread is gone.
 */
import { decodeCapsule, encodeBundle, headerOf } from '../capsule/index.js';
import { decodeStagedImage, isStagedImage } from '../capsule/staged-image.js';
import { EXIT, invariant, SherdError } from '../types/errors.js';
import type { Hash } from '../types/hash.js';
import type { OutputPiece } from '../types/host.js';
import type { ShardExit } from '../types/records.js';
import { after } from './after.js';
import { nodePlatform } from './platform.js';
import { WorkerPool } from './pool.js';
import type {
  Captured,
  Harvest,
  RunProgress,
  RunState,
  StagedRest,
  WorkerError,
  WorkerReport,
} from './worker-messages.js';

/** Output kept here for a reader that is slow. */
const OUTPUT_HELD_BYTES = 16 * 1024 * 1024;
const PRIORITY = 0;

export interface SoloStart {
  readonly name: string;
  readonly module: { readonly moduleHash: Hash; readonly bytes: Uint8Array };
  readonly specHash: Hash;
  readonly spec: Uint8Array;
  /** Null: from the beginning. */
  readonly capsule: Uint8Array | null;
  /** Running time before this, for the time quota. */
  readonly ranMs: number;
  /** Inputs and files by hash. Grows with what the guest writes. */
  readonly blobs: Map<Hash, Uint8Array>;
}

export type SoloEnd =
  | {
      readonly kind: 'ended';
      readonly exit: ShardExit;
      readonly state: RunState;
      readonly trees: Uint8Array | null;
    }
  | {
      readonly kind: 'paused';
      readonly bundle: Uint8Array;
      readonly state: RunState;
      readonly capsuleBytes: number;
    };

export interface SoloEvents {
  progress(progress: RunProgress): void;
  /** There may be something to `read`, or the end has come. */
  readable(): void;
}

/** The image that the capsule is based on, when the bundle has it; null: none, or the load says what is missing. */
function stagedOf({ capsule, blobs }: SoloStart): StagedRest | null {
  const base = capsule === null ? null : headerOf(capsule, nodePlatform).base;
  const image = base === null ? undefined : blobs.get(base);
  if (base === null || image === undefined || !isStagedImage(image)) return null;
  const { pages, batches } = decodeStagedImage(image, base);
  const missing = batches.map((hash, index) => {
    const bytes = blobs.get(hash);
    if (bytes !== undefined) return { index, hash, bytes };
    throw new SherdError('SHERD_CAPSULE_INCOMPLETE', 'a batch of its memory is not in the file', {
      at: hash,
    });
  });
  return { image: base, pages, batches, missing };
}

export class Solo {
  readonly result: Promise<SoloEnd>;
  readonly #start: SoloStart;
  readonly #events: SoloEvents;
  readonly #pool: WorkerPool;
  readonly #run: number;
  #settle!: (end: SoloEnd) => void;
  #fail!: (cause: unknown) => void;
  #settled = false;
  #output: OutputPiece[] = [];
  #outputBytes = 0;
  #outputWaits = false;
  #maxFuel = 0n;
  #timed = false;
  #pauseAt: bigint | null = null;
  #loaded = false;
  #capturing = false;
  #callOffQuota: (() => void) | undefined;

  constructor(start: SoloStart, events: SoloEvents) {
    this.#start = start;
    this.#events = events;
    this.result = new Promise((resolve, reject) => {
      this.#settle = resolve;
      this.#fail = reject;
    });
    this.result.catch(() => undefined); // whoever awaits it sees it
    this.#pool = new WorkerPool({
      workers: 1,
      report: (report) => this.#report(report),
      lost: (_run, error) => this.#failed(error),
    });
    this.#run = this.#pool.nextRun();
    const takeUp = {
      run: this.#run,
      shardId: start.name,
      moduleHash: start.module.moduleHash,
      specHash: start.specHash,
      spec: start.spec,
      capsule: start.capsule,
      capsuleVerified: false,
      staged: stagedOf(start),
      priority: PRIORITY,
    };
    this.#pool.load(0, takeUp, start.module.bytes);
  }

  /** The next piece of output; undefined when there is none at the moment (`ended` says whether there will be). */
  read(): OutputPiece | undefined {
    const piece = this.#output.shift();
    if (piece === undefined) return undefined;
    this.#outputBytes -= piece.bytes.length;
    if (this.#outputWaits && this.#outputBytes < OUTPUT_HELD_BYTES) this.#takeOutput();
    return piece;
  }

  get ended(): boolean {
    return this.#settled;
  }

  /**
   * Stops it at `atFuel` (null: at the next safepoint); `result` becomes the bundle, unless it ends before. Of several
   * positions the earliest counts.
   */
  pause(atFuel: bigint | null): void {
    if (this.#settled) return;
    // Zero lies behind every position: the guest stops at once.
    const at = atFuel ?? 0n;
    if (this.#pauseAt !== null && this.#pauseAt <= at) return;
    this.#pauseAt = at;
    if (this.#loaded && !this.#capturing) this.#applyStop('set-stop');
  }

  /** Ends it with this exit. */
  end(exit: ShardExit): void {
    if (!this.#settled) this.#pool.send(this.#run, { kind: 'end', run: this.#run, exit });
  }

  #report(report: WorkerReport): void {
    if (this.#settled) return;
    switch (report.kind) {
      case 'prepared':
        if (report.error !== null) this.#failed(report.error);
        break;
      case 'loaded':
        this.#onLoaded(report.maxFuel, report.maxTimeMs);
        break;
      case 'load-failed':
      case 'crashed':
      case 'capture-failed':
        this.#failed(report.error);
        break;
      case 'progress':
        for (const progress of report.runs) this.#onProgress(progress);
        break;
      case 'output':
        this.#addOutput(report.pieces);
        break;
      case 'reached':
        this.#onReached(report.state);
        break;
      case 'need-blob': {
        const bytes = this.#start.blobs.get(report.hash) ?? null;
        this.#pool.send(this.#run, { kind: 'blob', hash: report.hash, bytes });
        break;
      }
      case 'captured':
        this.#onCaptured(report.captured);
        break;
      case 'ended':
        this.#takeHarvest(report.harvest);
        this.#end({
          kind: 'ended',
          exit: report.exit,
          state: report.state,
          trees: report.harvest.trees,
        });
        break;
      default:
        break; // ready, running, dropped, inspected
    }
  }

  #onLoaded(maxFuel: bigint, maxTimeMs: number): void {
    this.#loaded = true;
    this.#maxFuel = maxFuel;
    if (maxTimeMs > 0) {
      this.#timed = true;
      const leftMs = Math.max(0, maxTimeMs - this.#start.ranMs);
      this.#callOffQuota = after(leftMs, () => this.end(quotaExit('time-quota')));
    }
    this.#applyStop('run');
  }

  #applyStop(kind: 'run' | 'set-stop'): void {
    const quota = this.#maxFuel > 0n ? this.#maxFuel : null;
    const pauseFirst = this.#pauseAt !== null && (quota === null || this.#pauseAt <= quota);
    const stopAtFuel = pauseFirst ? this.#pauseAt : quota;
    this.#pool.send(this.#run, { kind, run: this.#run, stopAtFuel });
  }

  #onProgress(progress: RunProgress): void {
    if (progress.outputBytes > 0) {
      if (this.#outputBytes < OUTPUT_HELD_BYTES) this.#takeOutput();
      else this.#outputWaits = true;
    }
    this.#events.progress(progress);
  }

  #takeOutput(): void {
    this.#outputWaits = false;
    this.#pool.send(this.#run, { kind: 'take-output', run: this.#run });
  }

  #onReached(state: RunState): void {
    const pausing = this.#pauseAt !== null && state.fuelUsed >= this.#pauseAt;
    if (!pausing) {
      this.end(quotaExit('fuel-quota'));
      return;
    }
    this.#capturing = true;
    this.#pool.send(this.#run, {
      kind: 'capture',
      run: this.#run,
      id: 'pause',
      hold: true,
      epoch: 0,
      staged: null,
    });
  }

  #onCaptured(captured: Captured): void {
    this.#takeHarvest(captured.harvest);
    const { capsule, state } = captured;
    try {
      const bundle = this.#bundle(capsule, state.ranMs);
      this.#end({ kind: 'paused', bundle, state, capsuleBytes: capsule.length });
    } catch (cause) {
      this.#finish();
      this.#fail(cause);
    }
  }

  #bundle(capsule: Uint8Array, ranMs: number): Uint8Array {
    const { header } = decodeCapsule(capsule, nodePlatform);
    const blobs = new Map<Hash, Uint8Array>();
    for (const hash of header.references) {
      const bytes = this.#start.blobs.get(hash);
      invariant(bytes !== undefined, `blob ${hash} is at hand`);
      blobs.set(hash, bytes);
    }
    const { module, spec, ranMs: before } = this.#start;
    const time = this.#timed ? { ranMs: before + ranMs } : {};
    return encodeBundle({ capsule, module: module.bytes, spec, blobs, ...time }, nodePlatform);
  }

  #takeHarvest(harvest: Harvest): void {
    for (const [hash, bytes] of harvest.blobs) this.#start.blobs.set(hash, bytes);
    this.#addOutput(harvest.output);
  }

  #addOutput(pieces: readonly OutputPiece[]): void {
    for (const piece of pieces) {
      this.#output.push(piece);
      this.#outputBytes += piece.bytes.length;
    }
    if (pieces.length > 0) this.#events.readable();
  }

  #failed(error: WorkerError): void {
    const { code, message, at, next } = error;
    const details = {
      at: at ?? this.#start.name,
      next: next ?? undefined,
      exitCode: EXIT.failedLater,
    };
    this.#finish();
    this.#fail(new SherdError(code, message, details));
  }

  #end(end: SoloEnd): void {
    this.#finish();
    this.#settle(end);
  }

  #finish(): void {
    this.#settled = true;
    this.#callOffQuota?.();
    this.#events.readable();
    void this.#pool.close();
  }
}

function quotaExit(reason: 'fuel-quota' | 'time-quota'): ShardExit {
  const message = reason === 'fuel-quota' ? 'fuel quota used up' : 'time quota used up';
  return { reason, code: EXIT.quota, message, guestStack: [], results: new Uint8Array(0) };
}
