/**
 * A node process behind a link of a given speed: what it reads of blobs comes no faster.
 *
 * Usage (forked): node.js DIRECTORY NAME BYTES_PER_MS. Says {kind: 'ready', id}; ends with its parent.
 *
 * Does: what host/node/main.ts does, with the blobs of its fabric slowed down. Does not: slow records and messages, which are small.
 */
import { calmEngine } from '../../host/fabric/background.js';
import { openEmbeddedFabric } from '../../host/fabric/embedded.js';
import { collectSamples } from '../../host/node/collect.js';
import { NodeProcess } from '../../host/node/node.js';
import type { Blobs, Fabric } from '../../host/types/fabric.js';

const [directory, name, bytesPerMs] = process.argv.slice(2) as [string, string, string];

/** One thing at a time passes the link; each takes as long as its bytes need. */
function shaped(blobs: Blobs, perMs: number): Blobs {
  let freeMs = 0;
  const get: Blobs['get'] = async (hash, options) => {
    const bytes = await blobs.get(hash, options);
    if (bytes === undefined) return undefined;
    const now = performance.now();
    freeMs = Math.max(freeMs, now) + bytes.length / perMs;
    const waitMs = freeMs - now;
    if (waitMs >= 0.5) await new Promise((resolve) => setTimeout(resolve, waitMs));
    return bytes;
  };
  const rest: Omit<Blobs, 'get'> = {
    put: (hash, content, options) => blobs.put(hash, content, options),
    read: (hash) => blobs.read(hash),
    has: (hash) => blobs.has(hash),
    list: () => blobs.list(),
    collect: (keep, graceMs) => blobs.collect(keep, graceMs),
  };
  return { ...rest, get };
}

calmEngine();
process.once('disconnect', () => process.exit(1));
const fabric = await openEmbeddedFabric(directory);
const { records, messages, doorbells } = fabric;
const link: Fabric = {
  kind: fabric.kind,
  records,
  messages,
  ...(doorbells === undefined ? {} : { doorbells }),
  blobs: shaped(fabric.blobs, Number(bytesPerMs)),
  close: () => fabric.close(),
};
const sampler = collectSamples();
const node = await NodeProcess.start({
  fabric: link,
  name,
  workers: 1,
  machine: sampler.machine,
  sample: () => sampler.read(),
  log: (what, shardId, detail) => process.send?.({ kind: 'log', what, shardId, detail }),
});
process.send?.({ kind: 'ready', id: node.id });
