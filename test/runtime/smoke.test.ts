import wabt from 'wabt';
import { expect, test } from 'vitest';
import { compileProgram, readShardModule } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance } from '../../host/runtime/instance.js';
import { LoadedModule } from '../../host/runtime/loaded.js';
import type { GuestHost } from '../../host/types/host.js';

const host: GuestHost = {
  functions: () => new Map(), snapshot: () => null, drainOutput: () => [], newBlobs: () => new Map(), markDurable() {},
  references: () => [], suspendClock() {}, resumeClock() {}, guestMonotonicNs: () => 0n, trees: () => [],
};
test('fib', async () => {
  const w = await wabt();
  const wat = `(module (memory 1) (global $g (mut i32) (i32.const 0))
   (func $fib (export "fib") (param i32) (result i32)
     (global.set $g (i32.add (global.get $g) (i32.const 1)))
     (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
   (func $loop (export "loop") (param i32) (result f64) (local $i i32) (local $s f64) (local $j i32)
     (loop $o
       (local.set $j (i32.const 0))
       (loop $l
        (local.set $s (f64.add (local.get $s) (f64.convert_i32_s (i32.mul (local.get $i) (local.get $j)))))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (br_if $l (i32.lt_s (local.get $j) (i32.const 10))))
       (i32.store (i32.const 16) (local.get $i))
       (local.set $i (i32.add (local.get $i) (i32.const 1)))
       (br_if $o (i32.lt_s (local.get $i) (local.get 0))))
     (f64.add (local.get $s) (f64.convert_i32_s (call $fib (i32.const 5))))))`;
  const bytes = w.parseWat('a.wat', wat).toBinary({}).buffer;
  const shard = compileProgram(bytes, nodePlatform);
  const again = readShardModule(shard.bytes, nodePlatform);
  expect({ ...again, skeleton: 0 }).toEqual({ ...shard, skeleton: 0 });
  const loaded = LoadedModule.load(shard, nodePlatform);
  const arg = (n: number) => { const b = new Uint8Array(8); b[0] = n; return b; };
  for (const [entry, n, want] of [['fib', 12, 144], ['loop', 20, 0]] as const) {
    const straight = Instance.start(loaded, host, { entry, entryArgs: arg(n), limitPages: 0 });
    const end = straight.run(2 ** 31 - 1);
    console.log(end);
    for (const step of [1, 2, 3, 7]) {
      let inst = Instance.start(loaded, host, { entry, entryArgs: arg(n), limitPages: 0 });
      let hops = 0;
      for (;;) {
        const r = inst.run(step);
        if (r.kind !== 'quantum') { expect(r).toEqual(end); break; }
        hops++;
        if (hops % 3 === 0) inst = Instance.resume(loaded, host, structuredClone(inst.capture()));
      }
      console.log(entry, step, hops);
    }
  }
});
