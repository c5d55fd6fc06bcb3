/** Much output in one quantum: it is taken away in between, and nothing of what the program does changes by that. */
import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { nodePlatform } from '../../host/node/platform.js';
import { createGuestHost, restoreGuestHost } from '../../host/runtime/guest-host.js';
import { Instance } from '../../host/runtime/instance.js';
import type { LoadedModule } from '../../host/runtime/loaded.js';
import type { GuestHost, ShardSpec } from '../../host/types/host.js';
import { programSpec } from '../exact/programs.js';
import { detached, load, wat } from './support.js';

const WRITES = 40;
const MIB = 1024 * 1024;

/** Writes 1 MiB at a time, each other than the one before, every fourth to stderr; nothing but writes in between. */
const FLOOD = `(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 18)
  (func (export "_start") (local $i i32) (local $bad i32)
    (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const ${MIB}))
    (loop $l
      (i32.store (i32.const 65536) (local.get $i))
      (local.set $bad (i32.or (local.get $bad) (call $fd_write
        (select (i32.const 2) (i32.const 1) (i32.eqz (i32.and (local.get $i) (i32.const 3))))
        (i32.const 0) (i32.const 1) (i32.const 8))))
      (local.set $bad (i32.or (local.get $bad) (i32.ne (i32.load (i32.const 8)) (i32.const ${MIB}))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const ${WRITES}))))
    (call $exit (local.get $bad))))`;

const blobs = { get: () => undefined };
let loaded: LoadedModule;
let spec: ShardSpec;

beforeAll(() => {
  loaded = load(wat(FLOOD));
  const own = { programName: 'flood', args: ['flood'], env: [], stdin: [], dirs: [] };
  spec = programSpec(loaded.module, own);
});

interface Ran {
  readonly code: number;
  readonly fuel: bigint;
  readonly output: string;
  readonly bytes: number;
  /** The most that waited at once. */
  readonly most: number;
}

/** Runs to the end; every `drain`th time that it stands still its output is taken, every `hop`th time it is moved. */
function run(budget: number, drain: number, hop: number): Ran {
  const streams = { stdout: createHash('sha256'), stderr: createHash('sha256') };
  let [bytes, most] = [0, 0];
  const take = (host: GuestHost): void => {
    let waited = 0;
    for (const piece of host.drainOutput()) {
      if (piece.stream !== 'artifact') streams[piece.stream].update(piece.bytes);
      waited += piece.bytes.length;
    }
    bytes += waited;
    most = Math.max(most, waited);
  };
  let host = createGuestHost(spec, blobs, nodePlatform);
  const { entry, entryArgs } = spec;
  let instance = Instance.start(loaded, host, { entry, entryArgs, limitPages: 0 });
  for (let stops = 1; ; stops++) {
    const result = instance.run(budget);
    if (result.kind !== 'quantum' && result.kind !== 'waiting') {
      take(host);
      const code = result.kind === 'exit' ? result.code : -1;
      const output = `${streams.stdout.digest('hex')} ${streams.stderr.digest('hex')}`;
      return { code, fuel: result.fuelUsed, output, bytes, most };
    }
    if (stops % drain === 0) take(host);
    if (stops % hop !== 0) continue;
    take(host);
    const state = detached(instance.capture());
    host = restoreGuestHost(spec, state.host, blobs, nodePlatform);
    instance = Instance.resume(loaded, host, state);
  }
}

describe('a burst of output', () => {
  it('is bounded by some MiB, whatever the budget is', () => {
    const ran = run(1_000_000, 1, Number.POSITIVE_INFINITY);
    expect([ran.code, ran.bytes]).toEqual([0, WRITES * MIB]);
    expect(ran.most).toBeLessThanOrEqual(5 * MIB);
  });

  it('is the same bytes and the same fuel, however it is taken and moved', () => {
    const straight = run(1_000_000, 1, Number.POSITIVE_INFINITY);
    const { most, ...same } = straight;
    // Nobody takes it; small quanta; moved in the middle of a write that yields; moved at every stop.
    const ways = [
      [1_000_000, 9_999, 9_999],
      [3, 1, 9_999],
      [1_000_000, 1, 1],
      [1, 1, 1],
    ] as const;
    for (const [budget, drain, hop] of ways) {
      expect([budget, drain, hop, run(budget, drain, hop)]).toEqual([
        budget,
        drain,
        hop,
        { ...same, most: expect.any(Number) },
      ]);
    }
  });
});
