/**
 * Deep recursion: a million saved frames, capsules that go from threads with large stacks to threads with small ones, and
 * the end of the native stack, which is always a clean error.
 */
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { decodeCapsule, encodeCapsule } from '../../host/capsule/index.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance, LoadedModule } from '../../host/runtime/index.js';
import type { ShardState } from '../../host/types/state.js';
import { hostOf, i32Of, raw } from '../runtime/support.js';
import { assemble } from './modules.js';

/** Sums 1 … n by recursion; `wide` has a large frame, `table` calls itself through a table, `caught` within a handler. */
const RECURSION = `(module (import "env" "probe" (func $probe (param i32) (result i32)))
  (type $t (func (param i32) (result i32))) (table funcref (elem $table)) (tag $e (param i32))
  (func $sum (export "sum") (param i32) (result i32)
    local.get 0 i32.eqz if i32.const 0 return end
    local.get 0 local.get 0 i32.const 1 i32.sub call $sum i32.add)
  (func $table (export "table") (param i32) (result i32)
    local.get 0 i32.eqz if i32.const 0 return end
    local.get 0 local.get 0 i32.const 1 i32.sub i32.const 0 call_indirect (type $t) i32.add)
  (func $wide (export "wide") (param i32) (result i32) (local i64 i64 f64 v128 i32)
    local.get 0 i32.eqz if i32.const 0 return end
    local.get 0 i64.extend_i32_u local.tee 1 i64.const 3 i64.mul local.set 2
    local.get 0 f64.convert_i32_u local.set 3
    local.get 0 i32x4.splat local.set 4
    local.get 0 i32.const 1 i32.sub call $wide local.set 5
    local.get 5 local.get 4 i32x4.extract_lane 3 i32.add
    local.get 2 i64.const 3 i64.div_u local.get 1 i64.sub i32.wrap_i64 i32.add
    local.get 3 i32.trunc_f64_u local.get 0 i32.sub i32.add)
  (func $caught (export "caught") (param i32) (result i32)
    local.get 0 i32.eqz if i32.const 0 return end
    local.get 0
    try (result i32) local.get 0 i32.const 1 i32.sub call $caught catch_all i32.const 1000000 end
    i32.add)
  (func $asks (export "asks") (param i32) (result i32)
    local.get 0 call $probe drop
    local.get 0 i32.eqz if i32.const 0 return end
    local.get 0
    try (result i32) local.get 0 i32.const 1 i32.sub call $asks catch_all i32.const 1000000 end
    i32.add))`;

const shard = compileProgram(assemble(RECURSION), nodePlatform);
const loaded = LoadedModule.load(shard, nodePlatform);
const host = () => hostOf(() => ({ probe: (x) => Number(x) + 1 }));
const sum = (n: number): number => Number((BigInt(n) * BigInt(n + 1)) / 2n) | 0;
const ENTRIES = ['sum', 'table', 'wide', 'caught'] as const;

interface Request {
  readonly entry: string;
  readonly depth: number;
  readonly stackMb: number;
  readonly capsule?: Uint8Array;
  readonly fuel?: bigint;
  readonly quantum?: number;
}

interface Answer {
  readonly kind: string;
  readonly fuel: bigint;
  readonly capsule?: Uint8Array;
  readonly results?: Uint8Array;
  readonly trap?: string;
}

function inThread(request: Request): Promise<Answer> {
  const { entry, depth, stackMb, capsule = null, fuel = null, quantum = 0x7fff_ffff } = request;
  const worker = new Worker(new URL('./deep.mjs', import.meta.url), {
    workerData: { module: shard.bytes, entry, args: raw(depth), capsule, fuel, quantum },
    resourceLimits: { stackSizeMb: stackMb },
    execArgv: [],
  });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) => {
      reject(new Error(`the thread ended with ${code}`));
    });
  });
}

const value = (answer: Answer): number => Buffer.from(answer.results!).readInt32LE();

function throughCapsule(state: ShardState): { state: ShardState; bytes: number } {
  const base = loaded.baseImage();
  const facts = { base, specHash: '0'.repeat(64), epoch: 1, shardId: 's-deep', references: [] };
  const { bytes } = encodeCapsule({ state, ...facts }, nodePlatform);
  return { state: decodeCapsule(bytes, nodePlatform).state(base), bytes: bytes.length };
}

describe('a million saved frames', () => {
  it.each(['sum', 'table'])(
    '%s: captured at the bottom, resumed, and returned from',
    { timeout: 120_000 },
    (entry) => {
      const depth = 1_000_000;
      let instance = Instance.start(loaded, host(), {
        entry,
        entryArgs: raw(depth),
        limitPages: 0,
      });
      for (let left = depth; left > 0; left -= 4_000)
        expect(instance.run(Math.min(4_000, left)).kind).toBe('quantum');
      const { state } = throughCapsule(instance.capture());
      expect(state.frames.length).toBe(depth);
      expect(state.fuelUsed).toBe(BigInt(depth));
      instance = Instance.resume(loaded, host(), state);
      expect(i32Of(instance.run(0x7fff_ffff))).toBe(sum(depth));
      expect(instance.fuelUsed).toBe(BigInt(depth + 1));
    },
  );
});

describe('stacks of different size', () => {
  it.each(ENTRIES)(
    '%s: a capsule from deep down a large stack goes on in a small one',
    { timeout: 120_000 },
    async (entry) => {
      const depth = 100_000;
      const fuel = BigInt(depth - 1);
      const large = await inThread({ entry, depth, stackMb: 200, fuel });
      expect(large).toMatchObject({ kind: 'stopped', fuel });
      const small = await inThread({ entry, depth, stackMb: 1, capsule: large.capsule! });
      expect(small).toMatchObject({ kind: 'done', fuel: BigInt(depth + 1) });
      expect(value(small)).toBe(sum(depth));
      // The same frames, made in small steps on a small stack:
      const steps = await inThread({ entry, depth, stackMb: 1, fuel, quantum: 500 });
      expect(Buffer.compare(steps.capsule!, large.capsule!)).toBe(0);
    },
  );

  it.each([...ENTRIES, 'asks'])(
    '%s: the end of the native stack is a clean error, which no handler sees',
    { timeout: 120_000 },
    async (entry) => {
      for (const stackMb of [1, 4, 16]) {
        const answer = await inThread({ entry, depth: 50_000_000, stackMb });
        expect([stackMb, answer.kind, answer.trap]).toEqual([
          stackMb,
          'trap',
          'call stack exhausted',
        ]);
      }
    },
  );

  it('recursion without end in small steps ends when the frame store is full', {
    timeout: 120_000,
  }, async () => {
    for (const entry of ['wide', 'caught']) {
      const answer = await inThread({ entry, depth: 50_000_000, stackMb: 1, quantum: 500 });
      expect([entry, answer.kind, answer.trap]).toEqual([entry, 'trap', 'call stack exhausted']);
      expect(answer.fuel).toBeGreaterThan(500_000n);
    }
  });
});
