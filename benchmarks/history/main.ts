/**
 * benchmarks/history: what a run will need, forecast from the runs before it.
 *
 *   node benchmarks/run.mjs history [--traces DIR] [--only jobs,programs] [--runs 252] [--final] [--ablations] [--reuse]
 *
 * Measured: (1) run time of the jobs of a parallel machine (NASA iPSC/860, 1993), by user + executable; (2) fuel, time and memory of
 * runs of this project's example programs with inputs that vary. Each: error of the median, over-allocation, coverage, against
 * simple predictors in the same run; ratios with a 90 % bound from drawing keys.
 * Not measured: how good remaining needs of running shards are; other machines' logs; programs whose inputs are files of one size
 * and other content. The log has no memory, no requested times, and its times of submission are those of the start.
 *
 * H1  Strictly online: a forecast rests on what had completed when the job was submitted.
 * H2  Without --final the last 40 % of the log's time are not read for a score. CONFIGURATIONS were compared on the first 60 %.
 * H3  --reuse scores the runs of the programs that the last benchmark kept in its result, instead of running them again.
 *     The programs are scored twice: all runs but a program's first, and those before which it had run five times. What the model
 *     does with lines was chosen by them, so that they are no test of it as the last 40 % of the log are.
 * H4  Over-allocation: what each predictor's P95 takes, times the factor for which at most 1 % of the runs need more (score.ts).
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { QUANTITIES } from '../../host/oracle/history.js';
import { type BarLine, barTable } from '../lib/bars.js';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, resultName, UsageError, writeResult } from '../lib/options.js';
import { estimateText, renderTable } from '../lib/table.js';
import { readJobs, replay, type Variant } from './jobs.js';
import { BAR_PEER } from './peers.js';
import { asksOf, forecastAll, ORACLE, type Run, runAll } from './programs.js';
import {
  compare,
  FIGURES,
  type Figure,
  predictorsOf,
  type Score,
  type Scored,
  scoreOf,
} from './score.js';

/** Configurations of the model that were compared on the first 60 % before this one was chosen. */
const CONFIGURATIONS = 85;
const DEVELOP_SHARE = 0.6;
const LOG = 'arrivals/NASA-iPSC-1993-3.1-cln.swf.gz';
const BAR = 0.85;
const SEED = 1;
/** Runs that the mean of the last 5 wants. */
const SETTLED = 5;

const ABLATIONS: readonly Variant[] = [
  { name: 'without correction', tuning: { step: 0 } },
  { name: 'without scaled', tuning: { without: ['scaled'] } },
  { name: 'equal weights', tuning: { rate: 0 } },
  { name: 'user left out', tuning: { without: ['recent 3'] } },
  { name: 'narrowest group left out', tuning: { without: ['recent 0'] } },
];

interface Report {
  readonly case: string;
  readonly keys: number;
  readonly scores: readonly Score[];
  readonly ratios: Readonly<Record<Figure, ReturnType<typeof compare>>>;
}

function reportOf(name: string, scored: readonly Scored[]): Report {
  const figures = Object.keys(FIGURES) as Figure[];
  const ratios = figures.map((figure) => [figure, compare(scored, figure, ORACLE, BAR_PEER)]);
  return {
    case: name,
    keys: new Set(scored.map(({ key }) => key)).size,
    scores: predictorsOf(scored).map((predictor) => scoreOf(scored, predictor)),
    ratios: Object.fromEntries(ratios) as Report['ratios'],
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function print(report: Report): void {
  console.log(`\n${report.case}, ${report.scores[0]?.runs} runs of ${report.keys} keys\n`);
  const header = ['predictor', 'runs', 'median error', 'P95: need more', 'bound ÷ need: mean'];
  const rest = ['median', 'P95', 'all ÷ all', 'covered P50 P90 P95 P99'];
  const rows = report.scores.map(({ name, runs, medianError, coverage, over }) => [
    name,
    runs,
    percent(medianError),
    percent(1 - coverage[2]!),
    over.mean.toFixed(2),
    over.median.toFixed(2),
    over.p95.toFixed(2),
    over.total.toFixed(2),
    coverage.map((each) => (100 * each).toFixed(1)).join(' '),
  ]);
  console.log(renderTable([...header, ...rest], rows));
  for (const [figure, ratio] of Object.entries(report.ratios))
    console.log(`${figure}: ${estimateText(ratio)} of ${BAR_PEER}`);
}

function barsOf(report: Report): BarLine[] {
  return (Object.keys(FIGURES) as Figure[]).map((figure) => {
    const { value, low, high } = report.ratios[figure];
    return {
      what: `${report.case}: ${figure}, ÷ ${BAR_PEER}`,
      figure: estimateText({ value, low, high }),
      bar: `≤ ${BAR}, goal 0.70`,
      met: value <= BAR,
      peer: { name: BAR_PEER, ratio: value },
      limit: undefined,
    };
  });
}

function jobsReport(traces: string, isFinal: boolean, ablations: boolean): Report {
  const jobs = readJobs(join(traces, LOG));
  const [first, last] = [jobs[0]!.submitS, jobs.at(-1)!.submitS];
  const split = first + DEVELOP_SHARE * (last - first);
  const variants: Variant[] = [{ name: ORACLE, tuning: {} }, ...(ablations ? ABLATIONS : [])];
  const [from, until] = isFinal ? [split, Number.POSITIVE_INFINITY] : [first, split];
  return reportOf(
    `NASA iPSC run time, ${isFinal ? 'last 40 %' : 'first 60 %'}`,
    replay(jobs, from, until, variants),
  );
}

async function programRuns(root: string, count: number, reuse: boolean): Promise<readonly Run[]> {
  const file = join(root, 'benchmarks/results', RUNS_FILE);
  if (!reuse) {
    const runs = await runAll(root, asksOf(count, SEED));
    writeResult(root, RUNS_FILE, `${JSON.stringify(runs)}\n`);
    return runs;
  }
  if (!existsSync(file)) throw new UsageError(`--reuse: no ${file}; run it without first`);
  return JSON.parse(readFileSync(file, 'utf8')) as Run[];
}

const RUNS_FILE = 'history-runs.json';
const NAMES = { fuel: 'fuel', ranMs: 'time', memoryBytes: 'memory' } as const;

function chartOf(reports: readonly Report[]): string {
  return renderChart({
    title: 'Needs of the next run from history, against the mean of the last 5',
    subtitle: 'ratio, 90 % bound from drawing keys; below 1 the history is better',
    unit: '×',
    reference: 1,
    series: [
      { name: 'median error of P50', colour: '#3b7dbf' },
      { name: 'over-allocation, mean', colour: '#2a7f62' },
      { name: 'over-allocation, all ÷ all', colour: '#b5651d' },
    ],
    groups: reports.map(({ case: name, ratios }) => ({
      name: name
        .replace(/^programs, |NASA |, (first|last).*| time/g, '')
        .replace(/, from run/, ',')
        .replace(' on', '+'),
      bars: Object.values(ratios),
    })),
  });
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, {
    traces: join(root, '../shared/traces'),
    only: 'jobs,programs',
    runs: '252',
    final: 'no',
    ablations: 'no',
    reuse: 'no',
  });
  const wanted = options.only.split(',');
  const traces = resolve(options.traces);
  const isFinal = options.final === 'yes';
  if (wanted.includes('jobs') && !existsSync(join(traces, LOG))) {
    console.error(
      `benchmarks/history: no ${LOG} in ${traces}; give --traces DIR, or --only programs`,
    );
    return 2;
  }
  console.log(`${CONFIGURATIONS} configurations were tried on the first 60 % of the log`);
  const reports: Report[] = [];
  if (wanted.includes('jobs'))
    reports.push(jobsReport(traces, isFinal, options.ablations === 'yes'));
  if (wanted.includes('programs')) {
    const runs = await programRuns(root, Number(options.runs), options.reuse === 'yes');
    for (const quantity of QUANTITIES) {
      const name = `programs, ${NAMES[quantity]}`;
      const scored = forecastAll(runs)[quantity];
      reports.push(reportOf(`${name}, from run 2 on`, scored));
      const settled = scored.filter(({ before }) => before >= SETTLED);
      reports.push(reportOf(`${name}, from run ${SETTLED + 1} on`, settled));
    }
  }
  for (const report of reports) print(report);
  const bars = reports.flatMap(barsOf);
  console.log(`\n${barTable(bars)}`);
  const host = machine();
  const result = { machine: host, configurations: CONFIGURATIONS, isFinal, reports, bars };
  const name = resultName(`history${isFinal ? '-final' : ''}`, wanted.length === 2, false);
  console.log(`\n${writeResult(root, `${name}.json`, `${JSON.stringify(result, null, 1)}\n`)}`);
  console.log(writeResult(root, `${name}.svg`, chartOf(reports)));
  return bars.every(({ met }) => met) ? 0 : 1;
}
