/**
 * Coded errors of the whole project.
 *
 * Does: give every failure a stable code (`SHERD_…`), the thing it is about, the cause and the next step.
 * Does not: print, log or exit. The CLI turns an error into one line and an exit code.
 *
 * E1  `code` is stable across versions; messages may change.
 * E2  `message` is one line: what, where. `next` is one line: what to do.
 * E3  `exitCode` is one of the documented codes (README, "Exit codes").
 */

import { printableLine } from './text.js';

/** Process exit codes that sherd itself uses; any other number is the program's own. */
export const EXIT = {
  ok: 0,
  failedLater: 1,
  refused: 2,
  paused: 75,
  quota: 124,
  sigint: 130,
  trap: 134,
  memoryOrKill: 137,
  sigterm: 143,
} as const;

/** Stable error codes. Add at the end of a group; never reuse a name. */
export type ErrorCode =
  // input that was refused
  | 'SHERD_NOT_WASM'
  | 'SHERD_WASM_MALFORMED'
  | 'SHERD_FEATURE_UNSUPPORTED'
  | 'SHERD_IMPORT_UNSUPPORTED'
  | 'SHERD_LIMIT'
  | 'SHERD_SOURCE_ERROR'
  | 'SHERD_FILE'
  | 'SHERD_USAGE'
  | 'SHERD_ENTRY_MISSING'
  // capsules
  | 'SHERD_CAPSULE_DAMAGED'
  | 'SHERD_CAPSULE_VERSION'
  | 'SHERD_CAPSULE_MISMATCH'
  | 'SHERD_CAPSULE_INCOMPLETE'
  | 'SHERD_CAPSULE_REPLAYED'
  | 'SHERD_KEY'
  // running
  | 'SHERD_TRAP'
  | 'SHERD_STACK_EXHAUSTED'
  | 'SHERD_MEMORY_LIMIT'
  | 'SHERD_FUEL_QUOTA'
  | 'SHERD_TIME_QUOTA'
  | 'SHERD_ENGINE_MEMORY'
  | 'SHERD_CANNOT_PAUSE'
  // cluster
  | 'SHERD_FABRIC'
  | 'SHERD_FABRIC_VERSION'
  | 'SHERD_FABRIC_BUSY'
  | 'SHERD_BLOB_MISSING'
  | 'SHERD_BLOB_DAMAGED'
  | 'SHERD_DISK'
  | 'SHERD_NO_CLUSTER'
  | 'SHERD_PORT'
  | 'SHERD_UNAUTHORIZED'
  | 'SHERD_NO_SHARD'
  | 'SHERD_STATE'
  | 'SHERD_HOST_FILE_CHANGED'
  | 'SHERD_TIMEOUT'
  | 'SHERD_ABORTED'
  | 'SHERD_INTERNAL'
  | 'SHERD_SET_ASIDE';

/** Extra facts of an error. `next` says what the user can do; `at` names the file, shard, node or offset. */
export interface ErrorDetails {
  readonly at?: string | undefined;
  readonly next?: string | undefined;
  readonly exitCode?: number | undefined;
  readonly cause?: unknown;
}

/** The one error class that crosses module boundaries. */
export class SherdError extends Error {
  readonly code: ErrorCode;
  readonly at: string | undefined;
  readonly next: string | undefined;
  readonly exitCode: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'SherdError';
    this.code = code;
    this.at = details.at;
    this.next = details.next;
    this.exitCode = details.exitCode ?? EXIT.failedLater;
  }

  /** One line for a terminal: `error: what (where): cause — next [CODE]`. */
  toLine(): string {
    const at = this.at === undefined ? '' : `${this.at}: `;
    const next = this.next === undefined ? '' : ` — ${this.next}`;
    return printableLine(`sherd: ${at}${this.message}${next} [${this.code}]`);
  }
}

/** A mistake in what the user or the caller gave: exit code 2, one line. */
export function usageError(message: string, next?: string): SherdError {
  return new SherdError('SHERD_USAGE', message, { next, exitCode: EXIT.refused });
}

/** Internal check. A failure is a defect of sherd, never of its input. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new SherdError('SHERD_INTERNAL', `internal: ${message}`);
}
