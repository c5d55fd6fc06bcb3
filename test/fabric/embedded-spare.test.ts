/** The file that waits for the next blob: used, gone, too small, in the way of nobody. */
import { closeSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs';
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
    const spare = new SpareFile(folder);
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
    const spare = new SpareFile(folder);
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

  it('goes with its store, also in the middle of being made', async () => {
    for (const waitMs of [0, 100, 101, 150]) {
      const spare = new SpareFile(folder);
      spare.soon(3_000_000);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      await spare.close();
      spare.soon(10);
      expect(files()).toEqual([]);
    }
  });
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
