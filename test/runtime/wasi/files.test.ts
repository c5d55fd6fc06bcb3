/** Files and descriptors: what a C library relies on, call by call. */
import { describe, expect, it } from 'vitest';
import { ERRNO } from '../../../host/runtime/wasi/errno.js';
import { CHUNK_BYTES } from '../../../host/types/host.js';
import { Guest, O, RIGHTS, type Stat } from './guest.js';

describe('regular files', () => {
  it('writes, seeks and reads back, over several spans', () => {
    const guest = new Guest();
    const fd = guest.open('a.txt', { oflags: O.creat });
    expect(fd).toBe(4);
    expect(guest.write(fd, 'hello, world', { pieces: 5 })).toBe(12);
    expect(guest.seek(fd, -5n, 2)).toBe(7);
    expect(guest.read(fd, 100, { pieces: 3 })).toBe('world');
    expect(guest.seek(fd, 0n, 1)).toBe(12);
    expect(guest.read(fd, 5)).toBe('');
    expect(guest.seek(fd, -1n, 0)).toBe(-ERRNO.inval);
    expect(guest.read(fd, 4, { at: 1n })).toBe('ello');
    expect(guest.write(fd, 'J', { at: 0n })).toBe(1);
    expect(guest.call('fd_tell', fd, 0)).toBe(0);
    expect(guest.view.getBigUint64(0, true)).toBe(12n);
    expect(guest.close(fd)).toBe(0);
    expect(guest.close(fd)).toBe(ERRNO.badf);
    expect(guest.tree()).toEqual({ 'a.txt': 'Jello, world' });
  });

  it('shows zeros in holes, across chunks, and after cutting and growing', () => {
    const guest = new Guest();
    const fd = guest.open('sparse', { oflags: O.creat });
    const far = BigInt(CHUNK_BYTES * 3 + 17);
    guest.write(fd, 'abc', { at: far });
    expect((guest.fstat(fd) as Stat).size).toBe(far + 3n);
    expect(guest.read(fd, 6, { at: far - 3n })).toBe('\0\0\0abc');
    guest.call('fd_filestat_set_size', fd, far + 1n);
    guest.call('fd_filestat_set_size', fd, far + 5n);
    expect(guest.read(fd, 10, { at: far })).toBe('a\0\0\0\0');
    guest.write(fd, 'end');
    expect(guest.read(fd, 5, { at: 0n })).toBe('end\0\0');
    guest.move();
    expect(guest.read(fd, 5, { at: far })).toBe('a\0\0\0\0');
    expect(guest.read(fd, 5, { at: 0n })).toBe('end\0\0');
  });

  it('appends with O_APPEND wherever the offset is, also after a move', () => {
    const guest = new Guest({ log: 'one\n' });
    const fd = guest.open('log', { flags: 1 });
    guest.write(fd, 'two\n');
    guest.seek(fd, 0n, 0);
    guest.move();
    guest.write(fd, 'three\n');
    expect(guest.tree()).toEqual({ log: 'one\ntwo\nthree\n' });
    expect(guest.seek(fd, 0n, 1)).toBe(14);
  });

  it('truncates, creates exclusively and refuses what does not fit', () => {
    const guest = new Guest({ file: 'content', dir: { inner: 'x' } });
    expect(guest.open('file', { oflags: O.creat | O.excl })).toBe(-ERRNO.exist);
    expect(guest.open('none')).toBe(-ERRNO.noent);
    expect(guest.open('file', { oflags: O.directory })).toBe(-ERRNO.notdir);
    expect(guest.open('dir')).toBe(-ERRNO.isdir);
    expect(guest.open('dir', { rights: RIGHTS.readOnly })).toBe(4);
    expect(guest.open('dir', { oflags: O.directory })).toBe(5);
    expect(guest.open('dir', { oflags: O.creat, rights: RIGHTS.readOnly })).toBe(-ERRNO.isdir);
    expect(guest.open('new/', { oflags: O.creat })).toBe(-ERRNO.isdir);
    expect(guest.open('file/')).toBe(-ERRNO.notdir);
    expect(guest.open('file/x')).toBe(-ERRNO.notdir);
    const fd = guest.open('file', { oflags: O.trunc });
    expect((guest.fstat(fd) as Stat).size).toBe(0n);
    expect(guest.tree()).toEqual({ file: '', dir: { inner: 'x' } });
  });

  it('takes reading and writing away with the rights', () => {
    const guest = new Guest({ file: 'content' });
    const reader = guest.open('file', { rights: RIGHTS.readOnly });
    expect(guest.write(reader, 'x')).toBe(-ERRNO.badf);
    expect(guest.read(reader, 3)).toBe('con');
    const writer = guest.open('file', { rights: RIGHTS.write });
    expect(guest.read(writer, 3)).toBe(-ERRNO.badf);
    expect(guest.seek(writer, 1n, 0)).toBe(-ERRNO.notcapable);
    expect(guest.call('fd_fdstat_set_rights', reader, RIGHTS.all, 0n)).toBe(ERRNO.notcapable);
    expect(guest.call('fd_fdstat_set_rights', reader, 0n, 0n)).toBe(0);
    expect(guest.read(reader, 3)).toBe(-ERRNO.badf);
  });

  it('keeps an unlinked file while it is open, across a move', () => {
    const guest = new Guest({ file: 'content' });
    const fd = guest.open('file');
    expect(guest.unlink('file')).toBe(0);
    expect(guest.list()).toEqual(['.', '..']);
    guest.write(fd, 'CON');
    guest.move();
    expect(guest.read(fd, 100, { at: 0n })).toBe('CONtent');
    expect((guest.fstat(fd) as Stat).links).toBe(0n);
    expect(guest.tree()).toEqual({});
    guest.close(fd);
    const root = [1, 0, null, expect.anything(), [1, ['file'], []]];
    expect(guest.move()).toMatchObject({ files: { inodes: [root] } });
  });

  it('links and counts links', () => {
    const guest = new Guest({ file: 'x', dir: {} });
    expect(guest.link('file', 'dir/again')).toBe(0);
    expect(guest.link('dir', 'loop')).toBe(ERRNO.perm);
    expect(guest.link('file', 'dir/again')).toBe(ERRNO.exist);
    const fd = guest.open('dir/again', { flags: 1 });
    guest.write(fd, 'y');
    guest.move();
    const [one, two] = [guest.stat('file') as Stat, guest.stat('dir/again') as Stat];
    expect(one).toEqual(two);
    expect(one.links).toBe(2n);
    expect(guest.rename('file', 'dir/again')).toBe(0);
    guest.unlink('file');
    expect((guest.stat('dir/again') as Stat).links).toBe(1n);
    expect(guest.tree()).toEqual({ dir: { again: 'xy' } });
  });

  it('reuses the lowest free descriptor and renumbers', () => {
    const guest = new Guest({ a: 'A', b: 'B' });
    const [a, b] = [guest.open('a'), guest.open('b')];
    guest.close(a);
    expect(guest.open('a')).toBe(a);
    expect(guest.call('fd_renumber', b, a)).toBe(0);
    expect(guest.read(a, 9)).toBe('B');
    expect(guest.read(b, 9)).toBe(-ERRNO.badf);
    expect(guest.call('fd_renumber', a, 77)).toBe(ERRNO.badf);
    guest.move();
    expect(guest.open('a')).toBe(b);
    expect(guest.call('fd_renumber', 1, b)).toBe(0);
    guest.write(b, 'to stdout');
    expect(guest.output()).toBe('stdout:to stdout');
  });

  it('allocates, advises and syncs', () => {
    const guest = new Guest({ f: 'abc', d: {} });
    const fd = guest.open('f');
    expect(guest.call('fd_allocate', fd, 2n, 10n)).toBe(0);
    expect((guest.fstat(fd) as Stat).size).toBe(12n);
    expect(guest.call('fd_allocate', fd, 0n, 1n)).toBe(0);
    expect((guest.fstat(fd) as Stat).size).toBe(12n);
    expect(guest.call('fd_allocate', fd, 0n, 0n)).toBe(ERRNO.inval);
    expect(guest.call('fd_advise', fd, 0n, 0n, 5)).toBe(0);
    expect(guest.call('fd_advise', fd, 0n, 0n, 6)).toBe(ERRNO.inval);
    expect(guest.call('fd_sync', fd)).toBe(0);
    expect(guest.call('fd_datasync', fd)).toBe(0);
    expect(guest.call('fd_sync', 99)).toBe(ERRNO.badf);
    const huge = 1n << 50n;
    expect(guest.call('fd_filestat_set_size', fd, huge)).toBe(ERRNO.fbig);
    expect(guest.write(fd, 'x', { at: huge })).toBe(-ERRNO.fbig);
  });

  it('sets times, and stamps changes in order without looking at the host clock', () => {
    const guest = new Guest({ f: 'abc', g: 'x' });
    const fd = guest.open('f');
    expect(guest.call('fd_filestat_set_times', fd, 5n, 6n, 1 | 4)).toBe(0);
    expect(guest.stat('f')).toMatchObject({ accessed: 5n, modified: 6n });
    expect(guest.call('fd_filestat_set_times', fd, 5n, 6n, 1 | 2)).toBe(ERRNO.inval);
    const args = [3, 1, ...guest.path('g'), 0n, 0n, 8] as const;
    expect(guest.call('path_filestat_set_times', ...args)).toBe(0);
    const before = (guest.stat('g') as Stat).modified;
    guest.platform.wall += 5_000;
    guest.write(fd, 'z');
    const after = (guest.stat('f') as Stat).modified;
    expect(after).toBeGreaterThan(before);
    expect(after).toBeLessThan(2000n);
    guest.call('clock_time_get', 0, 0n, 0);
    const seen = guest.view.getBigUint64(0, true);
    guest.write(fd, 'z');
    expect((guest.stat('f') as Stat).modified).toBeGreaterThanOrEqual(seen);
  });
});

describe('directories', () => {
  it('makes, lists, renames and removes', () => {
    const guest = new Guest({ d: { x: '1' } });
    expect(guest.mkdir('e')).toBe(0);
    expect(guest.mkdir('e')).toBe(ERRNO.exist);
    expect(guest.mkdir('none/e')).toBe(ERRNO.noent);
    expect(guest.rmdir('d')).toBe(ERRNO.notempty);
    expect(guest.rename('d', 'e')).toBe(0);
    expect(guest.list()).toEqual(['.', '..', 'e']);
    expect(guest.rename('e', 'e/below')).toBe(ERRNO.inval);
    expect(guest.rename('e/x', 'x')).toBe(0);
    expect(guest.rename('x', 'e')).toBe(ERRNO.isdir);
    expect(guest.rename('e', 'x')).toBe(ERRNO.notdir);
    expect(guest.rmdir('x')).toBe(ERRNO.notdir);
    expect(guest.unlink('e')).toBe(ERRNO.isdir);
    expect(guest.rmdir('e/')).toBe(0);
    expect(guest.rmdir('.')).toBe(ERRNO.inval);
    expect(guest.rename('.', 'x')).toBe(ERRNO.busy);
    expect(guest.tree()).toEqual({ x: '1' });
  });

  it.each([25, 26, 30, 64, 300])('lists with a buffer of %i bytes', (bufferBytes) => {
    const names = Array.from({ length: 40 }, (_, index) => `f${index}`);
    const guest = new Guest(Object.fromEntries(names.map((name) => [name, ''])));
    const fd = guest.open('.', { oflags: O.directory });
    // A buffer that cannot hold one entry would be an endless loop for the caller, as in every WASI.
    if (bufferBytes < 27) {
      expect(guest.call('fd_readdir', fd, 65_536, bufferBytes, 2n, 0)).toBe(0);
      expect(guest.view.getUint32(0, true)).toBe(bufferBytes);
      return;
    }
    expect(guest.readdir(fd, bufferBytes)).toEqual(['.', '..', ...names.sort()]);
  });

  it('goes on listing while entries come and go, also after a move', () => {
    const names = Array.from({ length: 60 }, (_, index) => `f${String(index).padStart(2, '0')}`);
    const guest = new Guest(Object.fromEntries(names.map((name) => [name, ''])));
    const fd = guest.open('.', { oflags: O.directory });
    guest.call('fd_readdir', fd, 65_536, 27 * 10 + 25 + 26, 0n, 0);
    // Cookie after `.`, `..` and ten files.
    const cookie = 12n;
    for (const name of names.slice(0, 20)) guest.unlink(name);
    guest.close(guest.open('late', { oflags: O.creat }));
    guest.move();
    expect(guest.readdir(fd, 100, cookie)).toEqual([...names.slice(20), 'late']);
  });

  it('keeps a removed directory open, empty and without room', () => {
    const guest = new Guest({ d: {} });
    const fd = guest.open('d', { oflags: O.directory });
    expect(guest.rmdir('d')).toBe(0);
    guest.move();
    expect(guest.readdir(fd)).toEqual(['.', '..']);
    expect(guest.open('x', { dir: fd, oflags: O.creat })).toBe(-ERRNO.noent);
    expect(guest.tree()).toEqual({});
  });

  it('forgets a removed submitted subtree in the snapshot', () => {
    const guest = new Guest({ d: { a: 'A', e: { b: 'B' } }, keep: 'K' });
    for (const path of ['d/a', 'd/e/b']) expect(guest.unlink(path)).toBe(0);
    for (const path of ['d/e', 'd']) expect(guest.rmdir(path)).toBe(0);
    const snapshot = guest.move() as { files: { inodes: unknown[] } };
    expect(snapshot.files.inodes).toHaveLength(1);
    expect(guest.list()).toEqual(['.', '..', 'keep']);
    expect(guest.host.references()).toHaveLength(1);
    expect(guest.move()).toEqual(snapshot);
  });

  it('limits how deep directories nest', () => {
    const guest = new Guest();
    let dir = 3;
    let errno = 0;
    let depth = 0;
    for (; depth < 2000 && errno === 0; depth++) {
      errno = guest.call('path_create_directory', dir, ...guest.path('d'));
      if (errno === 0) dir = guest.open('d', { dir, oflags: O.directory });
    }
    expect(errno).toBe(ERRNO.nametoolong);
    expect(depth).toBe(901);
    guest.move();
    expect(guest.open('d', { dir, oflags: O.directory })).toBe(-ERRNO.noent);
  });
});

describe('streams', () => {
  it('reads standard input chunk by chunk and writes output in order', () => {
    const guest = new Guest();
    const text = `${'x'.repeat(CHUNK_BYTES)}tail`;
    const stdin = guest.blobs.chunks(Buffer.from(text));
    const reader = new Guest({}, { stdin }, guest.blobs);
    expect(reader.read(0, CHUNK_BYTES - 2)).toHaveLength(CHUNK_BYTES - 2);
    expect(reader.host.references()).toHaveLength(2);
    reader.move();
    expect(reader.read(0, 10)).toBe('xxtail');
    expect(reader.read(0, 10)).toBe('');
    expect(reader.host.references()).toHaveLength(0);
    reader.write(1, 'a');
    reader.write(1, 'b');
    reader.write(2, 'c');
    reader.write(1, 'd');
    expect(reader.output()).toBe('stdout:ab|stderr:c|stdout:d');
    expect(reader.output()).toBe('');
    expect(reader.seek(0, 0n, 0)).toBe(-ERRNO.spipe);
    expect(reader.read(1, 1)).toBe(-ERRNO.badf);
    expect(reader.write(0, 'x')).toBe(-ERRNO.badf);
    expect(reader.read(0, 1, { at: 0n })).toBe(-ERRNO.spipe);
    expect(reader.call('fd_filestat_get', 1, 256)).toBe(0);
  });
});

describe('read-only directories', () => {
  it('refuses every change with EROFS', () => {
    const setup = new Guest({ f: 'content', d: {}, l: { link: 'f' } });
    const tree = { ...setup.spec.dirs[0]!, readOnly: true };
    const guest = new Guest([tree], {}, setup.blobs);
    const rofs = ERRNO.rofs;
    expect(guest.open('f')).toBe(-rofs);
    expect(guest.open('n', { oflags: O.creat })).toBe(-rofs);
    expect(guest.open('f', { oflags: O.trunc, rights: RIGHTS.readOnly })).toBe(-rofs);
    const fd = guest.open('f', { rights: RIGHTS.readOnly });
    expect(guest.read(fd, 7)).toBe('content');
    expect(guest.call('fd_filestat_set_size', fd, 0n)).toBe(rofs);
    expect(guest.call('fd_allocate', fd, 0n, 100n)).toBe(rofs);
    expect(guest.call('fd_filestat_set_times', fd, 0n, 0n, 8)).toBe(rofs);
    expect(guest.mkdir('e')).toBe(rofs);
    expect(guest.rmdir('d')).toBe(rofs);
    expect(guest.unlink('f')).toBe(rofs);
    expect(guest.rename('f', 'g')).toBe(rofs);
    expect(guest.link('f', 'g')).toBe(rofs);
    expect(guest.symlink('f', 'g')).toBe(rofs);
    expect(guest.host.trees()[0]).toEqual(tree);
    expect(guest.host.snapshot()).toMatchObject({ files: { inodes: [] } });
  });
});
