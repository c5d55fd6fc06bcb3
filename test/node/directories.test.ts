/** Host directories as trees. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chunksOf, snapshotDirectory, snapshotFile } from '../../host/node/directories.js';
import { decodeTrees, encodeTrees } from '../../host/runtime/spec.js';
import { CHUNK_BYTES, type TreeNode } from '../../host/types/host.js';
import { contentOf, noise, sha256, shapeOf } from '../runtime/wasi/guest.js';

let root: string;
let blobs: Map<string, Uint8Array>;
let warnings: string[];
const put = async (hash: string, bytes: Uint8Array): Promise<void> => {
  expect(sha256(bytes)).toBe(hash);
  blobs.set(hash, bytes);
};
const snapshot = (path = root) =>
  snapshotDirectory(path, '/d', false, put, (w) => warnings.push(w));

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'sherd-directories-'));
  blobs = new Map();
  warnings = [];
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function find(node: TreeNode, name: string): TreeNode {
  if (node.kind !== 'dir') throw new Error('not a directory');
  return node.entries.find(([entry]) => entry === name)![1];
}

describe('snapshotDirectory', () => {
  it('reads files, directories and symlinks, sorted by UTF-8', async () => {
    const big = noise(CHUNK_BYTES * 2 + 9);
    writeFileSync(join(root, 'big'), big);
    writeFileSync(join(root, 'exact'), big.subarray(0, CHUNK_BYTES));
    writeFileSync(join(root, 'empty'), '');
    mkdirSync(join(root, 'dir/sub'), { recursive: true });
    writeFileSync(join(root, 'dir/ä'), 'umlaut');
    writeFileSync(join(root, 'dir/z'), '#!/bin/sh\n');
    chmodSync(join(root, 'dir/z'), 0o755);
    symlinkSync('../../outside', join(root, 'link'));
    symlinkSync('/etc', join(root, 'absolute'));
    utimesSync(join(root, 'empty'), 5, 5.25);
    const tree = await snapshot();
    expect(shapeOf(tree.root, blobs)).toEqual({
      absolute: { link: '/etc' },
      big: Buffer.from(big).toString('latin1'),
      dir: { sub: {}, z: '#!/bin/sh\n', ä: 'umlaut' },
      empty: '',
      exact: Buffer.from(big.subarray(0, CHUNK_BYTES)).toString('latin1'),
      link: { link: '../../outside' },
    });
    expect(find(tree.root, 'exact')).toMatchObject({ chunks: [{ bytes: CHUNK_BYTES }] });
    expect(find(tree.root, 'empty')).toMatchObject({ mtimeNs: 5_250_000_000n, chunks: [] });
    expect(find(find(tree.root, 'dir'), 'z')).toMatchObject({ executable: true });
    expect(find(find(tree.root, 'dir'), 'ä')).toMatchObject({ executable: false });
    expect(decodeTrees(encodeTrees([tree]))).toEqual([tree]);
    expect(warnings).toEqual([]);
  });

  it('leaves out what is no file, with a warning, and never waits on a pipe', async () => {
    execFileSync('mkfifo', [join(root, 'pipe')]);
    const server = createServer().listen(join(root, 'socket'));
    await new Promise((resolve) => server.once('listening', resolve));
    writeFileSync(Buffer.concat([Buffer.from(`${root}/bad`), Buffer.from([0xff])]), 'x');
    writeFileSync(join(root, 'good'), 'x');
    const tree = await snapshot();
    server.close();
    expect(shapeOf(tree.root, blobs)).toEqual({ good: 'x' });
    expect(warnings.map((text) => text.slice(root.length + 1)).sort()).toEqual([
      'bad�: left out, its name is not UTF-8',
      'pipe: left out, it is not a regular file, directory or symlink',
      'socket: left out, it is not a regular file, directory or symlink',
    ]);
  });

  it('does not show what write-back stages', async () => {
    mkdirSync(join(root, '.sherd-write-back.123'));
    mkdirSync(join(root, 'sub/.sherd-write-back'), { recursive: true });
    expect(shapeOf((await snapshot()).root, blobs)).toEqual({ sub: { '.sherd-write-back': {} } });
  });

  it('follows a symlink that is the directory itself', async () => {
    mkdirSync(join(root, 'real'));
    writeFileSync(join(root, 'real/f'), 'x');
    symlinkSync('real', join(root, 'way'));
    expect(shapeOf((await snapshot(join(root, 'way'))).root, blobs)).toEqual({ f: 'x' });
  });

  it('names the path in its errors', async () => {
    writeFileSync(join(root, 'file'), '');
    for (const path of ['none', 'file']) {
      await expect(snapshot(join(root, path))).rejects.toMatchObject({
        code: 'SHERD_FILE',
        at: join(root, path),
        exitCode: 2,
      });
    }
  });

  it('streams big sparse files in chunks', async () => {
    writeFileSync(join(root, 'sparse'), 'start');
    truncateSync(join(root, 'sparse'), 64 * 1024 * 1024);
    const node = find((await snapshot()).root, 'sparse');
    expect(node).toMatchObject({ bytes: 64 * 1024 * 1024 });
    expect(node.kind === 'file' && node.chunks.length).toBe(256);
    expect(blobs.size).toBe(2);
  });
});

describe('snapshotFile and chunksOf', () => {
  it('read a file, and a stream whatever its pieces are', async () => {
    const content = noise(CHUNK_BYTES + 77);
    writeFileSync(join(root, 'f'), content);
    const chunks = await snapshotFile(join(root, 'f'), put);
    expect(chunks.map((chunk) => chunk.bytes)).toEqual([CHUNK_BYTES, 77]);
    expect(contentOf(chunks, blobs).equals(content)).toBe(true);
    async function* pieces(): AsyncIterable<Uint8Array> {
      for (let at = 0; at < content.length; at += 1000) yield content.subarray(at, at + 1000);
    }
    expect(await chunksOf(pieces(), put)).toEqual(chunks);
    expect(await snapshotFile('/dev/null', put)).toEqual([]);
    await expect(snapshotFile(root, put)).rejects.toMatchObject({ code: 'SHERD_FILE' });
    await expect(snapshotFile(join(root, 'none'), put)).rejects.toMatchObject({
      at: join(root, 'none'),
    });
  });

  it('end what has no end, and no file', async () => {
    const limit = 3 * CHUNK_BYTES;
    await expect(snapshotFile('/dev/zero', put, limit)).rejects.toMatchObject({
      code: 'SHERD_LIMIT',
      at: '/dev/zero',
      exitCode: 2,
    });
    writeFileSync(join(root, 'f'), new Uint8Array(limit + 1));
    expect(await snapshotFile(join(root, 'f'), put, limit)).toHaveLength(4);
  });
});
