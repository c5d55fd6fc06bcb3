/**
 * What a trap was and where: from the engine's exception to words that do not depend on the engine.
 *
 * Does: name the trap kind; list guest functions, innermost first.
 * Does not: decide what happens to the shard.
 *
 * W1  The trap kinds are the Wasm specification's words, whatever the engine says.
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

/** Guest functions on a native stack trace, innermost first. Helpers that sherd added are left out. */
export function guestStackOf(error: unknown, module: ShardModule): string[] {
  if (!(error instanceof Error) || error.stack === undefined) return [];
  const labels: string[] = [];
  const last = module.imports.length + module.functions.length;
  for (const line of error.stack.split('\n')) {
    if (line.includes(BULK_MODULE_NAME)) continue;
    const continuation = CONTINUATION_FRAME.exec(line);
    if (continuation !== null) {
      const label = functionLabel(module, Number(continuation[1]));
      if (
        labels[labels.length - 1] !== label ||
        !line.includes('wasm-function[') ||
        labels.length === 0
      )
        labels.push(label);
      continue;
    }
    const found = PROGRAM_FRAME.exec(line);
    if (found === null) continue;
    const index = Number(found[1]);
    if (index >= module.imports.length && index < last) labels.push(functionLabel(module, index));
  }
  return labels.slice(0, STACK_LIMIT);
}

/** Explains an exception that came out of the guest. Undefined: not a trap of the guest. */
export function explainTrap(
  error: unknown,
  module: ShardModule,
  saved: readonly string[],
): TrapInfo | undefined {
  if (error instanceof WebAssembly.Exception) {
    const kind = 'uncaught exception';
    return { trapKind: kind, message: kind, guestStack: saved.slice(0, STACK_LIMIT) };
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
