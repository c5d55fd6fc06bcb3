/**
 * WASI preview 1 error numbers, and the two ways in which a host function leaves early.
 *
 * Does: name the numbers; define `WasiError` (the call fails with this errno) and `NeedBlob` (the call must wait).
 * Does not: decide which one applies.
 *
 * N1  Both exceptions are thrown before the call has had any visible effect; `preview1.ts` catches them all.
 */
import type { Hash } from '../../types/platform.js';

export const ERRNO = {
  success: 0,
  toobig: 1,
  acces: 2,
  badf: 8,
  busy: 10,
  exist: 20,
  fault: 21,
  fbig: 22,
  ilseq: 25,
  inval: 28,
  io: 29,
  isdir: 31,
  loop: 32,
  mfile: 33,
  mlink: 34,
  nametoolong: 37,
  noent: 44,
  nospc: 51,
  nosys: 52,
  notdir: 54,
  notempty: 55,
  notsock: 57,
  notsup: 58,
  overflow: 61,
  perm: 63,
  range: 68,
  rofs: 69,
  spipe: 70,
  xdev: 75,
  notcapable: 76,
} as const;

export type ErrnoName = keyof typeof ERRNO;

/** The call fails with this errno. No stack is kept: it is an everyday answer, not a defect. */
export class WasiError {
  constructor(readonly errno: number) {}
}

/** The call needs a blob that is not at hand. */
export class NeedBlob {
  constructor(readonly hash: Hash) {}
}

/** Fails the call. */
export function fail(name: ErrnoName): never {
  throw new WasiError(ERRNO[name]);
}

/** Fails the call with `name` unless the condition holds. */
export function check(condition: boolean, name: ErrnoName): asserts condition {
  if (!condition) fail(name);
}
