/**
 * A little room on the disk that is set aside, so that a full disk can be cleaned up: even removing a name takes the record
 * store some new pages.
 *
 *     full:   │ packs, blobs, records                          │ reserve │
 *     collect │ packs, blobs, records            │ pages       │           given up first, set aside again at the end
 *
 * Does: make and remove one file. Does not: decide when a disk is full.
 *
 * R1  Without room for it there is none: that is no error, and it is tried again at the next opening and collection.
 */
import { randomBytes } from 'node:crypto';
import { rmSync, statSync, writeFileSync } from 'node:fs';

/** Many times what a transaction of the record store writes. */
export const RESERVE_BYTES = 256 * 1024;

/** Bytes of which no file system could save the room. */
export function setRoomAside(path: string): void {
  try {
    if (statSync(path, { throwIfNoEntry: false })?.size === RESERVE_BYTES) return;
    writeFileSync(path, randomBytes(RESERVE_BYTES), { mode: 0o600 });
  } catch {
    giveRoom(path); // not half of it
  }
}

export function giveRoom(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A directory that may not be written to: then there is nothing to clean up either.
  }
}
