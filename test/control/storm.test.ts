/** Control, nodes and real worker threads over a fabric that injects every fault it may, while shards move and parts die. */
import { expect, it } from 'vitest';
import { createMemoryFabric } from '../../host/fabric/memory.js';
import { EVERY_FAULT, NO_FAULTS } from '../../host/fabric/memory-faults.js';
import { followed, submit, sums, sumsOutput, TestCluster } from './harness.js';

const SHARDS = 3;
const LINES = 30;
const TURNS = 3_000_000;

/** Small numbers in a fixed order. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

it.each([1, 2, 3])(
  'comes through a storm with every output exact (seed %i)',
  async (seed) => {
    const memory = createMemoryFabric({ seed });
    const cluster = new TestCluster((name) => memory.connect(name));
    const roll = dice(seed);
    try {
      await cluster.startControl({ lost: () => void cluster.replaceControl() });
      for (const name of ['n1', 'n2', 'n3']) await cluster.startNode(name);
      const { client } = cluster;
      const ids: string[] = [];
      for (let i = 0; i < SHARDS; i++) ids.push(await submit(client, sums(LINES, TURNS, 64 * i)));
      // A shard whose blobs cannot be read ten times in a row is given up, rightly: not so often.
      const blobs = { blobDamaged: 0.03, blobMissing: 0.05, blobFails: 0.05 };
      memory.setFaults({ ...EVERY_FAULT, ...blobs, timeoutMs: 50 });
      let died = false;
      for (let step = 0; step < 40; step++) {
        const id = ids[roll(SHARDS)]!;
        const verb = roll(6);
        // Each of these may be refused: the shard is done, or on its way.
        if (verb === 0) await client.pause(id).catch(() => undefined);
        else if (verb <= 2) await client.resume(id).catch(() => undefined);
        else await client.move(id, {}).catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, 20 + roll(60)));
        if (step === 20) {
          died = true;
          await cluster.nodes.splice(roll(2), 1)[0]!.close();
        }
      }
      expect(died).toBe(true);
      memory.setFaults(NO_FAULTS);
      for (const [i, id] of ids.entries()) {
        await client.resume(id).catch(() => undefined);
        const { exit } = await client.untilStatus(id, ['done']);
        expect(exit).toMatchObject({ reason: 'exit', code: 7, message: '' });
        expect(await followed(client, id)).toBe(sumsOutput(LINES, TURNS, 64 * i));
      }
      const { injected } = memory;
      expect(injected.messageLost + injected.watchResync + injected.blobFails).toBeGreaterThan(0);
      expect(injected.unknownApplied + injected.unknownLost + injected.unknownLate).toBeGreaterThan(
        0,
      );
    } finally {
      await cluster.close();
    }
  },
  120_000,
);
