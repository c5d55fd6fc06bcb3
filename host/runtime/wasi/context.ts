/**
 * What every WASI call works on.
 *
 * Does: define the shard's WASI state, the arguments of one call, and the table of calls.
 * Does not: implement a call (calls-*.ts) or bind them to an instance (preview1.ts).
 *
 * C1  A call first checks everything and gathers its blobs (it may throw WasiError or NeedBlob), then acts.
 */
import type { HostControl, OutputPiece } from '../../types/host.js';
import type { GuestMemory } from './abi.js';
import type { GuestClock } from './clock.js';
import type { FileContent } from './content.js';
import type { Descriptors } from './descriptors.js';
import type { Inodes } from './inodes.js';
import type { GuestRandom } from './random.js';

export interface WasiState {
  readonly args: readonly Uint8Array[];
  readonly env: readonly Uint8Array[];
  readonly inodes: Inodes;
  readonly descriptors: Descriptors;
  readonly clock: GuestClock;
  readonly random: GuestRandom;
  readonly stdin: FileContent;
  readonly output: OutputBuffer;
}

export interface CallContext extends WasiState {
  readonly memory: GuestMemory;
  readonly control: HostControl;
}

/** Raw arguments of one call. */
export class CallArgs {
  constructor(readonly raw: readonly (number | bigint)[]) {}

  u32(index: number): number {
    return Number(this.raw[index]) >>> 0;
  }

  u64(index: number): bigint {
    return BigInt.asUintN(64, BigInt(this.raw[index] ?? 0));
  }

  s64(index: number): bigint {
    return BigInt.asIntN(64, BigInt(this.raw[index] ?? 0));
  }
}

/** A call: fails by throwing, else has succeeded. */
export type WasiCall = (context: CallContext, args: CallArgs) => void;

/** By name: the Wasm signature (`i` i32, `I` i64; results after `:`), and the call. */
export type CallTable = Readonly<Record<string, readonly [signature: string, call: WasiCall]>>;

const PIECE_BYTES_MIN = 4096;
/** More output than this ends the quantum, so that it can be drained. */
const OUTPUT_BURST_BYTES = 4 * 1024 * 1024;

/** Output since the last drain, in order; neighbours of one stream are joined. */
export class OutputBuffer {
  #bytes = 0;
  #pieces: { stream: OutputPiece['stream']; data: Uint8Array; bytes: number }[] = [];

  /** Is there room for so many bytes before a drain? A write that is larger than all room has it when it is the first. */
  hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= OUTPUT_BURST_BYTES;
  }

  push(stream: OutputPiece['stream'], source: Uint8Array): void {
    if (source.length === 0) return;
    this.#bytes += source.length;
    let last = this.#pieces.at(-1);
    if (last === undefined || last.stream !== stream) {
      const data = new Uint8Array(Math.max(source.length, PIECE_BYTES_MIN));
      last = { stream, data, bytes: 0 };
      this.#pieces.push(last);
    } else if (last.bytes + source.length > last.data.length) {
      const data = new Uint8Array(Math.max(last.data.length * 2, last.bytes + source.length));
      data.set(last.data.subarray(0, last.bytes));
      last.data = data;
    }
    last.data.set(source, last.bytes);
    last.bytes += source.length;
  }

  drain(): OutputPiece[] {
    const pieces = this.#pieces.map(({ stream, data, bytes }) => {
      return { stream, bytes: data.slice(0, bytes) };
    });
    this.#pieces = [];
    this.#bytes = 0;
    return pieces;
  }
}
