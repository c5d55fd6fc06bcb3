/**
 * The project's own example programs, run through the library with inputs that vary, and forecast from the runs before.
 *
 *     seed ─▶ list of (program, arguments, standard input), shuffled ─▶ one run after the other: fuel, time, memory
 *                                                                           └─▶ score: each from those before it
 *
 * Does: draw inputs, run, forecast. Does not: score (score.ts does).
 *
 * P1  Inputs are drawn independently: numbers evenly in their logarithm, from what an impatient user might ask for. The list is
 *     made before anything runs and does not depend on what it costs.
 * P2  A run teaches once it has ended; the next one is forecast then.
 * P3  Runs can be kept in a file and scored again: fuel and memory are exact, times are what they were.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type ShardModule, start } from '../../host/index.js';
import { QUANTITIES, type Quantity, RunHistory, type RunNeeds } from '../../host/oracle/history.js';
import type { RunForecast, RunRequest } from '../../host/oracle/history-model.js';
import { PROGRAM_RUNGS, requestOf } from '../../host/oracle/history-request.js';
import { compileGuest, plainSpec } from '../lib/guest.js';
import { randomFrom } from '../lib/statistics.js';
import { KeyHistory, PEERS } from './peers.js';
import { type Forecasts, pointForecast, type Scored } from './score.js';

export interface Ask {
  readonly program: string;
  readonly args: readonly string[];
  /** Words of standard input; 0 = none. */
  readonly words: number;
}

export interface Run extends Ask {
  readonly needs: { readonly [quantity in Quantity]: number };
}

/** The programs' exit code for arguments that they do not take. */
const USAGE = 2;

interface Draw {
  /** Evenly in the logarithm, whole. */
  readonly number: (from: number, to: number) => string;
  readonly one: (of: readonly string[]) => string;
}

const PROGRAMS: Readonly<Record<string, (draw: Draw) => Omit<Ask, 'program'>>> = {
  nbody: ({ number }) => plain(number(1_000, 3_000_000)),
  perft: ({ number, one }) => plain(number(1, 5), one(['start', 'kiwipete'])),
  raytracer: ({ number }) => plain(number(16, 160), number(16, 90), number(1, 6)),
  sat: ({ number, one }) =>
    one(['--random', '--pigeons']) === '--pigeons'
      ? plain('--pigeons', number(2, 8))
      : plain('--random', number(20, 120), number(60, 400), number(1, 1_000_000)),
  gc: ({ number }) => plain(number(500, 50_000), number(100, 20_000)),
  // Its size is a multiple of 8.
  simd: ({ number }) => plain(String(8 * Number(number(2, 25))), number(20, 800)),
  wordcount: ({ number }) => ({ args: ['-n', number(1, 20)], words: Number(number(100, 300_000)) }),
};

function plain(...args: string[]): Omit<Ask, 'program'> {
  return { args, words: 0 };
}

/** So many asks of the programs in turn, shuffled. */
export function asksOf(count: number, seed: number): Ask[] {
  const random = randomFrom(seed);
  const number = (from: number, to: number): string =>
    String(Math.round(from * (to / from) ** random()));
  const one = (of: readonly string[]): string => of[Math.floor(random() * of.length)]!;
  const names = Object.keys(PROGRAMS);
  const asks = Array.from({ length: count }, (_, at) => {
    const program = names[at % names.length]!;
    return { program, ...PROGRAMS[program]!({ number, one }) };
  });
  for (let at = asks.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [asks[at], asks[other]] = [asks[other]!, asks[at]!];
  }
  return asks;
}

/** A text of so many words, few of them frequent. */
function textOf(words: number): string {
  const random = randomFrom(words);
  const parts: string[] = [];
  for (let at = 0; at < words; at++) parts.push(`w${Math.floor(20_000 ** random())}`);
  return parts.join(' ');
}

/** Runs all of them, one after the other. */
export async function runAll(root: string, asks: readonly Ask[]): Promise<Run[]> {
  const modules = new Map<string, ShardModule>();
  for (const name of Object.keys(PROGRAMS))
    modules.set(name, await compileGuest(root, join('assembly/programs', `${name}.ts`)));
  const runs: Run[] = [];
  for (const ask of asks) {
    const stdin = ask.words > 0 ? textOf(ask.words) : '';
    const shard = await start(modules.get(ask.program)!, {
      name: ask.program,
      args: ask.args,
      stdin,
      seed: '1',
    });
    for await (const _ of shard.output);
    const { fuelUsed, ranMs, memoryBytes, reason, code } = await shard.result;
    if (reason !== 'exit' || code === USAGE)
      throw new Error(`${ask.program} ${ask.args.join(' ')}: ${reason} ${code}`);
    runs.push({ ...ask, needs: { fuel: Number(fuelUsed), ranMs, memoryBytes } });
    if (runs.length % 50 === 0) console.error(`  ${runs.length} of ${asks.length} runs`);
  }
  return runs;
}

/** As a submitted shard's spec says it. The name stands for the module's hash. */
function requestFor({ program, args, words }: Ask): RunRequest {
  const text = words > 0 ? textOf(words) : '';
  const hash = createHash('sha256').update(text).digest('hex');
  const module = { moduleHash: program } as ShardModule;
  const own = { programName: program, entry: '_start', entryArgs: new Uint8Array(0) };
  const spec = plainSpec(module, { ...own, args: [program, ...args] });
  const stdin = text === '' ? [] : [{ hash, bytes: Buffer.byteLength(text) }];
  return requestOf(program, { ...spec, stdin });
}

export const ORACLE = 'sherd history';
export const BLIND = 'sherd history, inputs unknown';

/** One list of scored runs for each quantity; a run is scored when its program has run before. */
export function forecastAll(runs: readonly Run[]): Record<Quantity, Scored[]> {
  const [seeing, blind] = [new RunHistory(PROGRAM_RUNGS), new RunHistory(PROGRAM_RUNGS)];
  const keys = new Map<string, KeyHistory>();
  const scored: Record<Quantity, Scored[]> = { fuel: [], ranMs: [], memoryBytes: [] };
  runs.forEach((run, at) => {
    const request = requestFor(run);
    const unknown = requestOf(run.program, undefined);
    const said = seeing.begin(`${at}`, request);
    const saidBlind = blind.begin(`${at}`, unknown);
    for (const quantity of QUANTITIES) {
      const key = keyHistory(keys, `${quantity} ${run.program}`);
      const same = keyHistory(
        keys,
        `${quantity} ${JSON.stringify([run.program, run.args, run.words])}`,
      );
      const actual = run.needs[quantity];
      if (key.length > 0 && actual > 0) {
        const forecasts: Record<string, Forecasts> = {};
        add(forecasts, ORACLE, said[quantity]);
        add(forecasts, BLIND, saidBlind[quantity]);
        for (const { name, of } of PEERS) forecasts[name] = of(key);
        if (same.length > 0) forecasts['last of equal arguments'] = pointForecast(same.last(1)[0]!);
        scored[quantity].push({ key: run.program, before: key.length, actual, forecasts });
      }
      key.add(actual);
      same.add(actual);
    }
    seeing.end(`${at}`, request, at, run.needs satisfies RunNeeds);
    blind.end(`${at}`, unknown, at, run.needs);
  });
  return scored;
}

function add(to: Record<string, Forecasts>, name: string, forecast: RunForecast | undefined): void {
  if (forecast !== undefined) to[name] = forecast;
}

function keyHistory(keys: Map<string, KeyHistory>, name: string): KeyHistory {
  const known = keys.get(name) ?? new KeyHistory();
  keys.set(name, known);
  return known;
}
