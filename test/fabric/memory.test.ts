/** The memory fabric: the conformance suite without faults, with every fault at once, and the faults themselves. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createMemoryFabric, type MemoryFabric } from '../../host/fabric/memory.js';
import {
  EVERY_FAULT,
  type FaultCounts,
  type MemoryFaults,
} from '../../host/fabric/memory-faults.js';
import { VirtualTime } from '../../host/fabric/virtual-time.js';
import { fabricConformance } from './conformance.js';
import { bytesOf, contentOf, View, type World } from './world.js';

function worldOf(seed: number, faults: Partial<MemoryFaults>): World {
  const scheduler = new VirtualTime();
  const memory = createMemoryFabric({ seed, faults, scheduler });
  return {
    connect: async (name) => memory.connect(name),
    run: (promise) => scheduler.run(promise),
    sleep: (ms) => new Promise((resolve) => scheduler.schedule(ms, resolve)),
    end: async () => {},
  };
}

fabricConformance({
  name: 'memory, virtual time, no faults',
  faulty: false,
  messages: true,
  runs: 100,
  open: async (seed) => worldOf(seed, {}),
});

fabricConformance({
  name: 'memory, virtual time, latency',
  faulty: false,
  messages: true,
  runs: 100,
  open: async (seed) => worldOf(seed, { latencyMs: [0, 20] }),
});

fabricConformance({
  name: 'memory, every fault at once',
  faulty: true,
  messages: true,
  runs: 200,
  open: async (seed) => worldOf(seed, EVERY_FAULT),
});

fabricConformance({
  name: 'memory, real time',
  faulty: false,
  messages: true,
  runs: 5,
  open: async (seed) => {
    const memory = createMemoryFabric({ seed });
    return {
      connect: async (name) => memory.connect(name),
      run: (promise) => promise,
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      end: async () => {},
    };
  },
});

/** A workload that meets every kind of operation; returns a trace of all that was seen. */
async function workload(memory: MemoryFabric, time: VirtualTime): Promise<string> {
  const trace: string[] = [];
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => time.schedule(ms, resolve));
  const content = new Uint8Array(1_000).fill(3);
  const hash = createHash('sha256').update(content).digest('hex');
  const client = async (name: string): Promise<void> => {
    const fabric = memory.connect(name);
    fabric.records.watch('w', (event) => trace.push(`${name} ${time.nowMs()} ${event.kind}`));
    fabric.messages.subscribe('m', (message) =>
      trace.push(`${name} got ${contentOf(message.payload)}`),
    );
    for (let i = 0; i < 60; i++) {
      const entry = await fabric.records.get('w.x').catch(() => undefined);
      const outcome = await fabric.records.compareAndSet(
        'w.x',
        entry?.revision ?? 0,
        bytesOf(`${name}${i}`),
      );
      trace.push(`${name} ${time.nowMs()} ${outcome.kind}`);
      fabric.messages.publish('m', bytesOf(`${name}${i}`));
      await fabric.blobs.put(hash, content).catch((error: unknown) => trace.push(String(error)));
      await fabric.blobs.get(hash).catch((error: unknown) => trace.push(String(error)));
      await sleep(10);
    }
  };
  const cutting = async (): Promise<void> => {
    for (let i = 0; i < 10; i++) {
      await sleep(150);
      memory.partition('b');
      await sleep(60);
      memory.heal('b');
    }
  };
  await time.run(Promise.all([client('a'), client('b'), client('c'), cutting()]));
  return trace.join('\n');
}

describe('memory fabric: faults', () => {
  it('injects every kind of fault, and counts it (J2)', async () => {
    const time = new VirtualTime();
    const memory = createMemoryFabric({ seed: 5, faults: EVERY_FAULT, scheduler: time });
    await workload(memory, time);
    const none = Object.entries(memory.injected).filter(([, count]) => count === 0);
    expect(none).toEqual([]);
  });

  it('injects each fault alone, and no other', async () => {
    const kinds = Object.keys(createMemoryFabric().injected) as (keyof FaultCounts)[];
    for (const kind of kinds.filter((name) => name !== 'partition')) {
      const time = new VirtualTime();
      const { latencyMs, lateMs, timeoutMs, staleMs, watchDelayMs, blobSlowMs, messageDelayMs } =
        EVERY_FAULT;
      const ranges = {
        latencyMs,
        lateMs,
        timeoutMs,
        staleMs,
        watchDelayMs,
        blobSlowMs,
        messageDelayMs,
      };
      const memory = createMemoryFabric({
        seed: 3,
        faults: { ...ranges, [kind]: 0.5 },
        scheduler: time,
      });
      await workload(memory, time);
      const met = Object.entries(memory.injected).filter(([, count]) => count > 0);
      expect(met.map(([name]) => name).filter((name) => name !== 'partition')).toEqual([kind]);
    }
  });

  it('one seed gives one history, another seed another (M4)', async () => {
    const run = async (seed: number): Promise<string> => {
      const time = new VirtualTime();
      return workload(createMemoryFabric({ seed, faults: EVERY_FAULT, scheduler: time }), time);
    };
    const first = await run(11);
    expect(await run(11)).toBe(first);
    expect(await run(12)).not.toBe(first);
  });

  it('a partition: writes unknown, reads refused, messages lost; after it a resync', async () => {
    const time = new VirtualTime();
    const memory = createMemoryFabric({ scheduler: time });
    const [a, b] = [memory.connect('a'), memory.connect('b')];
    const view = new View();
    const got: string[] = [];
    b.records.watch('k', view.handle);
    b.messages.subscribe('m', (message) => got.push(message.subject));
    await time.runUntilIdle();
    memory.partition('b');
    expect((await time.run(b.records.compareAndSet('k.b', 0, bytesOf(1)))).kind).toBe('unknown');
    expect(memory.peek('k.b')).toBeUndefined();
    await expect(time.run(b.records.get('k.b'))).rejects.toMatchObject({ code: 'SHERD_FABRIC' });
    await expect(time.run(b.blobs.has('0'.repeat(64)))).rejects.toMatchObject({
      code: 'SHERD_FABRIC',
    });
    a.messages.publish('m', bytesOf(1));
    expect((await time.run(a.records.compareAndSet('k.a', 0, bytesOf(1)))).kind).toBe('ok');
    await time.advance(5_000);
    expect(view.kinds).toEqual(['snapshot']);
    memory.heal('b');
    await time.runUntilIdle();
    expect(view.kinds).toEqual(['snapshot', 'resync', 'snapshot']);
    expect([...view.entries.keys()]).toEqual(['k.a']);
    expect(view.wrong).toEqual([]);
    expect(got).toEqual([]);
  });

  it('a partition that begins after the write was applied leaves it unknown, and applied', async () => {
    const time = new VirtualTime();
    const memory = createMemoryFabric({ faults: { latencyMs: [10, 10] }, scheduler: time });
    const writing = memory.connect('a').records.compareAndSet('k', 0, bytesOf(1));
    await time.advance(15);
    memory.partition('a');
    expect((await time.run(writing)).kind).toBe('unknown');
    expect(memory.peek('k')?.value).toEqual(bytesOf(1));
  });

  it('a lost blob is missing, a damaged one is refused, a new put repairs it', async () => {
    const time = new VirtualTime();
    const memory = createMemoryFabric({ scheduler: time });
    const { blobs } = memory.connect('a');
    const content = bytesOf('content');
    const hash = createHash('sha256').update(content).digest('hex');
    await time.run(blobs.put(hash, content));
    expect(memory.damageBlob(hash)).toBe(true);
    await expect(time.run(blobs.get(hash))).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
    const read = async (): Promise<number> => {
      let bytes = 0;
      for await (const chunk of blobs.read(hash)) bytes += chunk.length;
      return bytes;
    };
    await expect(time.run(read())).rejects.toMatchObject({ code: 'SHERD_BLOB_DAMAGED' });
    await time.run(blobs.put(hash, content));
    expect(await time.run(read())).toBe(content.length);
    expect(memory.loseBlob(hash)).toBe(true);
    expect(await time.run(blobs.get(hash))).toBeUndefined();
  });
});

describe('virtual time', () => {
  it('runs events by time, then by order, and never goes back', async () => {
    const time = new VirtualTime();
    const seen: string[] = [];
    const delays = Array.from({ length: 200 }, (_, i) => (i * 7_919) % 50);
    delays.forEach((delay, i) => {
      time.schedule(delay, () =>
        seen.push(`${String(delay).padStart(3, '0')} ${String(i).padStart(3, '0')}`),
      );
    });
    await time.advance(10);
    expect(time.nowMs()).toBe(10);
    expect(seen.length).toBe(delays.filter((delay) => delay <= 10).length);
    await time.runUntilIdle();
    expect(seen).toEqual([...seen].sort());
    expect(seen.length).toBe(200);
    expect(time.nowMs()).toBe(49);
  });

  it('says so when nothing will ever happen', async () => {
    await expect(new VirtualTime().run(new Promise(() => {}))).rejects.toThrow(/stands still/);
  });
});
