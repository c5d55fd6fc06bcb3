/**
 * `sherd oracle replay FILE`: a forecast for every step of every series, as JSON lines.
 *
 *     {"series":"web-1","step":12,"p50":0.41,"p90":0.52,"p99":0.66,"contention":0.031}
 *
 * Without --json the lines go to stdout and the summary to stderr; with it the lines go into the file, the summary to stdout.
 *
 * L1  A file is replaced as a whole at the end (a device or pipe is written into); a run that fails leaves the old one.
 * L2  Numbers are rounded to DIGITS digits; order and coherence hold for what is printed.
 */
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { nodePlatform } from '../node/platform.js';
import type { PeakForecast } from '../oracle/peaks.js';
import { type History, replaySteps, type Score, Scorer } from '../oracle/replay.js';
import { usageError } from '../types/errors.js';
import { formatCount, formatMs, parseInteger, renderFields } from './format.js';
import { stderr, stdout } from './output.js';
import { readSeriesFile } from './series-file.js';
import { fileError, requireDirectoryOf } from './status.js';

const DIGITS = 9;
const CHUNK_CHARS = 1 << 20;
const HORIZON_MAX = 1_000_000;

export interface ReplayOptions {
  readonly interval: string;
  readonly horizon: string;
  readonly capacity?: string;
  readonly train: readonly string[];
  readonly json?: string;
  readonly quiet?: boolean;
}

/** Options that replay and plot share. */
export function addSeriesOptions(command: Command): Command {
  return command
    .requiredOption('--interval <seconds>', 'length of a step')
    .requiredOption('--horizon <steps>', 'how many steps the forecast maximum looks ahead')
    .option('--capacity <value>', 'also give the probability that the maximum reaches this')
    .option(
      '--train <file[@seconds]>',
      'history of other series to learn from first (repeatable); of another step length: @SECONDS',
      (value: string, before: readonly string[]) => [...before, value],
      [] as readonly string[],
    );
}

export function addReplay(oracle: Command): void {
  addSeriesOptions(
    oracle
      .command('replay <file>')
      .description('forecast the maximum of the next steps at every step of every series'),
  )
    .option('--json <out>', 'write the lines there (default: stdout)')
    .option('-q, --quiet', 'print no summary')
    .action(replayFile);
}

export interface ReplayPlan {
  readonly intervalS: number;
  readonly horizon: number;
  readonly capacity: number | undefined;
  readonly history: History[];
}

/** The options, checked, and the training files, read. */
export async function planOf(options: ReplayOptions): Promise<ReplayPlan> {
  const intervalS = secondsOf(options.interval, '--interval');
  const horizon = parseInteger(options.horizon, '--horizon', 1, HORIZON_MAX);
  const capacity = options.capacity === undefined ? undefined : Number(options.capacity);
  if (capacity !== undefined && (options.capacity?.trim() === '' || !Number.isFinite(capacity))) {
    throw usageError(
      `--capacity ${options.capacity}: not a number`,
      'give it in the unit of the values',
    );
  }
  const history: History[] = [];
  for (const word of options.train) {
    const [file, seconds] = trainOf(word);
    const step = seconds === undefined ? intervalS : secondsOf(seconds, `--train ${word}`);
    history.push({ series: await readSeriesFile(file), intervalS: step });
  }
  return { intervalS, horizon, capacity, history };
}

/** `FILE@S`: what follows the last @ is a step when it is a number. */
function trainOf(word: string): [file: string, seconds: string | undefined] {
  const at = word.lastIndexOf('@');
  const tail = at < 0 ? '' : word.slice(at + 1);
  return /^\d+(\.\d+)?s?$/.test(tail) ? [word.slice(0, at), tail] : [word, undefined];
}

function secondsOf(text: string, option: string): number {
  const seconds = /^\d+(\.\d+)?s?$/.test(text.trim()) ? Number.parseFloat(text) : Number.NaN;
  if (!(seconds > 0 && seconds <= 1e9)) {
    throw usageError(
      `${option} ${text}: not a number of seconds above 0`,
      'write it like 300 or 0.5',
    );
  }
  return seconds;
}

async function replayFile(path: string, options: ReplayOptions): Promise<void> {
  const plan = await planOf(options);
  const toStdout = options.json === undefined || options.json === '-';
  if (!toStdout) await requireDirectoryOf(options.json!, '--json');
  const series = await readSeriesFile(path);
  const startMs = performance.now();
  const sink = await LineSink.open(toStdout ? undefined : options.json);
  const scorer = new Scorer(plan.horizon);
  const names = new Map(series.map(({ name }) => [name, JSON.stringify(name)]));
  let lines = 0;
  try {
    const steps = replaySteps(nodePlatform, { ...plan, series }, (one, step, forecast) => {
      lines++;
      scorer.add(one, step, forecast);
      sink.add(lineOf(names.get(one.name)!, step, forecast));
    });
    for (const _ of steps) if (sink.isFull) await sink.flush();
    await sink.end();
  } catch (cause) {
    await sink.abandon();
    throw cause;
  }
  if (options.quiet === true) return;
  const text = summary(series.length, lines, performance.now() - startMs, scorer.score);
  await (toStdout ? stderr : stdout).write(text);
}

function rounded(value: number): number {
  return Number(value.toPrecision(DIGITS));
}

/** A forecast's line; `name` is JSON already. */
export function lineOf(name: string, step: number, forecast: PeakForecast): string {
  const p50 = rounded(forecast.p50);
  const p90 = rounded(forecast.p90);
  const p99 = rounded(forecast.p99);
  // No capacity was given: JSON has no NaN.
  const contention = Number.isNaN(forecast.contention) ? null : rounded(forecast.contention);
  return `{"series":${name},"step":${step},"p50":${p50},"p90":${p90},"p99":${p99},"contention":${contention}}\n`;
}

function summary(series: number, lines: number, ms: number, score: Score): string {
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  const ratio = (k: 0 | 1 | 2): string =>
    score.lastValue[k] > 0 ? (score.pinball[k] / score.lastValue[k]).toFixed(3) : '–';
  const known: [string, string][] =
    score.forecasts === 0
      ? [['score', 'no outcome is known: every series is shorter than the horizon']]
      : [
          [
            'covered',
            `P50 ${percent(score.covered[0])}  P90 ${percent(score.covered[1])}  P99 ${percent(score.covered[2])}`,
          ],
          ['pinball ÷ last value', `P50 ${ratio(0)}  P90 ${ratio(1)}  P99 ${ratio(2)}`],
        ];
  return renderFields([
    ['series', formatCount(series)],
    ['forecasts', `${formatCount(lines)}, outcome known of ${formatCount(score.forecasts)}`],
    ['time', formatMs(ms)],
    ...known,
  ]);
}

/** Lines, in chunks, to stdout or a file. */
class LineSink {
  readonly #path: string;
  /** Undefined: stdout. */
  readonly #file: FileHandle | undefined;
  /** What is written meanwhile and renamed at the end; undefined: a device or a pipe is written into. */
  readonly #temporary: string | undefined;
  #text: string[] = [];
  #chars = 0;

  private constructor(path: string, file: FileHandle | undefined, temporary: string | undefined) {
    this.#path = path;
    this.#file = file;
    this.#temporary = temporary;
  }

  static async open(path: string | undefined): Promise<LineSink> {
    if (path === undefined) return new LineSink('', undefined, undefined);
    const facts = await stat(path).catch(() => undefined);
    const isPlain = facts === undefined || facts.isFile();
    const target = facts === undefined ? resolve(path) : await realpath(path);
    const temporary = isPlain
      ? join(dirname(target), `.${basename(target)}.${process.pid}.tmp`)
      : undefined;
    try {
      return new LineSink(target, await open(temporary ?? target, 'w'), temporary);
    } catch (cause) {
      throw fileError(cause, path, 'cannot be written');
    }
  }

  add(line: string): void {
    this.#text.push(line);
    this.#chars += line.length;
  }

  get isFull(): boolean {
    return this.#chars >= CHUNK_CHARS;
  }

  async flush(): Promise<void> {
    const text = this.#text.join('');
    this.#text = [];
    this.#chars = 0;
    if (this.#file === undefined) return stdout.write(text);
    await this.#file.appendFile(text).catch((cause: unknown) => {
      throw fileError(cause, this.#path, 'cannot be written');
    });
  }

  async end(): Promise<void> {
    await this.flush();
    await this.#file?.close();
    if (this.#temporary !== undefined) await rename(this.#temporary, this.#path);
  }

  async abandon(): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    if (this.#temporary !== undefined) await rm(this.#temporary, { force: true });
  }
}
