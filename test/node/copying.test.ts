/**
 * A staged move without threads: Copying (worker), Stager (source), Arrivals and Staged-like target, joined by hand. The law is
 * that what the target holds, with what the capture takes, is the memory; the rest are the ways in which it is not completed.
 */
import { setImmediate as turnOfLoop } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WASM_PAGE_BYTES } from '../../host/capsule/index.js';
import { decodeStagedImage, isStagedImage } from '../../host/capsule/staged-image.js';
import { readBatch, StageTarget } from '../../host/capsule/staging.js';
import { type ArrivalHint, Arrivals } from '../../host/node/arrivals.js';
import { Copying } from '../../host/node/copying.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Stager } from '../../host/node/stager.js';
import type { WorkerCommand, WorkerReport } from '../../host/node/worker-messages.js';
import type { Platform } from '../../host/types/platform.js';
import type { BaseImage } from '../../host/types/state.js';

const RUN = 7;
const MODULE = 'cd'.repeat(32);
const PAGES = 20;
const BASE: BaseImage = { pages: 2, nonZero: new Map([[1, new Uint8Array(4096).fill(9)]]) };

/** A source: guest memory, worker part and main part. */
class Source {
  memory = new Uint8Array(PAGES * WASM_PAGE_BYTES);
  readonly store = new Map<string, Uint8Array>();
  readonly hints: ArrivalHint[] = [];
  readonly answers: [string, boolean][] = [];
  readonly commands: WorkerCommand['kind'][] = [];
  readonly costs: number[] = [];
  standsSinceNs = 0;
  /** Blobs whose age was renewed. */
  readonly asked: string[] = [];
  readonly stager: Stager;
  readonly copying: Copying;
  putFails = false;
  acks = true;
  /** The guest does: it is the last round. */
  stands = false;
  nowNs = 0n;

  constructor(freeBytes = 2 ** 30, target: string | null = 'n2') {
    const platform: Platform = { ...nodePlatform, monotonicNs: () => this.nowNs };
    this.memory.fill(9, 4096, 8192);
    this.copying = new Copying(platform, (report) => this.#report(report));
    const order = {
      opId: 'op',
      run: RUN,
      shardId: 's-1',
      moduleHash: MODULE,
      source: 'n1',
      target,
    };
    this.stager = new Stager(
      { ...order, memoryBytes: this.memory.length },
      {
        blobs: {
          put: async (hash, content) => this.#put(hash, content as Uint8Array),
          has: async (hash) => this.#has(hash),
        },
        platform,
        policy: {},
        nowMs: () => Number(this.nowNs) / 1e6,
        freeBytes: () => freeBytes,
        send: (command) => this.#obey(command),
        hint: (_, hint) => {
          if (hint.kind !== 'arrive') return;
          this.hints.push(hint);
          if (this.acks) queueMicrotask(() => this.stager.arrived(hint.index));
        },
        answer: (opId, ready, costMs) => {
          this.answers.push([opId, ready]);
          this.costs.push(costMs);
        },
        log: () => undefined,
      },
    );
  }

  #has(hash: string): boolean {
    this.asked.push(hash);
    return this.store.has(hash);
  }

  async #put(hash: string, content: Uint8Array): Promise<void> {
    await turnOfLoop();
    if (this.putFails) throw new Error('no room');
    expect(nodePlatform.sha256(content)).toBe(hash);
    this.store.set(hash, content.slice());
  }

  #report(report: WorkerReport): void {
    if (report.kind === 'copied') this.stager.copied(report);
    else if (report.kind === 'copy-failed') this.stager.failed(report.id);
  }

  #obey(command: WorkerCommand): void {
    this.commands.push(command.kind);
    const guest = { memory: () => this.memory, baseImage: () => BASE };
    if (command.kind === 'copy')
      this.copying.begin(RUN, command.id, guest, new Uint8Array(command.shadow), command.buffers);
    else if (command.kind === 'sent') this.copying.giveBack(RUN, command.id, command.buffer);
    else if (command.kind === 'next-round') this.standsSinceNs = Number(this.nowNs);
    if (command.kind === 'next-round')
      this.stands =
        this.copying.nextRound(RUN, command.id, command.lastBatchBytes) &&
        command.lastBatchBytes !== null;
    else if (command.kind === 'end-copy') this.copying.end(RUN);
  }

  /** Turns of the worker, with `between` as the guest, until an answer has come. */
  async run(between: (turn: number) => void = () => undefined, turns = 5_000): Promise<void> {
    for (let turn = 0; turn < turns && this.answers.length === 0; turn++) {
      if (!this.stands) between(turn);
      this.nowNs += 100_000n;
      this.copying.turn(turn % 3 === 0, undefined, () => this.stands);
      await turnOfLoop();
    }
  }
}

/** The image that a list of batches stands for. */
function imageOf(source: Source, batches: readonly string[], pages: number): Uint8Array {
  const image = new Uint8Array(pages * WASM_PAGE_BYTES);
  for (const [page, bytes] of BASE.nonZero) image.set(bytes, page * 4096);
  const target = new StageTarget(BASE.pages, pages, nodePlatform);
  for (const hash of batches)
    for (const slice of readBatch(source.store.get(hash)!)) target.apply(slice, () => image);
  return image;
}

describe('a staged move', () => {
  it('the stored image equals the copy that the capture is encoded against, and the memory as it stands', async () => {
    const source = new Source();
    let seed = 1;
    await source.run(() => {
      for (let i = 0; i < 20; i++) {
        seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
        source.memory[seed % source.memory.length] = seed & 0xff;
      }
    });
    expect(source.answers).toEqual([['op', true]]);
    const name = source.stager.name!;
    const manifest = source.store.get(name.image)!;
    expect(isStagedImage(manifest)).toBe(true);
    const image = decodeStagedImage(manifest);
    expect(image).toMatchObject({ moduleHash: MODULE, pages: PAGES });
    expect(source.hints.map(({ index, hash }) => [index, hash])).toEqual([
      ...image.batches.entries(),
    ]);
    const { shadow, unchanged } = source.copying.complete(RUN, 'op', true, false)!;
    expect(unchanged).toBe(true);
    const stored = imageOf(source, image.batches, image.pages);
    expect(Buffer.compare(stored, shadow.slice(0, stored.length))).toBe(0);
    expect(Buffer.compare(stored, source.memory)).toBe(0);
    expect(source.copying.complete(RUN, 'op', true, false)).toBeUndefined();
  });

  it('for checkpoints is kept: each one copies what was written since, and the whole list is the memory', async () => {
    const source = new Source(2 ** 30, null);
    let seed = 7;
    const write = (times: number): void => {
      for (let i = 0; i < times; i++) {
        seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
        source.memory[seed % source.memory.length] = seed & 0xff;
      }
    };
    await source.run(() => write(5));
    let before = 0;
    for (let checkpoint = 1; checkpoint <= 12; checkpoint++) {
      const name = source.stager.name!;
      expect(source.answers.length).toBe(1);
      expect(source.hints).toEqual([]);
      const { shadow, unchanged } = source.copying.complete(RUN, 'op', true, true)!;
      expect(unchanged).toBe(true);
      const stored = imageOf(source, name.batches, PAGES);
      expect(Buffer.compare(stored, source.memory)).toBe(0);
      expect(Buffer.compare(stored, shadow.subarray(0, stored.length))).toBe(0);
      // One batch at most for a few hundred changed lines.
      if (checkpoint > 1) expect(name.batches.length).toBeLessThanOrEqual(before + 1);
      before = name.batches.length;
      source.stands = false;
      for (let turn = 0; turn < 50; turn++) source.copying.turn(true);
      expect(source.stager.name).toBe(name);
      if (checkpoint % 3 !== 0) write(100);
      source.stager.committed();
      source.answers.length = 0;
      expect(source.stager.again(`next-${checkpoint}`)).toBe(true);
      await source.run();
      expect(source.answers).toEqual([[`next-${checkpoint}`, true]]);
    }
  });

  it('is given up when a batch that no record names any more was collected', async () => {
    const source = new Source(2 ** 30, null);
    source.memory.fill(5);
    await source.run();
    source.copying.complete(RUN, 'op', true, true);
    source.stager.committed();
    source.answers.length = 0;
    source.store.delete(source.stager.name!.batches[0]!);
    expect(source.stager.takeOver('m', 'n2')).toBe(true);
    await source.run();
    expect(source.answers).toEqual([['m', false]]);
  });

  it('a copy for checkpoints is taken over by a move: the whole list goes to the target, and what was written since', async () => {
    const source = new Source(2 ** 30, null);
    source.memory.fill(3, 100_000, 200_000);
    await source.run();
    source.copying.complete(RUN, 'op', true, true);
    expect(source.stager.takeOver('m', 'n2')).toBe(false);
    source.stager.committed();
    source.answers.length = 0;
    source.stands = false;
    source.memory.fill(4, 150_000, 160_000);
    const before = source.stager.name!.batches;
    expect(source.stager.takeOver('m', 'n2')).toBe(true);
    expect(source.stager.again('c')).toBe(false);
    await source.run(() => source.memory.fill(source.memory[5]! + 1, 0, 64));
    expect(source.answers).toEqual([['m', true]]);
    const { batches } = source.stager.name!;
    expect(batches.slice(0, before.length)).toEqual(before);
    expect(batches.length).toBeGreaterThan(before.length);
    expect(source.hints.map(({ index, hash }) => [index, hash])).toEqual([...batches.entries()]);
    // What was named by a record may be so no more.
    expect(source.asked).toEqual(expect.arrayContaining([...before]));
    expect(Buffer.compare(imageOf(source, batches, PAGES), source.memory)).toBe(0);
    expect(source.copying.complete(RUN, 'op', true, false)!.unchanged).toBe(true);
  });

  it('what a capsule names is asked for before it is stored; what is gone is said', async () => {
    const source = new Source(2 ** 30, null);
    source.memory.fill(5);
    await source.run();
    const { batches, image } = source.stager.name!;
    source.asked.length = 0;
    await source.stager.keepNamed();
    expect([...source.asked].sort()).toEqual([...batches, image].sort());
    source.store.delete(batches[0]!);
    await expect(source.stager.keepNamed()).rejects.toMatchObject({ code: 'SHERD_BLOB_MISSING' });
    source.stager.committed();
    expect(source.stager.again('b')).toBe(false);
  });

  it('says what it has taken from the guest: in the last round all of the time that the guest stood', async () => {
    const source = new Source(2 ** 30, null);
    await source.run(() => source.memory.fill(source.memory[0]! + 1));
    expect(source.costs).toHaveLength(1);
    expect(source.costs[0]).toBeCloseTo((Number(source.nowNs) - source.standsSinceNs) / 1e6, 3);
  });

  it('steps while nothing runs, or while the guest stands, are no debt', () => {
    let nowNs = 0n;
    const reports: WorkerReport[] = [];
    const platform: Platform = { ...nodePlatform, monotonicNs: () => (nowNs += 50_000n) };
    const copying: Copying = new Copying(platform, (report) => {
      reports.push(report);
      if (report.kind !== 'copied') return;
      if (report.batch !== null) copying.giveBack(RUN, 'op', report.batch.buffer as ArrayBuffer);
      if (report.roundEnded) copying.nextRound(RUN, 'op', null);
    });
    const memory = new Uint8Array(64 * 8 * WASM_PAGE_BYTES).fill(3);
    const buffers = Array.from({ length: 4 }, () => new ArrayBuffer(600_000));
    const guest = { memory: () => memory, baseImage: () => BASE };
    copying.begin(RUN, 'op', guest, new Uint8Array(memory.length), buffers);
    for (let i = 0; i < 2_000; i++) copying.turn(true);
    const made = reports.length;
    for (let i = 0; i < 100 && reports.length === made; i++) {
      memory[i * WASM_PAGE_BYTES]! += 1;
      nowNs += 500_000n;
      copying.turn(false);
    }
    expect(reports.length).toBeGreaterThan(made);
  });

  it('a copy for checkpoints does not go on from what no record names, nor after its end, nor for a move', async () => {
    const source = new Source(2 ** 30, null);
    await source.run();
    expect(source.stager.again('b')).toBe(false);
    source.stager.committed();
    source.stager.close();
    expect(source.stager.again('b')).toBe(false);
    const moved = new Source();
    await moved.run();
    moved.stager.committed();
    expect(moved.stager.again('b')).toBe(false);
  });

  it('a copy for checkpoints ends when its list is twice the memory, or too long', async () => {
    const dense = new Source(2 ** 30, null);
    const sparse = new Source(2 ** 30, null);
    for (const [source, most] of [
      [dense, 3],
      [sparse, 250],
    ] as const) {
      let checkpoints = 0;
      for (let fill = 1; ; fill++) {
        if (source === dense) source.memory.fill(fill);
        else source.memory[fill] = fill;
        await source.run();
        checkpoints += 1;
        source.copying.complete(RUN, 'op', true, true);
        expect(source.stager.name!.batches.length).toBeLessThanOrEqual(250);
        source.stager.committed();
        source.answers.length = 0;
        source.stands = false;
        if (!source.stager.again(`op-${fill}`)) break;
      }
      expect(checkpoints).toBeLessThanOrEqual(most);
      expect(checkpoints).toBeGreaterThan(most / 2);
    }
  });

  it('copies nothing while nobody sends, while a round is decided on, and after its end', async () => {
    const source = new Source();
    source.memory.fill(5);
    await source.run();
    expect(source.copying.hasWork).toBe(false);
    source.stager.close();
    source.memory.fill(6);
    source.copying.turn(true);
    expect(source.copying.hasWork).toBe(false);
    expect(source.answers).toEqual([['op', true]]);
  });

  it('takes its share of the time at most, unless nothing else wants to run', () => {
    let nowNs = 0n;
    const reports: WorkerReport[] = [];
    // Each look at the clock in a step is 50 µs later: a step costs that.
    let step = 0n;
    const platform: Platform = { ...nodePlatform, monotonicNs: () => (nowNs += step) };
    const copying: Copying = new Copying(platform, (report) => {
      reports.push(report);
      if (report.kind === 'copied' && report.batch !== null)
        copying.giveBack(RUN, 'op', report.batch.buffer as ArrayBuffer);
    });
    const memory = new Uint8Array(128 * 8 * WASM_PAGE_BYTES).fill(3);
    const buffers = Array.from({ length: 4 }, () => new ArrayBuffer(600_000));
    copying.begin(
      RUN,
      'op',
      { memory: () => memory, baseImage: () => BASE },
      new Uint8Array(memory.length),
      buffers,
    );
    step = 50_000n;
    const before = nowNs;
    for (let i = 0; i < 1_000 && reports.length < 20; i++) {
      nowNs += 500_000n;
      copying.turn(false);
    }
    const perStep = Number(nowNs - before) / reports.length;
    // It stops within the group that makes the twentieth.
    expect(reports.length).toBeGreaterThanOrEqual(20);
    expect(50_000 / perStep).toBeLessThan(0.1);
    const made = reports.length;
    copying.turn(true);
    copying.turn(true);
    expect(reports.length).toBe(made + 2);
    // Several steps in a row, once there is time for them; one when somebody waits for the thread.
    const group = (called: () => boolean): number => {
      const before = reports.length;
      for (let i = 0; i < 1_000 && reports.length === before; i++) {
        nowNs += 500_000n;
        copying.turn(false, called);
      }
      return reports.length - before;
    };
    group(() => false);
    expect(group(() => false)).toBeGreaterThan(10);
    let steps = 0;
    expect(group(() => ++steps > 1)).toBe(1);
  });

  it('is given up when there is no memory for a copy', async () => {
    const source = new Source(1_000);
    await turnOfLoop();
    expect(source.answers).toEqual([['op', false]]);
    expect(source.commands).toEqual(['end-copy']);
  });

  it('is given up when a batch cannot be stored', async () => {
    const source = new Source();
    source.putFails = true;
    source.memory.fill(5);
    await source.run();
    expect(source.answers).toEqual([['op', false]]);
    expect(source.copying.complete(RUN, 'op', true, false)).toBeUndefined();
  });

  it('waits for the target to have a round, and not for one that says nothing', async () => {
    const source = new Source();
    source.acks = false;
    source.memory.fill(5);
    await source.run(() => undefined, 300);
    expect([source.answers, source.stands]).toEqual([[], false]);
    expect(source.hints.length).toBeGreaterThan(0);
    // All batches but the last one: it still waits.
    for (const { index } of source.hints.slice(0, -1)) source.stager.arrived(index);
    await source.run(() => undefined, 10);
    expect(source.answers).toEqual([]);
    await vi.waitFor(async () => {
      await source.run(() => undefined, 20);
      expect(source.stands).toBe(true);
    }, 20_000);
    await source.run();
    expect(source.answers).toEqual([['op', true]]);
  });

  it('does not take the acknowledgements of an earlier copy for its own', async () => {
    const source = new Source();
    source.acks = false;
    source.memory.fill(5);
    await source.run((turn) => {
      if (turn % 10 === 0) source.stager.arrived(200);
    }, 300);
    expect(source.hints.length).toBeGreaterThan(0);
    expect(source.stands).toBe(false);
    expect(source.commands).not.toContain('next-round');
    source.stager.close();
  });

  it('is given up when the memory outgrows its copy', async () => {
    const source = new Source();
    source.memory.fill(5);
    await source.run((turn) => {
      if (turn === 3) source.memory = new Uint8Array(1_000 * WASM_PAGE_BYTES);
    });
    expect(source.answers).toEqual([['op', false]]);
    expect(source.commands.at(-1)).toBe('end-copy');
  });

  it('says nothing after it was closed', async () => {
    const source = new Source();
    source.memory.fill(5);
    await source.run((turn) => {
      if (turn === 4) source.stager.close();
    }, 200);
    expect(source.answers).toEqual([]);
    expect(source.stager.name).toBeNull();
  });
});

describe('Arrivals', () => {
  afterEach(() => vi.useRealTimers());

  const hashOf = (i: number): string => `${i}`.padStart(64, '0');

  function made(lost: ReadonlySet<string> = new Set()) {
    const got: string[] = [];
    const forgotten: string[] = [];
    const acks: string[] = [];
    const arrivals = new Arrivals({
      fetch: async (hash) => {
        await turnOfLoop();
        return lost.has(hash) ? undefined : Uint8Array.of(Number(hash));
      },
      place: async () => 1,
      arrive: (thread, hint) => got.push(`${thread}:${hint.index}:${Number(hint.hash)}`),
      arrived: (source, _, index) => acks.push(`${source}:${index}`),
      forget: (thread, shardId) => forgotten.push(`${thread}:${shardId}`),
    });
    const hint = (index: number, hash: number): void =>
      arrivals.hint({
        shardId: 's-1',
        moduleHash: MODULE,
        index,
        hash: hashOf(hash),
        source: 'n1',
      });
    return { arrivals, got, forgotten, acks, hint };
  }

  it('V1: whatever the order of the hints, the thread gets them in order, and the claim the rest', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(9), { maxLength: 30 }), fc.nat(9), async (order, more) => {
        const { arrivals, got, acks, hint } = made();
        for (const index of order) hint(index, index);
        for (let i = 0; i < 40; i++) await turnOfLoop();
        const list = Array.from({ length: 10 + more }, (_, i) => hashOf(i));
        const { thread, missing } = await arrivals.claim('s-1', list);
        // Hints before the first of the list are nothing: without index 0 there is no row.
        const begun = order.indexOf(0);
        const seen = new Set(begun < 0 ? [] : order.slice(begun));
        let have = 0;
        while (seen.has(have)) have++;
        expect(got).toEqual(Array.from({ length: have }, (_, i) => `1:${i}:${i}`));
        expect(acks).toEqual(Array.from({ length: have }, (_, i) => `n1:${i}`));
        expect(missing.map(({ index }) => index)).toEqual(list.map((_, i) => i).slice(have));
        expect(thread).toBe(begun < 0 ? null : 1);
      }),
      { numRuns: 60 },
    );
  });

  it('throws a row away that is not the beginning of the list', async () => {
    const { arrivals, forgotten, hint } = made();
    hint(0, 0);
    hint(1, 5);
    for (let i = 0; i < 10; i++) await turnOfLoop();
    const { thread, missing } = await arrivals.claim('s-1', [hashOf(0), hashOf(1)]);
    expect([thread, missing.length]).toEqual([null, 2]);
    expect(forgotten).toEqual(['1:s-1']);
  });

  it('begins anew when a list begins anew', async () => {
    const { arrivals, got, forgotten, hint } = made();
    hint(0, 0);
    for (let i = 0; i < 5; i++) await turnOfLoop();
    hint(0, 7);
    for (let i = 0; i < 5; i++) await turnOfLoop();
    expect(got).toEqual(['1:0:0', '1:0:7']);
    expect(forgotten).toEqual(['1:s-1']);
    expect((await arrivals.claim('s-1', [hashOf(7)])).missing).toEqual([]);
  });

  it('V2: nobody asks: it is dropped', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { forgotten, hint } = made();
    hint(0, 0);
    vi.advanceTimersByTime(59_000);
    await turnOfLoop();
    expect(forgotten).toEqual([]);
    vi.advanceTimersByTime(2_000);
    await turnOfLoop();
    expect(forgotten).toEqual(['1:s-1']);
  });

  it('V3: a batch that is not there stops the row, and fails the claim', async () => {
    const { arrivals, got, hint } = made(new Set([hashOf(1)]));
    for (const i of [0, 1, 2]) hint(i, i);
    for (let i = 0; i < 10; i++) await turnOfLoop();
    expect(got).toEqual(['1:0:0']);
    await expect(arrivals.claim('s-1', [0, 1, 2].map(hashOf))).rejects.toMatchObject({
      code: 'SHERD_BLOB_MISSING',
    });
  });
});
