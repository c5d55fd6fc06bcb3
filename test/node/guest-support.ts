/** A guest of a worker thread without the thread: its orders, and one that has run a while with its capsule. */
import type { Guests, LoadedGuest } from '../../host/node/guests.js';
import type { TakeUp } from '../../host/node/worker-messages.js';
import { encodeSpec } from '../../host/runtime/index.js';
import type { ShardModule } from '../../host/types/module.js';

export function takeUp({ moduleHash }: ShardModule, capsule: Uint8Array | null): TakeUp {
  const spec = encodeSpec({
    v: 1,
    programName: 'test',
    moduleHash,
    entry: '_start',
    entryArgs: new Uint8Array(0),
    args: ['test'],
    env: [],
    stdin: [],
    dirs: [],
    seed: '00'.repeat(16),
    maxMemoryPages: 0,
    maxFuel: 0n,
    maxTimeMs: 0,
    priority: 0,
  });
  const specHash = '0'.repeat(64);
  const shard = { run: 1, shardId: 's', moduleHash, specHash, spec, priority: 0 };
  return { ...shard, capsule, capsuleVerified: false, staged: null };
}

export function begun(
  guests: Guests,
  module: ShardModule,
): { readonly guest: LoadedGuest; readonly capsule: Uint8Array } {
  guests.prepare(module.moduleHash, module.bytes);
  const guest = guests.load(takeUp(module, null));
  guest.run(1_000, () => 0);
  return { guest, capsule: guest.encode(1).bytes.slice() };
}
