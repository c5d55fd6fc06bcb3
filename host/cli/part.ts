/** A part of a shard from its cluster; an error says whose part it is, and what it is. */
import type { ControlClient } from '../control/client.js';
import { aboutPart } from '../control/parts.js';
import { SherdError } from '../types/errors.js';
import type { Hash } from '../types/platform.js';
import type { ShardId } from '../types/records.js';

export async function partOf(
  client: ControlClient,
  id: ShardId,
  what: string,
  hash: Hash,
): Promise<Uint8Array> {
  try {
    return await client.getBlob(hash);
  } catch (cause) {
    const isPart = cause instanceof SherdError && cause.code.startsWith('SHERD_BLOB_');
    throw isPart ? aboutPart(cause, id, what) : cause;
  }
}
