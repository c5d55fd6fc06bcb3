/** Harvests: everything is stored before `store` resolves, and a buffer comes back only when no put reads it. */
import { describe, expect, it } from 'vitest';
import { Harvests } from '../../host/node/harvests.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { Harvest } from '../../host/node/worker-messages.js';
import type { Blobs, PutOptions } from '../../host/types/fabric.js';

const NOTHING: Harvest = { output: [], blobs: new Map(), trees: null };
const ORDER = { of: 'a', previous: null, offset: 0, artifacts: false };

interface Pending {
  readonly hash: string;
  readonly options: PutOptions | undefined;
  readonly end: (error?: Error) => void;
}

function slowBlobs(): { blobs: Blobs; pending: Pending[] } {
  const pending: Pending[] = [];
  const put: Blobs['put'] = (hash, _content, options) =>
    new Promise((resolve, reject) => {
      pending.push({ hash, options, end: (error) => (error ? reject(error) : resolve()) });
    });
  return { blobs: { put } as Partial<Blobs> as Blobs, pending };
}

function capsuleOf(size: number): { hash: string; bytes: Uint8Array } {
  const bytes = new Uint8Array(size).fill(7);
  return { hash: nodePlatform.sha256(bytes), bytes };
}

describe('Harvests', () => {
  it('gives the buffer back after the store that goes on has ended, not before', async () => {
    const { blobs, pending } = slowBlobs();
    const harvests = new Harvests(blobs, nodePlatform);
    const capsule = capsuleOf(1000);
    harvests.keep('a', NOTHING, capsule);
    const stored = harvests.store(ORDER);
    const back: ArrayBuffer[] = [];
    harvests.clear((buffer) => back.push(buffer));
    expect(back).toEqual([]);
    pending[0]!.end();
    await stored;
    expect(back).toEqual([capsule.bytes.buffer]);
  });

  it('gives it back after a store that failed, too, and only once', async () => {
    const { blobs, pending } = slowBlobs();
    const harvests = new Harvests(blobs, nodePlatform);
    harvests.keep('a', NOTHING, capsuleOf(1000));
    const stored = harvests.store(ORDER);
    pending[0]!.end(new Error('full'));
    await expect(stored).rejects.toThrow('full');
    const back: ArrayBuffer[] = [];
    expect(harvests.forget('a', (buffer) => back.push(buffer)).hadCapsule).toBe(true);
    expect(harvests.forget('a', (buffer) => back.push(buffer)).hadCapsule).toBe(false);
    expect(back).toHaveLength(1);
  });

  it('stores capsule, chunk, blobs and trees under their hashes', async () => {
    const { blobs, pending } = slowBlobs();
    const harvests = new Harvests(blobs, nodePlatform);
    const capsule = capsuleOf(10);
    const blob = capsuleOf(20);
    const trees = Uint8Array.of(1, 2, 3);
    const output = [{ stream: 'stdout' as const, bytes: Uint8Array.of(65, 66) }];
    harvests.keep('a', { output, blobs: new Map([[blob.hash, blob.bytes]]), trees }, capsule);
    const stored = harvests.store({ ...ORDER, artifacts: true });
    for (const each of pending) each.end();
    const { chunk, artifacts } = await stored;
    expect(chunk?.bytes).toBe(2);
    expect(artifacts).toBe(nodePlatform.sha256(trees));
    const hashes = pending.map((each) => each.hash).sort();
    expect(hashes).toEqual([capsule.hash, blob.hash, chunk?.hash, artifacts].sort());
    await expect(harvests.store({ ...ORDER, of: 'b' })).rejects.toThrow('nothing is kept of b');
  });
});
