/**
 * Frames of the hub's socket.
 *
 * Does: encode, cut a byte stream into frames, check their shape. Does not: own sockets.
 *
 *   u32 length, little-endian ‖ msgpack array
 *
 *   client -> hub  ['hello', protocol, name]     first frame
 *                  ['interest', [prefix, …]]     all prefixes subscribed to; replaces the last one
 *   both ways      ['message', subject, payload]
 *                  ['changed', revision]         there is something new in the change log
 *   hub -> client  ['welcome', protocol]         or
 *                  ['refused', protocol]         the hub speaks that one; the connection ends
 *
 * F1  A frame that is too long or of another shape ends the connection: nothing is guessed.
 * F2  'hello', 'welcome' and 'refused' keep their shape in every protocol version.
 */
import { Packr, Unpackr } from 'msgpackr';
import { SherdError } from '../types/errors.js';
import { MAX_MESSAGE_BYTES } from '../types/fabric.js';

/**
 * Version of the frames drawn above, and of what those who share a directory must know of each other: since 2 that small
 * blobs lie in packs, where older ones do not look for them.
 */
export const HUB_PROTOCOL = 2;

export const MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + 4_096;
const HEADER_BYTES = 4;

export type Frame =
  | readonly ['hello', protocol: number, name: string]
  | readonly ['welcome', protocol: number]
  | readonly ['refused', protocol: number]
  | readonly ['interest', prefixes: readonly string[]]
  | readonly ['message', subject: string, payload: Uint8Array]
  | readonly ['changed', revision: number];

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, copyBuffers: true });

export function encodeFrame(frame: Frame): Buffer {
  const body = packr.pack(frame);
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  bytes.writeUInt32LE(body.length);
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

/** Cuts what a socket delivers into frames. */
export class FrameReader {
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** The frames that are complete now; undefined when something else than a frame came in: end the connection. */
  tryPush(chunk: Buffer): Frame[] | undefined {
    try {
      return [...this.push(chunk)];
    } catch {
      return undefined;
    }
  }

  /** The frames that are complete now. Throws at the first one that is not a frame. */
  *push(chunk: Buffer): Generator<Frame> {
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    while (this.#heldBytes >= HEADER_BYTES) {
      const length = this.#join(HEADER_BYTES).readUInt32LE();
      if (length > MAX_FRAME_BYTES) throw malformed(`a frame of ${length} bytes`);
      if (this.#heldBytes < HEADER_BYTES + length) return;
      const all = this.#join(HEADER_BYTES + length);
      const body = all.subarray(HEADER_BYTES, HEADER_BYTES + length);
      const rest = all.subarray(HEADER_BYTES + length);
      this.#held[0] = rest;
      this.#heldBytes -= HEADER_BYTES + length;
      yield decodeFrame(body);
    }
  }

  /** The first held buffer, made at least this long. */
  #join(bytes: number): Buffer {
    if (this.#held[0] === undefined || this.#held[0].length < bytes) {
      this.#held = [Buffer.concat(this.#held)];
    }
    return this.#held[0]!;
  }
}

function decodeFrame(body: Buffer): Frame {
  let value: unknown;
  try {
    value = unpackr.unpack(new Uint8Array(body.buffer, body.byteOffset, body.byteLength));
  } catch (cause) {
    throw malformed('not msgpack', cause);
  }
  if (!isFrame(value)) throw malformed('an unknown frame');
  return value;
}

function isFrame(value: unknown): value is Frame {
  if (!Array.isArray(value)) return false;
  const [kind, first, second] = value as unknown[];
  switch (kind) {
    case 'hello':
      return isCount(first) && typeof second === 'string';
    case 'welcome':
    case 'refused':
    case 'changed':
      return isCount(first);
    case 'interest':
      return Array.isArray(first) && first.every((prefix) => typeof prefix === 'string');
    case 'message':
      return typeof first === 'string' && second instanceof Uint8Array;
    default:
      return false;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function malformed(what: string, cause?: unknown): SherdError {
  return new SherdError('SHERD_FABRIC', `malformed data on the hub's socket: ${what}`, { cause });
}
