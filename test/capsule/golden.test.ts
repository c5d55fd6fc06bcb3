/**
 * A capsule and a bundle written by the first version, kept in test/fixtures/capsules: every later version must read
 * them and get the same state. SHERD_UPDATE_FIXTURES=1 writes files that are missing; it never replaces one.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  decodeBundle,
  decodeCapsule,
  encodeBundle,
  encodeCapsule,
} from '../../host/capsule/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { facts, smallCase } from './arbitrary.js';

const CAPSULE_HASH = '12d6445899df76ce29eb262663bf18d1e157b0bb0c1cf86aad12e9ae41104f5f';
const BUNDLE_HASH = 'c60c24afc4b278ace2f8b27d49dd33a3d32f31a41c5613bc95e59bef4409da6e';

const { state, base } = smallCase();
const spec = new TextEncoder().encode('spec');

function make(): { capsule: Uint8Array; bundle: Uint8Array } {
  const capsule = encodeCapsule({ ...facts, state, base }, nodePlatform).bytes;
  const blob = new TextEncoder().encode('blob');
  const blobs = new Map([[nodePlatform.sha256(blob), blob]]);
  return { capsule, bundle: encodeBundle({ capsule, spec, blobs }, nodePlatform) };
}

function fixture(name: 'capsule' | 'bundle'): Uint8Array {
  const path = fileURLToPath(new URL(`../fixtures/capsules/v1-${name}.capsule`, import.meta.url));
  if (!existsSync(path) && process.env.SHERD_UPDATE_FIXTURES === '1')
    writeFileSync(path, make()[name]);
  return new Uint8Array(readFileSync(path));
}

describe('format version 1', () => {
  it('capsule is still read exactly', () => {
    const bytes = fixture('capsule');
    expect(nodePlatform.sha256(bytes)).toBe(CAPSULE_HASH);
    const decoded = decodeCapsule(bytes, nodePlatform);
    expect(decoded.header).toMatchObject({ ...facts, base: null, unknown: {} });
    expect(decoded.state(base)).toStrictEqual(state);
  });

  it('bundle is still read exactly', () => {
    const bytes = fixture('bundle');
    expect(nodePlatform.sha256(bytes)).toBe(BUNDLE_HASH);
    const bundle = decodeBundle(bytes, nodePlatform);
    expect(bundle.capsuleHash).toBe(CAPSULE_HASH);
    expect(bundle.spec).toStrictEqual(spec);
    expect(bundle.blobs.size).toBe(1);
  });

  it('is still what is written', () => {
    expect(make().capsule).toStrictEqual(fixture('capsule'));
    expect(make().bundle).toStrictEqual(fixture('bundle'));
  });
});
