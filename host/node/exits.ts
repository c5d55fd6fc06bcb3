/**
 * From a guest's last RunResult to the exit that its record shows.
 *
 * X1  The program's own exit code is passed on unchanged; a trap is 134, the memory limit 137.
 */
import { EXIT } from '../types/errors.js';
import type { ShardExit } from '../types/records.js';
import type { RunResult } from '../types/state.js';

/** Trap kind of a memory.grow that the limit refused and the program did not survive. */
const MEMORY_TRAP = /memory limit/;

export function exitOfResult(
  result: Extract<RunResult, { kind: 'done' | 'exit' | 'trap' }>,
): ShardExit {
  const nothing = { message: '', guestStack: [], results: new Uint8Array(0) };
  if (result.kind === 'done')
    return { ...nothing, reason: 'exit', code: EXIT.ok, results: result.results };
  if (result.kind === 'exit') return { ...nothing, reason: 'exit', code: result.code };
  const { trapKind, message, guestStack } = result.trap;
  const memory = MEMORY_TRAP.test(trapKind);
  return {
    ...nothing,
    reason: memory ? 'memory-limit' : 'trap',
    code: memory ? EXIT.memoryOrKill : EXIT.trap,
    message: message === '' ? trapKind : message,
    guestStack,
  };
}
