/**
 * What a caller of the library gives to `start`, checked before anything is done with it.
 *
 *   StartOptions ── checkStartOptions ──▶ CheckedStart        nothing is guessed, cut off or ignored
 *
 * Does: refuse what has the wrong type or makes no sense (SHERD_USAGE, named by its option), bring the rest into the
 * form that the spec has. Does not: read files or know how a shard runs.
 *
 * C1  A limit that was given is a limit: one that is too small to be kept (less than a Wasm page) is refused.
 * C2  What passes is accepted by `decodeSpec`.
 */
import { WASM_PAGE_BYTES } from '../capsule/index.js';
import { isWellFormed, PATH_BYTES_MAX, utf8Bytes } from '../runtime/wasi/names.js';
import { EXIT, SherdError, usageError } from '../types/errors.js';
import type { ShardModule } from '../types/module.js';

export interface StartOptions {
  /** Arguments after the program's name. */
  readonly args?: readonly string[];
  /** `argv[0]`. Default: `program`. */
  readonly name?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string | Uint8Array;
  /** Guest path → host directory; read once, at the start. */
  readonly dirs?: Readonly<Record<string, string>>;
  /** Function to call; default `_start`, else the only exported one without parameters. */
  readonly entry?: string;
  /** Up to 32 hex digits for the guest's random numbers; default: random. */
  readonly seed?: string;
  /** At least 65536 (one Wasm page) and what the program begins with. */
  readonly maxMemoryBytes?: number;
  readonly maxFuel?: bigint;
  readonly maxTimeMs?: number;
  /** Capsules hold zeros where the memory is known to be dead: smaller. Default: all of it is kept. */
  readonly dropDead?: boolean;
  /** Ends the shard; `result` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface CheckedStart {
  readonly name: string;
  readonly args: readonly string[];
  /** `KEY=value`. */
  readonly env: readonly string[];
  readonly stdin: string | Uint8Array;
  readonly dirs: readonly (readonly [guestPath: string, hostPath: string])[];
  readonly entry: string | undefined;
  readonly seed: string | undefined;
  /** 0 = no limit, and so for the other two. */
  readonly maxMemoryPages: number;
  readonly maxFuel: bigint;
  readonly maxTimeMs: number;
  readonly dropDead: boolean;
}

const PAGES_MAX = 65_536;
/** Fuel is a signed 64-bit integer where it is counted. */
export const FUEL_MAX = 2n ** 63n - 1n;

/** SHERD_USAGE, with the option's name, for what makes no sense. */
export function checkStartOptions(options: StartOptions): CheckedStart {
  if (typeof options !== 'object' || options === null) throw usageError('options: not an object');
  const { args = [], env = {}, dirs = {}, stdin = '' } = options;
  if (!Array.isArray(args)) throw usageError('args: not an array of strings');
  if (typeof stdin !== 'string' && !(stdin instanceof Uint8Array))
    throw usageError('stdin: not a string or Uint8Array');
  return {
    name: text('name', options.name ?? 'program'),
    args: args.map((arg, at) => text(`args[${at}]`, arg)),
    env: entriesOf('env', env).map(([key, value]) => {
      if (key === '' || key.includes('=')) throw usageError(`env '${key}': not a variable's name`);
      return text(`env ${key}`, `${text('env', key)}=${text(`env ${key}`, value)}`);
    }),
    stdin,
    dirs: directories(entriesOf('dirs', dirs)),
    entry: options.entry === undefined ? undefined : text('entry', options.entry),
    seed: options.seed === undefined ? undefined : seed(options.seed),
    maxMemoryPages: pages(options.maxMemoryBytes),
    maxFuel: fuel('maxFuel', options.maxFuel ?? 0n),
    maxTimeMs: milliseconds(options.maxTimeMs ?? 0),
    dropDead: flag('dropDead', options.dropDead ?? false),
  };
}

/** SHERD_USAGE unless it is what `compile` gives. */
export function checkModule(module: ShardModule): void {
  const facts = module as Partial<ShardModule> | null | undefined;
  if (facts?.bytes instanceof Uint8Array && facts.exports instanceof Map) return;
  throw usageError('not a shard module', 'give what compile() gave');
}

/** SHERD_USAGE unless it is a whole number of fuel from 0 on, as a bigint. */
export function fuel(option: string, value: bigint): bigint {
  if (typeof value !== 'bigint' || value < 0n || value > FUEL_MAX)
    throw usageError(`${option}: not a bigint from 0 to 2^63 - 1`);
  return value;
}

/** SHERD_MEMORY_LIMIT when a program begins with more than the limit (0 = none). */
export function checkRoom(
  module: ShardModule,
  limitPages: number,
  o: { readonly at: string | undefined; readonly option: string; show(bytes: number): string },
): void {
  const pageCount = module.memory?.minPages ?? 0;
  if (limitPages === 0 || pageCount <= limitPages) return;
  const [least, limit] = [pageCount, limitPages].map((each) => o.show(each * WASM_PAGE_BYTES));
  throw new SherdError(
    'SHERD_MEMORY_LIMIT',
    `the program begins with ${least} of memory, more than ${o.option} ${limit}`,
    { at: o.at, next: `give at least ${least}`, exitCode: EXIT.refused },
  );
}

function text(option: string, value: unknown): string {
  if (typeof value !== 'string') throw usageError(`${option}: not a string`);
  if (value.includes('\0')) throw usageError(`${option}: holds a zero byte`);
  if (!isWellFormed(value)) throw usageError(`${option}: holds half of a surrogate pair`);
  return value;
}

function entriesOf(option: string, value: unknown): [string, unknown][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw usageError(`${option}: not an object`);
  return Object.entries(value);
}

function directories(entries: readonly [string, unknown][]): [string, string][] {
  const seen = new Set<string>();
  return entries.map(([path, hostPath]) => {
    const guestPath = cleanGuestPath(text('dirs', path));
    if (guestPath === '') throw usageError('dirs: an empty guest path');
    if (isTooLong(guestPath)) throw usageError(`dirs: ${TOO_LONG}`);
    if (seen.has(guestPath)) throw usageError(`dirs ${guestPath}: given twice`);
    seen.add(guestPath);
    return [guestPath, text(`dirs ${guestPath}`, hostPath)];
  });
}

export const TOO_LONG = `a guest path of more than ${PATH_BYTES_MAX} bytes`;

export function isTooLong(guestPath: string): boolean {
  return utf8Bytes(guestPath) > PATH_BYTES_MAX;
}

/** `/data/` and `/data` are the same preopen. */
export function cleanGuestPath(path: string): string {
  const trimmed = path.replace(/\/+$/, '');
  return trimmed === '' && path !== '' ? '/' : trimmed;
}

function seed(value: unknown): string {
  if (typeof value !== 'string' || !/^[0-9a-f]{1,32}$/i.test(value))
    throw usageError('seed: not up to 32 hex digits');
  return value.toLowerCase().padStart(32, '0');
}

/** C1. */
function pages(bytes: number | undefined): number {
  if (bytes === undefined) return 0;
  const count = typeof bytes === 'number' ? Math.floor(bytes / WASM_PAGE_BYTES) : Number.NaN;
  if (!(count >= 1)) throw usageError('maxMemoryBytes: less than one Wasm page of 65536 bytes');
  return Math.min(count, PAGES_MAX);
}

function flag(option: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw usageError(`${option}: not true or false`);
  return value;
}

function milliseconds(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0)
    throw usageError('maxTimeMs: not a whole number of milliseconds from 0 on');
  return value;
}
