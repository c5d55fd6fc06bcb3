/**
 * The options that `run`, `resume` and `submit` share: declared once, parsed once.
 *
 * Does: declare them on a commander command and turn the strings into typed settings, refusing what makes no sense
 * before anything is started.
 * Does not: touch files (prepare does).
 */
import { type Command, Option } from 'commander';
import { WASM_PAGE_BYTES } from '../capsule/index.js';
import { cleanGuestPath, isTooLong, TOO_LONG } from '../node/start-options.js';
import { parseCount, parseDurationMs, parseInteger, parseSizeBytes, usageError } from './format.js';

export interface DirectoryOption {
  readonly guestPath: string;
  readonly hostPath: string;
  readonly readOnly: boolean;
}

export interface RunSettings {
  readonly nodes: number;
  readonly workers: number | undefined;
  readonly fabric: string | undefined;
  readonly dirs: readonly DirectoryOption[];
  readonly env: readonly string[];
  readonly stdinFile: string | undefined;
  readonly entry: string | undefined;
  readonly name: string | undefined;
  readonly priority: number;
  readonly seed: string | undefined;
  readonly maxMemoryPages: number;
  readonly maxFuel: bigint;
  readonly maxTimeMs: number;
  readonly dropDead: boolean;
  readonly moveEveryMs: number | undefined;
  readonly pauseAtFuel: bigint | undefined;
  readonly pauseAfterMs: number | undefined;
  readonly capsuleFile: string | undefined;
  readonly thin: boolean;
  /** --key; SHERD_KEY_FILE counts, too (key-file.ts). */
  readonly keyFile: string | undefined;
  readonly statusFile: string | undefined;
  readonly quiet: boolean;
  readonly json: boolean;
}

/** What commander hands over: strings, lists and flags. */
export interface RawRunOptions {
  readonly nodes?: string;
  readonly workers?: string;
  readonly fabric?: string;
  readonly dir?: readonly string[];
  readonly env?: readonly string[];
  readonly stdin?: string;
  readonly entry?: string;
  readonly name?: string;
  readonly priority?: string;
  readonly seed?: string;
  readonly maxMemory?: string;
  readonly maxFuel?: string;
  readonly maxTime?: string;
  readonly dropDead?: boolean;
  readonly moveEvery?: string;
  readonly pauseAt?: string;
  readonly pauseAfter?: string;
  readonly output?: string;
  readonly thin?: boolean;
  readonly key?: string;
  readonly status?: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

const MAX_PAGES = 65_536;
export const MAX_NODES = 64;

/** Adds a value to a repeatable option. */
export function collect(value: string, previous: readonly string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

/** What the program is given: directories, environment, input, limits. */
export function addProgramOptions(command: Command): Command {
  return addLimitOptions(command)
    .option('--dir <guest=host[:ro]>', 'give the program a directory (repeatable)', collect)
    .option('--env <K=V>', 'set an environment variable of the program (repeatable)', collect)
    .option(
      '--stdin <file>',
      "the program's standard input; default: this process's, if not a terminal",
    )
    .option(
      '--entry <export>',
      'function to call (default: _start, else the only one without parameters)',
    )
    .option('--seed <hex>', "seed of the program's random numbers, up to 32 hex digits")
    .option('--name <name>', 'name of the shard in reports');
}

/** What it may use, from its beginning on, and what its capsules hold: also when it goes on from a capsule. */
export function addLimitOptions(command: Command): Command {
  return command
    .option('--max-memory <size>', "limit of the program's memory, like 64MiB")
    .option('--max-fuel <count>', 'limit of its fuel (safepoint passages), like 1e9')
    .option('--max-time <duration>', 'limit of its running time, like 30s')
    .option(
      '--drop-dead',
      'leave dead memory out of its capsules: unused stack, free heap blocks, what it declares dead',
    );
}

/** Where a run happens and how it is left. */
export function addPlaceOptions(command: Command): Command {
  return command
    .option('-n, --nodes <count>', 'node processes of the private cluster', '1')
    .addOption(new Option('--workers <count>', 'worker threads a node').hideHelp())
    .option(
      '--fabric <url>',
      'submit to a running cluster instead, and follow (if this process is killed, the shard goes on)',
    )
    .option(
      '--move-every <duration>',
      'move the shard to the next node again and again, like 500ms',
    )
    .option('--pause-at <fuel>', 'pause exactly there, into the file of -o')
    .option('--pause-after <duration>', 'pause when it has run for that time, into the file of -o')
    .option('-o, --output <x.capsule>', 'where a pause goes; Ctrl-C then pauses')
    .option('--thin', 'leave module and inputs out of the capsule file')
    .option('--key <file>', 'seal the capsule file with this key file (default: $SHERD_KEY_FILE)')
    .option('--status <file>', 'write reason, code and figures there as JSON')
    .option('-q, --quiet', 'no progress, no remarks');
}

export function parseRunSettings(raw: RawRunOptions): RunSettings {
  const pauseAtFuel = raw.pauseAt === undefined ? undefined : parseCount(raw.pauseAt, '--pause-at');
  const pauseAfterMs =
    raw.pauseAfter === undefined ? undefined : parseDurationMs(raw.pauseAfter, '--pause-after');
  if ((pauseAtFuel !== undefined || pauseAfterMs !== undefined) && raw.output === undefined) {
    throw usageError('--pause-at and --pause-after need a file to pause into', 'add -o x.capsule');
  }
  if (raw.thin === true && raw.output === undefined) {
    throw usageError('--thin is about the file of -o', 'add -o x.capsule');
  }
  const moveEveryMs =
    raw.moveEvery === undefined ? undefined : parseDurationMs(raw.moveEvery, '--move-every');
  const nodes = parseInteger(raw.nodes ?? '1', '--nodes', 1, MAX_NODES);
  if (moveEveryMs !== undefined && nodes < 2 && raw.fabric === undefined) {
    throw usageError('--move-every needs somewhere to move to', 'add --nodes 2 or more');
  }
  return {
    nodes,
    workers: raw.workers === undefined ? undefined : parseInteger(raw.workers, '--workers', 1, 256),
    fabric: raw.fabric,
    dirs: parseDirs(raw.dir ?? []),
    env: (raw.env ?? []).map(parseEnv),
    stdinFile: raw.stdin,
    entry: raw.entry,
    name: raw.name,
    priority: parseInteger(raw.priority ?? '0', '--priority', 0, 1_000),
    seed: raw.seed === undefined ? undefined : parseSeed(raw.seed),
    maxMemoryPages: raw.maxMemory === undefined ? 0 : parsePages(raw.maxMemory),
    maxFuel:
      raw.maxFuel === undefined
        ? 0n
        : positive(parseCount(raw.maxFuel, '--max-fuel'), '--max-fuel'),
    maxTimeMs:
      raw.maxTime === undefined
        ? 0
        : positive(parseDurationMs(raw.maxTime, '--max-time'), '--max-time'),
    dropDead: raw.dropDead === true,
    moveEveryMs: moveEveryMs === undefined ? undefined : positive(moveEveryMs, '--move-every'),
    pauseAtFuel,
    pauseAfterMs,
    capsuleFile: raw.output,
    thin: raw.thin === true,
    keyFile: raw.key,
    statusFile: raw.status,
    quiet: raw.quiet === true,
    json: raw.json === true,
  };
}

/** `guest=host[:ro]`; a path alone is given under the same name. Guest paths do not overlap. */
export function parseDirs(texts: readonly string[]): DirectoryOption[] {
  const dirs = texts.map(parseDir);
  const seen = new Set<string>();
  for (const dir of dirs) {
    if (seen.has(dir.guestPath)) throw usageError(`--dir ${dir.guestPath}: given twice`);
    seen.add(dir.guestPath);
  }
  return dirs;
}

function parseDir(text: string): DirectoryOption {
  const readOnly = text.endsWith(':ro');
  const body = readOnly ? text.slice(0, -3) : text;
  const at = body.indexOf('=');
  const guestPath = at < 0 ? body : body.slice(0, at);
  const hostPath = at < 0 ? body : body.slice(at + 1);
  if (guestPath === '' || hostPath === '') {
    throw usageError(
      `--dir ${text}: a side is empty`,
      'write guest=host, like /data=./input or /data=./input:ro',
    );
  }
  if (isTooLong(guestPath)) throw usageError(`--dir ${text.slice(0, 40)}…: ${TOO_LONG}`);
  return { guestPath: cleanGuestPath(guestPath), hostPath, readOnly };
}

function parseEnv(text: string): string {
  const at = text.indexOf('=');
  if (at < 1 || text.includes('\0'))
    throw usageError(`--env ${text}: not K=V`, 'write --env NAME=value');
  return text;
}

function parseSeed(text: string): string {
  if (!/^[0-9a-f]{1,32}$/i.test(text)) throw usageError(`--seed ${text}: not up to 32 hex digits`);
  return text.toLowerCase().padStart(32, '0');
}

function parsePages(text: string): number {
  const bytes = positive(parseSizeBytes(text, '--max-memory'), '--max-memory');
  const pages = Math.floor(bytes / WASM_PAGE_BYTES);
  if (pages === 0)
    throw usageError(`--max-memory ${text}: less than one Wasm page`, 'give at least 64KiB');
  return Math.min(pages, MAX_PAGES);
}

function positive<T extends number | bigint>(value: T, option: string): T {
  if (value <= 0) throw usageError(`${option}: must be more than 0`);
  return value;
}
