/**
 * One process of the pool: takes capsule bytes, goes on with them, and gives back a capsule or the facts of the end.
 *
 *   ← { kind: 'load', subject, module, spec, blobs }                        answered by { kind: 'loaded' }
 *   ← { kind: 'go', subject, capsule, blobs, fuel: bigint | null }          null: to the end
 *   → { kind: 'stopped', capsule, fuel, pieces, blobs }  |  { kind: 'ended', facts, pieces }  |  { kind: 'failed', message }
 *
 * A subject without a spec has no files; it may import `fuzz.log`, whose calls come back as `logged`.
 *
 * Runs the built code in dist/, like a node process. Knows nothing of the run but what the capsule and the blobs say.
 */
import { decodeCapsule, encodeCapsule } from '../../dist/capsule/index.js';
import { readShardModule } from '../../dist/compile/index.js';
import { nodePlatform } from '../../dist/node/platform.js';
import {
  decodeSpec,
  encodeTrees,
  Instance,
  LoadedModule,
  MAX_BUDGET,
  restoreGuestHost,
} from '../../dist/runtime/index.js';
import { endFacts, endWait, statelessHost, virtualPlatform } from './facts.mjs';

const subjects = new Map();

function load({ subject, module, spec, blobs }) {
  const loaded = LoadedModule.load(readShardModule(module, nodePlatform), nodePlatform);
  subjects.set(subject, {
    loaded,
    spec: spec === null ? null : decodeSpec(spec),
    blobs: new Map(blobs),
  });
  return { kind: 'loaded' };
}

/** A host that offers `fuzz.log` (see modules.ts and generate.ts) and has no state. */
function fuzzHost(logged) {
  const log = (x) => {
    logged.push(String(x));
    return Math.imul(Number(x), 0x9e3779b1 | 0) ^ 0x5bd1e995;
  };
  return statelessHost('fuzz', { log });
}

function go({ subject, capsule, blobs, fuel }) {
  const known = subjects.get(subject);
  for (const [hash, bytes] of blobs) known.blobs.set(hash, bytes);
  const { loaded, spec } = known;
  const platform = virtualPlatform(nodePlatform);
  const decoded = decodeCapsule(capsule, platform, { moduleHash: loaded.module.moduleHash });
  const state = decoded.state(loaded.baseImage());
  const logged = [];
  const host =
    spec === null ? fuzzHost(logged) : restoreGuestHost(spec, state.host, known.blobs, platform);
  const instance = Instance.resume(loaded, host, state);
  const pieces = [];
  while (fuel === null || instance.fuelUsed < fuel) {
    const left = fuel === null ? MAX_BUDGET : Number(fuel - instance.fuelUsed);
    const result = instance.run(Math.min(left, MAX_BUDGET));
    pieces.push(...host.drainOutput());
    if (result.kind === 'waiting') endWait(platform, host, result.wait);
    else if (result.kind !== 'quantum')
      return {
        kind: 'ended',
        facts: endFacts(result, instance, host, platform, spec === null ? undefined : encodeTrees),
        pieces,
        logged,
      };
  }
  const next = instance.capture();
  const references = host.references();
  const { header } = decoded;
  const facts = {
    specHash: header.specHash,
    epoch: header.epoch,
    shardId: header.shardId,
    references,
  };
  const encoded = encodeCapsule({ state: next, base: loaded.baseImage(), ...facts }, platform);
  return {
    kind: 'stopped',
    capsule: encoded.bytes,
    fuel: instance.fuelUsed,
    pieces,
    logged,
    blobs: [...host.newBlobs()],
  };
}

process.on('message', (message) => {
  try {
    process.send(message.kind === 'load' ? load(message) : go(message));
  } catch (error) {
    process.send({
      kind: 'failed',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }
});
process.on('disconnect', () => process.exit(0));
