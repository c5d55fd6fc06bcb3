/** What retention removes: finished shards, by the time of their end. */
import { describe, expect, it } from 'vitest';
import { outdated } from '../../host/control/reach.js';
import type { ShardRecord } from '../../host/types/records.js';
import { owned, queued } from '../protocol/records.js';

const DAY = 86_400_000;
const RETENTION = { finishedMax: 1_000, finishedMs: 7 * DAY };
const ended = (id: string, createdMs: number, endedMs?: number): ShardRecord =>
  queued(id, { status: 'done', createdMs, ...(endedMs === undefined ? {} : { endedMs }) });

describe('retention', () => {
  it('counts from the end, however long a shard ran', () => {
    const records = [ended('long', 0, 29 * DAY), ended('short', 20 * DAY, 20 * DAY)];
    expect(outdated(records, RETENTION, 30 * DAY)).toEqual(['short']);
    expect(outdated(records, RETENTION, 36 * DAY + 1)).toEqual(['short', 'long']);
  });

  it('keeps those that ended last, not those that were submitted last', () => {
    const records = [ended('a', 1, 50), ended('b', 2, 40), ended('c', 3, 30), ended('d', 4, 60)];
    expect(outdated(records, { ...RETENTION, finishedMax: 2 }, 100)).toEqual(['c', 'b']);
  });

  it('never touches what is not done', () => {
    const records = [queued('q'), owned('a', 1, { id: 'r', status: 'running' })];
    const paused = queued('p', { status: 'paused' });
    const none = { finishedMax: 0, finishedMs: 0 };
    expect(outdated([...records, paused], none, 99 * DAY)).toEqual([]);
  });

  it('of a record without an end, or with one before its submit, the submit counts', () => {
    const records = [ended('old', DAY), ended('behind', 29 * DAY, 3 * DAY)];
    expect(outdated(records, RETENTION, 30 * DAY)).toEqual(['old']);
  });
});
