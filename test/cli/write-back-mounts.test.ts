/**
 * Write-back into a directory that holds a mount: renames into it fail with EXDEV, as the kernel has it. Simulated, for
 * tests may not mount.
 */
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { redoWriteBack, writeBack } from '../../host/cli/write-back.js';
import type { DirectoryTree } from '../../host/types/host.js';
import { dirOf, FakeBlobs, type Shape } from '../runtime/wasi/guest.js';

/** How many removals of staged files still work. */
const unlinks = vi.hoisted(() => ({ left: Number.POSITIVE_INFINITY }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  const fail = (code: string): never => {
    throw Object.assign(new Error(code), { code });
  };
  const isMount = (path: string): boolean => /\/mnt(\/|$)/.test(path);
  return {
    ...real,
    rename: (from: string, to: string) =>
      isMount(dirname(from)) === isMount(dirname(to)) ? real.rename(from, to) : fail('EXDEV'),
    rmdir: (path: string) => (path.endsWith('/mnt') ? fail('EBUSY') : real.rmdir(path)),
    unlink: async (path: string) => {
      if (/write-back\/\d+$/.test(path) && unlinks.left-- <= 0) fail('EIO');
      await real.unlink(path);
    },
  };
});

let root: string;
let blobs: FakeBlobs;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sherd-mounts-'));
  blobs = new FakeBlobs();
  unlinks.left = Number.POSITIVE_INFINITY;
  mkdirSync(join(root, 'mnt'));
  writeFileSync(join(root, 'mnt', 'old'), 'old');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const tree = (shape: Shape): DirectoryTree => ({
  guestPath: '/d',
  readOnly: false,
  root: dirOf(blobs, shape),
});

const back = (before: Shape, after: Shape) =>
  writeBack({
    hostPath: root,
    submitted: tree(before),
    final: tree(after),
    getBlob: async (hash) => blobs.store.get(hash) ?? new Uint8Array(0),
  });

const BEFORE: Shape = { mnt: { old: 'old' } };
const AFTER: Shape = { top: 't', mnt: { old: 'new', made: 'made', l: { link: 'made' } } };

function expectAfter(): void {
  expect(readdirSync(root).sort()).toEqual(['mnt', 'top']);
  expect(readdirSync(join(root, 'mnt')).sort()).toEqual(['l', 'made', 'old']);
  expect(readFileSync(join(root, 'mnt', 'old'), 'utf8')).toBe('new');
  expect(readFileSync(join(root, 'mnt', 'made'), 'utf8')).toBe('made');
  expect(lstatSync(join(root, 'mnt', 'l')).isSymbolicLink()).toBe(true);
  expect(readlinkSync(join(root, 'mnt', 'l'))).toBe('made');
}

it('puts files and symlinks there', async () => {
  const report = await back(BEFORE, AFTER);
  expect([report.exitCode, report.conflicts]).toEqual([0, []]);
  expectAfter();
});

it.each([0, 1, 2])('is finished after a stop behind copy %i', async (left) => {
  unlinks.left = left;
  await expect(back(BEFORE, AFTER)).rejects.toMatchObject({ code: 'SHERD_DISK' });
  unlinks.left = Number.POSITIVE_INFINITY;
  const report = await redoWriteBack(root, { isAlive: () => false });
  expect(report?.conflicts).toEqual([]);
  expectAfter();
});

it('leaves a mount that the program deleted, and says so', async () => {
  const report = await back(BEFORE, {});
  expect(report.conflicts).toMatchObject([
    { path: 'mnt', reason: expect.stringMatching(/in use/) },
  ]);
  expect(readdirSync(root)).toEqual(['mnt']);
  expect(readdirSync(join(root, 'mnt'))).toEqual([]);
});
