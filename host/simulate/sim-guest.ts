/**
 * A simulated program: work is fuel, its state a few numbers, its output lines that depend on when they were computed.
 *
 * Does: advance by fuel, write a line every so often, stop exactly at a fuel value, capture and restore itself.
 * Does not: compute anything useful.
 *
 * Each line holds the time at which it was computed. So a re-execution writes other bytes, and the digest of all lines in the state
 * tells whether what was released belongs to the one execution that counted: output that left before a commit covered it
 * cannot match.
 */
import { decodePlain, encodePlain } from '../types/pack.js';

export interface SimSpec {
  readonly totalFuel: bigint;
  readonly fuelPerLine: bigint;
  readonly maxFuel: bigint;
  readonly maxTimeMs: number;
}

export interface SimState {
  readonly fuelUsed: bigint;
  readonly lines: number;
  readonly digest: number;
}

export const SIM_START: SimState = { fuelUsed: 0n, lines: 0, digest: 0x811c9dc5 };

/** What a run of all of it must end with. */
export function expectedLines(spec: SimSpec): number {
  return Number(spec.totalFuel / spec.fuelPerLine);
}

export function digestOf(digest: number, line: string): number {
  let hash = digest;
  for (let i = 0; i < line.length; i++)
    hash = Math.imul(hash ^ line.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

export class SimGuest {
  readonly spec: SimSpec;
  #state: SimState;
  #output = '';
  /** Stands for a capture or at its stop. */
  standing = false;
  stopAtFuel: bigint | null = null;
  ranMs = 0;

  constructor(spec: SimSpec, state: SimState) {
    this.spec = spec;
    this.#state = state;
  }

  get state(): SimState {
    return this.#state;
  }

  get outputBytes(): number {
    return this.#output.length;
  }

  get over(): boolean {
    return this.#state.fuelUsed >= this.spec.totalFuel;
  }

  get atStop(): boolean {
    return this.stopAtFuel !== null && this.#state.fuelUsed >= this.stopAtFuel;
  }

  /** Runs on by at most this much fuel; stops exactly at `stopAtFuel` and at the end. */
  run(fuel: bigint, nowMs: number, by: string): void {
    const { totalFuel, fuelPerLine } = this.spec;
    let { fuelUsed, lines, digest } = this.#state;
    const stop = this.stopAtFuel ?? totalFuel;
    const room = [fuel, stop - fuelUsed, totalFuel - fuelUsed].reduce((a, b) => (b < a ? b : a));
    const end = fuelUsed + (room > 0n ? room : 0n);
    for (let next = (fuelUsed / fuelPerLine + 1n) * fuelPerLine; next <= end; next += fuelPerLine) {
      const line = `${lines} ${nowMs.toFixed(2)} ${by}\n`;
      lines += 1;
      digest = digestOf(digest, line);
      this.#output += line;
    }
    fuelUsed = end;
    this.#state = { fuelUsed, lines, digest };
  }

  drain(): string {
    const output = this.#output;
    this.#output = '';
    return output;
  }
}

export function encodeState(state: SimState, shardId: string, epoch: number): Uint8Array {
  return encodePlain({ ...state, shardId, epoch });
}

export function decodeState(bytes: Uint8Array): SimState {
  const { fuelUsed, lines, digest } = decodePlain(bytes) as SimState;
  return { fuelUsed: BigInt(fuelUsed), lines, digest };
}

export function decodeSpec(bytes: Uint8Array): SimSpec {
  return decodePlain(bytes) as SimSpec;
}
