import { describe, expect, test } from 'vitest';
import { Instance, MAX_BUDGET } from '../../host/runtime/instance.js';
import { SherdError } from '../../host/types/errors.js';
import { detached, hostOf, i32Of, load, raw, runInSteps, wat } from './support.js';

const FIB = `(module
  (func $fib (export "fib") (param i32) (result i32)
    (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                     (call $fib (i32.sub (local.get 0) (i32.const 2))))))))`;

const SUM = `(module
  (func (export "sum") (param $n i32) (result i32) (local $s i32)
    (loop $again
      (local.set $s (i32.add (local.get $s) (local.get $n)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br_if $again (local.get $n)))
    (local.get $s)))`;

describe('fuel', () => {
  test('run(b) stops exactly at the b-th safepoint, wherever the run began', () => {
    const loaded = load(wat(SUM));
    const start = () =>
      Instance.start(loaded, hostOf(), { entry: 'sum', entryArgs: raw(100), limitPages: 0 });
    for (const budget of [1, 2, 50, 99, 100]) {
      const instance = start();
      expect(instance.run(budget)).toEqual({ kind: 'quantum', fuelUsed: BigInt(budget) });
      expect(i32Of(instance.run(MAX_BUDGET))).toBe(5050);
      expect(instance.fuelUsed).toBe(100n);
    }
    expect(i32Of(start().run(101))).toBe(5050);
  });

  test('the same total, straight or in steps of any size', () => {
    const loaded = load(wat(FIB));
    const straight = Instance.start(loaded, hostOf(), {
      entry: 'fib',
      entryArgs: raw(13),
      limitPages: 0,
    }).run(MAX_BUDGET);
    for (const step of [1, 2, 3, 5, 100, 1000]) {
      const { result } = runInSteps(loaded, hostOf, { entry: 'fib', entryArgs: raw(13) }, step);
      expect(result).toEqual(straight);
    }
    expect(i32Of(straight)).toBe(233);
  });

  test('capturing changes nothing: the same instance goes on', () => {
    const loaded = load(wat(FIB));
    const instance = Instance.start(loaded, hostOf(), {
      entry: 'fib',
      entryArgs: raw(12),
      limitPages: 0,
    });
    let result = instance.run(3);
    while (result.kind === 'quantum') {
      const first = detached(instance.capture());
      expect(detached(instance.capture())).toEqual(first);
      result = instance.run(3);
    }
    expect(i32Of(result)).toBe(144);
  });

  test('a capture is canonical: reached in one stretch or in steps, the same state', () => {
    const loaded = load(wat(FIB));
    const at = (steps: readonly number[]): unknown => {
      const instance = Instance.start(loaded, hostOf(), {
        entry: 'fib',
        entryArgs: raw(14),
        limitPages: 0,
      });
      for (const step of steps) instance.run(step);
      return detached(instance.capture());
    };
    expect(at([1, 1, 1, 97])).toEqual(at([100]));
    expect(at([50, 50])).toEqual(at([100]));
  });
});

describe('frames', () => {
  test('three hundred thousand saved frames are resumed', () => {
    const loaded = load(
      wat(`(module (func $down (export "down") (param i32) (result i32)
        (if (result i32) (local.get 0)
          (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
          (else (i32.const 0)))))`),
    );
    const instance = Instance.start(loaded, hostOf(), {
      entry: 'down',
      entryArgs: raw(300_000),
      limitPages: 0,
    });
    while (instance.fuelUsed < 299_500n) expect(instance.run(500).kind).toBe('quantum');
    const state = instance.capture();
    expect(state.frames.length).toBeGreaterThan(299_000);
    const resumed = Instance.resume(loaded, hostOf(), state);
    expect(i32Of(resumed.run(MAX_BUDGET))).toBe(300_000);
  });

  test('recursion without end is a clean trap', () => {
    const loaded = load(
      wat('(module (func $f (export "f") (result i32) (i32.add (call $f) (i32.const 1))))'),
    );
    const instance = Instance.start(loaded, hostOf(), {
      entry: 'f',
      entryArgs: raw(),
      limitPages: 0,
    });
    const result = instance.run(MAX_BUDGET);
    expect(result.kind).toBe('trap');
    if (result.kind !== 'trap') return;
    expect(result.trap.trapKind).toBe('call stack exhausted');
    expect(result.trap.guestStack[0]).toBe('f (function 0)');
  });

  test('frames that do not fit the module are refused', () => {
    const loaded = load(wat(FIB));
    const instance = Instance.start(loaded, hostOf(), {
      entry: 'fib',
      entryArgs: raw(12),
      limitPages: 0,
    });
    instance.run(50);
    const state = detached(instance.capture());
    const bad = [
      { ...state, frames: [{ func: 9, safepoint: 0, slots: new Uint8Array(0) }] },
      { ...state, frames: [{ func: 0, safepoint: 99, slots: new Uint8Array(0) }] },
      { ...state, frames: [{ ...state.frames[0]!, slots: new Uint8Array(3) }] },
      { ...state, globals: new Uint8Array(8) },
      { ...state, calls: ['other'] },
      { ...state, moduleHash: 'f'.repeat(64) },
      { ...state, droppedSegments: [0] },
      { ...state, pending: { name: 'env.x', args: [], wait: { kind: 'yield' as const } } },
    ];
    for (const each of bad) {
      expect(() => Instance.resume(loaded, hostOf(), each)).toThrowError(SherdError);
    }
  });
});

describe('traps', () => {
  test.each([
    ['unreachable', 'unreachable', 'unreachable'],
    ['integer divide by zero', 'divide', '(drop (i32.div_s (i32.const 1) (i32.const 0)))'],
    ['integer overflow', 'overflow', '(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))'],
    ['invalid conversion to integer', 'convert', '(drop (i32.trunc_f64_s (f64.const nan)))'],
    ['out of bounds memory access', 'memory', '(drop (i32.load (i32.const -4)))'],
    ['undefined element', 'element', '(call_indirect (i32.const 7))'],
    [
      'indirect call type mismatch',
      'type',
      '(call_indirect (param i32) (i32.const 1) (i32.const 0))',
    ],
  ])('%s', (kind, _name, code) => {
    const loaded = load(
      wat(`(module (memory 1) (table 2 funcref) (elem (i32.const 0) $g) (func $g)
      (func $inner ${code}) (func $outer (export "outer") (loop (call $inner))))`),
    );
    const result = Instance.start(loaded, hostOf(), {
      entry: 'outer',
      entryArgs: raw(),
      limitPages: 0,
    }).run(MAX_BUDGET);
    expect(result.kind === 'trap' && result.trap.trapKind).toBe(kind);
    expect(result.kind === 'trap' && result.trap.guestStack).toContain('outer (function 2)');
  });

  test('the guest stack joins native frames and saved ones', () => {
    const loaded = load(
      wat(`(module
      (func $leaf (param i32) (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) unreachable)
      (func $middle (call $leaf (i32.const 10)))
      (func $top (export "top") (call $middle)))`),
    );
    const { result } = runInSteps(loaded, hostOf, { entry: 'top', entryArgs: raw() }, 4);
    expect(result.kind === 'trap' && result.trap.guestStack).toEqual([
      'leaf (function 0)',
      'middle (function 1)',
      'top (function 2)',
    ]);
  });
});

describe('memory', () => {
  const GROW = `(module (memory 1 100) (func (export "grow") (param i32) (result i32)
    (loop (drop (i32.const 0))) (memory.grow (local.get 0))))`;

  test('memory.grow obeys the limit and says so', () => {
    const loaded = load(wat(GROW));
    const grow = (delta: number, limitPages: number) => {
      const instance = Instance.start(loaded, hostOf(), {
        entry: 'grow',
        entryArgs: raw(delta),
        limitPages,
      });
      return [i32Of(instance.run(MAX_BUDGET)), instance.growRefused, instance.memoryBytes / 65536];
    };
    expect(grow(3, 4)).toEqual([1, false, 4]);
    expect(grow(4, 4)).toEqual([-1, true, 1]);
    expect(grow(-1, 4)).toEqual([-1, true, 1]);
    expect(grow(99, 0)).toEqual([1, false, 100]);
    expect(grow(100, 0)).toEqual([-1, true, 1]);
  });

  test('a limit below the initial size is refused at start', () => {
    const loaded = load(wat('(module (memory 3) (func (export "f")))'));
    expect(() =>
      Instance.start(loaded, hostOf(), { entry: 'f', entryArgs: raw(), limitPages: 2 }),
    ).toThrowError(/limit/);
  });

  test('memory, globals, dropped segments and the limit survive', () => {
    const loaded = load(
      wat(`(module (memory 1 10) (data $d "hello")
      (global $a (mut i64) (i64.const 5)) (global $n (mut f64) (f64.const nan:0x4000000000001)) (global $v (mut v128) (v128.const i32x4 1 2 3 4))
      (func $wait (loop))
      (func (export "f") (result i32)
        (global.set $a (i64.add (global.get $a) (i64.const 37)))
        (global.set $v (i32x4.add (global.get $v) (global.get $v)))
        (memory.init $d (i32.const 100) (i32.const 0) (i32.const 5))
        (data.drop $d)
        (drop (memory.grow (i32.const 2)))
        (call $wait)
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))
        (i64.store (i32.const 200) (i64.reinterpret_f64 (global.get $n)))
        (i32.add (i32.add (i32.load8_u (i32.const 104)) (i32.wrap_i64 (global.get $a)))
                 (i32.add (i32x4.extract_lane 3 (global.get $v)) (i32.mul (memory.size) (i32.load (i32.const 200)))))))`),
    );
    const straight = Instance.start(loaded, hostOf(), {
      entry: 'f',
      entryArgs: raw(),
      limitPages: 0,
    }).run(MAX_BUDGET);
    expect(i32Of(straight)).toBe(111 + 42 + 8 + 3);
    const { result, stops } = runInSteps(loaded, hostOf, { entry: 'f', entryArgs: raw() }, 1);
    expect(stops).toBeGreaterThan(0);
    expect(result).toEqual(straight);
  });

  test('the base image is the memory after instantiation', () => {
    const loaded = load(
      wat('(module (memory 2) (data (i32.const 70000) "x") (func (export "f")))'),
    );
    const image = loaded.baseImage();
    expect(image.pages).toBe(2);
    expect([...image.nonZero.keys()]).toEqual([17]);
    expect(image.nonZero.get(17)![70000 - 17 * 4096]).toBe(0x78);
  });
});

describe('entries', () => {
  test('the start function runs first, as a frame that can stop', () => {
    const loaded = load(
      wat(`(module (global $g (mut i32) (i32.const 0)) (start $s)
      (func $s (loop $l (global.set $g (i32.add (global.get $g) (i32.const 1))) (br_if $l (i32.lt_s (global.get $g) (i32.const 5)))))
      (func (export "get") (param i32) (result i32) (i32.add (global.get $g) (local.get 0))))`),
    );
    const { result, stops } = runInSteps(loaded, hostOf, { entry: 'get', entryArgs: raw(37) }, 1);
    expect(stops).toBe(5);
    expect(i32Of(result)).toBe(42);
  });

  test('an unknown entry and wrong arguments are refused with what there is', () => {
    const loaded = load(wat(SUM));
    const start = (entry: string, entryArgs: Uint8Array) => () =>
      Instance.start(loaded, hostOf(), { entry, entryArgs, limitPages: 0 });
    expect(start('nothing', raw())).toThrowError(/exports no function 'nothing'/);
    expect(start('sum', raw())).toThrowError(/takes 1 parameters \(i32\)/);
  });

  test('many results of all types come back raw', () => {
    const loaded = load(
      wat(`(module (func $w (loop)) (func (export "f") (result i32 i64 f32 f64 v128)
      (i32.const 1) (i64.const 2) (f32.const nan:0x200001) (f64.const 3) (v128.const i64x2 4 5) (call $w)))`),
    );
    const straight = Instance.start(loaded, hostOf(), {
      entry: 'f',
      entryArgs: raw(),
      limitPages: 0,
    }).run(MAX_BUDGET);
    const { result } = runInSteps(loaded, hostOf, { entry: 'f', entryArgs: raw() }, 1);
    expect(result).toEqual(straight);
    const bytes = result.kind === 'done' ? result.results : new Uint8Array(0);
    const data = new DataView(bytes.buffer);
    expect(bytes.length).toBe(48);
    expect(data.getUint32(16, true)).toBe(0x7fa00001);
    expect(data.getBigInt64(40, true)).toBe(5n);
  });
});

describe('host calls', () => {
  const CALLER = `(module (import "env" "ask" (func $ask (param i32 i64) (result i32))) (import "env" "tell" (func $tell (param i32)))
    (func (export "f") (param i32) (result i32)
      (i32.add (local.get 0) (call $ask (i32.mul (local.get 0) (i32.const 2)) (i64.const -7)))
      (call $tell (i32.const 1))))`;

  test('a suspended call is made again with the same arguments, in another instance', () => {
    const loaded = load(wat(CALLER));
    const calls: unknown[] = [];
    const host = hostOf((control) => ({
      ask: (a, b) => {
        calls.push([a, b, control.resumed]);
        if (control.resumed !== undefined) return 1000;
        control.suspend({ kind: 'until', monotonicNs: 5n });
        return 0;
      },
      tell: () => undefined,
    }));
    const instance = Instance.start(loaded, host, {
      entry: 'f',
      entryArgs: raw(21),
      limitPages: 0,
    });
    expect(instance.run(10)).toEqual({
      kind: 'waiting',
      fuelUsed: 0n,
      wait: { kind: 'until', monotonicNs: 5n },
    });
    const state = detached(instance.capture());
    expect(state.pending).toEqual({
      name: 'env.ask',
      args: [42, -7n],
      wait: { kind: 'until', monotonicNs: 5n },
    });
    expect(i32Of(Instance.resume(loaded, host, state).run(10))).toBe(1021);
    expect(calls).toEqual([
      [42, -7n, undefined],
      [42, -7n, { kind: 'until', monotonicNs: 5n }],
    ]);
  });

  test('fuel left at a suspended call is exact', () => {
    const loaded = load(
      wat(`(module (import "env" "ask" (func $ask)) (func (export "f") (local i32)
      (loop $l (call $ask) (br_if $l (i32.lt_s (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 10))))))`),
    );
    const host = hostOf((control) => ({
      ask: () => {
        if (control.resumed === undefined) control.suspend({ kind: 'yield' });
      },
    }));
    const instance = Instance.start(loaded, host, { entry: 'f', entryArgs: raw(), limitPages: 0 });
    for (let i = 1n; i <= 10n; i++)
      expect(instance.run(100)).toEqual({ kind: 'waiting', fuelUsed: i, wait: { kind: 'yield' } });
    expect(instance.run(100)).toMatchObject({ kind: 'done', fuelUsed: 10n });
  });

  test('exit ends the shard where it is; a host trap carries the guest stack', () => {
    const loaded = load(wat(CALLER));
    const run = (ask: (control: Parameters<Parameters<typeof hostOf>[0] & object>[0]) => void) =>
      Instance.start(
        loaded,
        hostOf((control) => ({
          ask: () => {
            ask(control);
            return 0;
          },
          tell: () => {
            throw new Error('not reached');
          },
        })),
        {
          entry: 'f',
          entryArgs: raw(1),
          limitPages: 0,
        },
      ).run(10);
    expect(run((control) => control.exit(7))).toEqual({ kind: 'exit', fuelUsed: 0n, code: 7 });
    const trap = run((control) => control.trap('bad pointer', 'no'));
    expect(trap).toMatchObject({
      kind: 'trap',
      trap: { trapKind: 'bad pointer', guestStack: ['f (function 2)'] },
    });
  });

  test('an import that nobody offers is named', () => {
    const loaded = load(wat('(module (import "sys" "magic" (func)) (func (export "f")))'));
    expect(() =>
      Instance.start(loaded, hostOf(), { entry: 'f', entryArgs: raw(), limitPages: 0 }),
    ).toThrowError(/sys\.magic/);
  });
});

describe('limits that end a shard', () => {
  test('recursion without end across quanta is a clean trap', () => {
    const loaded = load(
      wat('(module (func $f (export "f") (result i32) (i32.add (call $f) (i32.const 1))))'),
    );
    const instance = Instance.start(loaded, hostOf(), {
      entry: 'f',
      entryArgs: raw(),
      limitPages: 0,
    });
    let result = instance.run(3000);
    while (result.kind === 'quantum') result = instance.run(3000);
    expect(result.kind === 'trap' && result.trap.trapKind).toBe('call stack exhausted');
  });

  test("a grow that only the module's own maximum refuses is not the memory limit", () => {
    const loaded = load(
      wat(`(module (memory 1 9) (func (export "f") (loop)
      (if (i32.eq (memory.grow (i32.const 50)) (i32.const -1)) (then unreachable))))`),
    );
    const result = Instance.start(loaded, hostOf(), {
      entry: 'f',
      entryArgs: raw(),
      limitPages: 0,
    }).run(MAX_BUDGET);
    expect(result).toMatchObject({ kind: 'trap', trap: { trapKind: 'unreachable' } });
  });

  test('giving up after a refused memory.grow is the memory limit', () => {
    const loaded = load(
      wat(`(module (memory 1 9) (func (export "f") (loop)
      (if (i32.eq (memory.grow (i32.const 5)) (i32.const -1)) (then unreachable))))`),
    );
    const run = (limitPages: number) =>
      Instance.start(loaded, hostOf(), { entry: 'f', entryArgs: raw(), limitPages }).run(
        MAX_BUDGET,
      );
    expect(run(0).kind).toBe('done');
    expect(run(5)).toMatchObject({ kind: 'trap', trap: { trapKind: 'memory limit' } });
  });
});
