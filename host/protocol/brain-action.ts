/**
 * What a decision of the brain means for the shard's record. Control and the simulator both carry actions out by this.
 *
 * Does: one action and one record in, the legal change (or its refusal) out. Does not: write, or decide.
 */
import type { BrainAction } from '../types/brain.js';
import type { ShardRecord } from '../types/records.js';
import {
  assign,
  clearWanted,
  recover,
  redirect,
  type Stamp,
  setWanted,
  type Transition,
} from './shard-record.js';

/** An action that changes a record (`explain` is only shown). */
export type RecordAction = Exclude<BrainAction, { kind: 'explain' }>;

export function transitionOf(action: RecordAction, record: ShardRecord, stamp: Stamp): Transition {
  const actionId = action.id;
  switch (action.kind) {
    case 'assign':
      return assign(record, action.node, stamp);
    case 'migrate':
      return setWanted(record, { op: 'move', actionId, target: action.target }, stamp);
    case 'preempt':
      return setWanted(record, { op: 'preempt', actionId }, stamp);
    case 'recover':
      return recover(record, action.lost, action.why, stamp);
    case 'redirect':
      return redirect(record, action.lost, action.node, stamp);
    case 'cancel':
      return clearWanted(record, action.request, stamp);
  }
}
