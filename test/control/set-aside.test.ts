/** Blobs that a node cannot get: its shards are set aside, whatever it is that is missing, and go on when it is there. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createMemoryFabric } from '../../host/fabric/memory.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { ShardView } from '../../host/types/api.js';
import type { Blobs, Fabric } from '../../host/types/fabric.js';
import type { Hash } from '../../host/types/platform.js';
import { TEXT } from '../cli/programs.js';
import { followed, submit, TestCluster } from './harness.js';

let cluster: TestCluster;
let hidden: (hash: Hash) => boolean;

/** The control sees everything, the node what is not hidden. */
function partial(fabric: Fabric): Fabric {
  const { blobs } = fabric;
  const get: Blobs['get'] = async (hash, options) =>
    hidden(hash) ? undefined : blobs.get(hash, options);
  const seen = new Proxy(blobs, {
    get: (real, name) => {
      if (name === 'get') return get;
      const value: unknown = Reflect.get(real, name);
      return typeof value === 'function' ? value.bind(real) : value;
    },
  });
  return new Proxy(fabric, {
    get: (real, name) => {
      if (name === 'blobs') return seen;
      const value: unknown = Reflect.get(real, name);
      return typeof value === 'function' ? value.bind(real) : value;
    },
  });
}

beforeEach(async () => {
  hidden = () => false;
  const memory = createMemoryFabric();
  cluster = new TestCluster((name) => {
    const fabric = memory.connect(name);
    return name === 'control' ? fabric : partial(fabric);
  });
  await cluster.startControl();
  await cluster.startNode('n1');
});

afterEach(() => cluster.close());

const INPUT = new TextEncoder().encode('what it is given\n');
const inputHash = nodePlatform.sha256(INPUT);

const PARTS: Record<string, (shard: ShardView) => Hash> = {
  'its spec': (shard) => shard.spec,
  'its module': (shard) => shard.moduleHash,
  'one of its inputs': () => inputHash,
};

describe('a shard of which something is missing', () => {
  it.each(Object.keys(PARTS))('%s: it is set aside, and runs when that is back', async (what) => {
    const { client } = cluster;
    await client.putBlob(inputHash, INPUT);
    hidden = () => true;
    const stdin = [{ hash: inputHash, bytes: INPUT.length }];
    const id = await submit(client, TEXT.cat, { stdin });
    const missing = PARTS[what]?.(await client.shard(id)) ?? '';
    hidden = (hash) => hash === missing;
    const aside = await client.untilStatus(id, ['paused', 'done']);
    expect(aside).toMatchObject({ status: 'paused', fault: expect.stringContaining(what) });
    expect(aside.fault).toContain(missing);
    expect(await client.inspect(id)).toEqual({ source: 'none', why: aside.reason });
    hidden = () => false;
    await client.resume(id);
    expect(await followed(client, id)).toBe('what it is given\n');
    expect(await client.shard(id)).toMatchObject({ status: 'done', exit: { code: 0 } });
  });
});
