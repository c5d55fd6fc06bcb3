/** The embedded fabric in one process: the conformance suite with and without a hub, and what is its own. */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  DIRECTORY_FORMAT,
  type EmbeddedFabric,
  type EmbeddedOptions,
  HUB_PROTOCOL,
  lockDirectory,
  openEmbeddedFabric,
  startEmbeddedHub,
} from '../../host/fabric/embedded.js';
import { MAX_SOCKET_PATH_BYTES } from '../../host/fabric/embedded-claim.js';
import { encodeFrame, FrameReader, MAX_FRAME_BYTES } from '../../host/fabric/embedded-frames.js';
import { LOG_KEPT } from '../../host/fabric/embedded-records.js';
import { leaseStore, Store } from '../../host/fabric/embedded-store.js';
import { fabricConformance } from './conformance.js';
import { bytesOf, contentOf, eventually, hashOf, View, type World } from './world.js';

const realSleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const real = { sleep: realSleep } as World;

async function worldOf(hub: boolean, options: EmbeddedOptions): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), 'sherd-fabric-'));
  const fabrics: EmbeddedFabric[] = [];
  const running = hub ? await startEmbeddedHub(dir, { create: true }) : undefined;
  return {
    connect: async (name) => {
      const fabric = await openEmbeddedFabric(dir, { name, create: true, ...options });
      fabrics.push(fabric);
      return fabric;
    },
    run: (promise) => promise,
    sleep: realSleep,
    end: async () => {
      for (const fabric of fabrics) await fabric.close();
      await running?.close();
      rmSync(dir, { recursive: true });
    },
  };
}

fabricConformance({
  name: 'embedded with a hub',
  faulty: false,
  messages: true,
  runs: 15,
  open: () => worldOf(true, {}),
});

fabricConformance({
  name: 'embedded without a hub',
  faulty: false,
  messages: false,
  runs: 10,
  open: () => worldOf(false, { pollMs: 10 }),
});

fabricConformance({
  name: 'embedded, flushing every write, a small map that grows',
  faulty: false,
  messages: true,
  runs: 5,
  open: () => worldOf(true, { sync: true, mapBytes: 65_536 }),
});

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sherd-fabric-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

describe('embedded: the data directory', () => {
  it('is not made unless asked for', async () => {
    const missing = join(dir, 'nowhere');
    await expect(openEmbeddedFabric(missing)).rejects.toMatchObject({
      code: 'SHERD_FILE',
      at: missing,
      exitCode: 2,
      next: expect.stringContaining('sherd up'),
    });
    expect(existsSync(missing)).toBe(false);
    await expect(openEmbeddedFabric(dir)).rejects.toMatchObject({ code: 'SHERD_FILE' });
    expect(readdirSync(dir)).toEqual([]);
    await expect(startEmbeddedHub(missing)).rejects.toMatchObject({ code: 'SHERD_FILE' });
    await expect(lockDirectory(missing)).rejects.toMatchObject({ code: 'SHERD_FILE' });
    writeFileSync(join(dir, 'file'), '');
    await expect(openEmbeddedFabric(join(dir, 'file'))).rejects.toMatchObject({
      code: 'SHERD_FILE',
    });
  });

  it('is made with its parents, private, and opens again with its content', async () => {
    const deep = join(dir, 'a/b');
    const first = await openEmbeddedFabric(deep, { create: true });
    await first.records.compareAndSet('k', 0, bytesOf('kept'));
    const content = bytesOf('kept');
    await first.blobs.put(hashOf(content), content);
    await first.close();
    expect(statSync(deep).mode & 0o777).toBe(0o700);
    const again = await openEmbeddedFabric(deep);
    expect(contentOf((await again.records.get('k'))!.value)).toBe('kept');
    expect(await again.blobs.get(hashOf(content))).toEqual(content);
    await again.close();
  });

  it('of a newer format is refused and left alone', async () => {
    writeFileSync(join(dir, 'format.json'), JSON.stringify({ format: DIRECTORY_FORMAT + 1 }));
    await expect(openEmbeddedFabric(dir, { create: true })).rejects.toMatchObject({
      code: 'SHERD_FABRIC_VERSION',
      exitCode: 2,
    });
    expect(readdirSync(dir)).toEqual(['format.json']);
  });

  it('of an older format is upgraded, also when an upgrade was cut off before', async () => {
    const contents = Array.from({ length: 20 }, (_, i) => bytesOf(`blob ${i}`));
    await (await openEmbeddedFabric(dir, { create: true })).close();
    rmSync(join(dir, 'packs'), { recursive: true });
    // Format 0: all blobs in one directory. The first five are left where an upgrade already put them.
    for (const [i, content] of contents.entries()) {
      const folder = join(dir, 'blobs', i < 5 ? hashOf(content).slice(0, 2) : '.');
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, hashOf(content)), content);
    }
    writeFileSync(join(dir, 'format.json'), JSON.stringify({ format: 0 }));
    const upgraded = await openEmbeddedFabric(dir);
    for (const content of contents) {
      expect(await upgraded.blobs.get(hashOf(content))).toEqual(content);
    }
    const names: string[] = [];
    for await (const blob of upgraded.blobs.list()) names.push(blob.hash);
    expect(names.sort()).toEqual(contents.map(hashOf).sort());
    await upgraded.close();
    expect(JSON.parse(readFileSync(join(dir, 'format.json'), 'utf8'))).toEqual({
      format: DIRECTORY_FORMAT,
    });
    expect(readdirSync(join(dir, 'blobs')).every((name) => name.length === 2)).toBe(true);
  });

  it('of an older format is not upgraded while its cluster runs', async () => {
    const format = join(dir, 'format.json');
    for (const start of [lockDirectory, startEmbeddedHub]) {
      const running = await start(dir, { create: true });
      writeFileSync(format, '{"format":1}');
      for (const open of [openEmbeddedFabric, lockDirectory, startEmbeddedHub])
        await expect(open(dir)).rejects.toMatchObject({ code: 'SHERD_FABRIC_BUSY' });
      expect(readFileSync(format, 'utf8')).toBe('{"format":1}');
      await ('release' in running ? running.release() : running.close());
      await (await openEmbeddedFabric(dir)).close();
      expect(JSON.parse(readFileSync(format, 'utf8'))).toEqual({ format: DIRECTORY_FORMAT });
    }
  });

  it('that is damaged is refused with its path', async () => {
    for (const text of ['', 'x', '{}', '{"format":-1}', '{"format":"1"}']) {
      writeFileSync(join(dir, 'format.json'), text);
      await expect(openEmbeddedFabric(dir)).rejects.toMatchObject({
        code: 'SHERD_FABRIC',
        exitCode: 2,
      });
    }
    writeFileSync(join(dir, 'format.json'), '{"format":1}');
    writeFileSync(join(dir, 'records.mdb'), 'this is no database'.repeat(1_000));
    await expect(openEmbeddedFabric(dir)).rejects.toMatchObject({ code: 'SHERD_FABRIC' });
    rmSync(join(dir, 'format.json'));
    await expect(openEmbeddedFabric(dir, { create: true })).rejects.toMatchObject({
      code: 'SHERD_FABRIC',
    });
  });

  it('has one `up` at a time', async () => {
    const lock = await lockDirectory(dir, { create: true });
    await expect(lockDirectory(dir)).rejects.toMatchObject({
      code: 'SHERD_FABRIC_BUSY',
      exitCode: 2,
      message: expect.stringContaining(String(process.pid)),
    });
    await lock.release();
    const next = await lockDirectory(dir);
    await next.release();
    expect(readdirSync(dir).filter((name) => name.endsWith('.sock'))).toEqual([]);
  });

  it('that several ask for at once gets exactly one', async () => {
    await (await openEmbeddedFabric(dir, { create: true })).close();
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(dir)));
    const locks = tries.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(locks.length).toBe(1);
    for (const one of tries) {
      if (one.status === 'rejected')
        expect(one.reason).toMatchObject({ code: 'SHERD_FABRIC_BUSY' });
    }
    await locks[0]!.release();
  });

  it('with a long path has its sockets elsewhere', async () => {
    const long = join(dir, 'x'.repeat(120), 'y'.repeat(120));
    const hub = await startEmbeddedHub(long, { create: true });
    expect(Buffer.byteLength(hub.socketPath)).toBeLessThanOrEqual(MAX_SOCKET_PATH_BYTES);
    const [a, b] = [await openEmbeddedFabric(long), await openEmbeddedFabric(long)];
    let got = '';
    b.messages.subscribe('m', (message) => {
      got = contentOf(message.payload);
    });
    await eventually(real, 'a message', () => {
      a.messages.publish('m', bytesOf('far'));
      return got === 'far' ? true : undefined;
    });
    await a.close();
    await b.close();
    await hub.close();
    expect(existsSync(dirname(hub.socketPath))).toBe(false);
  });
});

describe('embedded: records', () => {
  it('a watcher that is further behind than the log gets a resync and a snapshot', async () => {
    const fabric = await openEmbeddedFabric(dir, { create: true, pollMs: 3_600_000 });
    const view = new View();
    fabric.records.watch('k', view.handle);
    await eventually(real, 'the snapshot', () => view.kinds[0]);
    // What another process would do, without its hints.
    const { store, release } = leaseStore(join(fabric.directory, 'records.mdb'));
    store.write(() => {
      const last = (store.counter('revision') ?? 0) + LOG_KEPT + 10;
      const record = Buffer.alloc(8);
      record.writeBigUInt64BE(BigInt(last));
      store.records.putSync('k.new', Buffer.concat([record, bytesOf('new')]));
      store.log.putSync(last, Buffer.from('k.new'));
      store.setCounter('revision', last);
    });
    await fabric.records.compareAndSet('other', 0, bytesOf(1));
    await eventually(real, 'the second snapshot', () => view.entries.get('k.new'));
    expect(view.kinds).toEqual(['snapshot', 'resync', 'snapshot']);
    expect(view.wrong).toEqual([]);
    await fabric.close();
    await release();
  });

  it('the change log stays within its bound', async () => {
    const fabric = await openEmbeddedFabric(dir, { create: true });
    const { store, release } = leaseStore(join(fabric.directory, 'records.mdb'));
    store.write(() => store.setCounter('revision', LOG_KEPT * 3));
    let revision = 0;
    for (let i = 0; i < 100; i++) {
      const outcome = await fabric.records.compareAndSet('k', revision, bytesOf(i));
      if (outcome.kind === 'ok') revision = outcome.revision;
    }
    expect(revision).toBe(LOG_KEPT * 3 + 100);
    store.write(() => store.setCounter('revision', LOG_KEPT * 4));
    for (let i = 0; i < 100; i++) {
      const outcome = await fabric.records.compareAndSet('k', revision, bytesOf(i));
      if (outcome.kind === 'ok') revision = outcome.revision;
    }
    const rows = store.read(() => [...store.log.getRange({})].map((row) => row.key));
    expect(rows.length).toBe(100);
    await fabric.close();
    await release();
  });
});

describe('embedded: blobs', () => {
  const content = new Uint8Array(200_000).map((_, i) => i);
  const hash = hashOf(content);
  const path = (): string => join(dir, 'blobs', hash.slice(0, 2), hash);
  let fabric: EmbeddedFabric;
  beforeEach(async () => {
    fabric = await openEmbeddedFabric(dir, { create: true });
    await fabric.blobs.put(hash, content);
  });
  afterEach(async () => {
    await fabric.close();
  });

  const readAll = async (): Promise<number> => {
    let bytes = 0;
    for await (const chunk of fabric.blobs.read(hash)) bytes += chunk.length;
    return bytes;
  };

  it('that are damaged on disk are refused by name, and repaired by the next put', async () => {
    for (const damage of ['bit', 'short', 'long', 'empty'] as const) {
      const bytes = Buffer.from(content);
      if (damage === 'bit') bytes[100_000]! ^= 4;
      const cut = {
        bit: bytes,
        short: bytes.subarray(1),
        long: Buffer.concat([bytes, bytes]),
        empty: Buffer.of(),
      };
      writeFileSync(path(), cut[damage]);
      await expect(fabric.blobs.get(hash)).rejects.toMatchObject({
        code: 'SHERD_BLOB_DAMAGED',
        at: hash,
      });
      await expect(readAll()).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
      await fabric.blobs.put(hash, content);
      expect(Buffer.compare((await fabric.blobs.get(hash))!, content)).toBe(0);
      expect(await readAll()).toBe(content.length);
    }
    const listed: string[] = [];
    for await (const blob of fabric.blobs.list()) listed.push(blob.hash);
    expect(listed).toEqual([hash]);
  });

  it('that were damaged and have been copied back are there again, and so they are for whoever reads them first', async () => {
    const damaged = Buffer.from(content);
    damaged[100_000]! ^= 4;
    for (const reads of [false, true]) {
      writeFileSync(path(), damaged);
      await expect(fabric.blobs.get(hash)).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
      expect(await fabric.blobs.has(hash)).toBe(false);
      expect(existsSync(`${path()}.damaged`)).toBe(true);
      writeFileSync(path(), content);
      if (reads) {
        expect(await readAll()).toBe(content.length);
        expect(existsSync(`${path()}.damaged`)).toBe(false);
      }
      expect(await fabric.blobs.has(hash)).toBe(true);
      expect(existsSync(`${path()}.damaged`)).toBe(false);
    }
    // Copied back, but no better.
    writeFileSync(path(), damaged);
    await expect(readAll()).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
    writeFileSync(path(), damaged);
    expect(await fabric.blobs.has(hash)).toBe(false);
  });

  it('that are asked for together are renewed in one transaction, and each gets its own answer', async () => {
    const others = ['one', 'two', 'three'].map((each) => Buffer.from(each));
    const names = others.map((each) => createHash('sha256').update(each).digest('hex'));
    for (const [at, name] of names.entries()) await fabric.blobs.put(name, others[at]!);
    const old = new Date(Date.now() - 7_200_000);
    utimesSync(path(), old, old);
    const write = vi.spyOn(Store.prototype, 'write');
    const absent = 'f'.repeat(64);
    const asked = [names[0]!, absent, hash, names[1]!, hash, names[2]!];
    const there = await Promise.all(asked.map((each) => fabric.blobs.has(each)));
    expect(there).toEqual([true, false, true, true, true, true]);
    expect(write).toHaveBeenCalledTimes(1);
    write.mockRestore();
    expect(await fabric.blobs.collect(() => false, 3_600_000)).toEqual({ blobs: 0, bytes: 0 });
  });

  it('a damaged stream never gives its last part', async () => {
    const bytes = Buffer.from(content);
    bytes[0]! ^= 1;
    writeFileSync(path(), bytes);
    const chunks: Uint8Array[] = [];
    const reading = (async () => {
      for await (const chunk of fabric.blobs.read(hash)) chunks.push(chunk);
    })();
    await expect(reading).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
    expect(chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBeLessThan(content.length);
  });

  it('are spared while young, and a put makes an old one young again', async () => {
    const old = new Date(Date.now() - 7_200_000);
    utimesSync(path(), old, old);
    await fabric.blobs.put(hash, content);
    expect(await fabric.blobs.collect(() => false, 3_600_000)).toEqual({ blobs: 0, bytes: 0 });
    utimesSync(path(), old, old);
    expect(await fabric.blobs.collect(() => true, 3_600_000)).toEqual({ blobs: 0, bytes: 0 });
    expect(await fabric.blobs.collect(() => false, 3_600_000)).toEqual({
      blobs: 1,
      bytes: 200_000,
    });
    expect(existsSync(path())).toBe(false);
  });

  it('leave no temporary files, and old ones of killed processes are collected', async () => {
    await fabric.blobs.put(hash, new Uint8Array(1)).catch(() => {});
    expect(readdirSync(join(dir, 'tmp'))).toEqual([]);
    const left = join(dir, 'tmp', '1-abc');
    const fresh = join(dir, 'tmp', '1-def');
    writeFileSync(left, 'half');
    writeFileSync(fresh, 'half');
    const old = new Date(Date.now() - 7_200_000);
    utimesSync(left, old, old);
    await fabric.blobs.collect(() => true, 60_000);
    expect(readdirSync(join(dir, 'tmp'))).toEqual(['1-def']);
  });

  it('keep to the quota, which binds every handle and survives', async () => {
    expect(fabric.usage()).toMatchObject({ blobBytes: 200_000, quotaBytes: undefined });
    const other = await openEmbeddedFabric(dir, { quotaBytes: 250_000 });
    const small = new Uint8Array(50_000).fill(1);
    const one = new Uint8Array(1).fill(2);
    await fabric.blobs.put(hashOf(small), small);
    const tooMuch = fabric.blobs.put(hashOf(one), one);
    await expect(tooMuch).rejects.toMatchObject({
      code: 'SHERD_DISK',
      next: expect.stringContaining('sherd gc'),
    });
    async function* stream(): AsyncGenerator<Uint8Array> {
      yield one;
    }
    await expect(other.blobs.put(hashOf(one), stream())).rejects.toMatchObject({
      code: 'SHERD_DISK',
    });
    expect(await fabric.blobs.has(hashOf(one))).toBe(false);
    expect(readdirSync(join(dir, 'tmp'))).toEqual([]);
    await fabric.blobs.put(hash, content); // already there: needs no room
    await fabric.blobs.collect((kept) => kept === hash, 0);
    await fabric.blobs.put(hashOf(one), one);
    expect(fabric.usage().blobBytes).toBe(200_001);
    await other.close();
    const later = await openEmbeddedFabric(dir, { quotaBytes: 0 });
    expect(later.usage().quotaBytes).toBeUndefined();
    await later.close();
  });

  it('the counter of bytes is set right by a collection', async () => {
    const { store, release } = leaseStore(join(fabric.directory, 'records.mdb'));
    store.write(() => store.setCounter('blob-bytes', 7));
    await fabric.blobs.collect(() => true, 0);
    expect(fabric.usage().blobBytes).toBe(200_000);
    await release();
  });

  it('concurrent puts of the same content all succeed and count once', async () => {
    const same = new Uint8Array(3_000_000).fill(9);
    const name = createHash('sha256').update(same).digest('hex');
    await Promise.all(Array.from({ length: 6 }, () => fabric.blobs.put(name, same)));
    expect(fabric.usage().blobBytes).toBe(3_200_000);
    expect(readdirSync(join(dir, 'tmp'))).toEqual([]);
  });
});

describe('embedded: the hub', () => {
  it('of another protocol version is refused clearly, both ways', async () => {
    const hub = await startEmbeddedHub(dir, { create: true, protocol: HUB_PROTOCOL + 1 });
    await expect(openEmbeddedFabric(dir)).rejects.toMatchObject({
      code: 'SHERD_FABRIC_VERSION',
      message: expect.stringMatching(/protocol 3.*protocol|speaks 2/),
      exitCode: 2,
    });
    const newer = await openEmbeddedFabric(dir, { protocol: HUB_PROTOCOL + 1 });
    expect(newer.hubConnected).toBe(true);
    expect(hub.clients).toBe(1);
    await newer.close();
    await hub.close();
  });

  it('that turns up later with another version does not stop the fabric', async () => {
    const fabric = await openEmbeddedFabric(dir, { create: true, pollMs: 10 });
    const hub = await startEmbeddedHub(dir, { protocol: 3 });
    await eventually(real, 'the problem', () => fabric.hubProblem);
    expect(fabric.hubProblem).toMatchObject({ code: 'SHERD_FABRIC_VERSION' });
    expect((await fabric.records.compareAndSet('k', 0, bytesOf(1))).kind).toBe('ok');
    await hub.close();
    const right = await startEmbeddedHub(dir);
    await eventually(real, 'a connection', () => (fabric.hubConnected ? true : undefined));
    expect(fabric.hubProblem).toBeUndefined();
    await fabric.close();
    await right.close();
  });

  it('comes and goes: clients find it again, with their subscriptions', async () => {
    const a = await openEmbeddedFabric(dir, { create: true, pollMs: 3_600_000 });
    const b = await openEmbeddedFabric(dir, { pollMs: 3_600_000 });
    const got: string[] = [];
    const view = new View();
    b.messages.subscribe('m', (message) => got.push(contentOf(message.payload)));
    b.records.watch('k', view.handle);
    let revision = 0;
    for (let round = 0; round < 3; round++) {
      const hub = await startEmbeddedHub(dir);
      await eventually(real, 'connections', () => (hub.clients === 2 ? true : undefined));
      await eventually(real, 'a message', () => {
        a.messages.publish('m', bytesOf(`round ${round}`));
        return got.includes(`round ${round}`) ? true : undefined;
      });
      const outcome = await a.records.compareAndSet('k', revision, bytesOf(round));
      if (outcome.kind === 'ok') revision = outcome.revision;
      await eventually(real, 'the change', () =>
        view.entries.get('k')?.revision === revision ? true : undefined,
      );
      await hub.close();
      await eventually(real, 'the end', () =>
        a.hubConnected || b.hubConnected ? undefined : true,
      );
      // Written while there is no hub: seen once there is one again.
      const alone = await a.records.compareAndSet('k', revision, bytesOf('alone'));
      if (alone.kind === 'ok') revision = alone.revision;
    }
    await a.close();
    await b.close();
  });

  it('is one a directory', async () => {
    const hub = await startEmbeddedHub(dir, { create: true });
    await expect(startEmbeddedHub(dir)).rejects.toMatchObject({ code: 'SHERD_FABRIC_BUSY' });
    await hub.close();
    await (await startEmbeddedHub(dir)).close();
  });

  it('drops who sends it rubbish, and serves the others on', async () => {
    const hub = await startEmbeddedHub(dir, { create: true });
    const [a, b] = [await openEmbeddedFabric(dir), await openEmbeddedFabric(dir)];
    const length = Buffer.alloc(4);
    length.writeUInt32LE(MAX_FRAME_BYTES + 1);
    const hello = encodeFrame(['hello', HUB_PROTOCOL, 'rude']);
    const attacks = [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      length,
      encodeFrame(['interest', []]), // before the hello
      Buffer.concat([hello, Buffer.from([3, 0, 0, 0, 0xc1, 0xc1, 0xc1])]),
      Buffer.concat([hello, hello]),
      Buffer.concat([hello, encodeFrame(['message', 1, 2] as never)]),
      Buffer.concat([hello, encodeFrame(['changed', -1] as never)]),
    ];
    for (const attack of attacks) {
      await new Promise<void>((resolve) => {
        const socket = connect(hub.socketPath, () => socket.write(attack));
        socket.on('data', () => {});
        socket.on('error', () => {});
        socket.on('close', () => resolve());
      });
    }
    let got = 0;
    b.messages.subscribe('m', () => got++);
    await eventually(real, 'a message', () => {
      a.messages.publish('m', bytesOf(1));
      return got > 0 ? true : undefined;
    });
    await a.close();
    await b.close();
    await hub.close();
  });
});

describe('embedded: frames', () => {
  it('survive any cutting of the stream', () => {
    const frames = [
      ['hello', 1, 'x'],
      ['message', 'a.b', new Uint8Array(70_000).fill(1)],
      ['changed', 2 ** 40],
      ['interest', ['a', 'b.c']],
      ['message', 'empty', new Uint8Array(0)],
    ] as const;
    const bytes = Buffer.concat(frames.map((frame) => encodeFrame(frame)));
    for (const step of [1, 2, 3, 5, 4_096, 65_536, bytes.length]) {
      const reader = new FrameReader();
      const got: unknown[] = [];
      for (let at = 0; at < bytes.length; at += step) {
        got.push(...(reader.tryPush(bytes.subarray(at, at + step)) ?? ['malformed']));
      }
      expect(got).toEqual(frames);
    }
  });
});
