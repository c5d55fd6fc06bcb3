/**
 * Whether a captured state fits a module, before anything of it is put into an instance.
 *
 * Does: check calls, arguments, globals, memory and the pending host call.
 * Does not: check frames (frames.ts), tables and segments (tables.ts).
 *
 * U1  A capsule is untrusted: whatever it says, it is refused or fits.
 */
import type { ShardModule } from '../types/module.js';
import type { Call, PendingCall, ShardState, ValType } from '../types/state.js';
import { mismatch, valueBytes } from './values.js';

const WASM_PAGES_MAX = 65_536;
/** Counts of 64 bits must have room to grow. */
const FUEL_MAX = 2n ** 62n;

/** Throws SHERD_CAPSULE_MISMATCH when a memory, or the limit that it says it may grow to, is beyond what the spec allows. */
export function checkLimit(
  memory: { readonly pages: number; readonly limitPages: number } | null,
  spec: { readonly maxMemoryPages: number },
  module: Pick<ShardModule, 'memory'>,
): void {
  if (memory === null) return;
  const most = Math.min(module.memory?.maxPages ?? WASM_PAGES_MAX, WASM_PAGES_MAX);
  const limit = spec.maxMemoryPages === 0 ? most : Math.min(spec.maxMemoryPages, most);
  if (memory.pages > memory.limitPages || memory.limitPages > limit)
    throw mismatch(
      `its memory of ${memory.pages} pages may grow to ${memory.limitPages}, its run allows ${limit}`,
    );
}

/** What is still to be called. In capsules of older versions the empty name stands for the start function. */
export function callsOf(state: ShardState, module: ShardModule): Call[] {
  const emptyIsStart = module.hasStart && !module.exports.has('');
  return state.calls.map((call) => (call === '' && emptyIsStart ? null : call));
}

/** Throws SHERD_CAPSULE_MISMATCH when the state does not fit. */
export function checkState(state: ShardState, module: ShardModule): void {
  checkCalls(state, module);
  if (state.fuelUsed > FUEL_MAX) throw mismatch(`it has used ${state.fuelUsed} units of fuel`);
  if ((state.memory === null) !== (module.memory === undefined))
    throw mismatch('only one of them has a memory');
  const globals = valueBytes(module.mutableGlobals.map((g) => g.type));
  if (state.globals.length !== globals)
    throw mismatch(`it has ${state.globals.length} bytes of globals, the module ${globals}`);
  if (state.pending !== null) checkPending(state, module);
}

/** The start function, if any, then one export, whose arguments are there until it begins. */
function checkCalls(state: ShardState, module: ShardModule): void {
  const calls = callsOf(state, module);
  for (const [i, call] of calls.entries()) {
    if (call === null ? !module.hasStart : !module.exports.has(call))
      throw mismatch(`it calls ${callLabel(call)}, which the module does not have`);
    if (call === null ? i > 0 : i < calls.length - 1)
      throw mismatch('it calls more than the start function and one export');
  }
  const entry = calls.at(-1);
  const begun = state.frames.length > 0 && calls.length === 1;
  const params =
    entry === undefined || entry === null || begun
      ? []
      : (module.functions[(module.exports.get(entry) ?? 0) - module.imports.length]?.params ?? []);
  if (state.args.length !== valueBytes(params))
    throw mismatch(`it has ${state.args.length} bytes of arguments, not ${valueBytes(params)}`);
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
  const { name, args } = state.pending as PendingCall;
  const called = module.imports.find(({ module: from, field }) => `${from}.${field}` === name);
  if (called === undefined)
    throw mismatch(`it waits in ${name}, which this module does not import`);
  const fits = (type: ValType, arg: number | bigint | undefined): boolean =>
    type === 'i64' ? typeof arg === 'bigint' : typeof arg === 'number';
  if (
    args.length !== called.params.length ||
    !called.params.every((type, i) => fits(type, args[i]))
  )
    throw mismatch(`it waits in ${name} with arguments that this function does not take`);
}
