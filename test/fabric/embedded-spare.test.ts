/** The file that waits for the next blob: used, gone, too small, in the way of nobody. */
import {
  closeSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedFabric } from '../../host/fabric/embedded.js';
import { SpareFile } from '../../host/fabric/embedded-spare.js';
import { hashOf } from './world.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sherd-spare-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const files = (): string[] => readdirSync(folder);

async function until(there: () => boolean): Promise<void> {
  while (!there()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function write(spare: SpareFile, name: string, content: string): string {
  const path = join(folder, name);
  const file = spare.open(path, content.length);
  writeSync(file, content, 0);
  closeSync(file);
  return readFileSync(path, 'utf8');
}

describe('the spare file', () => {
  it('becomes the next file, cut to what is written', async () => {
    const spare = new SpareFile(folder, async () => undefined);
    expect(write(spare, 'a', 'first')).toBe('first');
    spare.soon(100_000);
    spare.soon(100_000);
    await until(() => spare.isReady);
    expect(write(spare, 'b', 'second')).toBe('second');
    expect(files()).toEqual(['a', 'b']);
    expect(write(spare, 'c', 'third')).toBe('third');
    await spare.close();
    expect(files()).toEqual(['a', 'b', 'c']);
  });

  it('is not needed: one that is gone, too small or not made is made up for', async () => {
    const spare = new SpareFile(folder, async () => undefined);
    spare.soon(1_000);
    await until(() => spare.isReady);
    expect(write(spare, 'large', 'x'.repeat(5_000))).toHaveLength(5_000);
    for (const name of files()) if (name !== 'large') rmSync(join(folder, name));
    expect(write(spare, 'small', 'y')).toBe('y');
    expect(files()).toEqual(['large', 'small']);
    spare.soon(64 * 1024 * 1024);
    await spare.close();
    expect(files()).toEqual(['large', 'small']);
  });

  it('has a new time before it has the name of a put, so that no collection takes it for an old one', async () => {
    const spare = new SpareFile(folder, async () => undefined);
    spare.soon(1_000);
    await until(() => spare.isReady);
    const [name] = files();
    utimesSync(join(folder, name!), 0, 0);
    const file = spare.open(join(folder, 'put'), 10);
    expect(statSync(join(folder, 'put')).mtimeMs).toBeGreaterThan(Date.now() - 60_000);
    closeSync(file);
    await spare.close();
  });

  it('gives its room back once, when it is asked to', async () => {
    const spare = new SpareFile(folder, async () => undefined);
    expect(spare.discard()).toBe(false);
    spare.soon(1_000);
    await until(() => spare.isReady);
    expect(spare.discard()).toBe(true);
    expect(spare.discard()).toBe(false);
    expect(files()).toEqual([]);
    expect(write(spare, 'a', 'first')).toBe('first');
    await spare.close();
  });

  it('goes with its store, also in the middle of being made', async () => {
    for (const waitMs of [0, 100, 101, 150]) {
      const spare = new SpareFile(folder, async () => undefined);
      spare.soon(3_000_000);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      await spare.close();
      spare.soon(10);
      expect(files()).toEqual([]);
    }
  });
});

it('what a killed process left is removed by the next one that makes a spare, what is young is not', async () => {
  const dir = join(folder, 'fabric');
  const fabric = await openEmbeddedFabric(dir, { create: true });
  for (const name of ['1-old', '1-young']) writeFileSync(join(dir, 'tmp', name), 'left');
  utimesSync(join(dir, 'tmp', '1-old'), 0, 0);
  const content = new Uint8Array(100_000).fill(7);
  await fabric.blobs.put(hashOf(content), content, { hashed: true });
  await until(
    () => readdirSync(join(dir, 'tmp')).length === 2 && !existsSync(join(dir, 'tmp', '1-old')),
  );
  await fabric.close();
  expect(readdirSync(join(dir, 'tmp'))).toEqual(['1-young']);
});

it('blobs that a store writes into it are what they were, and nothing is left beside them', async () => {
  const dir = join(folder, 'fabric');
  const fabric = await openEmbeddedFabric(dir, { create: true });
  const temporary = (): string[] => readdirSync(join(dir, 'tmp'));
  for (const size of [400_000, 300_001, 450_000, 70_000]) {
    const content = new Uint8Array(size).fill(size % 251);
    const hash = hashOf(content);
    await fabric.blobs.put(hash, content, { hashed: true });
    expect(Buffer.compare((await fabric.blobs.get(hash))!, content)).toBe(0);
    await until(() => temporary().length === 1);
  }
  await fabric.close();
  expect(temporary()).toEqual([]);
});
