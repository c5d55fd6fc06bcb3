/** What the oracle has learned survives its control; what is damaged, missing or older costs one line, no more. */
import { deflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { OracleKeeper, oracleBlobs } from '../../host/control/oracle-keeper.js';
import { createMemoryFabric, type MemoryFabric } from '../../host/fabric/memory.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Oracle } from '../../host/oracle/oracle.js';
import { decodeRecord, encodeRecord } from '../../host/types/codec.js';
import { KEY, type OracleRecord } from '../../host/types/records.js';

const ON = { cores: 4, memoryBytes: 8e9, machine: { id: 'm', cores: 4 } };

class Control {
  readonly oracle = new Oracle(nodePlatform);
  readonly keeper: OracleKeeper;
  nowMs = 0;
  fell = 0;

  constructor(memory: MemoryFabric, name: string) {
    this.keeper = new OracleKeeper({
      fabric: memory.connect(name),
      platform: nodePlatform,
      oracle: this.oracle,
      writer: name,
      nowMs: () => this.nowMs,
      wallMs: () => 1e12 + this.nowMs,
      fell: (bytes) => {
        this.fell += bytes;
      },
    });
  }

  /** Measures node `a` for so many seconds. */
  watch(seconds: number): void {
    for (let i = 0; i < 2 * seconds; i++) {
      this.nowMs += 500;
      const cpu = 0.3 + 0.2 * Math.sin(this.nowMs / 3_000);
      const values = { cpu, guestCpu: 0, memoryUsedBytes: 1e9, eventLoopDelayMs: 0, runnable: 0 };
      this.oracle.observe({ nodeId: 'a', atMs: this.nowMs, values }, ON);
    }
  }
}

const recordIn = (memory: MemoryFabric): OracleRecord => {
  const entry = memory.peek(KEY.oracle)!;
  return decodeRecord<OracleRecord>(entry.value, entry.key);
};

describe('the keeper', () => {
  it('a new control goes on with the same bits', async () => {
    const memory = createMemoryFabric();
    const one = new Control(memory, 'one');
    expect(await one.keeper.recall()).toBeNull();
    one.watch(300);
    await one.keeper.save();
    const two = new Control(memory, 'two');
    two.nowMs = one.nowMs;
    expect(await two.keeper.recall()).toBeNull();
    expect(two.oracle.forecast('a', 20_000)).toEqual(one.oracle.forecast('a', 20_000));
    expect(two.oracle.scores).toEqual(one.oracle.scores);
  });

  it('saves every minute', async () => {
    const memory = createMemoryFabric();
    const control = new Control(memory, 'one');
    const revisions: (number | undefined)[] = [];
    for (let second = 0; second < 200; second++) {
      control.watch(1);
      control.keeper.look();
      if (second % 10 === 9) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        revisions.push(memory.peek(KEY.oracle)?.revision);
      }
    }
    expect(revisions.slice(0, 5)).toEqual(Array(5).fill(undefined));
    expect(new Set(revisions).size).toBe(4); // none, then after 60, 120 and 180 s
  });

  it('a blob that nobody names any more is told of, and the one that is named is kept', async () => {
    const memory = createMemoryFabric();
    const control = new Control(memory, 'one');
    control.watch(10);
    await control.keeper.save();
    const first = recordIn(memory);
    expect([control.fell, await oracleBlobs(memory.connect('x'))]).toEqual([0, [first.blob]]);
    control.watch(10);
    await control.keeper.save();
    expect(control.fell).toBe(first.bytes);
    expect(recordIn(memory).blob).not.toBe(first.blob);
  });

  it('two controls: the later write meets the first, and the one after it lands', async () => {
    const memory = createMemoryFabric();
    const [one, two] = [new Control(memory, 'one'), new Control(memory, 'two')];
    one.watch(5);
    two.watch(6);
    await one.keeper.save();
    await two.keeper.save();
    expect(recordIn(memory).writer).toBe('one');
    await two.keeper.save();
    expect(recordIn(memory).writer).toBe('two');
  });

  it('what cannot be used is said, and the oracle begins anew', async () => {
    const memory = createMemoryFabric();
    const fabric = memory.connect('test');
    const writer = new Control(memory, 'one');
    writer.watch(5);
    await writer.keeper.save();
    const record = recordIn(memory);
    const put = async (bytes: Uint8Array): Promise<void> => {
      const blob = nodePlatform.sha256(bytes);
      await fabric.blobs.put(blob, bytes);
      const { revision } = memory.peek(KEY.oracle)!;
      const value = encodeRecord({ ...record, blob });
      expect((await fabric.records.compareAndSet(KEY.oracle, revision, value)).kind).toBe('ok');
    };
    const recall = async (): Promise<string | null> => {
      const control = new Control(memory, 'two');
      const why = await control.keeper.recall();
      expect(control.oracle.forecast('a', 5_000)).toBeUndefined();
      control.watch(1);
      expect(control.oracle.forecast('a', 5_000)).toBeDefined();
      return why;
    };
    await put(deflateRawSync(new Uint8Array(99)));
    expect(await recall()).toContain('cannot be used');
    await put(new TextEncoder().encode('no such stream'));
    expect(await recall()).toMatch(/\w/);
    const { revision } = memory.peek(KEY.oracle)!;
    const gone = encodeRecord({ ...record, blob: '0'.repeat(64) });
    await fabric.records.compareAndSet(KEY.oracle, revision, gone);
    expect(await recall()).toContain('is not in the store');
    const newer = new Uint8Array([9, 9, 9]);
    await fabric.records.compareAndSet(KEY.oracle, memory.peek(KEY.oracle)!.revision, newer);
    expect(await recall()).toMatch(/\w/);
    expect(await oracleBlobs(fabric)).toEqual([]);
  });

  it('a store that does not answer costs nothing but the state', async () => {
    const memory = createMemoryFabric();
    const control = new Control(memory, 'one');
    control.watch(5);
    memory.partition('one');
    await control.keeper.save();
    memory.heal('one');
    await control.keeper.save();
    expect(recordIn(memory).writer).toBe('one');
  });
});
