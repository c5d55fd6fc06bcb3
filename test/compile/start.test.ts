/**
 * Start functions: they run first, stop like any frame, may wait, trap and throw; and an export without a name is not one.
 */
import { describe, expect, test } from 'vitest';
import { decodeCapsule } from '../../host/capsule/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance } from '../../host/runtime/instance.js';
import type { HostControl } from '../../host/types/host.js';
import { Journey, type Subject } from '../exact/drive.js';
import { everywhereSubject, exactEverywhere } from '../exact/everywhere.js';
import { assemble } from '../exact/modules.js';
import { detached, hostOf, i32Of, load, raw } from '../runtime/support.js';

const SPIN = `(func $spin (param $n i32)
  loop $l global.get $g i32.const 3 i32.mul local.get $n i32.add global.set $g
    local.get $n i32.const 1 i32.sub local.tee $n br_if $l end)`;
const COMMON = `(import "fuzz" "log" (func $log (param i32) (result i32)))
  (memory 1) (global $g (mut i32) (i32.const 1)) ${SPIN}`;
const RUN = `(func (export "run") (result i32) i32.const 3 call $spin global.get $g i32.const 0 i32.load i32.add)`;

const CASES: readonly (readonly [name: string, text: string])[] = [
  [
    'a start function with loops, calls and writes',
    `(module ${COMMON} (start $s) ${RUN}
      (func $s i32.const 4 call $spin i32.const 0 global.get $g call $log i32.store i32.const 2 call $spin))`,
  ],
  [
    'a start function that traps in the middle',
    `(module ${COMMON} (start $s) ${RUN}
      (func $s i32.const 3 call $spin i32.const 65533 i32.load drop i32.const 2 call $spin))`,
  ],
  [
    'an entry that traps after the start function',
    `(module ${COMMON} (start $s) (func $s i32.const 3 call $spin)
      (func (export "run") (result i32) i32.const 2 call $spin unreachable))`,
  ],
  [
    'a start function that catches what it throws',
    `(module ${COMMON} (tag $t (param i32)) (start $s) ${RUN}
      (func $s try i32.const 2 call $spin global.get $g throw $t
        catch $t i32.const 2 call $spin global.get $g i32.add global.set $g end))`,
  ],
  [
    'a start function that throws',
    `(module ${COMMON} (tag $t (param i32)) (start $s) ${RUN}
      (func $s i32.const 2 call $spin i32.const 5 throw $t))`,
  ],
  [
    'a start function that is exported, called again, and changes a table',
    `(module ${COMMON} (table 3 funcref) (elem func $a) (start $s)
      (func $a (result i32) i32.const 2 call $spin global.get $g)
      (func $s (export "again") i32.const 2 call $spin
        i32.const 1 i32.const 0 i32.const 1 table.init 0 elem.drop 0)
      (func (export "run") (result i32) i32.const 1 call_indirect (result i32) global.get $g i32.xor))`,
  ],
  [
    'a start function that cannot stop',
    `(module ${COMMON} (start $s) ${RUN} (func $s i32.const 9 global.set $g))`,
  ],
];

describe('start functions across pauses', () => {
  test.each(CASES)('%s', (name, text) => {
    expect(exactEverywhere(name, text)).toBeGreaterThan(1n);
  });

  test('an imported one is refused by name', () => {
    const bytes = assemble(
      '(module (import "env" "f" (func $f)) (start $f) (func (export "run")))',
    );
    expect(() => load(bytes)).toThrowError('an imported start function is not supported');
  });

  test('it waits in a host call, in one instance after the other', () => {
    const loaded = load(
      assemble(`(module (import "env" "ask" (func $ask (result i32)))
        (global $g (mut i32) (i32.const 0)) (start $s)
        (func $s (local i32) loop $l call $ask global.get $g i32.add global.set $g
          local.get 0 i32.const 1 i32.add local.tee 0 i32.const 3 i32.lt_s br_if $l end)
        (func (export "run") (result i32) global.get $g call $ask i32.add))`),
    );
    let answer = 1;
    const host = () =>
      hostOf((control: HostControl) => ({
        ask: () => {
          answer *= control.resumed === undefined ? 1 : 10;
          if (control.resumed === undefined) control.suspend({ kind: 'yield' });
          return answer;
        },
      }));
    let instance = Instance.start(loaded, host(), {
      entry: 'run',
      entryArgs: raw(),
      limitPages: 0,
    });
    const fuel: bigint[] = [];
    let result = instance.run(100);
    while (result.kind === 'waiting') {
      fuel.push(instance.fuelUsed);
      instance = Instance.resume(loaded, host(), detached(instance.capture()));
      result = instance.run(100);
    }
    expect(fuel).toEqual([1n, 2n, 3n, 3n]);
    expect(i32Of(result)).toBe(10 + 100 + 1000 + 10_000);
  });
});

describe('an export whose name is empty', () => {
  const EMPTY = `(module ${COMMON} (func (export "") (result i32) i32.const 4 call $spin global.get $g)`;

  test('runs and stops like others', () => {
    expect(exactEverywhere('empty', `${EMPTY})`, '')).toBe(4n);
  });

  test('is not the start function', () => {
    const text = `${EMPTY} (start $s) (func $s i32.const 7 global.set $g i32.const 2 call $spin))`;
    expect(exactEverywhere('empty and start', text, '')).toBe(6n);
  });

  test('capsules of older versions, where the empty name stands for the start function, resume', () => {
    const subject: Subject = everywhereSubject('older', CASES[0]![1]);
    const journey = Journey.begin(subject);
    expect(journey.runTo(2n)).toBe(true);
    const { loaded } = subject;
    const state = decodeCapsule(journey.pack().bytes, nodePlatform).state(loaded.baseImage());
    expect(state.calls).toEqual([null, 'run']);
    const log = (x: unknown): number => Number(x) + 1;
    const end = (calls: readonly (string | null)[]) => {
      const host = hostOf();
      const offering = { ...host, functions: () => new Map([['fuzz', new Map([['log', log]])]]) };
      return Instance.resume(loaded, offering, { ...state, calls }).run(1000);
    };
    expect(end(['', 'run'])).toEqual(end([null, 'run']));
    expect(end(['', 'run']).kind).toBe('done');
  });
});
