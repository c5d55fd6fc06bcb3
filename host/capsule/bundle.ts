/**
 * Bundle: what a `.capsule` file holds (packed, see packed.ts, and sealed where there is a key). A capsule
 * together with what it needs to carry on with nothing else at hand.
 *
 * Does: pack and unpack, every part named by its hash. Does not: decide what is needed beyond what the capsule names.
 *
 * An envelope (envelope.ts) with the magic `SHRDB` and these sections:
 *
 *     id  part      how many   its hash is
 *      1  capsule   1          the capsule's name
 *      2  module    0 or 1     the capsule's moduleHash
 *      3  spec      0 or 1     the capsule's specHash
 *      4  blob      0 or more  a link of the capsule's chain, one of its references, or of the blobs that the spec names;
 *                              ascending
 *      5  run       0 or 1     {ranMs}: the running time that a time quota has counted; a reader may leave it out
 *
 * B1  A part's name is the SHA-256 in its table entry; every part is verified on reading.
 * B2  A thin bundle has no module and no blobs. Nothing says so: `missingParts` compares with what the capsule names.
 * B3  Equal parts give equal bytes.
 */
import { SherdError } from '../types/errors.js';
import { decodePlain, encodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import { type DecodedCapsule, isCapsule } from './capsule.js';
import {
  damaged,
  type EnvelopeKind,
  hasMagic,
  layOut,
  magicOf,
  readEnvelope,
  type Section,
  type SectionPlan,
  seal,
} from './envelope.js';
import { neededBlobs } from './header.js';

const ID = { capsule: 1, module: 2, spec: 3, blob: 4, run: 5 } as const;
type PartName = keyof typeof ID;
const NAMES = new Map<number, PartName>(
  Object.entries(ID).map(([name, id]) => [id, name as PartName]),
);

export const BUNDLE: EnvelopeKind = {
  magic: magicOf('SHRDB'),
  noun: 'bundle',
  version: 1,
  sectionName: (id) => NAMES.get(id),
  optional: [ID.run],
};

export interface BundleParts {
  readonly capsule: Uint8Array;
  /** The shard module's bytes. */
  readonly module?: Uint8Array | undefined;
  readonly spec?: Uint8Array | undefined;
  readonly blobs: ReadonlyMap<Hash, Uint8Array>;
  /** Only for a program with a time quota: how long a run took differs from run to run, the rest of a bundle does not. */
  readonly ranMs?: number | undefined;
}

/** The parts of a bundle, views of its bytes, each with its verified hash. */
export interface Bundle extends BundleParts {
  readonly capsuleHash: Hash;
  readonly moduleHash: Hash | undefined;
  readonly specHash: Hash | undefined;
}

/** True when the bytes begin like a bundle. */
export function isBundle(bytes: Uint8Array): boolean {
  return hasMagic(bytes, BUNDLE.magic);
}

/** Packs the parts; leave `module` and `blobs` out for a thin bundle. A blob that is not what its name says is refused. */
export function encodeBundle(parts: BundleParts, platform: Platform): Uint8Array {
  const contents: { id: number; hash: Hash; bytes: Uint8Array }[] = [];
  const add = (name: PartName, bytes: Uint8Array | undefined): void => {
    if (bytes !== undefined) contents.push({ id: ID[name], hash: platform.sha256(bytes), bytes });
  };
  add('capsule', parts.capsule);
  add('module', parts.module);
  add('spec', parts.spec);
  for (const name of [...parts.blobs.keys()].sort()) {
    add('blob', parts.blobs.get(name));
    if (contents.at(-1)?.hash !== name) {
      throw new SherdError(
        'SHERD_BLOB_DAMAGED',
        `blob ${name} does not have the hash that names it`,
      );
    }
  }
  add('run', parts.ranMs === undefined ? undefined : encodePlain({ ranMs: parts.ranMs }));
  const plans: SectionPlan[] = contents.map(({ id, hash, bytes }) => ({
    id,
    hash,
    bytes: bytes.length,
    required: id !== ID.run,
  }));
  const layout = layOut(BUNDLE, plans);
  contents.forEach(({ bytes }, i) => {
    layout.sections[i]?.set(bytes);
  });
  seal(layout, plans, platform);
  return layout.bytes;
}

/** Verifies and unpacks. `at` names the file in errors. */
export function decodeBundle(bytes: Uint8Array, platform: Platform, at?: string): Bundle {
  if (isCapsule(bytes)) {
    throw damaged(BUNDLE.noun, 'envelope', 'it is a bare capsule, not a bundle', at);
  }
  const sections = readEnvelope(BUNDLE, bytes, platform, at);
  const one = (name: PartName): Section | undefined => {
    const [found, second] = sections.filter((each) => each.id === ID[name]);
    if (second !== undefined) throw damaged(BUNDLE.noun, name, 'there are two', at);
    return found;
  };
  const capsule = one('capsule');
  if (capsule === undefined) throw damaged(BUNDLE.noun, 'capsule', 'missing', at);
  const module = one('module');
  const spec = one('spec');
  const blobs = sections.filter((each) => each.id === ID.blob);
  return {
    capsule: capsule.bytes,
    capsuleHash: capsule.hash,
    module: module?.bytes,
    moduleHash: module?.hash,
    spec: spec?.bytes,
    specHash: spec?.hash,
    blobs: new Map(blobs.map((each) => [each.hash, each.bytes])),
    ranMs: ranMsOf(one('run'), at),
  };
}

function ranMsOf(section: Section | undefined, at: string | undefined): number | undefined {
  if (section === undefined) return undefined;
  let fields: unknown;
  try {
    fields = decodePlain(section.bytes);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw damaged(BUNDLE.noun, 'run', reason, at);
  }
  const { ranMs, ...others } = (fields ?? {}) as { readonly ranMs?: unknown };
  const isTime = typeof ranMs === 'number' && ranMs >= 0 && Number.isFinite(ranMs);
  if (isTime && Object.keys(others).length === 0) return ranMs;
  throw damaged(BUNDLE.noun, 'run', 'no running time in it', at);
}

/** Parts that the capsule names and the bundle does not have. */
export interface MissingParts {
  readonly module: boolean;
  readonly spec: boolean;
  readonly blobs: readonly Hash[];
}

/** What is missing, `extra` (e.g. the blobs of the spec) counted as needed too. Undefined when nothing is. */
export function missingParts(
  bundle: Bundle,
  capsule: DecodedCapsule,
  extra: readonly Hash[] = [],
): MissingParts | undefined {
  const needed = new Set([...neededBlobs(capsule.header), ...extra]);
  const missing = {
    module: bundle.moduleHash !== capsule.header.moduleHash,
    spec: bundle.specHash !== capsule.header.specHash,
    blobs: [...needed].filter((hash) => !bundle.blobs.has(hash)).sort(),
  };
  return missing.module || missing.spec || missing.blobs.length > 0 ? missing : undefined;
}

/** Throws SHERD_CAPSULE_INCOMPLETE when something is missing, or SHERD_CAPSULE_MISMATCH for another module or spec. */
export function requireComplete(
  bundle: Bundle,
  capsule: DecodedCapsule,
  options: { readonly at?: string; readonly extra?: readonly Hash[] } = {},
): void {
  const missing = missingParts(bundle, capsule, options.extra);
  if (missing === undefined) return;
  const { at } = options;
  for (const part of ['module', 'spec'] as const) {
    const found = bundle[`${part}Hash`];
    if (!missing[part] || found === undefined) continue;
    const wanted = capsule.header[`${part}Hash`];
    throw new SherdError(
      'SHERD_CAPSULE_MISMATCH',
      `bundle has ${part} ${found.slice(0, 12)} beside a capsule of ${part} ${wanted.slice(0, 12)}`,
      { at, next: 'make the bundle again from one shard', exitCode: 2 },
    );
  }
  const names = (['module', 'spec'] as const)
    .filter((part) => missing[part])
    .map((part) => `its ${part}`);
  const first = missing.blobs[0];
  if (first !== undefined) {
    const count = missing.blobs.length;
    names.push(
      `${count} blob${count === 1 ? '' : 's'} (${first.slice(0, 12)}${count > 1 ? ', …' : ''})`,
    );
  }
  throw new SherdError('SHERD_CAPSULE_INCOMPLETE', `bundle lacks ${names.join(' and ')}`, {
    at,
    next: 'use the cluster that it came from, or make it without --thin',
    exitCode: 2,
  });
}
