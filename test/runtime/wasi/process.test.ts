/** Arguments, clocks, random, polling, exit; and that no guest can make a host function throw. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../host/runtime/wasi/errno.js';
import { wasiSignatures } from '../../../host/runtime/wasi/preview1.js';
import { chachaBlock, GuestRandom } from '../../../host/runtime/wasi/random.js';
import { Guest } from './guest.js';

function u64(guest: Guest, at = 0): bigint {
  return guest.view.getBigUint64(at, true);
}

interface Sub {
  readonly type: number;
  readonly fd?: number;
  readonly clock?: number;
  readonly timeout?: bigint;
  readonly absolute?: boolean;
}

function writeSubs(guest: Guest, subs: readonly Sub[]): void {
  for (const [index, sub] of subs.entries()) {
    const at = 2048 + index * 48;
    guest.bytes.fill(0, at, at + 48);
    guest.view.setBigUint64(at, BigInt(100 + index), true);
    guest.view.setUint8(at + 8, sub.type);
    guest.view.setUint32(at + 16, sub.type === 0 ? (sub.clock ?? 1) : (sub.fd ?? 0), true);
    guest.view.setBigUint64(at + 24, sub.timeout ?? 0n, true);
    guest.view.setUint16(at + 40, sub.absolute === true ? 1 : 0, true);
  }
}

/** Which subscriptions fired, with their errno. */
function events(guest: Guest): [number, number][] {
  return Array.from({ length: guest.view.getUint32(0, true) }, (_, index) => {
    const at = 4096 + index * 32;
    return [Number(u64(guest, at)) - 100, guest.view.getUint16(at + 8, true)];
  });
}

function poll(guest: Guest, subs: readonly Sub[]): [number, number][] | number {
  writeSubs(guest, subs);
  const errno = guest.call('poll_oneoff', 2048, 4096, subs.length, 0);
  return errno === 0 ? events(guest) : -errno;
}

describe('arguments and environment', () => {
  it('passes strings as C expects them', () => {
    const guest = new Guest({}, { args: ['prog', 'größe', ''], env: ['A=1'] });
    expect(guest.call('args_sizes_get', 0, 4)).toBe(0);
    expect([guest.view.getUint32(0, true), guest.view.getUint32(4, true)]).toEqual([3, 14]);
    expect(guest.call('args_get', 100, 200)).toBe(0);
    expect(Buffer.from(guest.bytes.subarray(200, 214)).toString()).toBe('prog\0größe\0\0');
    expect(guest.view.getUint32(104, true)).toBe(205);
    expect(guest.call('environ_sizes_get', 0, 4)).toBe(0);
    expect([guest.view.getUint32(0, true), guest.view.getUint32(4, true)]).toEqual([1, 4]);
    expect(guest.call('environ_get', 100, 200)).toBe(0);
    expect(Buffer.from(guest.bytes.subarray(200, 204)).toString()).toBe('A=1\0');
    expect(guest.call('args_get', guest.bytes.length - 4, 200)).toBe(ERRNO.fault);
  });
});

describe('random', () => {
  it('is ChaCha20: the block of RFC 8439, 2.3.2', () => {
    const input = new Int32Array(16);
    input.set([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574]);
    for (let word = 0; word < 8; word++) {
      const at = word * 4;
      input[4 + word] = at | ((at + 1) << 8) | ((at + 2) << 16) | ((at + 3) << 24);
    }
    input.set([1, 0x09000000, 0x4a000000, 0], 12);
    const block = new Uint8Array(64);
    chachaBlock(input, block);
    expect(Buffer.from(block).toString('hex')).toBe(
      '10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e' +
        'd2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e',
    );
  });

  it('gives the same stream however it is asked for and wherever it is moved', () => {
    const sizes = fc.array(fc.nat(200), { maxLength: 20 });
    fc.assert(
      fc.property(sizes, fc.stringMatching(/^[0-9a-f]{32}$/), (lengths, seed) => {
        const total = lengths.reduce((a, b) => a + b, 0);
        const whole = new Uint8Array(total);
        new GuestRandom(seed).fill(whole);
        const guest = new Guest({}, { seed });
        const pieces: Buffer[] = [];
        for (const length of lengths) {
          expect(guest.call('random_get', 65_536, length)).toBe(0);
          pieces.push(Buffer.from(guest.bytes.slice(65_536, 65_536 + length)));
          guest.move();
        }
        expect(Buffer.concat(pieces)).toEqual(Buffer.from(whole));
      }),
    );
  });

  it('differs by seed', () => {
    const [a, b] = [new Uint8Array(32), new Uint8Array(32)];
    new GuestRandom('0'.repeat(32)).fill(a);
    new GuestRandom(`${'0'.repeat(31)}1`).fill(b);
    expect(a).not.toEqual(b);
  });
});

describe('clocks', () => {
  it('leaves paused time out of monotonic time, across moves', () => {
    const guest = new Guest();
    const mono = (): bigint => {
      expect(guest.call('clock_time_get', 1, 0n, 0)).toBe(0);
      return u64(guest);
    };
    const start = mono();
    guest.platform.nowNs += 50n;
    expect(mono()).toBe(start + 50n);
    guest.host.suspendClock();
    guest.host.suspendClock();
    guest.platform.nowNs += 1_000_000n;
    expect(mono()).toBe(start + 50n);
    guest.platform.nowNs = 7n; // another process has another origin
    guest.move();
    expect(mono()).toBe(start + 50n);
    guest.platform.nowNs += 3n;
    guest.host.resumeClock();
    expect(mono()).toBe(start + 53n);
    expect(guest.call('clock_time_get', 4, 0n, 0)).toBe(ERRNO.inval);
    expect(guest.call('clock_res_get', 0, 0)).toBe(0);
    expect(u64(guest)).toBe(1_000_000n);
  });

  it('never runs wall time back', () => {
    const guest = new Guest();
    const wall = (): bigint => {
      guest.call('clock_time_get', 0, 0n, 0);
      return u64(guest);
    };
    const first = wall();
    guest.platform.wall -= 10_000;
    expect(wall()).toBe(first);
    guest.move();
    expect(wall()).toBe(first);
    guest.platform.wall += 10_001;
    expect(wall()).toBe(first + 1_000_000n);
  });

  it('keeps clocks that nobody looked at out of the snapshot', () => {
    const [a, b] = [new Guest({ f: 'x' }), new Guest({ f: 'x' })];
    b.platform.nowNs += 999n;
    b.platform.wall += 999;
    for (const guest of [a, b]) guest.write(guest.open('f'), 'new');
    expect(a.host.snapshot()).toEqual(b.host.snapshot());
    expect(a.host.trees()).toEqual(b.host.trees());
  });
});

describe('poll_oneoff', () => {
  it('sleeps for the shortest timeout and says which it was', () => {
    const guest = new Guest();
    const subs = [
      { type: 0, timeout: 500n },
      { type: 0, timeout: 200n },
      { type: 0, timeout: 200n },
    ];
    const before = guest.host.guestMonotonicNs();
    expect(poll(guest, subs)).toEqual([
      [1, 0],
      [2, 0],
    ]);
    expect(guest.host.guestMonotonicNs()).toBe(before + 200n);
  });

  it('keeps its deadline through a pause and a move in the middle', () => {
    const guest = new Guest();
    writeSubs(guest, [{ type: 0, timeout: 1000n }]);
    const args = [2048, 4096, 1, 0] as const;
    const start = guest.host.guestMonotonicNs();
    guest.callOnce('poll_oneoff', ...args);
    expect(guest.suspended).toEqual({ kind: 'until', monotonicNs: start + 1000n });
    guest.platform.nowNs += 400n;
    guest.host.suspendClock();
    guest.platform.nowNs += 1_000_000n;
    guest.resumed = guest.suspended;
    guest.move();
    guest.callOnce('poll_oneoff', ...args);
    expect(guest.suspended).toEqual({ kind: 'until', monotonicNs: start + 1000n });
    guest.platform.nowNs += 600n;
    expect(guest.callOnce('poll_oneoff', ...args)).toBe(0);
    expect(guest.suspended).toBeUndefined();
    expect(events(guest)).toEqual([[0, 0]]);
  });

  it('answers at once when a descriptor is asked for', () => {
    const guest = new Guest({ f: 'abc' });
    const fd = guest.open('f');
    guest.onWait = () => expect.fail('must not wait');
    const long = { type: 0, timeout: 10n ** 12n };
    expect(poll(guest, [{ type: 1, fd: 0 }, long])).toEqual([[0, 0]]);
    expect(
      poll(guest, [
        { type: 2, fd: 1 },
        { type: 0, timeout: 0n },
      ]),
    ).toEqual([
      [0, 0],
      [1, 0],
    ]);
    expect(
      poll(guest, [
        { type: 1, fd },
        { type: 1, fd: 99 },
      ]),
    ).toEqual([
      [0, 0],
      [1, ERRNO.badf],
    ]);
    expect(u64(guest, 4096 + 16)).toBe(3n);
    expect(poll(guest, [{ type: 1, fd: 1 }])).toEqual([[0, ERRNO.badf]]);
    expect(poll(guest, [{ type: 0, clock: 9 }])).toEqual([[0, ERRNO.inval]]);
    expect(poll(guest, [{ type: 0, timeout: 0n }])).toEqual([[0, 0]]);
    expect(poll(guest, [])).toBe(-ERRNO.inval);
    expect(poll(guest, [{ type: 3 }])).toBe(-ERRNO.inval);
  });

  it('waits for absolute times of both clocks', () => {
    const guest = new Guest();
    const mono = guest.host.guestMonotonicNs();
    const at = { type: 0, absolute: true };
    expect(
      poll(guest, [
        { ...at, timeout: mono + 70n },
        { type: 0, timeout: 90n },
      ]),
    ).toEqual([[0, 0]]);
    expect(guest.host.guestMonotonicNs()).toBe(mono + 70n);
    expect(poll(guest, [{ ...at, timeout: mono }])).toEqual([[0, 0]]);
    const wall = BigInt(guest.platform.wall) * 1_000_000n;
    const subs = [
      { ...at, clock: 0, timeout: wall + 5_000_000n },
      { type: 0, timeout: 10n ** 12n },
    ];
    writeSubs(guest, subs);
    guest.callOnce('poll_oneoff', 2048, 4096, 2, 0);
    guest.platform.nowNs += 5_000_000n;
    guest.platform.wall += 5;
    guest.resumed = guest.suspended;
    guest.callOnce('poll_oneoff', 2048, 4096, 2, 0);
    expect(events(guest)).toEqual([[0, 0]]);
  });
});

describe('the rest', () => {
  it('exits, raises, yields and has no sockets', () => {
    const guest = new Guest();
    guest.call('proc_exit', 42);
    expect(guest.exitCode).toBe(42);
    guest.call('proc_raise', 6);
    expect(guest.trapped).toContain('signal 6');
    expect(guest.callOnce('sched_yield')).toBe(0);
    expect(guest.suspended).toEqual({ kind: 'yield' });
    guest.resumed = guest.suspended;
    guest.callOnce('sched_yield');
    expect(guest.suspended).toBeUndefined();
    expect(guest.call('sock_send', 1, 0, 0, 0, 0)).toBe(ERRNO.notsock);
    expect(guest.call('sock_accept', 99, 0, 0)).toBe(ERRNO.badf);
  });

  it('offers all 46 functions of preview 1', () => {
    const signatures = wasiSignatures();
    expect(signatures.size).toBe(46);
    expect(signatures.get('path_open')?.params.filter((type) => type === 'i64')).toHaveLength(2);
    expect(signatures.get('proc_exit')?.results).toEqual([]);
  });

  it('never throws, whatever the arguments are', () => {
    const names = [...wasiSignatures().keys()].filter((name) => !name.startsWith('proc_'));
    const guest = new Guest({ f: 'content', d: { g: '' }, l: { link: 'f' } });
    guest.open('f');
    guest.open('d');
    const word = fc.oneof(
      fc.nat(8),
      fc.integer({ min: -8, max: -1 }),
      fc.constantFrom(
        0x7fffffff,
        -0x80000000,
        1024,
        4096,
        guest.bytes.length - 3,
        guest.bytes.length,
      ),
      fc.integer(),
    );
    const long = fc.oneof(
      fc.bigInt({ min: -3n, max: 9n }),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    );
    const calls = fc.constantFrom(...names).chain((name) => {
      const { params } = wasiSignatures().get(name)!;
      const args = params.map((type) => (type === 'i64' ? long : word));
      return fc.tuple(fc.constant(name), fc.tuple(...args));
    });
    fc.assert(
      fc.property(fc.array(calls, { maxLength: 30 }), (list) => {
        for (const [name, args] of list) {
          const errno = guest.callOnce(name, ...(args as (number | bigint)[]));
          expect(errno).toBeGreaterThanOrEqual(0);
          expect(errno).toBeLessThanOrEqual(76);
        }
        guest.move();
      }),
      { numRuns: 300 },
    );
  });
});
