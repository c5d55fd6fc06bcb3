/** A capsule under another spec: the same state, other limits. */
import { describe, expect, it } from 'vitest';
import { decodeCapsule, encodeCapsule, rebindCapsule } from '../../host/capsule/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { smallCase } from './arbitrary.js';

const { state, base } = smallCase();
const hashOf = (text: string): string => nodePlatform.sha256(new TextEncoder().encode(text));
const facts = { shardId: 's-1', epoch: 3, specHash: hashOf('spec'), references: [hashOf('file')] };
const capsule = encodeCapsule({ ...facts, state, base }, nodePlatform).bytes;
const pages = state.memory?.pages ?? 0;

describe('a rebound capsule', () => {
  it('is what encoding the same state under the new spec gives, byte for byte', () => {
    const specHash = hashOf('other');
    const limitPages = pages + 7;
    const memory = state.memory === null ? null : { ...state.memory, limitPages };
    const expected = encodeCapsule(
      { ...facts, specHash, state: { ...state, memory }, base },
      nodePlatform,
    );
    expect(rebindCapsule(capsule, { specHash, limitPages }, nodePlatform)).toStrictEqual(
      expected.bytes,
    );
  });

  it('keeps its memory limit when none is given, and refuses one below its memory', () => {
    const to = { specHash: facts.specHash, limitPages: undefined };
    expect(rebindCapsule(capsule, to, nodePlatform)).toStrictEqual(capsule);
    expect(pages).toBeGreaterThan(0);
    const small = { ...to, limitPages: pages - 1, at: 'x.capsule' };
    expect(() => rebindCapsule(capsule, small, nodePlatform)).toThrow(
      expect.objectContaining({ code: 'SHERD_MEMORY_LIMIT', at: 'x.capsule', exitCode: 2 }),
    );
  });

  it('is not made of a damaged one', () => {
    const bad = capsule.slice();
    bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
    const to = { specHash: facts.specHash, limitPages: undefined };
    expect(() => rebindCapsule(bad, to, nodePlatform)).toThrow(/damaged/);
    expect(decodeCapsule(capsule, nodePlatform).header.fuelUsed).toBe(state.fuelUsed);
  });
});
