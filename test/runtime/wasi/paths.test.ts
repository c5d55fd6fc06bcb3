/** Paths and symlinks: what leads out of a preopened directory is refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../host/runtime/wasi/errno.js';
import { Guest, O, type Stat } from './guest.js';

const shape = {
  a: { b: { file: 'deep' }, up: { link: '../top' }, out: { link: '../../etc/passwd' } },
  top: 'top',
  abs: { link: '/top' },
  loop: { link: 'pool' },
  pool: { link: 'loop' },
  here: { link: '.' },
  dir: { link: 'a/b/' },
  dangling: { link: 'a/new' },
};

describe('path resolution', () => {
  it('follows symlinks inside, never outside', () => {
    const guest = new Guest(shape);
    expect(guest.open('a/up')).toBeGreaterThan(0);
    expect(guest.open('here/here/a/../a/b/file')).toBeGreaterThan(0);
    expect(guest.open('dir/file')).toBeGreaterThan(0);
    for (const path of ['..', '../x', 'a/../..', 'a/b/../../../a', '/top', '/', 'a/out', 'abs']) {
      expect([path, guest.open(path)]).toEqual([path, -ERRNO.perm]);
    }
    expect(guest.open('loop')).toBe(-ERRNO.loop);
    expect(guest.open('loop/x')).toBe(-ERRNO.loop);
    expect(guest.open('top', { follow: false })).toBeGreaterThan(0);
    expect(guest.open('a/up', { follow: false })).toBe(-ERRNO.loop);
    expect(guest.open('')).toBe(-ERRNO.noent);
  });

  it('takes an opened directory as the limit of what is opened from it', () => {
    const guest = new Guest(shape);
    const dir = guest.open('a', { oflags: O.directory });
    expect(guest.open('b/file', { dir })).toBeGreaterThan(0);
    expect(guest.open('..', { dir })).toBe(-ERRNO.perm);
    expect(guest.open('up', { dir })).toBe(-ERRNO.perm);
    expect(guest.open('a', { dir: 0 })).toBe(-ERRNO.notdir);
  });

  it('makes symlinks, but none with an absolute target', () => {
    const guest = new Guest(shape);
    expect(guest.symlink('a/b', 'new')).toBe(0);
    expect(guest.symlink('a/b', 'new')).toBe(ERRNO.exist);
    expect(guest.symlink('/etc', 'etc')).toBe(ERRNO.perm);
    expect(guest.symlink('', 'empty')).toBe(ERRNO.noent);
    guest.move();
    expect(guest.readlink('new')).toBe('a/b');
    expect(guest.readlink('top')).toBe(-ERRNO.inval);
    expect((guest.stat('new', false) as Stat).type).toBe(7);
    expect((guest.stat('new', true) as Stat).type).toBe(3);
    expect(guest.unlink('new')).toBe(0);
    expect(guest.open('a/b/file')).toBeGreaterThan(0);
  });

  it('creates the target of a dangling symlink, unless asked for exclusively', () => {
    const guest = new Guest(shape);
    expect(guest.open('dangling', { oflags: O.creat | O.excl })).toBe(-ERRNO.exist);
    expect(guest.open('dangling', { oflags: O.creat })).toBeGreaterThan(0);
    expect((guest.stat('a/new') as Stat).size).toBe(0n);
  });

  it('renames and unlinks symlinks themselves', () => {
    const guest = new Guest(shape);
    expect(guest.rename('here', 'there')).toBe(0);
    expect(guest.readlink('there')).toBe('.');
    expect(guest.rmdir('dir')).toBe(ERRNO.notdir);
    expect(guest.unlink('dir')).toBe(0);
    expect(guest.stat('a/b/file')).toMatchObject({ size: 4n });
  });

  it('refuses names that are too long, not UTF-8 or contain NUL', () => {
    const guest = new Guest();
    expect(guest.open('x'.repeat(256), { oflags: O.creat })).toBe(-ERRNO.nametoolong);
    expect(guest.open('ä'.repeat(127), { oflags: O.creat })).toBeGreaterThan(0);
    expect(guest.open('d/'.repeat(2100))).toBe(-ERRNO.nametoolong);
    expect(guest.open('a\0b', { oflags: O.creat })).toBe(-ERRNO.inval);
    const bad = guest.text(1024, new Uint8Array([0x61, 0xff]));
    expect(guest.call('path_create_directory', 3, ...bad)).toBe(ERRNO.ilseq);
    const surrogate = guest.text(1024, new Uint8Array([0xed, 0xa0, 0x80]));
    expect(guest.call('path_create_directory', 3, ...surrogate)).toBe(ERRNO.ilseq);
  });

  it('does not move or link between two preopened directories', () => {
    const setup = new Guest({ f: 'x' });
    const [tree] = setup.spec.dirs;
    const guest = new Guest([tree!, { ...tree!, guestPath: '/two' }], {}, setup.blobs);
    const [f, g] = [guest.path('f'), guest.path2('g')];
    expect(guest.call('path_rename', 3, ...f, 4, ...g)).toBe(ERRNO.xdev);
    expect(guest.call('path_link', 3, 0, ...f, 4, ...g)).toBe(ERRNO.xdev);
    guest.call('fd_prestat_get', 4, 0);
    expect(guest.view.getUint32(4, true)).toBe(4);
    expect(guest.call('fd_prestat_dir_name', 4, 16, 3)).toBe(ERRNO.nametoolong);
    expect(guest.call('fd_prestat_dir_name', 4, 16, 4)).toBe(0);
    expect(Buffer.from(guest.bytes.subarray(16, 20)).toString()).toBe('/two');
    expect(guest.call('fd_prestat_get', 5, 0)).toBe(ERRNO.badf);
    expect(guest.call('fd_prestat_get', 1, 0)).toBe(ERRNO.badf);
  });

  it('never reaches another tree, whatever symlinks say', () => {
    const part = fc.constantFrom('..', '.', 'd', 'e', 's', 't', '', 'secret');
    const path = fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => parts.join('/'));
    fc.assert(
      fc.property(path, path, path, (s, t, opened) => {
        const setup = new Guest({ secret: 'SECRET' });
        const inner = { d: { e: { s: { link: `x${s}`.slice(1) || '.' } }, t: { link: t || '.' } } };
        const shown = new Guest(inner, {}, setup.blobs).spec.dirs[0]!;
        const guest = new Guest(
          [shown, { ...setup.spec.dirs[0]!, guestPath: '/2' }],
          {},
          setup.blobs,
        );
        const fd = guest.open(opened);
        if (fd < 0) return;
        const stat = guest.fstat(fd) as Stat;
        expect(stat.dev).toBe(1n);
        expect(stat.type).toBe(3);
      }),
      { numRuns: 500 },
    );
  });
});
