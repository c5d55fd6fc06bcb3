/**
 * Generated modules as subjects: assembled, run by the plain engine, run by sherd, compared.
 *
 * Does: text → binary, the plain engine's outcome as the reference, all comparisons of one module. Does not: generate.
 *
 * M1  The reference is the uninstrumented module in the same engine: results, trap, memory, globals, host calls in order.
 * M2  A trap's message is compared by kind; the fuel of a trap is not compared (facts.mjs, F1).
 */
import wabt from 'wabt';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { LoadedModule } from '../../host/runtime/index.js';
import { explainTrap } from '../../host/runtime/trap.js';
import type { HostControl, HostFunctions } from '../../host/types/host.js';
import type { TableState } from '../../host/types/state.js';
import {
  every,
  inSlices,
  Journey,
  type Outcome,
  type Passage,
  type Subject,
  straight,
  through,
} from './drive.js';
import { GLOBAL_TYPES, LOG_FACTOR } from './generate.js';
import { Random } from './random.js';

const tools = await wabt();
const FEATURES = {
  simd: true,
  multi_value: true,
  bulk_memory: true,
  sat_float_to_int: true,
  sign_extension: true,
  mutable_globals: true,
  reference_types: true,
  tail_call: true,
  exceptions: true,
};

/** The engine validates what comes out: this assembler knows no extended constant expressions. */
export function assemble(text: string): Uint8Array<ArrayBuffer> {
  const parsed = tools.parseWat('generated.wat', text, FEATURES);
  try {
    parsed.resolveNames();
    return new Uint8Array(parsed.toBinary({ write_debug_names: true }).buffer);
  } finally {
    parsed.destroy();
  }
}

export const mix = (x: number): number => Math.imul(x, LOG_FACTOR) ^ 0x5bd1e995;

/** Whether a call is suspended at first: decided by what is given, so that every run agrees. */
const suspends = (x: number): boolean => (mix(x) & 4) === 0;

/** `log`; with a control, some of its calls wait first. */
export function fuzzFunctions(log: (entry: string) => void, control?: HostControl): HostFunctions {
  const call = (x: number | bigint): number => {
    if (control !== undefined && control.resumed === undefined && suspends(Number(x))) {
      control.suspend({ kind: 'yield' });
      return 0;
    }
    log(String(x));
    return mix(Number(x));
  };
  return new Map([['fuzz', new Map([['log', call]])]]);
}

export type Args = readonly [depth: number, a: number, b: bigint, c: number];

/** The nth arguments of `run` that a seed stands for. */
export function argsOf(seed: number, n = 0): Args {
  const random = new Random(seed ^ 0x5eed ^ Math.imul(n, LOG_FACTOR));
  const small = random.chance(0.3);
  return [
    random.between(1, 4),
    small ? random.below(9) - 4 : random.bits() | 0,
    small ? BigInt(random.below(9) - 4) : random.i64(),
    random.below(4000) / 16 - 100,
  ];
}

function rawArgs([depth, a, b, c]: Args): Uint8Array {
  const data = new DataView(new ArrayBuffer(32));
  data.setInt32(0, depth, true);
  data.setInt32(8, a, true);
  data.setBigInt64(16, b, true);
  data.setFloat64(24, c, true);
  return new Uint8Array(data.buffer);
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export function rawValue(type: string, value: number | bigint): string {
  const data = new DataView(new ArrayBuffer(8));
  if (type === 'i64') data.setBigInt64(0, value as bigint, true);
  else if (type === 'i32') data.setInt32(0, value as number, true);
  else if (type === 'f32') data.setFloat32(0, value as number, true);
  else data.setFloat64(0, value as number, true);
  return hex(new Uint8Array(data.buffer));
}

/** What the plain engine shows: an Outcome without fuel. */
export type Visible = Omit<Outcome, 'fuel' | 'files' | 'code' | 'stack'>;

/** What the plain engine makes of a generated module. */
export function plainOutcome(bytes: Uint8Array<ArrayBuffer>, args: Args): Visible {
  const logged: string[] = [];
  const log = (x: number): number => {
    logged.push(String(x));
    return mix(x);
  };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { fuzz: { log } });
  let results = '';
  let trap: string | null = null;
  try {
    const [r0, r1, r2, r3] = (
      exports.run as (...args: unknown[]) => [bigint, number, number, number]
    )(...args);
    results = rawValue('i64', r0) + rawValue('i32', r1) + rawValue('f64', r2) + rawValue('f32', r3);
  } catch (error) {
    trap = trapKind(error);
  }
  const memory = new Uint8Array((exports.memory as WebAssembly.Memory).buffer);
  const globals = GLOBAL_TYPES.map((type, index) =>
    type === 'v128'
      ? (exports.lanes as () => [bigint, bigint])()
          .map((lane) => rawValue('i64', lane))
          .join('')
      : rawValue(type, (exports[`g${index}`] as WebAssembly.Global).value),
  );
  return {
    kind: trap === null ? 'done' : 'trap',
    trap,
    results,
    memoryPages: memory.length / 65_536,
    memory: nodePlatform.sha256(memory),
    globals: globals.join(''),
    tables: plainTable(exports),
    output: logged.length > 0 ? `log ${logged.join(' ')}` : '',
  };
}

/** Names of the functions in the table `table`, as exported. */
function plainTable(exports: WebAssembly.Exports): string {
  const names = new Map<unknown, string>();
  for (const [name, value] of Object.entries(exports))
    if (/^f\d+$/.test(name)) names.set(value, name);
  const table = exports.table as WebAssembly.Table;
  return Array.from({ length: table.length }, (_, slot) => {
    const value: unknown = table.get(slot);
    return value === null ? '-' : names.get(value)!;
  }).join(' ');
}

/** The same of a shard's outcome. Functions that were merged have several names: the last one, as above. */
function tableNames(outcome: Outcome, loaded: LoadedModule): string {
  const [index, base] = [...loaded.baseTables()][0] ?? [];
  if (index === undefined || base === undefined) return '';
  const { tables } = JSON.parse(outcome.tables) as { tables: TableState[] };
  const now = [...base];
  for (const { size, changes } of tables.filter((each) => each.index === index)) {
    while (now.length < size) now.push(0);
    for (let i = 0; i < changes.length; i += 2) now[changes[i]!] = changes[i + 1]!;
  }
  const names = new Map<number, string>();
  for (const [name, at] of loaded.module.exports) if (/^f\d+$/.test(name)) names.set(at + 1, name);
  return now.map((number) => (number === 0 ? '-' : names.get(number)!)).join(' ');
}

export function trapKind(error: unknown): string {
  const empty = { functions: [], imports: [] } as never;
  const info = explainTrap(error, empty, []);
  if (info === undefined) throw error;
  return info.trapKind;
}

/** Hex digits of the exported globals and the v128 one; behind them is `$ref`, which only the table can show. */
const GLOBALS_HEX = GLOBAL_TYPES.length * 16 + 16;

/** What of an outcome the plain engine shows too. A table or vector that no code can change is not looked at. */
function comparable(loaded: LoadedModule, reference: Visible): (outcome: Outcome) => Visible {
  return (outcome) => {
    const { kind, trap, results, memoryPages, memory, globals, output } = outcome;
    const changing = loaded.changingTables.length === 1;
    const vector = loaded.module.mutableGlobals.some(({ type }) => type === 'v128');
    const shown = globals.slice(0, vector ? GLOBALS_HEX : GLOBALS_HEX - 32);
    return {
      ...{ kind, trap, results, memoryPages, memory },
      globals: shown + reference.globals.slice(shown.length),
      tables: changing ? tableNames(outcome, loaded) : reference.tables,
      output,
    };
  };
}

/** Compiles and loads. */
export const load = (bytes: Uint8Array, spacing?: number): LoadedModule =>
  LoadedModule.load(
    compileProgram(bytes, nodePlatform, spacing === undefined ? {} : { spacing }),
    nodePlatform,
  );

export function subjectOf(name: string, loaded: LoadedModule, args: Args): Subject {
  return {
    name,
    loaded,
    entry: 'run',
    entryArgs: rawArgs(args),
    spec: undefined,
    blobs: new Map(),
    functions: (_control, log) => fuzzFunctions(log),
    waiting: (control, log) => fuzzFunctions(log, control),
  };
}

export interface Report {
  readonly kind: string;
  readonly pauses: number;
  /** What differed, in one line each; empty: exact. */
  readonly differences: readonly string[];
}

function compare(what: string, expected: object, actual: object, into: string[]): void {
  const left = JSON.stringify(expected, bigints);
  const right = JSON.stringify(actual, bigints);
  if (left !== right) into.push(`${what}\n    expected ${left}\n    got      ${right}`);
}

const bigints = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? `${value}n` : value;

/** Runs of less fuel go in slices of a few units; longer ones in so many slices. */
const SMALL_SLICES = 2_000n;

export interface Effort {
  /** Hops of a chain spread over the whole run. */
  readonly spread: number;
  /** Hops at consecutive safepoints, from a random one on: what one hop loses, the next one shows. */
  readonly dense: number;
  /** Single pauses that run on to the end. */
  readonly singles: number;
}

/** Compares one generated module with one set of arguments in all ways. */
export function examine(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  args: Args,
  effort: Effort,
  loaded = load(bytes),
): Report {
  const reference = plainOutcome(bytes, args);
  const subject = subjectOf(name, loaded, args);
  return examineSubject(subject, reference, comparable(loaded, reference), effort);
}

/** Fuel of a run that may trap: exact when it does not, else of a stop shortly before. */
function fuelOf(subject: Subject): bigint {
  const journey = Journey.begin(subject);
  while (journey.runTo(journey.fuel + 8n));
  return journey.fuel;
}

/** Runs a subject straight and cut up, and compares with `reference` (as far as `view` shows it) and with itself. */
export function examineSubject(
  subject: Subject,
  reference: object,
  view: (outcome: Outcome) => object,
  effort: Effort,
): Report {
  const differences: string[] = [];
  const whole = straight(subject);
  compare('straight', reference, view(whole), differences);
  const fuel = whole.fuel ?? fuelOf(subject);
  // One that lost its way may run on for hours: that is a difference, too.
  const cut: Subject = { ...subject, mostFuel: 2n * fuel + 1_000n };
  const random = new Random(Number(fuel));
  let pauses = 0;
  const chain = (step: bigint, first: bigint, last: bigint, waiting = false): Passage => {
    const which = waiting ? { ...cut, functions: subject.waiting! } : cut;
    const result = through(which, every(step, last, first), waiting);
    pauses += result.count;
    const what = `a hop every ${step} fuel, ${first} to ${last}${waiting ? ', and at waits' : ''}`;
    compare(what, whole, result.outcome, differences);
    return result;
  };
  const { hops } = chain(fuel / BigInt(effort.spread) + 1n, 1n, fuel);
  const from = BigInt(1 + random.below(Number(fuel) + 1));
  const same = (others: ReadonlyMap<bigint, string>): void => {
    for (const [at, hash] of others) {
      const known = hops.get(at);
      if (known !== undefined)
        compare(`the capsule at ${at}`, { hash: known }, { hash }, differences);
      else hops.set(at, hash);
    }
  };
  same(chain(1n, from, from + BigInt(effort.dense)).hops);
  if (subject.waiting !== undefined && whole.output !== '')
    same(chain(BigInt(1 + random.below(7)), from, from + BigInt(effort.dense), true).hops);
  const positions = [...hops.keys()];
  // In slices, too, host calls are suspended, and what is captured between two of them is the same.
  const slice = SMALL_SLICES > fuel ? 1 + random.below(7) : Number(fuel / SMALL_SLICES) + 1;
  const hopping = positions.length > 0 ? [random.pick(positions)] : [];
  const waiting = subject.waiting === undefined ? {} : { functions: subject.waiting };
  const sliced = inSlices({ ...cut, ...waiting }, slice, hopping);
  compare(`in slices of ${slice} fuel`, whole, sliced.outcome, differences);
  same(sliced.hops);
  pauses += sliced.count;
  for (let i = 0; i < effort.singles && positions.length > 0; i++) {
    const at = random.pick(positions);
    const single = through(cut, [at]);
    pauses += single.count;
    compare(`one pause at ${at}`, whole, single.outcome, differences);
    compare(
      `the capsule at ${at}`,
      { hash: hops.get(at) },
      { hash: single.hops.get(at) },
      differences,
    );
  }
  return { kind: whole.trap ?? whole.kind, pauses, differences };
}
