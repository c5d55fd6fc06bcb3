/**
 * Random programs on three file systems: the simplest one (model.ts), the real one, and the real one that is moved to
 * a new host at random points while its blobs are never at hand. All answers must be the same.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHUNK_BYTES } from '../../../host/types/host.js';
import { Guest, noise, O, type Shape } from './guest.js';
import { Model } from './model.js';

const big = noise(CHUNK_BYTES * 2 + 1000);
const shape: Shape = {
  a: 'first',
  b: { a: 'inner', c: {} },
  big,
  zero: new Uint8Array(CHUNK_BYTES + 5),
};

const name = fc.constantFrom('a', 'b', 'c', 'big', 'zero');
const path = fc.oneof(
  name,
  fc.tuple(name, name).map((parts) => parts.join('/')),
);
const fd = fc.integer({ min: 4, max: 7 });
const position = fc.oneof(
  fc.nat(20),
  fc.constantFrom(1, 2, 3).chain((chunks) => {
    return fc.integer({ min: -4, max: 4 }).map((delta) => CHUNK_BYTES * chunks + delta);
  }),
);
const content = fc.oneof(
  fc.uint8Array({ maxLength: 12 }),
  fc.nat(255).map((byte) => new Uint8Array(CHUNK_BYTES + 3).fill(byte)),
);

const step = fc.oneof(
  fc.record({
    op: fc.constant('open' as const),
    path,
    creat: fc.boolean(),
    excl: fc.boolean(),
    trunc: fc.boolean(),
    append: fc.boolean(),
  }),
  fc.record({ op: fc.constant('close' as const), fd }),
  fc.record({
    op: fc.constant('write' as const),
    fd,
    content,
    pieces: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ op: fc.constant('pwrite' as const), fd, content, at: position }),
  fc.record({
    op: fc.constant('read' as const),
    fd,
    length: position,
    pieces: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ op: fc.constant('pread' as const), fd, length: position, at: position }),
  fc.record({
    op: fc.constant('seek' as const),
    fd,
    at: position,
    sign: fc.constantFrom(1, -1),
    whence: fc.nat(2),
  }),
  fc.record({ op: fc.constant('resize' as const), fd, bytes: position }),
  fc.record({
    op: fc.constantFrom('mkdir' as const, 'rmdir' as const, 'unlink' as const, 'list' as const),
    path,
  }),
  fc.record({ op: fc.constantFrom('rename' as const, 'link' as const), path, target: path }),
  fc.record({ op: fc.constant('move' as const) }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Three files are open from the start, so that random descriptors mean something. */
const plainly = { op: 'open', creat: false, excl: false, trunc: false } as const;
const opened: readonly Step[] = [
  { ...plainly, path: 'a', append: false },
  { ...plainly, path: 'big', append: false },
  { ...plainly, path: 'zero', append: true },
];

function onGuest(guest: Guest, s: Step): unknown {
  switch (s.op) {
    case 'open': {
      const oflags = (s.creat ? O.creat : 0) | (s.excl ? O.excl : 0) | (s.trunc ? O.trunc : 0);
      return guest.open(s.path, { oflags, flags: s.append ? 1 : 0 });
    }
    case 'close':
      return guest.close(s.fd);
    case 'write':
      return guest.write(s.fd, s.content, { pieces: s.pieces });
    case 'pwrite':
      return guest.write(s.fd, s.content, { at: BigInt(s.at) });
    case 'read':
      return guest.read(s.fd, s.length, { pieces: s.pieces });
    case 'pread':
      return guest.read(s.fd, s.length, { at: BigInt(s.at) });
    case 'seek':
      return guest.seek(s.fd, BigInt(s.at * s.sign), s.whence);
    case 'resize':
      return guest.call('fd_filestat_set_size', s.fd, BigInt(s.bytes));
    case 'list': {
      const names = guest.list(s.path);
      return typeof names === 'number' ? names : names.slice(2).sort();
    }
    case 'rename':
      return guest.rename(s.path, s.target);
    case 'link':
      return guest.link(s.path, s.target);
    case 'move':
      return 0;
    default:
      return guest[s.op](s.path);
  }
}

function onModel(model: Model, s: Step): unknown {
  switch (s.op) {
    case 'open':
      return model.open(s.path, s);
    case 'close':
      return model.close(s.fd);
    case 'write':
      return model.write(s.fd, s.content);
    case 'pwrite':
      return model.write(s.fd, s.content, s.at);
    case 'read':
      return model.read(s.fd, s.length);
    case 'pread':
      return model.read(s.fd, s.length, s.at);
    case 'seek':
      return model.seek(s.fd, s.at * s.sign, s.whence);
    case 'resize':
      return model.resize(s.fd, s.bytes);
    case 'rename':
      return model.rename(s.path, s.target);
    case 'link':
      return model.link(s.path, s.target);
    case 'move':
      return 0;
    default:
      return model[s.op](s.path);
  }
}

describe('random programs', () => {
  it('give the answers of the model, moved or not', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
        const model = new Model(shape);
        const still = new Guest(shape);
        const moved = new Guest(shape);
        moved.blobs.lazy = true;
        for (const [index, s] of [...opened, ...steps].entries()) {
          const expected = onModel(model, s);
          const at = `step ${index} ${s.op}`;
          expect(onGuest(still, s), at).toEqual(expected);
          expect(onGuest(moved, s), `${at}, moved`).toEqual(expected);
          if (s.op === 'move') {
            moved.move();
            moved.blobs.present.clear();
          }
        }
        expect(still.tree()).toEqual(model.tree());
        expect(moved.tree()).toEqual(model.tree());
        expect(moved.host.trees()).toEqual(still.host.trees());
        expect(moved.host.snapshot()).toEqual(still.host.snapshot());
        expect(moved.host.references()).toEqual(still.host.references());
        moved.move();
        expect(moved.host.snapshot()).toEqual(still.host.snapshot());
      }),
      { numRuns: 150 },
    );
  }, 300_000);
});
