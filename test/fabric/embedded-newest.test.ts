/** The store when somebody opens it meanwhile: LMDB sets its note of the newest transaction back, and nothing is lost. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { leaseStore, type StoreLease } from '../../host/fabric/embedded-store.js';

let directory: string;
let path: string;
let lease: StoreLease;
/** Stays open: closing a descriptor of the lock file drops the locks of this process. */
let lock: number;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sherd-newest-'));
  path = join(directory, 'records.mdb');
  lease = leaseStore(path);
  lock = openSync(`${path}-lock`, 'r+');
});

afterEach(async () => {
  await lease.release();
  closeSync(lock);
  await rm(directory, { recursive: true, force: true });
});

const NOTE_AT = 8;

function note(): bigint {
  const id = Buffer.alloc(8);
  readSync(lock, id, 0, 8, NOTE_AT);
  return id.readBigUInt64LE();
}

/** What opening the database does when others commit meanwhile. */
function setBack(by: bigint): void {
  const id = Buffer.alloc(8);
  id.writeBigUInt64LE(note() - by);
  writeSync(lock, id, 0, 8, NOTE_AT);
}

const put = (value: number): void =>
  lease.store.write(() => {
    lease.store.setCounter('revision', value);
  });
const get = (): number | undefined => lease.store.read(() => lease.store.counter('revision'));

describe("LMDB's note of the newest transaction", () => {
  it.each([1n, 2n])('set back by %s: a read sees the last commit, and puts it right', (by) => {
    for (let value = 1; value <= 4; value++) put(value);
    const right = note();
    setBack(by);
    expect(get()).toBe(4);
    expect(note()).toBe(right);
  });

  it.each([1n, 2n, 3n])('set back by %s: a write begins at the last commit', (by) => {
    for (let value = 1; value <= 4; value++) put(value);
    const right = note();
    setBack(by);
    const begunAt = lease.store.write(() => {
      const begun = lease.store.counter('revision');
      lease.store.setCounter('blob-bytes', 7);
      return begun;
    });
    expect(begunAt).toBe(4);
    expect(note()).toBe(right + 1n);
    expect(get()).toBe(4);
    expect(lease.store.read(() => lease.store.counter('blob-bytes'))).toBe(7);
  });

  it('every write counts while another process opens and closes the database', async () => {
    const opener = spawn(process.execPath, ['--input-type=module', '-e', OPENER, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let opened = '';
    opener.stdout.setEncoding('utf8').on('data', (text) => {
      opened += text;
    });
    const ended = once(opener, 'close');
    let running = true;
    void ended.then(() => {
      running = false;
    });
    let value = 0;
    for (put(0); running; await new Promise((resolve) => setImmediate(resolve))) {
      for (let i = 0; i < 200; i++) {
        lease.store.write(() => {
          expect(lease.store.counter('revision')).toBe(value);
          lease.store.setCounter('revision', ++value);
        });
      }
      expect(get()).toBe(value);
    }
    expect(opened).toBe('opened 150 times');
    expect(value).toBeGreaterThan(200);
  });
});

/** The package itself, as any process of sherd opens it. */
const OPENER = `
  import { createRequire } from 'node:module';
  const { open } = createRequire(${JSON.stringify(createRequire(import.meta.url).resolve('lmdb'))})('lmdb');
  let times = 0;
  for (; times < 150; times++) {
    const root = open(process.argv[1], { noSubdir: true, maxDbs: 8, maxReaders: 1024, overlappingSync: false });
    await root.close();
  }
  process.stdout.write('opened ' + times + ' times');
`;
