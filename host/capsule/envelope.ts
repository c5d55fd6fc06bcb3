/**
 * The envelope: named byte sections under one root hash. Capsules and bundles are both envelopes.
 *
 * Does: lay sections out in one buffer, hash them, and on reading refuse whatever is not exactly what was written.
 * Does not: know what a section means (capsule.ts, bundle.ts), compress or encrypt (the entry has room for both).
 *
 *        0        8        12       16       24       32                              64
 *       ┌────────┬────────┬────────┬────────┬────────┬───────────────────────────────┐
 *     0 │ magic  │version │ table  │ total  │ zero   │ root hash: SHA-256 of bytes   │
 *       │        │ u32    │bytes u32│bytes u64│ u64   │ 0..32 and of the whole table  │
 *       ├──┬──┬──┼────────┼────────┼────────┼────────┼───────────────────────────────┤
 *    64 │id│fl│cs│ zero   │ offset │ stored │ plain  │ SHA-256 of the section's      │  one entry a section,
 *       │  │  │  │ u16    │ u64    │bytes u64│bytes u64│ plain bytes                  │  ascending (id, hash)
 *       ├──┴──┴──┴────────┴────────┴────────┴────────┴───────────────────────────────┤
 *       │ … entries …                                                                │
 *       ├────────────────────────────────────────────────────────────────────────────┤
 *       │ section bytes, back to back, in table order, to the end of the file        │
 *       └────────────────────────────────────────────────────────────────────────────┘
 *
 *     id u16   what it is       fl u16   bit 0: a reader that does not know the id must refuse
 *     cs u16   low byte: compression (0 none), high byte: encryption (0 none). Later: a key id section, a signature
 *              section, a base hash in the capsule's header.
 *     All integers are little-endian.
 *
 * V1  The 64-byte prologue, the root hash rule and the entry's shape never change: any version's reader can tell a
 *     damaged file from a newer one.
 * V2  Every bit of the file is under a hash: prologue and table under the root, sections under their entry.
 * V3  There are no gaps: offsets are implied by sizes and checked.
 * V4  One file for one list of sections: reserved bytes are zero, and every known section is marked as it always is.
 * V5  Reading allocates nothing in proportion to a number in the file before that number has been checked against
 *     the file's own length. Sections are views.
 */
import { SherdError } from '../types/errors.js';
import type { Hash, Platform } from '../types/platform.js';
import { bytesToHex, hexToBytes } from './bytes.js';

export const PROLOGUE_BYTES = 64;
export const ENTRY_BYTES = 64;
const VERSION_AT = 8;
const HASHED_PROLOGUE_BYTES = 32;
const FLAG_REQUIRED = 1;
const MAGIC_BYTES = 8;

/** Says what is read, for messages, and how its sections are called. */
export interface EnvelopeKind {
  readonly magic: Uint8Array;
  /** e.g. `capsule`. */
  readonly noun: string;
  /** The format version that is written; it and all before it are read. */
  readonly version: number;
  readonly sectionName: (id: number) => string | undefined;
  /** Sections that are marked as not required; all others that are known are required. */
  readonly optional?: readonly number[];
}

export interface SectionPlan {
  readonly id: number;
  readonly required: boolean;
  readonly bytes: number;
  /** The hash where it is known already; then `seal` does not compute it again. */
  readonly hash?: Hash;
}

export interface Section {
  readonly id: number;
  readonly name: string;
  readonly required: boolean;
  readonly hash: Hash;
  /** A view of the file. */
  readonly bytes: Uint8Array;
}

export interface Layout {
  /** The whole file; the sections are still to be written. */
  readonly bytes: Uint8Array;
  /** Where each section goes, in the order of the plan. */
  readonly sections: readonly Uint8Array[];
}

/** The magic number of an envelope: 0x89, five letters, CR LF or LF SUB — a transfer in text mode breaks it. */
export function magicOf(letters: string): Uint8Array {
  return Uint8Array.of(0x89, ...Array.from(letters, (each) => each.charCodeAt(0)), 0x0d, 0x0a);
}

export function hasMagic(bytes: Uint8Array, magic: Uint8Array): boolean {
  return bytes.length >= MAGIC_BYTES && magic.every((each, i) => bytes[i] === each);
}

/** Gives memory for a file: exactly so many bytes, with any content. */
export type Allocate = (bytes: number) => Uint8Array;

/** Allocates the file for these sections (in table order) and writes all but hashes and section bytes. */
export function layOut(
  kind: EnvelopeKind,
  plans: readonly SectionPlan[],
  allocate: Allocate = (bytes) => new Uint8Array(bytes),
  version = kind.version,
): Layout {
  const tableBytes = plans.length * ENTRY_BYTES;
  let totalBytes = PROLOGUE_BYTES + tableBytes;
  for (const plan of plans) totalBytes += plan.bytes;
  const bytes = allocate(totalBytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  bytes.fill(0, 0, PROLOGUE_BYTES + tableBytes);
  bytes.set(kind.magic);
  view.setUint32(VERSION_AT, version, true);
  view.setUint32(12, tableBytes, true);
  view.setBigUint64(16, BigInt(totalBytes), true);
  const sections: Uint8Array[] = [];
  let offset = PROLOGUE_BYTES + tableBytes;
  plans.forEach((plan, i) => {
    const at = PROLOGUE_BYTES + i * ENTRY_BYTES;
    view.setUint16(at, plan.id, true);
    view.setUint16(at + 2, plan.required ? FLAG_REQUIRED : 0, true);
    view.setBigUint64(at + 8, BigInt(offset), true);
    view.setBigUint64(at + 16, BigInt(plan.bytes), true);
    view.setBigUint64(at + 24, BigInt(plan.bytes), true);
    sections.push(bytes.subarray(offset, offset + plan.bytes));
    offset += plan.bytes;
  });
  return { bytes, sections };
}

/** Writes the hashes, once all sections are written. */
export function seal(layout: Layout, plans: readonly SectionPlan[], platform: Platform): void {
  layout.sections.forEach((section, i) => {
    const hash = plans[i]?.hash ?? platform.sha256(section);
    layout.bytes.set(hexToBytes(hash), PROLOGUE_BYTES + i * ENTRY_BYTES + 32);
  });
  const tableBytes = layout.sections.length * ENTRY_BYTES;
  layout.bytes.set(hexToBytes(rootHash(layout.bytes, tableBytes, platform)), HASHED_PROLOGUE_BYTES);
}

function rootHash(bytes: Uint8Array, tableBytes: number, platform: Platform): Hash {
  const hashed = new Uint8Array(HASHED_PROLOGUE_BYTES + tableBytes);
  hashed.set(bytes.subarray(0, HASHED_PROLOGUE_BYTES));
  hashed.set(bytes.subarray(PROLOGUE_BYTES, PROLOGUE_BYTES + tableBytes), HASHED_PROLOGUE_BYTES);
  return platform.sha256(hashed);
}

/** Why reading stopped. `at` names the file or blob, when the caller knows it. */
export function damaged(noun: string, section: string, reason: string, at?: string): SherdError {
  return new SherdError(
    'SHERD_CAPSULE_DAMAGED',
    `${noun} damaged in section ${section}: ${reason}`,
    {
      at,
      next: 'use another copy or an earlier capsule',
      exitCode: 2,
    },
  );
}

/** The refusal of what a later version wrote. */
export function newer(noun: string, reason: string, at?: string): SherdError {
  return new SherdError('SHERD_CAPSULE_VERSION', `${noun} ${reason}`, {
    at,
    next: 'read it with the version of sherd that wrote it',
    exitCode: 2,
  });
}

/** The format version of a verified envelope. */
export function versionOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(VERSION_AT, true);
}

/**
 * Reads and verifies a whole envelope. Order: shape, root hash, version, sections. `verified`: the caller has compared
 * the hash of all the bytes already, so those of the sections are not computed again.
 */
export function readEnvelope(
  kind: EnvelopeKind,
  bytes: Uint8Array,
  platform: Platform,
  at?: string,
  verified = false,
): Section[] {
  const fail = (reason: string): SherdError => damaged(kind.noun, 'envelope', reason, at);
  if (!hasMagic(bytes, kind.magic)) {
    throw fail(`it does not begin like a ${kind.noun}: it is none, or its first bytes are lost`);
  }
  if (bytes.length < PROLOGUE_BYTES) throw fail(`only ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const totalBytes = view.getBigUint64(16, true);
  if (totalBytes !== BigInt(bytes.length)) {
    throw fail(
      `${bytes.length} bytes of ${totalBytes}${totalBytes > bytes.length ? ' (cut short)' : ''}`,
    );
  }
  const tableBytes = view.getUint32(12, true);
  if (tableBytes % ENTRY_BYTES !== 0 || tableBytes > bytes.length - PROLOGUE_BYTES) {
    throw fail(`impossible section table of ${tableBytes} bytes`);
  }
  const root = bytesToHex(bytes.subarray(HASHED_PROLOGUE_BYTES, PROLOGUE_BYTES));
  if (rootHash(bytes, tableBytes, platform) !== root)
    throw fail('prologue and table do not match their hash');
  const version = versionOf(bytes);
  if (version < 1 || version > kind.version) {
    const known = kind.version === 1 ? '1' : `1 to ${kind.version}`;
    throw newer(kind.noun, `has format version ${version}; this sherd reads ${known}`, at);
  }
  if (view.getBigUint64(24, true) !== 0n) throw fail('reserved bytes are not zero');
  const check = verified ? undefined : platform;
  return readSections(kind, bytes, view, tableBytes / ENTRY_BYTES, check, at);
}

function readSections(
  kind: EnvelopeKind,
  bytes: Uint8Array,
  view: DataView,
  count: number,
  platform: Platform | undefined,
  at: string | undefined,
): Section[] {
  const sections: Section[] = [];
  let offset = PROLOGUE_BYTES + count * ENTRY_BYTES;
  let before = '';
  for (let i = 0; i < count; i++) {
    const entry = PROLOGUE_BYTES + i * ENTRY_BYTES;
    const id = view.getUint16(entry, true);
    const required = (view.getUint16(entry + 2, true) & FLAG_REQUIRED) !== 0;
    const known = kind.sectionName(id);
    const name = known ?? `number ${id}`;
    const storedBytes = view.getBigUint64(entry + 16, true);
    if (view.getBigUint64(entry + 8, true) !== BigInt(offset))
      throw damaged(kind.noun, name, 'misplaced', at);
    if (storedBytes > BigInt(bytes.length - offset))
      throw damaged(kind.noun, name, 'longer than the file', at);
    if (known === undefined && required) {
      throw newer(kind.noun, `needs section ${id}, which this sherd does not know`, at);
    }
    const section = bytes.subarray(offset, offset + Number(storedBytes));
    const hash = bytesToHex(bytes.subarray(entry + 32, entry + ENTRY_BYTES));
    const order = `${id.toString().padStart(5, '0')} ${hash}`;
    if (order <= before) throw damaged(kind.noun, name, 'out of order', at);
    before = order;
    offset += Number(storedBytes);
    const flags = view.getUint16(entry + 2, true);
    if ((flags & ~FLAG_REQUIRED) !== 0)
      throw newer(kind.noun, `section ${name} has unknown flags ${flags}`, at);
    if (view.getUint16(entry + 6, true) !== 0)
      throw damaged(kind.noun, name, 'reserved bytes are not zero', at);
    if (known !== undefined) {
      if (required === (kind.optional?.includes(id) ?? false))
        throw damaged(kind.noun, name, 'marked wrongly', at);
      checkCoding(kind.noun, name, view, entry, at);
    }
    // An unknown section that is packed some other way cannot be checked here: its hash is of the plain bytes.
    const checkable = known !== undefined || view.getUint16(entry + 4, true) === 0;
    if (checkable && platform !== undefined && platform.sha256(section) !== hash) {
      throw damaged(kind.noun, name, 'its bytes do not match their hash', at);
    }
    sections.push({ id, name, required, hash, bytes: section });
  }
  if (offset !== bytes.length)
    throw damaged(kind.noun, 'envelope', 'bytes after the last section', at);
  return sections;
}

function checkCoding(noun: string, name: string, view: DataView, entry: number, at?: string): void {
  const coding = view.getUint16(entry + 4, true);
  if ((coding & 0xff) !== 0)
    throw newer(noun, `section ${name} has unknown compression ${coding & 0xff}`, at);
  if (coding !== 0) throw newer(noun, `section ${name} has unknown encryption ${coding >> 8}`, at);
  if (view.getBigUint64(entry + 16, true) !== view.getBigUint64(entry + 24, true)) {
    throw damaged(noun, name, 'two sizes for the same bytes', at);
  }
}
