/**
 * What travels: capsules of real programs, and the batches of their memories that a move sends ahead.
 *
 *   capsule   encodeCapsule of a stopped instance, against the module's image
 *   round 0   batches of the whole memory (capsule/staging.ts), as the first round of a pre-copy makes them
 *   round 1   batches of what was written while the program ran on for `stride` safepoints
 *
 * Does: make them. Does not: compress.
 */
import { encodeCapsule } from '../../host/capsule/index.js';
import { BATCH_ROOM_BYTES, BatchWriter, StageSource } from '../../host/capsule/staging.js';
import { nodePlatform } from '../../host/node/platform.js';
import { encodeSpec } from '../../host/runtime/index.js';
import { load, runOn, type Subject, start } from '../migration/moves.js';

/** Of node/stager.ts. */
const BATCH_BYTES = 4 * 1024 * 1024;

export interface Item {
  readonly name: string;
  /** Pieces that travel one after the other; each is compressed by itself. */
  readonly pieces: readonly Uint8Array[];
}

export async function itemsOf(root: string, subject: Subject): Promise<Item[]> {
  const { loaded, spec } = await load(root, subject);
  const placed = start(loaded, spec);
  runOn(placed, 10 * subject.stride);
  const state = placed.instance.capture();
  const memory = state.memory?.bytes ?? new Uint8Array(0);
  const source = new StageSource(loaded.baseImage(), new Uint8Array(memory.length), nodePlatform);
  const first = round(source, memory);
  const specHash = nodePlatform.sha256(encodeSpec(spec));
  const facts = { shardId: 's-bench', epoch: 1, specHash, references: placed.host.references() };
  const capsule = encodeCapsule({ ...facts, state, base: loaded.baseImage() }, nodePlatform).bytes;
  const items: Item[] = [{ name: `${subject.name}: capsule`, pieces: [capsule] }];
  if (subject.mostBytes !== undefined) return items;
  runOn(placed, subject.stride);
  const later = placed.instance.capture().memory?.bytes ?? memory;
  items.push({ name: `${subject.name}: round 0`, pieces: first });
  // A memory that has grown would need a larger shadow: its second round says nothing new.
  if (later.length === memory.length)
    items.push({ name: `${subject.name}: round 1`, pieces: round(source, later) });
  return items.filter(({ pieces }) => pieces.length > 0);
}

function round(source: StageSource, memory: Uint8Array): Uint8Array[] {
  const batches: Uint8Array[] = [];
  let writer = empty();
  for (;;) {
    const step = source.step(memory, writer.room());
    writer.add(step.sliceBytes);
    if (!writer.empty && (step.roundEnded || !writer.hasRoom)) {
      batches.push(writer.bytes);
      writer = empty();
    }
    if (step.roundEnded) return batches;
  }
}

const empty = (): BatchWriter => new BatchWriter(new Uint8Array(BATCH_BYTES + BATCH_ROOM_BYTES));
