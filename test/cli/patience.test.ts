import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { giveUpAfter, waitMs } from '../../host/cli/patience.js';
import { after } from '../../host/node/after.js';

const MONTH_MS = 30 * 86_400_000;

describe('a wait longer than one timer can count', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('is waited out, and no longer', async () => {
    let ended = false;
    const waiting = waitMs(MONTH_MS, new AbortController().signal).then(() => {
      ended = true;
    });
    await vi.advanceTimersByTimeAsync(MONTH_MS - 1);
    expect(ended).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    await waiting;
    expect(ended).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('is called off in every part of it', async () => {
    for (const beforeMs of [0, MONTH_MS - 1]) {
      let ran = false;
      const callOff = after(MONTH_MS, () => {
        ran = true;
      });
      await vi.advanceTimersByTimeAsync(beforeMs);
      callOff();
      await vi.advanceTimersByTimeAsync(MONTH_MS);
      expect([ran, vi.getTimerCount()]).toEqual([false, 0]);
    }
  });

  it('ends at once when aborted', async () => {
    const abort = new AbortController();
    const waiting = waitMs(MONTH_MS, abort.signal);
    abort.abort();
    await waiting;
    expect(vi.getTimerCount()).toBe(0);
  });
});

it('a patience of months is not over at once', async () => {
  const signal = giveUpAfter(MONTH_MS);
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(signal.aborted).toBe(false);
});
