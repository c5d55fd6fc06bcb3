/**
 * A capsule and a bundle written by each version of the format, kept in test/fixtures/capsules: every later version must
 * read them and get the same state. Version 2 has a delta too: what changed since its full capsule. SHERD_UPDATE_FIXTURES=1 writes files that are missing; it never replaces one.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  decodeBundle,
  decodeCapsule,
  encodeBundle,
  encodeCapsule,
  rebindCapsule,
  unpackBytes,
} from '../../host/capsule/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { ShardState } from '../../host/types/state.js';
import { facts, smallCase } from './arbitrary.js';

const HASHES = {
  'v1-capsule': '12d6445899df76ce29eb262663bf18d1e157b0bb0c1cf86aad12e9ae41104f5f',
  'v1-bundle': 'c60c24afc4b278ace2f8b27d49dd33a3d32f31a41c5613bc95e59bef4409da6e',
  'v2-capsule': '58e7da5feb0412ec8d3c4e3edf8793e43f933aea8f4891137cb108d93c82f4cb',
  'v2-bundle': '51accf4f6ad56a7f527539d5735a330fa50ebac6f3c49dbfd8bcba562332bfb7',
  'v2-delta': '988921be8582d3707f3fcd8ae04bc325a20cb7b3f17f064b60f5780270a14d4e',
  'v1-packed': '39b7526bea5d5d486f482a2bc7294ca73b4620a212d73b028fa3f67a8651f1c5',
} as const;
type Name = keyof typeof HASHES;

const { state, base } = smallCase();
const spec = new TextEncoder().encode('spec');

/** The small state some writes later. Never change it. */
function laterState(): ShardState {
  const memory = state.memory;
  if (memory === null) throw new Error('it has a memory');
  const bytes = memory.bytes.slice();
  bytes.fill(0, 4000, 4064); // was in the base image and in the full capsule
  bytes.fill(0xbb, 5 * 4096, 5 * 4096 + 130);
  bytes[65_535] = 1;
  return { ...state, fuelUsed: state.fuelUsed + 1n, memory: { ...memory, bytes } };
}

/** What this version writes, by name. */
function make(): Partial<Record<Name, Uint8Array>> {
  const full = encodeCapsule({ ...facts, state, base }, nodePlatform);
  const blob = new TextEncoder().encode('blob');
  const blobs = new Map([[nodePlatform.sha256(blob), blob]]);
  const bytes = state.memory?.bytes ?? new Uint8Array(0);
  const image = { capsule: full.hash, below: [], pages: 1, bytes };
  const delta = encodeCapsule({ ...facts, state: laterState(), base: image }, nodePlatform);
  return {
    'v2-capsule': full.bytes,
    'v2-bundle': encodeBundle({ capsule: full.bytes, spec, blobs }, nodePlatform),
    'v2-delta': delta.bytes,
  };
}

function fixture(name: Name): Uint8Array {
  const path = fileURLToPath(new URL(`../fixtures/capsules/${name}.capsule`, import.meta.url));
  const made = make()[name];
  if (!existsSync(path) && made !== undefined && process.env.SHERD_UPDATE_FIXTURES === '1')
    writeFileSync(path, made);
  return new Uint8Array(readFileSync(path));
}

describe('format versions', () => {
  it.each(Object.keys(HASHES) as Name[])('%s is what it was', (name) => {
    expect(nodePlatform.sha256(fixture(name))).toBe(HASHES[name]);
  });

  it.each(['v1', 'v2'] as const)('a capsule of %s is still read exactly', (version) => {
    const decoded = decodeCapsule(fixture(`${version}-capsule`), nodePlatform);
    expect(decoded.formatVersion).toBe(version === 'v1' ? 1 : 2);
    expect(decoded.header).toMatchObject({ ...facts, base: null, unknown: {} });
    expect(decoded.state(base)).toStrictEqual(state);
  });

  it.each(['v1', 'v2'] as const)('a bundle of %s is still read exactly', (version) => {
    const bundle = decodeBundle(fixture(`${version}-bundle`), nodePlatform);
    expect(bundle.capsuleHash).toBe(HASHES[`${version}-capsule`]);
    expect(bundle.spec).toStrictEqual(spec);
    expect(bundle.blobs.size).toBe(1);
  });

  it('a packed file is still read exactly (which stream a compressor writes is its own business)', () => {
    const bundle = unpackBytes(fixture('v1-packed'), nodePlatform);
    expect(bundle).toStrictEqual(fixture('v2-bundle'));
  });

  it('a delta is still read exactly, on its base and on no other', () => {
    const decoded = decodeCapsule(fixture('v2-delta'), nodePlatform);
    expect(decoded.header.base).toBe(HASHES['v2-capsule']);
    const full = decodeCapsule(fixture('v2-capsule'), nodePlatform).state(base).memory;
    const image = { below: [], pages: 1, bytes: full?.bytes ?? new Uint8Array(0) };
    expect(decoded.state({ ...image, capsule: HASHES['v2-capsule'] })).toStrictEqual(laterState());
    expect(() => decoded.state({ ...image, capsule: HASHES['v1-capsule'] })).toThrow(/is based on/);
    expect(() => decoded.state(base)).toThrow(/only what changed since/);
  });

  it('version 2 is still what is written', () => {
    for (const [name, bytes] of Object.entries(make()))
      expect(bytes).toStrictEqual(fixture(name as Name));
  });

  it('a capsule of version 1 keeps its version when its limits change', () => {
    const to = { specHash: facts.specHash, limitPages: 100 };
    const bound = decodeCapsule(
      rebindCapsule(fixture('v1-capsule'), to, nodePlatform),
      nodePlatform,
    );
    expect([bound.formatVersion, bound.header.memory?.limitPages]).toEqual([1, 100]);
    expect(bound.state(base).memory?.bytes).toStrictEqual(state.memory?.bytes);
  });
});
