/**
 * A thread with a stack of its own size: runs a module, or goes on with a capsule, to a fuel value or to the end.
 *
 *   workerData { module, entry, args, capsule | null, fuel: bigint | null, quantum }   →   { kind, capsule | results, fuel, trap }
 *
 * Runs the built code in dist/, like a node process.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { decodeCapsule, encodeCapsule } from '../../dist/capsule/index.js';
import { readShardModule } from '../../dist/compile/index.js';
import { nodePlatform } from '../../dist/node/platform.js';
import { Instance, LoadedModule } from '../../dist/runtime/index.js';
import { statelessHost } from './facts.mjs';

const { module, entry, args, capsule, fuel, quantum } = workerData;
const host = statelessHost('env', { probe: (x) => x + 1 });
const loaded = LoadedModule.load(readShardModule(module, nodePlatform), nodePlatform);
const base = loaded.baseImage();
const instance =
  capsule === null
    ? Instance.start(loaded, host, { entry, entryArgs: args, limitPages: 0 })
    : Instance.resume(loaded, host, decodeCapsule(capsule, nodePlatform).state(base));

let result = { kind: 'quantum' };
while (result.kind === 'quantum' && (fuel === null || instance.fuelUsed < fuel)) {
  const left = fuel === null ? quantum : Number(fuel - instance.fuelUsed);
  result = instance.run(Math.min(left, quantum));
}
if (result.kind === 'quantum') {
  const facts = { base, specHash: '0'.repeat(64), epoch: 1, shardId: 's-deep', references: [] };
  const { bytes } = encodeCapsule({ state: instance.capture(), ...facts }, nodePlatform);
  parentPort.postMessage({ kind: 'stopped', fuel: instance.fuelUsed, capsule: bytes });
} else {
  const { kind, fuelUsed } = result;
  parentPort.postMessage({
    kind,
    fuel: fuelUsed,
    results: kind === 'done' ? result.results : null,
    trap: kind === 'trap' ? result.trap.trapKind : null,
  });
}
