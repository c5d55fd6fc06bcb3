/**
 * What a trap was and where: from the engine's exception to words that do not depend on the engine.
 *
 * Does: name the trap kind; list guest functions, innermost first.
 * Does not: decide what happens to the shard.
 *
 * W1  The trap kinds are the Wasm specification's words, whatever the engine says.
 * W2  The guest's stack at a trap is the same, up to its innermost 64 functions, however the run was cut up: some of its frames
 *     are native, the others saved. Of an uncaught exception none is known: unwinding has dropped the native ones.
 */
import { BULK_MODULE_NAME } from '../compile/bulk-module.js';
import { functionLabel } from '../compile/index.js';
import type { ShardModule } from '../types/module.js';
import type { TrapInfo } from '../types/state.js';

const KINDS: readonly (readonly [RegExp, string])[] = [
  [/unreachable/i, 'unreachable'],
  [/divide by zero|remainder by zero|division by zero/i, 'integer divide by zero'],
  [/divide result unrepresentable|integer overflow/i, 'integer overflow'],
  [/unrepresentable|invalid conversion/i, 'invalid conversion to integer'],
  [/memory access out of bounds|out of bounds memory/i, 'out of bounds memory access'],
  [/table index is out of bounds|table access|table out of bounds/i, 'undefined element'],
  [/null function|signature mismatch|indirect call/i, 'indirect call type mismatch'],
  [/Maximum call stack|stack overflow|too much recursion/i, 'call stack exhausted'],
];

/** Functions whose code carries its own index: `wasm-function[12]`, or a continuation's module `sherd-k-12-3`. */
const PROGRAM_FRAME = /wasm-function\[(\d+)\]/;
const CONTINUATION_FRAME = /sherd-k-(\d+)-\d+/;
const STACK_LIMIT = 64;
/** Lines of a native trace that can hold so many functions of the program: some are the runtime's and helpers'. */
const TRACE_LINES = STACK_LIMIT + 16;

/** Lets the engine note as much of the stack as W2 needs while `body` runs: its own default is ten lines. */
export function withTraces<T>(body: () => T): T {
  const engine: { stackTraceLimit?: number | undefined } = Error;
  const before = engine.stackTraceLimit;
  engine.stackTraceLimit = Math.max(before ?? 0, TRACE_LINES);
  try {
    return body();
  } finally {
    engine.stackTraceLimit = before;
  }
}

/** Guest functions on a native stack trace, innermost first. Helpers that sherd added are left out. */
export function guestStackOf(error: unknown, module: ShardModule): string[] {
  if (!(error instanceof Error) || error.stack === undefined) return [];
  const functions: number[] = [];
  const last = module.imports.length + module.functions.length;
  let driver = -1;
  for (const line of error.stack.split('\n')) {
    if (line.includes(BULK_MODULE_NAME)) continue;
    const continuation = CONTINUATION_FRAME.exec(line);
    if (continuation !== null) driver = functions.push(Number(continuation[1])) - 1;
    const index = Number(PROGRAM_FRAME.exec(line)?.[1] ?? -1);
    if (continuation === null && index >= module.imports.length && index < last)
      functions.push(index);
  }
  // The outermost line of a continuation is the thunk that calls it ("k" in continuation.ts).
  if (driver >= 0) functions.splice(driver, 1);
  return functions.slice(0, STACK_LIMIT).map((index) => functionLabel(module, index));
}

/** Explains an exception that came out of the guest. Undefined: not a trap of the guest. */
export function explainTrap(
  error: unknown,
  module: ShardModule,
  saved: readonly string[],
): TrapInfo | undefined {
  if (error instanceof WebAssembly.Exception) {
    const kind = 'uncaught exception';
    return { trapKind: kind, message: kind, guestStack: [] }; // W2
  }
  const isTrap = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
  if (!isTrap) return undefined;
  const message = error.message;
  const kind = KINDS.find(([pattern]) => pattern.test(message))?.[1] ?? message;
  return {
    trapKind: kind,
    message,
    guestStack: [...guestStackOf(error, module), ...saved].slice(0, STACK_LIMIT),
  };
}
