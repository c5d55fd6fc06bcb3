/**
 * The main job, moved between real node processes: the ray tracer of `npm run demo`, its moves as a client sees them.
 *
 *   freezing   the client's request → the guest stands still
 *   frozen     capture, encode, store, hand over: until the target may begin
 *   restore    the target decodes and makes the instance
 *   down       the guest stands still → it runs at the target: frozen, restore, and what messages and wake-ups take
 *
 * Does: run it once, moving it to and fro until it ends or `count` moves are done. Does not: check the picture (demo does).
 */
import { BenchCluster, loadGuest, type ObservedMove, sleep } from '../moves/cluster.js';

const REST_MS = 250;
const ARGS = ['960', '540', '6'];

export async function moveMainJob(root: string, count: number): Promise<ObservedMove[]> {
  const program = await loadGuest(root, 'assembly/programs/raytracer.ts');
  const cluster = await BenchCluster.start(3);
  const moves: ObservedMove[] = [];
  try {
    const id = await cluster.submit(program, ARGS);
    while (moves.length < count) {
      await sleep(REST_MS);
      const { owner, status } = await cluster.client.shard(id);
      if (status === 'done' || owner === null) break;
      const here = cluster.nodes.indexOf(owner);
      moves.push(
        await cluster.move(id, cluster.nodes[(here + 1) % cluster.nodes.length] as string),
      );
    }
  } finally {
    await cluster.end();
  }
  return moves;
}

export function frozenMsOf(move: ObservedMove): number {
  return ((move.encodeUs ?? 0) + (move.storeUs ?? 0) + (move.handoverUs ?? 0)) / 1000;
}
