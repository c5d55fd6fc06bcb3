/**
 * Capsules of one running program: it stops every so many safepoints, and each time a capsule is taken.
 *
 * Does: run it, give each capsule whole and as a link of a chain. Does not: store.
 *
 * C1  The program is the same instance all the time; every capsule has its own fuel.
 */
import { encodeCapsule } from '../../host/capsule/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { encodeSpec } from '../../host/runtime/index.js';
import type { CapsuleImage } from '../../host/types/state.js';
import { load, runOn, start } from '../migration/moves.js';

export interface Program {
  readonly name: string;
  readonly args: readonly string[];
  /** Safepoints between two capsules. */
  readonly stride: number;
  readonly kernel?: boolean;
}

/** The strides make the capsules reach over most of each program's run. */
export const PROGRAMS: readonly Program[] = [
  { name: 'fannkuch', args: [], stride: 3_000, kernel: true },
  { name: 'nbody', args: ['5000000'], stride: 3_000 },
  { name: 'perft', args: ['6'], stride: 3_000 },
  { name: 'raytracer', args: ['160', '90', '6'], stride: 1_000 },
];

/** A chain begins anew after so many links: what a resume reads is bounded. */
export const CHAIN_LINKS = 16;

export interface Taken {
  readonly hash: string;
  readonly bytes: Uint8Array;
  /** The same state as a link of a chain: the first of each CHAIN_LINKS is the capsule itself. */
  readonly link: { readonly hash: string; readonly bytes: Uint8Array };
  readonly memoryBytes: number;
}

export async function* capsulesOf(
  root: string,
  program: Program,
  count: number,
): AsyncGenerator<Taken> {
  const { loaded, spec } = await load(root, program);
  const specHash = nodePlatform.sha256(encodeSpec(spec));
  const placed = start(loaded, spec);
  let before: CapsuleImage | undefined;
  for (let i = 0; i < count; i++) {
    runOn(placed, program.stride);
    const state = placed.instance.capture();
    const references = placed.host.references();
    const facts = { shardId: 's-bench', epoch: 1, specHash, references, state };
    const { hash, bytes } = encodeCapsule({ ...facts, base: loaded.baseImage() }, nodePlatform);
    const first = before === undefined || i % CHAIN_LINKS === 0;
    const link =
      before === undefined || first
        ? { hash, bytes }
        : encodeCapsule({ ...facts, base: before }, nodePlatform);
    const { memory } = state;
    yield { hash, bytes, link, memoryBytes: memory?.bytes.length ?? 0 };
    if (memory === null) continue;
    before = {
      capsule: link.hash,
      below: first || before === undefined ? [] : [before.capsule, ...before.below],
      pages: memory.pages,
      bytes: memory.bytes.slice(),
    };
  }
}
