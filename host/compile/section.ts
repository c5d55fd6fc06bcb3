/**
 * The `sherd` custom section of a shard module: resume map, dependency graph, skeleton.
 *
 *   abi u32 | program hash (name) | program bytes u32 | program code bytes u32 | data segments u32
 *   count u32, then a record per defined function (records.ts)
 *   skeleton length u32 | skeleton bytes
 *
 * X1  Reading what was written gives the same content.
 * X2  An unknown ABI is refused before anything else is looked at.
 */
import { EXIT, SherdError } from '../types/errors.js';
import { ABI, PLAIN_ABI, SECTION_NAME } from './abi.js';
import { ByteReader, ByteWriter, lebBytes } from './bytes.js';
import type { Section, WasmModule } from './module.js';
import { scanRecords } from './records.js';

export interface SectionHead {
  readonly abi: number;
  readonly programHash: string;
  readonly programBytes: number;
  readonly programCodeBytes: number;
  readonly dataSegments: number;
}

export interface SectionContent extends SectionHead {
  /** Where the records lie, as offsets into the section; one entry more than there are functions. */
  readonly recordAt: Uint32Array;
  readonly skeleton: Uint8Array;
}

/** The program without data and without custom sections other than names. */
function skeletonSections(module: WasmModule): Section[] {
  return module.sections.filter((section) =>
    section.id === 0 ? section.name === 'name' : section.id !== 11,
  );
}

const HEADER_BYTES = 8;

/** Appends the custom section to a module; gives where its content begins. */
export function appendSection(
  out: ByteWriter,
  head: SectionHead,
  module: WasmModule,
  records: ByteWriter,
): number {
  const w = new ByteWriter(256).name(SECTION_NAME);
  w.u32(head.abi).name(head.programHash).u32(head.programBytes).u32(head.programCodeBytes);
  w.u32(head.dataSegments).u32(module.bodies.length);
  const kept = skeletonSections(module);
  const skeletonBytes = kept.reduce((sum, { start, end }) => sum + end - start, HEADER_BYTES);
  const bytes = w.length + records.length + lebBytes(skeletonBytes) + skeletonBytes;
  out.u8(0).u32(bytes);
  const start = out.length;
  out.append(w).append(records).u32(skeletonBytes).copy(module.bytes, 0, HEADER_BYTES);
  for (const section of kept) out.copy(module.bytes, section.start, section.end);
  return start;
}

/** Decodes the section up to the skeleton, which is not looked into. */
export function decodeSection(bytes: Uint8Array): SectionContent {
  const r = new ByteReader(bytes);
  r.name();
  const abi = r.u32();
  if (abi < PLAIN_ABI || abi > ABI) {
    throw new SherdError(
      'SHERD_CAPSULE_VERSION',
      `shard module of ABI ${abi}; this sherd knows ABI ${PLAIN_ABI} to ${ABI}`,
      {
        next: 'use the version of sherd that compiled it',
        exitCode: EXIT.refused,
      },
    );
  }
  const programHash = r.name();
  const programBytes = r.u32();
  const programCodeBytes = r.u32();
  const dataSegments = r.u32();
  const recordAt = scanRecords(r);
  const skeleton = r.take(r.u32());
  return { abi, programHash, programBytes, programCodeBytes, dataSegments, recordAt, skeleton };
}
