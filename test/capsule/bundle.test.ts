/**
 * Bundles carry everything by hash, are verified whole, and say what is missing.
 */
import { describe, expect, it } from 'vitest';
import {
  decodeBundle,
  decodeCapsule,
  encodeBundle,
  encodeCapsule,
  isBundle,
  isCapsule,
  missingParts,
  requireComplete,
} from '../../host/capsule/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { SherdError } from '../../host/types/errors.js';
import { smallCase } from './arbitrary.js';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const module = text('the shard module');
const spec = text('the spec');
const blobs = new Map(
  ['two', 'one', ''].map((each) => [nodePlatform.sha256(text(each)), text(each)]),
);
const references = [...blobs.keys()].sort();
const moduleHash = nodePlatform.sha256(module);
const specHash = nodePlatform.sha256(spec);
const { state, base } = smallCase();
const capsule = encodeCapsule(
  { shardId: 's-1', epoch: 1, specHash, references, state: { ...state, moduleHash }, base },
  nodePlatform,
);
const whole = encodeBundle({ capsule: capsule.bytes, module, spec, blobs }, nodePlatform);

function refusal(run: () => unknown): SherdError {
  try {
    run();
  } catch (error) {
    if (error instanceof SherdError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('bundle', () => {
  it('gives every part back', () => {
    const bundle = decodeBundle(whole, nodePlatform);
    expect(bundle.capsule).toStrictEqual(capsule.bytes);
    expect(bundle.capsuleHash).toBe(capsule.hash);
    expect(bundle).toMatchObject({ module, spec, moduleHash, specHash });
    expect(bundle.blobs).toStrictEqual(new Map(references.map((hash) => [hash, blobs.get(hash)])));
    const decoded = decodeCapsule(bundle.capsule, nodePlatform);
    expect(missingParts(bundle, decoded)).toBeUndefined();
    requireComplete(bundle, decoded);
    expect(decoded.state(base)).toStrictEqual({ ...state, moduleHash });
  });

  it('has the same bytes whatever the order of its blobs', () => {
    const reversed = new Map([...blobs].reverse());
    const again = encodeBundle(
      { capsule: capsule.bytes, module, spec, blobs: reversed },
      nodePlatform,
    );
    expect(again).toStrictEqual(whole);
  });

  it('is told from a capsule by its beginning', () => {
    expect([isBundle(whole), isCapsule(whole)]).toEqual([true, false]);
    expect([isBundle(capsule.bytes), isCapsule(capsule.bytes)]).toEqual([false, true]);
    expect(isBundle(new Uint8Array(3))).toBe(false);
    const error = refusal(() => decodeBundle(capsule.bytes, nodePlatform, 'a.capsule'));
    expect(error.message).toContain('a bare capsule');
    expect(error.at).toBe('a.capsule');
  });

  it('carries the time that a quota has counted; nothing where there is none', () => {
    const parts = { capsule: capsule.bytes, module, spec, blobs };
    const timed = encodeBundle({ ...parts, ranMs: 1_234.5 }, nodePlatform);
    expect(decodeBundle(timed, nodePlatform)).toMatchObject({ ranMs: 1_234.5, specHash });
    expect(decodeBundle(whole, nodePlatform).ranMs).toBeUndefined();
    const wrong = encodeBundle({ ...parts, ranMs: -1 }, nodePlatform);
    expect(refusal(() => decodeBundle(wrong, nodePlatform)).code).toBe('SHERD_CAPSULE_DAMAGED');
  });

  it('refuses a blob under another name, when written', () => {
    const wrong = new Map([[references[0] as string, text('something else')]]);
    expect(
      refusal(() => encodeBundle({ capsule: capsule.bytes, blobs: wrong }, nodePlatform)).code,
    ).toBe('SHERD_BLOB_DAMAGED');
  });

  it('refuses every flipped bit, naming the part', () => {
    const parts = new Set<string>();
    const copy = whole.slice();
    for (let offset = 0; offset < whole.length; offset += 3) {
      copy[offset] = (whole[offset] ?? 0) ^ (1 << (offset % 8));
      const error = refusal(() => decodeBundle(copy, nodePlatform));
      expect(error.code).toBe('SHERD_CAPSULE_DAMAGED');
      parts.add(/in section ([a-z]+):/.exec(error.message)?.[1] ?? error.message);
      copy[offset] = whole[offset] ?? 0;
    }
    expect([...parts].sort()).toEqual(['blob', 'capsule', 'envelope', 'module', 'spec']);
  });
});

describe('a thin bundle', () => {
  const thin = decodeBundle(
    encodeBundle({ capsule: capsule.bytes, spec, blobs: new Map() }, nodePlatform),
    nodePlatform,
  );
  const decoded = decodeCapsule(thin.capsule, nodePlatform);

  it('says what it lacks', () => {
    expect(missingParts(thin, decoded)).toEqual({ module: true, spec: false, blobs: references });
    const error = refusal(() => requireComplete(thin, decoded, { at: 'thin.capsule' }));
    expect(error.code).toBe('SHERD_CAPSULE_INCOMPLETE');
    expect(error.message).toMatch(/lacks its module and 3 blobs \([0-9a-f]{12}, …\)/);
    expect(error.at).toBe('thin.capsule');
    expect(error.exitCode).toBe(2);
  });

  it('counts the blobs that the caller needs besides', () => {
    const bundle = decodeBundle(whole, nodePlatform);
    const other = nodePlatform.sha256(text('an input of the spec'));
    expect(missingParts(bundle, decoded, [other])).toEqual({
      module: false,
      spec: false,
      blobs: [other],
    });
  });

  it('with another module is a mismatch, not a lack', () => {
    const other = encodeBundle({ capsule: capsule.bytes, module: spec, spec, blobs }, nodePlatform);
    const error = refusal(() => requireComplete(decodeBundle(other, nodePlatform), decoded));
    expect(error.code).toBe('SHERD_CAPSULE_MISMATCH');
  });
});
