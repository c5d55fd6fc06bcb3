/**
 * Whether a captured state fits a module, before anything of it is put into an instance.
 *
 * Does: check calls, arguments, globals, memory and the pending host call.
 * Does not: check frames (frames.ts), tables and segments (tables.ts).
 *
 * U1  A capsule is untrusted: whatever it says, it is refused or fits.
 */
import type { ShardModule } from '../types/module.js';
import type { Call, ShardState } from '../types/state.js';
import { mismatch, valueBytes } from './values.js';

/** What is still to be called. In capsules of older versions the empty name stands for the start function. */
export function callsOf(state: ShardState, module: ShardModule): Call[] {
  const emptyIsStart = module.hasStart && !module.exports.has('');
  return state.calls.map((call) => (call === '' && emptyIsStart ? null : call));
}

/** Throws SHERD_CAPSULE_MISMATCH when the state does not fit. */
export function checkState(state: ShardState, module: ShardModule): void {
  for (const call of callsOf(state, module)) {
    if (call === null ? !module.hasStart : !module.exports.has(call))
      throw mismatch(`it calls ${callLabel(call)}, which the module does not have`);
  }
  if ((state.memory === null) !== (module.memory === undefined))
    throw mismatch('only one of them has a memory');
  const globals = valueBytes(module.mutableGlobals.map((g) => g.type));
  if (state.globals.length !== globals)
    throw mismatch(`it has ${state.globals.length} bytes of globals, the module ${globals}`);
  if (state.pending !== null) checkPending(state, module);
}

function callLabel(call: Call): string {
  return call === null ? 'a start function' : `'${call}'`;
}

function checkPending(state: ShardState, module: ShardModule): void {
  const top = state.frames[state.frames.length - 1];
  const info =
    top === undefined
      ? undefined
      : module.functions[top.func - module.imports.length]?.safepoints[top.safepoint];
  if (info?.kind !== 'host')
    throw mismatch('a pending host call without a frame that waits for it');
}
