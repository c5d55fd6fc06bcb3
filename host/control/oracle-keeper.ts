/**
 * Keeps what the oracle has learned in the fabric, so that a new control goes on where the old one was.
 *
 *     oracle.save() ──deflate, off this thread──▶ blob ◀── record `oracle`: hash, length, writer
 *     start: record ──▶ blob ──▶ oracle.load()                    what cannot be read: begin anew, one line in the trace
 *
 * Does: save every SAVE_MS and at the end, read at the start. Does not: know what is in the bytes (oracle/nodes.ts does).
 *
 * K1  The blob is there before the record names it; its hash guards every byte. What the record named before is garbage then.
 * K2  Nothing depends on it: a save that fails is made again later, a state that is missing, damaged or older is no error.
 * K3  Of two controls the one that holds the lease writes; a write that meets another's begins from that one's revision.
 * K4  Saving costs this thread a copy of the state, its history as text, and a hash of what is stored. A large state is saved less
 *     often: SAVE_MS for every SAVE_BYTES. A training that is under way is waited for, at most TRAINING_MS: it begins anew after
 *     a save, and one that takes long would never end.
 */
import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import type { Oracle } from '../oracle/oracle.js';
import { decodeRecord, encodeRecord } from '../types/codec.js';
import type { Fabric } from '../types/fabric.js';
import type { Hash, Platform } from '../types/platform.js';
import { KEY, type OracleRecord } from '../types/records.js';

const SAVE_MS = 60_000;
/** A training goes on with the samples: some 200 pieces, one for each of a lone node. */
const TRAINING_MS = 600_000;
const SAVE_BYTES = 4 * 1_048_576;
/** No state is larger: 4,096 series and all models take less. */
const STATE_MAX_BYTES = 1_024 * 1_048_576;
const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw);

export interface OracleKeeperOptions {
  readonly fabric: Fabric;
  readonly platform: Platform;
  readonly oracle: Oracle;
  readonly writer: string;
  /** The clock of the oracle's samples. */
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** So many bytes of blobs are named by nobody any more. */
  readonly fell: (bytes: number) => void;
}

export class OracleKeeper {
  readonly #options: OracleKeeperOptions;
  #revision = 0;
  #storedBytes = 0;
  #attempt = 0;
  #savedMs: number;
  #pauseMs = SAVE_MS;
  #saving: Promise<void> | undefined;

  constructor(options: OracleKeeperOptions) {
    this.#options = options;
    this.#savedMs = options.nowMs();
  }

  /** Takes up what was saved. Why the oracle begins anew, for the trace; null: it goes on, or nothing was ever saved. */
  async recall(): Promise<string | null> {
    try {
      const record = await this.#read();
      if (record === null) return null;
      const { fabric, oracle, nowMs, wallMs } = this.#options;
      const packed = await fabric.blobs.get(record.blob);
      if (packed === undefined) return `its state ${record.blob.slice(0, 12)} is not in the store`;
      const bytes = await inflate(packed, { maxOutputLength: STATE_MAX_BYTES });
      oracle.load(new Uint8Array(bytes), nowMs(), wallMs());
      return null;
    } catch (cause) {
      return cause instanceof Error ? cause.message : String(cause);
    }
  }

  /** Begins to save when it is time. */
  look(): void {
    const { nowMs, oracle } = this.#options;
    const lateMs = nowMs() - this.#savedMs - this.#pauseMs;
    if (lateMs < 0 || (oracle.isTraining && lateMs < TRAINING_MS)) return;
    void this.save();
  }

  /** Saves now, or waits for the save that is under way. Never throws (K2). */
  save(): Promise<void> {
    this.#saving ??= this.#save()
      .catch(() => undefined)
      .finally(() => {
        this.#saving = undefined;
      });
    return this.#saving;
  }

  async #save(): Promise<void> {
    const { fabric, platform, oracle, writer, nowMs, wallMs, fell } = this.#options;
    this.#savedMs = nowMs();
    const bytes = oracle.save(nowMs(), wallMs());
    this.#pauseMs = SAVE_MS * Math.max(1, Math.ceil(bytes.length / SAVE_BYTES));
    const packed = new Uint8Array(await deflate(bytes, { level: 1 }));
    const blob = platform.sha256(packed);
    await fabric.blobs.put(blob, packed, { hashed: true });
    this.#attempt += 1;
    const facts = { blob, bytes: packed.length, writer, attempt: this.#attempt };
    const record: OracleRecord = { v: 1, ...facts };
    const outcome = await fabric.records.compareAndSet(
      KEY.oracle,
      this.#revision,
      encodeRecord(record),
    );
    if (outcome.kind === 'ok') {
      fell(this.#storedBytes);
      this.#revision = outcome.revision;
      this.#storedBytes = packed.length;
      return;
    }
    // Ours landed unseen, or another control's is there: the next save begins from what the store shows (K3).
    await this.#read();
    fell(packed.length);
  }

  async #read(): Promise<OracleRecord | null> {
    const entry = await this.#options.fabric.records.get(KEY.oracle);
    if (entry === undefined) return null;
    this.#revision = entry.revision;
    const record = decodeRecord<OracleRecord>(entry.value, entry.key);
    this.#storedBytes = record.bytes;
    return record;
  }
}

/** The blob that the oracle's record names, as the store has it; none when the record cannot be read (K2). */
export async function oracleBlobs(fabric: Fabric): Promise<readonly Hash[]> {
  const entry = await fabric.records.get(KEY.oracle);
  if (entry === undefined) return [];
  try {
    return [decodeRecord<OracleRecord>(entry.value, entry.key).blob];
  } catch {
    return [];
  }
}
