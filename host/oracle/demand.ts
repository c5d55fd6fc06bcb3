/**
 * What a progress hint says of the shard's need: the measurement that oracle and scheduler take in. Nodes place by the same rule.
 *
 * Does: translate. Does not: decide whether the hint is of the shard's present owner (the caller does).
 */
import type { ShardSample } from '../types/brain.js';
import type { ProgressHint } from '../types/hints.js';

export function shardSample(hint: ProgressHint, atMs: number): ShardSample {
  const { shardId, fuelUsed, fuelPerSecond, memoryBytes, capsuleBytes } = hint;
  const sample = { shardId, atMs, fuelUsed, fuelPerSecond, memoryBytes, capsuleBytes };
  return { ...sample, demand: coresWanted(hint) };
}

/**
 * Cores' worth that a shard would use if it were alone: one that runs, or could, would use a whole core, however little of it others
 * leave to it; one that waits for time or data uses what it used so far.
 */
export function coresWanted({ activity, share }: Pick<ProgressHint, 'activity' | 'share'>): number {
  const waits = activity === 'sleeping' || activity === 'fetching';
  if (!waits) return 1;
  return share === undefined ? 0 : Math.min(1, Math.max(0, share));
}
