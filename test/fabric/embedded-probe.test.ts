/** Records that are damaged are found, and refused, before anybody maps them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { lockDirectory, openEmbeddedFabric } from '../../host/fabric/embedded.js';
import { probeRecords } from '../../host/fabric/embedded-probe.js';
import { isStopped } from '../../host/fabric/stopped.js';
import { bytesOf, hashOf } from './world.js';

const ENTRY = new URL('../../dist/fabric/embedded-probe.js', import.meta.url);
const PAGE_BYTES = 4_096;
const RECORDS = 300;

const damaged = { code: 'SHERD_FABRIC', exitCode: 2, next: expect.stringContaining('restore') };

let dir: string;
let sound: string;
let records: string;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sherd-fabric-'));
  sound = join(dir, 'sound.mdb');
  records = join(dir, 'data/records.mdb');
  const fabric = await openEmbeddedFabric(join(dir, 'data'), { create: true });
  for (let i = 0; i < RECORDS; i++)
    await fabric.records.compareAndSet(`k.${i}`, 0, new Uint8Array(500).fill(i));
  await fabric.blobs.put(hashOf(bytesOf('blob')), bytesOf('blob'));
  await fabric.close();
  copyFileSync(records, sound);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
beforeEach(() => {
  copyFileSync(sound, records);
  rmSync(`${records}-lock`, { force: true });
});

describe('records', () => {
  it('that are sound are left as they are', async () => {
    await probeRecords(records, ENTRY);
    expect(readFileSync(records).equals(readFileSync(sound))).toBe(true);
  });

  it('that are not there yet are none to look at', async () => {
    rmSync(records);
    await probeRecords(records, ENTRY);
  });

  it.each([2, 10, 30])('cut short to %i pages are refused', async (pages) => {
    expect(statSync(records).size).toBeGreaterThan(2 * pages * PAGE_BYTES);
    truncateSync(records, pages * PAGE_BYTES);
    await expect(probeRecords(records, ENTRY)).rejects.toMatchObject({ ...damaged, at: records });
  });

  it('with pages that hold something else are refused', async () => {
    const file = openSync(records, 'r+');
    for (let at = 2 * PAGE_BYTES; at < statSync(records).size; at += PAGE_BYTES)
      writeSync(file, Buffer.alloc(PAGE_BYTES, 0xee), 0, PAGE_BYTES, at);
    await expect(probeRecords(records, ENTRY)).rejects.toMatchObject(damaged);
  });

  it('that are damaged are refused by who wants to be the `up`', async () => {
    truncateSync(records, 2 * PAGE_BYTES);
    const lock = lockDirectory(join(dir, 'data'), { probe: ENTRY });
    await expect(lock).rejects.toMatchObject(damaged);
  });

  it('that somebody holds who stands still are named with him, and are not called damaged', async () => {
    const store = new URL('../../dist/fabric/embedded-store.js', import.meta.url).href;
    const script = `
      const { leaseStore } = await import(${JSON.stringify(store)});
      leaseStore(process.argv[1]).store.write(() => {
        process.send('held');
        process.kill(process.pid, 'SIGSTOP');
      });
      process.exit(0);`;
    const args = ['--input-type=module', '-e', script, '--', records];
    const fabric = ['--fabric', `embedded:${join(dir, 'data')}`, '--name', 'n3'];
    const holder = spawn(process.execPath, [...args, ...fabric], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    try {
      await once(holder, 'message');
      while (!isStopped(holder.pid ?? 0)) await new Promise((resolve) => setTimeout(resolve, 5));
      await expect(probeRecords(records, ENTRY, { readS: 2, writeS: 1 })).rejects.toMatchObject({
        code: 'SHERD_FABRIC_BUSY',
        exitCode: 2,
        message: `the records are locked by the node n3 (pid ${holder.pid}, stopped)`,
        next: `let it go on with: kill -CONT ${holder.pid}, or end it with: kill -9 ${holder.pid}`,
      });
    } finally {
      holder.kill('SIGKILL');
    }
    await once(holder, 'exit');
    await probeRecords(records, ENTRY);
  });

  it.each(['blobs', 'packs'])(
    'without a folder of %s are refused: their volume may be missing',
    async (name) => {
      renameSync(join(dir, 'data', name), join(dir, name));
      try {
        await expect(openEmbeddedFabric(join(dir, 'data'), { create: true })).rejects.toMatchObject(
          {
            ...damaged,
            message: expect.stringContaining(`${name} is missing`),
          },
        );
        expect(existsSync(join(dir, 'data', name))).toBe(false);
      } finally {
        renameSync(join(dir, name), join(dir, 'data', name));
      }
    },
  );

  it('that the system does not give are not called damaged', async () => {
    mkdirSync(`${records}-lock`);
    try {
      await probeRecords(records, ENTRY);
      await expect(openEmbeddedFabric(join(dir, 'data'))).rejects.toMatchObject({
        code: 'SHERD_DISK',
        message: expect.stringContaining('EISDIR'),
        next: expect.stringContaining('permissions'),
      });
    } finally {
      rmSync(`${records}-lock`, { recursive: true });
    }
  });

  it.each(['missing', 'empty'])('that are %s beside blobs are refused', async (how) => {
    if (how === 'missing') rmSync(records);
    else truncateSync(records, 0);
    await expect(openEmbeddedFabric(join(dir, 'data'), { create: true })).rejects.toMatchObject({
      ...damaged,
      message: expect.stringContaining('records.mdb is missing'),
    });
  });
});
