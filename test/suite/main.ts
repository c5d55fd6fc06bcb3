/**
 * The core test suite, command by command: the engine alone, sherd straight, sherd with pauses.
 *
 *   a module's state ── call ── result, next state          the state between two calls is a ShardState
 *                       └ pause at fuel n ── capsule ── new instance ── result, next state: must be the same
 *
 * Counts by file:
 *   engine    commands that this very Node.js does not pass itself (left out of the rest)
 *   refused   commands of modules that sherd refuses by a feature's name
 *   passed    of those that are left, straight and after every pause
 *   FAILED    listed with line and reason
 *   skipped   registrations of modules, text that is malformed, stack exhaustion across pauses, what wast2json cannot read
 *
 * Does: run and count. Does not: read scripts (script.ts) or compare values (values.ts).
 *
 * Z1  Each call is paused once at every fuel value up to 1,000, beyond at 1,000 sampled ones; each time a capsule is encoded,
 *     decoded and resumed in a new instance, and result and state afterwards are compared with the straight call's.
 */
import { readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { bareHost } from '../../benchmarks/lib/bare-host.js';
import { decodeCapsule, encodeCapsule } from '../../host/capsule/index.js';
import { compileProgram } from '../../host/compile/index.js';
import { parseModule } from '../../host/compile/module.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance, LoadedModule, MAX_BUDGET } from '../../host/runtime/index.js';
import { SherdError } from '../../host/types/errors.js';
import type { GuestHost, HostFunction, HostFunctions } from '../../host/types/host.js';
import type { RunResult, ShardState } from '../../host/types/state.js';
import { type Action, type Command, readScript } from './script.js';
import { fits, fitsValues, plainArguments, rawArguments } from './values.js';

const PAUSES_MAX = 1_000;

class Counts {
  passed = 0;
  failed = 0;
  engine = 0;
  skipped = 0;
  pauses = 0;
  readonly refused = new Map<string, number>();
  readonly failures: string[] = [];

  get refusals(): number {
    return [...this.refused.values()].reduce((a, b) => a + b, 0);
  }
  refuse(reason: string): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
  }
  fail(line: number, reason: string): void {
    this.failed++;
    this.failures.push(`line ${line}: ${reason}`);
  }
  add(other: Counts): void {
    this.passed += other.passed;
    this.failed += other.failed;
    this.engine += other.engine;
    this.skipped += other.skipped;
    this.pauses += other.pauses;
    for (const [reason, n] of other.refused)
      this.refused.set(reason, (this.refused.get(reason) ?? 0) + n);
  }
}

const PRINTS = 'print print_i32 print_i64 print_f32 print_f64 print_i32_f32 print_f64_f64'.split(
  ' ',
);

/** What modules can import: the suite's `spectest`, whose functions do nothing, and registered modules of the script. */
let offered: Record<string, WebAssembly.ModuleImports> = {};

/** Functions of registered modules are the engine's: what they do to their own module happens at every call. */
function offeredFunctions(): HostFunctions {
  const functions = (fields: WebAssembly.ModuleImports): [string, HostFunction][] =>
    Object.entries(fields).filter((e): e is [string, HostFunction] => typeof e[1] === 'function');
  return new Map(
    Object.entries(offered).map(([module, fields]) => [module, new Map(functions(fields))]),
  );
}
const suiteHost = (): GuestHost => bareHost(offeredFunctions);

const SPECTEST_PAGES = 1;
const SPECTEST = {
  ...Object.fromEntries(PRINTS.map((name) => [name, () => undefined])),
  global_i32: 666,
  global_i64: new WebAssembly.Global({ value: 'i64' }, 666n),
  global_f32: 666.6,
  global_f64: 666.6,
  table: new WebAssembly.Table({ initial: 10, maximum: 20, element: 'anyfunc' }),
  memory: new WebAssembly.Memory({ initial: SPECTEST_PAGES, maximum: 2 }),
};

/** One module of a script, in the engine and in sherd. */
interface Subject {
  readonly engine: WebAssembly.Instance;
  readonly loaded: LoadedModule;
  state: ShardState;
}

type Loaded =
  | Subject
  | { readonly without: 'engine' }
  | { readonly refused: string }
  | { readonly silent: WebAssembly.Instance };

function reasonOf(error: unknown): string | undefined {
  const named = ['SHERD_FEATURE_UNSUPPORTED', 'SHERD_IMPORT_UNSUPPORTED', 'SHERD_LIMIT'];
  if (!(error instanceof SherdError) || !named.includes(error.code)) return undefined;
  return error.message.replace(/ \(.*\)$/s, '').replace(/\b(function|import|byte) .*/s, '$1');
}

/** The state before the first call; the start function has run. */
function firstState(loaded: LoadedModule): ShardState | undefined {
  const { module } = loaded;
  const [entry] = module.exports.keys();
  if (entry === undefined) return undefined;
  const info = module.functions[module.exports.get(entry)! - module.imports.length]!;
  const entryArgs = new Uint8Array(info.params.reduce((n, t) => n + (t === 'v128' ? 16 : 8), 0));
  const fresh = Instance.start(loaded, suiteHost(), { entry, entryArgs, limitPages: 0 });
  const state = { ...keep(fresh.capture()), calls: [], args: new Uint8Array(0) };
  if (!module.hasStart) return state;
  const started = Instance.resume(loaded, suiteHost(), { ...state, calls: [null] });
  started.run(MAX_BUDGET);
  return keep(started.remains());
}

/** A state that shares nothing with its instance. */
function keep(state: ShardState): ShardState {
  const memory = state.memory && { ...state.memory, bytes: state.memory.bytes.slice() };
  return { ...state, memory };
}

/** A shard is alone: the memory that it imports is its own, zero, of its import's size. Not so where a script shares one. */
function sharesMemory(bytes: Uint8Array, module: WebAssembly.Module): boolean {
  const memory = WebAssembly.Module.imports(module).find(({ kind }) => kind === 'memory');
  if (memory === undefined) return false;
  return memory.module !== 'spectest' || parseModule(bytes).memory?.minPages !== SPECTEST_PAGES;
}

function load(bytes: Uint8Array<ArrayBuffer>): Loaded {
  let engine: WebAssembly.Instance;
  let module: WebAssembly.Module;
  try {
    module = new WebAssembly.Module(bytes);
    engine = new WebAssembly.Instance(module, offered);
  } catch {
    return { without: 'engine' };
  }
  try {
    if (sharesMemory(bytes, module)) return { refused: 'a memory of another module' };
    const loaded = LoadedModule.load(compileProgram(bytes, nodePlatform), nodePlatform);
    const state = firstState(loaded);
    return state === undefined ? { silent: engine } : { engine, loaded, state };
  } catch (error) {
    const reason = reasonOf(error);
    if (reason === undefined) throw error;
    return { refused: reason };
  }
}

interface Ending {
  readonly result: RunResult;
  readonly remains: ShardState;
}

function finish(instance: Instance): Ending {
  let result = instance.run(MAX_BUDGET);
  while (result.kind === 'quantum') result = instance.run(MAX_BUDGET);
  return { result, remains: keep(instance.remains()) };
}

/** From a state, through a capsule. */
function resumed(loaded: LoadedModule, state: ShardState): Instance {
  const base = loaded.baseImage();
  const facts = { specHash: '0'.repeat(64), epoch: 1, shardId: 's-suite', references: [] };
  const { bytes } = encodeCapsule({ state, base, ...facts }, nodePlatform);
  return Instance.resume(loaded, suiteHost(), decodeCapsule(bytes, nodePlatform).state(base));
}

const shown = (_: string, value: unknown): unknown => {
  if (typeof value === 'bigint') return `${value}n`;
  return value instanceof Uint8Array ? nodePlatform.sha256(value) : value;
};

/** What must be equal after a call, however it was cut up. A trap's fuel is that of its last stop. */
function facts({ result, remains }: Ending): string {
  const { fuelUsed, ...rest } = remains;
  if (result.kind === 'trap') return JSON.stringify(['trap', result.trap.trapKind, rest], shown);
  return JSON.stringify([result, fuelUsed, rest], shown);
}

/** Fuel values at which a call is paused (Z1). */
function* positions(fuel: number): Generator<number> {
  for (let at = 1; at <= Math.min(fuel, PAUSES_MAX); at++) yield at;
  const beyond = fuel - PAUSES_MAX;
  const step = Math.max(1, Math.floor(beyond / PAUSES_MAX));
  for (let at = PAUSES_MAX + step; at <= fuel; at += step) yield at;
}

/** Pauses the call everywhere; gives the first difference. */
function pauseEverywhere(
  { loaded }: Subject,
  from: ShardState,
  straight: Ending,
  counts: Counts,
): string | undefined {
  const expected = facts(straight);
  const { result } = straight;
  const fuel =
    result.kind === 'trap' ? PAUSES_MAX : Number(straight.remains.fuelUsed - from.fuelUsed);
  for (const at of positions(fuel)) {
    const first = Instance.resume(loaded, suiteHost(), from);
    if (first.run(at).kind !== 'quantum') return undefined; // it ended (or trapped) before
    counts.pauses++;
    const got = facts(finish(resumed(loaded, first.capture())));
    if (got !== expected)
      return `pause at ${at}: ${got.slice(0, 300)} instead of ${expected.slice(0, 300)}`;
  }
  return undefined;
}

/** The engine's own result: undefined when the call cannot be made from JavaScript (vectors). */
function enginePasses(engine: WebAssembly.Instance, command: Command): boolean | undefined {
  const { field, args = [] } = command.action!;
  const values = plainArguments(args);
  const expected = command.expected ?? [];
  if (values === undefined || expected.some(({ type }) => type === 'v128')) return undefined;
  const call = engine.exports[field] as (...args: unknown[]) => unknown;
  try {
    const value = call(...values);
    if (command.type !== 'assert_return' && command.type !== 'action') return false;
    return command.type === 'action' || fitsValues(expected, value);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    if (command.type === 'assert_exception') return error instanceof WebAssembly.Exception;
    return command.type === 'assert_trap' || command.type === 'assert_exhaustion';
  }
}

function judge(command: Command, result: RunResult): string | undefined {
  const shownResult = result.kind === 'trap' ? result.trap.trapKind : result.kind;
  switch (command.type) {
    case 'assert_return':
      if (result.kind !== 'done') return `ended with ${shownResult}`;
      return fits(command.expected ?? [], result.results);
    case 'assert_trap':
      return result.kind === 'trap' ? undefined : `no trap: ${shownResult}`;
    case 'assert_exception':
      return shownResult === 'uncaught exception' ? undefined : `no exception: ${shownResult}`;
    case 'assert_exhaustion':
      return shownResult === 'call stack exhausted' ? undefined : `no exhaustion: ${shownResult}`;
    default:
      return result.kind === 'done' ? undefined : `ended with ${shownResult}`;
  }
}

function call(subject: Subject, command: Command, counts: Counts): void {
  const { field, args = [] } = command.action as Action;
  const { loaded, engine } = subject;
  const engineSays = enginePasses(engine, command);
  if (!loaded.module.exports.has(field)) {
    counts.skipped++;
    return;
  }
  const raw = rawArguments(args);
  if (raw === undefined) return counts.refuse('an externref that is not null');
  const from = { ...subject.state, calls: [field], args: raw };
  const straight = finish(Instance.resume(loaded, suiteHost(), from));
  subject.state = straight.remains;
  if (engineSays === false) {
    counts.engine++;
    return;
  }
  let wrong = judge(command, straight.result);
  if (wrong === undefined && command.type !== 'assert_exhaustion')
    wrong = pauseEverywhere(subject, from, straight, counts);
  if (wrong === undefined) counts.passed++;
  else counts.fail(command.line, `${command.type} ${field}: ${wrong}`);
}

/** A module that must be refused. */
function invalid(command: Command, counts: Counts): void {
  if (command.bytes === undefined) {
    counts.skipped++;
    return;
  }
  if (WebAssembly.validate(command.bytes)) {
    counts.engine++;
    return;
  }
  try {
    compileProgram(command.bytes, nodePlatform);
    counts.fail(command.line, `${command.type}: accepted`);
  } catch (error) {
    if (error instanceof SherdError) counts.passed++;
    else counts.fail(command.line, `${command.type}: ${String(error)}`);
  }
}

function register(command: Command, named: ReadonlyMap<string, Loaded>, current: Loaded): void {
  const subject = named.get(command.name ?? '') ?? current;
  const instance =
    'engine' in subject ? subject.engine : 'silent' in subject ? subject.silent : undefined;
  if (instance !== undefined && command.as !== undefined)
    offered[command.as] = instance.exports as WebAssembly.ModuleImports;
}

function runGroup(commands: readonly Command[], counts: Counts): void {
  let current: Loaded = { without: 'engine' };
  const named = new Map<string, Loaded>();
  for (const command of commands) {
    if (command.type === 'module') {
      try {
        current = load(command.bytes!);
        if ('engine' in current || 'silent' in current) counts.passed++;
        else if ('refused' in current) counts.refuse(current.refused);
        else counts.engine++;
      } catch (error) {
        counts.fail(command.line, `module: ${String(error)}`);
        current = { refused: 'a module that failed' };
      }
      if (command.name !== undefined) named.set(command.name, current);
    } else if (command.type === 'assert_invalid' || command.type === 'assert_malformed') {
      invalid(command, counts);
    } else if (command.action?.type === 'invoke') {
      const target = command.action.module;
      const on: Loaded = target === undefined ? current : (named.get(target) ?? current);
      if ('without' in on) counts.engine++;
      else if ('refused' in on) counts.refuse(on.refused);
      else if ('silent' in on) counts.skipped++;
      else {
        try {
          call(on, command, counts);
        } catch (error) {
          counts.fail(command.line, `${command.action.field}: ${String(error)}`);
        }
      }
    } else {
      counts.skipped++;
      if (command.type === 'register') register(command, named, current);
    }
  }
}

function wastFiles(folder: string): string[] {
  return readdirSync(folder)
    .map((name) => join(folder, name))
    .filter((path) => path.endsWith('.wast') && statSync(path).isFile())
    .sort();
}

function row(name: string, counts: Counts): string {
  const cells = [counts.passed, counts.failed, counts.refusals, counts.engine, counts.skipped];
  return `${name.padEnd(34)}${[...cells, counts.pauses].map((n) => String(n).padStart(9)).join('')}`;
}

/** `FOLDER [NAME…]`; exit code 1 when something failed. */
export async function main(args: readonly string[]): Promise<number> {
  const [folder, ...names] = args as [string, ...string[]];
  const total = new Counts();
  const titles = ['passed', 'FAILED', 'refused', 'engine', 'skipped', 'pauses'];
  console.log(`${'file'.padEnd(34)}${titles.map((t) => t.padStart(9)).join('')}`);
  for (const path of [folder, join(folder, 'legacy')].flatMap((f) => {
    try {
      return wastFiles(f);
    } catch {
      return [];
    }
  })) {
    const name = basename(path, '.wast');
    if (names.length > 0 && !names.includes(name)) continue;
    const counts = new Counts();
    const script = readScript(path);
    counts.skipped += script.unread;
    offered = { spectest: SPECTEST as WebAssembly.ModuleImports };
    for (const group of script.groups) runGroup(group, counts);
    console.log(row(name, counts));
    for (const failure of counts.failures.slice(0, 5)) console.log(`    ${failure}`);
    total.add(counts);
  }
  console.log(row('total', total));
  console.log('refused:');
  for (const [reason, n] of [...total.refused].sort((a, b) => b[1] - a[1]))
    console.log(`${String(n).padStart(9)}  ${reason}`);
  return total.failed === 0 ? 0 : 1;
}
