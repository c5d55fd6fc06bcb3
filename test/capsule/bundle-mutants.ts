/**
 * Hostile bundles: parts dropped, doubled, swapped or damaged, table fields that lie, a capsule of another spec; all hashes
 * right again where a hash can be right.
 */
import { BUNDLE } from '../../host/capsule/bundle.js';
import { CAPSULE } from '../../host/capsule/capsule.js';
import { nodePlatform } from '../../host/node/platform.js';
import { decodePlain, encodePlain } from '../../host/types/pack.js';
import type { Random } from '../exact/random.js';
import {
  capsuleMutant,
  damagedBytes,
  forge,
  otherParts,
  otherTable,
  otherTree,
  type Part,
  partsOf,
} from './mutants.js';

const ID = { capsule: 1, spec: 3, run: 5 } as const;

/** In the order that a bundle has: by id, then by hash. */
function inOrder(parts: readonly Part[]): Part[] {
  const key = ({ id, bytes }: Part): string => `${id} ${nodePlatform.sha256(bytes)}`;
  return [...parts].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** What a seed makes of a bundle. */
export function bundleMutant(good: Uint8Array, random: Random): Uint8Array {
  if (random.chance(0.1)) return damagedBytes(good, random);
  const parts = partsOf(BUNDLE, good);
  if (random.chance(0.15)) return forge(BUNDLE, parts, otherTable(random));
  if (random.chance(0.2)) return forge(BUNDLE, otherParts(parts, random));
  const place = random.below(parts.length);
  const changed = parts.map((part, i) => (i === place ? otherPart(part, random) : part));
  const spec = changed.find(({ id }) => id === ID.spec);
  if (spec === undefined || random.chance(0.3)) return forge(BUNDLE, inOrder(changed));
  const bound = changed.map((part) =>
    part.id === ID.capsule ? { ...part, bytes: boundTo(part.bytes, spec.bytes) } : part,
  );
  return forge(BUNDLE, inOrder(bound));
}

function otherPart(part: Part, random: Random): Part {
  if (part.id === ID.capsule) return { ...part, bytes: capsuleMutant(part.bytes, random) };
  if ((part.id === ID.spec || part.id === ID.run) && random.chance(0.8)) {
    try {
      return { ...part, bytes: encodePlain(otherTree(decodePlain(part.bytes), random) as object) };
    } catch {
      // what cannot be packed
    }
  }
  return { ...part, bytes: damagedBytes(part.bytes, random) };
}

/** The capsule with the hash of this spec in its header, if it still has a header. */
function boundTo(capsule: Uint8Array, spec: Uint8Array): Uint8Array {
  try {
    const specHash = Uint8Array.from(Buffer.from(nodePlatform.sha256(spec), 'hex'));
    const parts = partsOf(CAPSULE, capsule).map((part) => {
      if (part.id !== 1) return part;
      return { ...part, bytes: encodePlain({ ...(decodePlain(part.bytes) as object), specHash }) };
    });
    return forge(CAPSULE, parts);
  } catch {
    return capsule;
  }
}
