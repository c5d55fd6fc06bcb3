/** The control lease: one holder, taken over when it stands still, given up at once when asked. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ControlLease, EXPIRY_MS, LOSS_MS } from '../../host/control/lease.js';
import { createMemoryFabric, type MemoryFabric } from '../../host/fabric/memory.js';
import { decodeRecord } from '../../host/types/codec.js';
import { type ControlRecord, KEY } from '../../host/types/records.js';

const taken: ControlLease[] = [];

afterEach(() => {
  for (const lease of taken.splice(0)) lease.abandon();
});

async function take(
  memory: MemoryFabric,
  holder: string,
  lost = (): void => undefined,
): Promise<ControlLease> {
  const lease = await ControlLease.take({
    fabric: memory.connect(holder),
    holder,
    apiUrl: '',
    nowMs: () => performance.now(),
    isGone: () => false,
    lost,
  });
  taken.push(lease);
  return lease;
}

function holder(memory: MemoryFabric): string | undefined {
  const entry = memory.peek(KEY.control);
  return entry === undefined
    ? undefined
    : decodeRecord<ControlRecord>(entry.value, entry.key).holder;
}

describe('ControlLease', () => {
  it('a holder stops believing before another may take over', () => {
    expect(LOSS_MS).toBeLessThan(EXPIRY_MS);
  });

  it('is taken over from a holder that stands still, and not from one that renews', async () => {
    const memory = createMemoryFabric();
    const first = await take(memory, 'a');
    const second = take(memory, 'b');
    const early = await Promise.race([
      second.then(() => 'b'),
      new Promise((r) => setTimeout(() => r('still a'), EXPIRY_MS + 500)),
    ]);
    expect(early).toBe('still a');
    first.abandon();
    await second;
    expect(holder(memory)).toBe('b');
  });

  it('is free at once when its holder has given it up', async () => {
    const memory = createMemoryFabric();
    await (await take(memory, 'a')).release();
    expect(holder(memory)).toBeUndefined();
    await take(memory, 'b');
    expect(holder(memory)).toBe('b');
  });

  it('is lost by a holder that is cut off, while another one has it', async () => {
    const memory = createMemoryFabric();
    const lost = vi.fn();
    await take(memory, 'a', lost);
    memory.partition('a');
    await take(memory, 'b');
    await vi.waitFor(() => expect(lost).toHaveBeenCalledTimes(1), { timeout: 30_000 });
    expect(holder(memory)).toBe('b');
  });
});
