/**
 * Output is released exactly once and in order: the chain only grows at its end, each chunk names its predecessor and begins where
 * that ended, and everything that a record names was durable before it was named.
 */
import { decodePlain } from '../../types/pack.js';
import type { Hash } from '../../types/platform.js';
import type { OutputChunk, ShardRecord } from '../../types/records.js';
import type { CheckContext, Checker } from './checker.js';

export function chunkOf(hash: Hash, context: CheckContext): OutputChunk | undefined {
  const bytes = context.durable.get(hash);
  return bytes === undefined ? undefined : (decodePlain(bytes) as OutputChunk);
}

export function chunkBytes(chunk: OutputChunk): number {
  return chunk.pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
}

/** Chunks of a record's chain, oldest first. */
export function chainOf(record: ShardRecord, context: CheckContext): OutputChunk[] {
  const chain: OutputChunk[] = [];
  for (let hash = record.output.head; hash !== null; ) {
    const chunk = chunkOf(hash, context);
    if (chunk === undefined) break;
    chain.push(chunk);
    hash = chunk.previous;
  }
  return chain.reverse();
}

function linkFaults(
  before: ShardRecord | null,
  after: ShardRecord,
  context: CheckContext,
): string[] {
  const head = after.output.head;
  const oldHead = before?.output.head ?? null;
  const oldBytes = before?.output.bytes ?? 0;
  if (head === oldHead || head === null) return [];
  const chunk = chunkOf(head, context);
  if (chunk === undefined)
    return [`${after.id}: output ${head.slice(0, 8)} was named before it was durable`];
  const faults: string[] = [];
  if (chunk.previous !== oldHead)
    faults.push(`${after.id}: a chunk does not follow the head before it`);
  if (chunk.offset !== oldBytes)
    faults.push(`${after.id}: a chunk begins at ${chunk.offset}, not at ${oldBytes}`);
  if (oldBytes + chunkBytes(chunk) !== after.output.bytes)
    faults.push(`${after.id}: the record counts output wrongly`);
  return faults;
}

export const output = (): Checker => ({
  name: 'output',
  onChange(before, after, context) {
    const faults = linkFaults(before, after, context);
    for (const hash of [after.capsule, after.artifacts, after.spec]) {
      if (hash !== null && !context.durable.has(hash)) {
        faults.push(`${after.id}: ${hash.slice(0, 8)} was named before it was durable`);
      }
    }
    return faults;
  },
  atEnd(records, context) {
    const faults: string[] = [];
    for (const record of records.values()) {
      const released = new Set<string>(record.output.head === null ? [] : [record.output.head]);
      for (const chunk of chainOf(record, context))
        if (chunk.previous !== null) released.add(chunk.previous);
      for (const head of context.seenHeads.get(record.id) ?? []) {
        if (!released.has(head))
          faults.push(`${record.id}: a reader saw output that is not in the final chain`);
      }
    }
    return faults;
  },
});
