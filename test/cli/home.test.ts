/** What is brought home where, without a cluster: the client is a map of blobs. */
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { bringHome } from '../../host/cli/home.js';
import type { ControlClient } from '../../host/control/client.js';
import { snapshotDirectory } from '../../host/node/directories.js';
import { encodeSpec, encodeTrees } from '../../host/runtime/spec.js';
import type { ShardView } from '../../host/types/api.js';
import type { DirectoryTree, ShardSpec } from '../../host/types/host.js';

let host: string;
const blobs = new Map<string, Uint8Array>();
const client = {
  getBlob: async (hash: string) => blobs.get(hash),
} as unknown as ControlClient;

function stored(bytes: Uint8Array): string {
  const hash = createHash('sha256').update(bytes).digest('hex');
  blobs.set(hash, bytes);
  return hash;
}

/** A shard that was given `dirs`, and left them as they were. */
function unchanged(dirs: readonly DirectoryTree[]): ShardView {
  const spec: ShardSpec = {
    v: 1,
    programName: 'p',
    moduleHash: '0'.repeat(64),
    entry: '_start',
    entryArgs: new Uint8Array(0),
    args: ['p'],
    env: [],
    stdin: [],
    dirs,
    seed: '0'.repeat(32),
    maxMemoryPages: 0,
    maxFuel: 0n,
    maxTimeMs: 0,
    priority: 0,
  };
  const view = { spec: stored(encodeSpec(spec)), artifacts: stored(encodeTrees(dirs)), exit: null };
  return view as unknown as ShardView;
}

beforeEach(async () => {
  host = await mkdtemp(join(tmpdir(), 'home-'));
});
afterEach(() => rm(host, { recursive: true, force: true }));

it.each([
  ['same', []],
  ['elsewhere', ['only.txt']],
] as const)('a directory that is empty at the end, %s: %j', async (place, files) => {
  await writeFile(join(host, 'only.txt'), 'text');
  const put = async (_hash: string, bytes: Uint8Array): Promise<void> => void stored(bytes);
  const tree = await snapshotDirectory(host, '/d', false, put);
  await unlink(join(host, 'only.txt'));
  const dirs = [{ guestPath: '/d', hostPath: host, readOnly: false }];
  const code = await bringHome(client, unchanged([tree]), dirs, () => undefined, place);
  expect([code, await readdir(host)]).toEqual([undefined, files]);
});
