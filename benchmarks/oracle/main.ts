/**
 * benchmarks/oracle: forecasts of peaks against everything simple, on recorded traces.
 *
 *   node benchmarks/run.mjs oracle [--traces DIR] [--only planetlab,bitbrains,transfer,cost] [--compositions 20] [--final]
 *                                  [--trees no] [--augurs no] [--ablation] [--keep DIR]
 *
 * Measured, each for the maximum of the next 6 steps: (1) hosts of 12 PlanetLab machines, names and days that training has
 * not seen; (2) hosts of 5 Bitbrains machines, the last third of the time; (3) domains that training has not seen;
 * (4) µs and bytes a series. Over compositions of hosts: medians of paired ratios with a 90 % bound from drawing hosts.
 * AutoETS and MSTL (augurs.ts) are fitted at some of the points, and there compared with all others once more.
 * --ablation: what each part of the forecaster is worth (ablation.ts), on the validation part, instead of all that.
 * Not measured: other horizons, run times, anything live. Hosts are sums of real machines that did not share a host.
 *
 * B1  Parts: names and days are split in three (traces.ts). Without --final nothing of the final part is read for a score.
 *     --final appends its figures to final-log.jsonl, which is kept in the repository.
 * B2  One configuration: the oracle gets series, step and horizon, nothing else. CONFIGURATIONS says how many were tried.
 * B3  The best other predictor is the one with the best median over the compositions.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { renderChart } from '../lib/chart.js';
import { machine, parseOptions, resultName, UsageError, writeResult } from '../lib/options.js';
import { median } from '../lib/statistics.js';
import { estimateText, renderTable } from '../lib/table.js';
import { type Effect, effectOf, hashOf, type Variant, variants } from './ablation.js';
import { costOf } from './cost.js';
import { codeHash, hashOfCase, hashOfParts, type Kept, keptIn } from './keep.js';
import { pointsOf, SIMPLE_NAMES, simplePeers, TAUS } from './peers.js';
import {
  augursOfCase,
  augursOutcome,
  type Comparison,
  compare,
  type Metric,
  ORACLE,
  type Outcome,
  oracleOfCase,
  oraclePrediction,
  outcomeOf,
  peersOfCase,
  pointCounts,
  scoreOf,
} from './run.js';
import {
  type Alarms,
  alarmsOf,
  coverage,
  labelsOf,
  lossByHost,
  meanLoss,
  miss,
  reliabilityOf,
} from './score.js';
import {
  bitbrainsCase,
  type Case,
  hasTraces,
  type Part,
  planetlabCase,
  transferCases,
} from './traces.js';

/** Configurations of the forecaster that were compared on the validation part before this one was chosen (VARIANTS.md). */
const CONFIGURATIONS = 110;
/** Longest time that a move of such a machine takes, s (CloudSim's 2,500-MIPS machines: 27.8). */
const MOVE_S = 30;
const LOG = 'benchmarks/oracle/final-log.jsonl';
const METRICS = [
  { key: 'ap', title: 'onset AP', better: 'higher' },
  { key: 0, title: 'pinball P50', better: 'lower' },
  { key: 1, title: 'pinball P90', better: 'lower' },
  { key: 2, title: 'pinball P99', better: 'lower' },
] as const;
type Metrics = Readonly<Record<string, { best: Comparison; all: readonly Comparison[] }>>;

interface AlarmReport {
  readonly events: number;
  /** Share of the events. */
  readonly caught: number;
  readonly leadMin: number;
  readonly stepsADay: number;
  /** Share when a standing alarm is rung, and paid for, at every step. */
  readonly caughtRepeated: number;
}

interface HostReport {
  readonly case: string;
  readonly compositions: number;
  readonly hosts: number;
  readonly onsets: number;
  readonly metrics: Metrics;
  /** At the points where AutoETS and MSTL were fitted too. */
  readonly augurs?: { readonly points: number; readonly metrics: Metrics };
  readonly coverage: readonly string[];
  readonly topDecile: readonly number[];
  readonly alarms: Readonly<Record<string, AlarmReport>>;
  readonly brier: number;
  readonly brierOfBaseRate: number;
  readonly reliability: readonly { said: number; came: number; points: number }[];
}

function bestOf(
  outcomes: readonly Outcome[],
  metric: Metric,
): { best: Comparison; all: Comparison[] } {
  const names = outcomes[0]!.predictions.map(({ name }) => name);
  const all = names.flatMap((name) => {
    const one = name === ORACLE ? undefined : compare(outcomes, name, metric);
    return one === undefined ? [] : [one];
  });
  const others = all.filter(({ peer }) => peer !== 'perfect knowledge');
  const better = (a: Comparison, b: Comparison): Comparison =>
    metric === 'ap' ? (b.other > a.other ? b : a) : b.other < a.other ? b : a;
  return { best: others.reduce(better), all };
}

const metricsOf = (outcomes: readonly Outcome[]): Metrics =>
  Object.fromEntries(METRICS.map(({ key, title }) => [title, bestOf(outcomes, key)]));

function alarmReport(outcomes: readonly Outcome[], name: string): AlarmReport {
  const run = (isRepeated: boolean): Alarms[] =>
    outcomes.map(({ case: one, labels, predictions }) => {
      const prediction = predictions.find((p) => p.name === name)!;
      return alarmsOf(labels, prediction, one.intervalS, one.horizon, isRepeated);
    });
  const sum = (list: readonly Alarms[], of: 'events' | 'caught'): number =>
    list.reduce((total, each) => total + each[of], 0);
  const each = run(false);
  const events = sum(each, 'events');
  return {
    events,
    caught: sum(each, 'caught') / Math.max(1, events),
    leadMin: (median(each.map((a) => a.medianLeadS)) - MOVE_S) / 60,
    stepsADay: median(each.map((a) => a.alarmStepsPerHostDay)),
    caughtRepeated: sum(run(true), 'caught') / Math.max(1, events),
  };
}

/** `fitted`: the outcomes with AutoETS and MSTL, none when they are not wanted. */
function hostReport(outcomes: readonly Outcome[], fitted: readonly Outcome[]): HostReport {
  const first = outcomes[0]!;
  const own = outcomes.map(({ predictions }) => predictions.find(({ name }) => name === ORACLE)!);
  const misses = outcomes.map(({ labels }, i) =>
    TAUS.map((tau, k) => miss(coverage(labels.points.actual, own[i]!.quantiles![k as 0]), tau)),
  );
  const top = outcomes.map(({ labels }, i) => {
    const sorted = labels.points.now.slice().sort();
    const from = sorted[Math.floor(0.9 * sorted.length)]!;
    const high = (p: number): boolean => labels.points.now[p]! >= from;
    return miss(coverage(labels.points.actual, own[i]!.quantiles![1], high), 0.9);
  });
  const alarmed = [
    'sherd oracle',
    'linear autoregression',
    'boosted trees',
    'last value',
    'perfect knowledge',
  ];
  const there = alarmed.filter((name) => first.predictions.some((p) => p.name === name));
  const alarms = there.map((name) => [name, alarmReport(outcomes, name)] as const);
  const reliable = outcomes.map(({ labels }, i) => reliabilityOf(labels, own[i]!.score));
  const bins = reliable[0]!.bins.map((_, b) => {
    const points = reliable.reduce((sum, { bins: list }) => sum + list[b]!.points, 0);
    const mean = (of: 'said' | 'came'): number =>
      reliable.reduce((sum, { bins: list }) => sum + list[b]![of] * list[b]!.points, 0) /
      Math.max(1, points);
    return { said: mean('said'), came: mean('came'), points };
  });
  return {
    case: first.case.name,
    compositions: outcomes.length,
    hosts: median(outcomes.map(({ labels }) => labels.hosts)),
    onsets: median(
      outcomes.map(({ labels, case: one }) => {
        const { points, open } = labels;
        return open.filter((i) => points.actual[i]! >= one.capacity).length;
      }),
    ),
    metrics: metricsOf(outcomes),
    ...(fitted.length === 0
      ? {}
      : {
          augurs: {
            points: median(fitted.map(({ labels }) => labels.points.row.length)),
            metrics: metricsOf(fitted),
          },
        }),
    coverage: TAUS.map((tau, k) => `P${100 * tau} ${signed(median(misses.map((m) => m[k]!)))}`),
    topDecile: top,
    alarms: Object.fromEntries(alarms),
    brier: median(reliable.map(({ brier }) => brier)),
    brierOfBaseRate: median(reliable.map(({ base }) => base)),
    reliability: bins,
  };
}

const signed = (value: number): string =>
  `${value >= 0 ? '+' : '−'}${(100 * Math.abs(value)).toFixed(1)}`;

function printMetrics(metrics: Metrics): void {
  const names = new Set(
    ['onset AP', 'pinball P50'].flatMap((title) => metrics[title]!.all.map(({ peer }) => peer)),
  );
  const cell = (title: string, peer: string): string => {
    const one = metrics[title]!.all.find((each) => each.peer === peer);
    return one === undefined ? '–' : one.other.toFixed(4);
  };
  const own = METRICS.map(({ title }) => metrics[title]!.best.oracle.toFixed(4));
  const rows = [...names].map((name) => [name, ...METRICS.map(({ title }) => cell(title, name))]);
  console.log(
    renderTable(['predictor', ...METRICS.map(({ title }) => title)], [[ORACLE, ...own], ...rows]),
  );
}

function printHosts(report: HostReport): void {
  console.log(
    `\n${report.case}: ${report.compositions} compositions, ${report.hosts} hosts, ${report.onsets} points before an onset (medians)\n`,
  );
  printMetrics(report.metrics);
  for (const { title } of METRICS) {
    const { best } = report.metrics[title]!;
    console.log(`${title}: ${estimateText(best.ratio)} of ${best.peer}`);
  }
  console.log(
    `coverage less its level, points: ${report.coverage.join(', ')}; P90 in the top decile of load ${signed(median(report.topDecile))}`,
  );
  for (const [name, a] of Object.entries(report.alarms))
    console.log(
      `alarms of ${name}: ${(100 * a.caught).toFixed(1)} % of ${a.events} onsets, lead ${a.leadMin.toFixed(1)} min beyond a move, ${a.stepsADay.toFixed(2)} alarms a host-day; rung at every step ${(100 * a.caughtRepeated).toFixed(1)} %`,
    );
  console.log(
    `Brier ${report.brier.toFixed(4)}, of the base rate ${report.brierOfBaseRate.toFixed(4)}`,
  );
}

const ofAugurs = (all: readonly Comparison[]): Comparison[] =>
  all.filter(({ peer }) => /^(AutoETS|MSTL)/.test(peer));

function printAugurs({ augurs }: HostReport): void {
  if (augurs === undefined) return;
  console.log(`\nat the ${augurs.points} points where AutoETS and MSTL were fitted (median)\n`);
  printMetrics(augurs.metrics);
  for (const { title } of METRICS) {
    const ratios = ofAugurs(augurs.metrics[title]!.all).map(
      ({ peer, ratio }) => `${estimateText(ratio)} of ${peer}`,
    );
    console.log(`${title}: ${ratios.join('; ')}`);
  }
}

interface Run {
  readonly root: string;
  readonly compositions: number;
  /** Folder where finished predictions lie, and are taken from; '' = none. What they depend on names them (keep.ts). */
  readonly keep: string;
  /** Hash of the code as it was when the run began; '' = nothing is kept. */
  readonly code: string;
  readonly withTrees: boolean;
  readonly withAugurs: boolean;
}

type Keeper = (kind: string, core: string, points: number, make: () => Kept) => Kept;

/** Keeps predictions of this case; `core`: hash of the core that makes them, '' = none does. */
function keeperOf({ keep, code }: Run, one: Case, seed: number): Keeper {
  if (keep === '') return (_kind, _core, _points, make) => make();
  const name = `${one.name.replace(/\W+/g, '-')}-${seed}`;
  const data = hashOfCase(one);
  return (kind, core, points, make) => {
    const hash = hashOfParts([code, core, data]);
    return keptIn({ file: join(keep, kind, `${name}-${hash}.json`), points }, make);
  };
}

const builtCore = (root: string): Uint8Array => readFileSync(join(root, 'dist/core/core.wasm'));

interface HostOutcomes {
  readonly outcomes: readonly Outcome[];
  readonly fitted: readonly Outcome[];
}

function hostOutcomes(make: (seed: number) => Case, run: Run): HostOutcomes {
  const core = hashOf(builtCore(run.root));
  const outcomes: Outcome[] = [];
  const fitted: Outcome[] = [];
  for (let seed = 0; seed < run.compositions; seed++) {
    const startMs = performance.now();
    const one = make(seed);
    const [keep, points] = [keeperOf(run, one, seed), pointCounts(one)];
    const oracle = keep('oracle', core, points.all, () => oracleOfCase(one));
    const folder = run.withTrees ? 'peers' : 'peers-without-trees';
    const peers = keep(folder, '', points.all, () => ({
      predictions: peersOfCase(one, run.withTrees),
      oracleMs: 0,
    }));
    const outcome = outcomeOf(one, oracle, peers.predictions);
    outcomes.push(outcome);
    let note = `oracle ${(oracle.oracleMs / 1000).toFixed(1)} s`;
    if (run.withAugurs) {
      const augurs = keep('augurs', '', points.fitted, () => augursOfCase(one));
      fitted.push(augursOutcome(outcome, augurs.predictions));
      note += `; ${augurs.note ?? ''}`;
    }
    const tookS = (performance.now() - startMs) / 1000;
    console.error(`  ${one.name} ${seed + 1}/${run.compositions}: ${tookS.toFixed(1)} s, ${note}`);
  }
  return { outcomes, fitted };
}

interface AblationReport {
  readonly case: string;
  readonly compositions: number;
  readonly rows: readonly { readonly name: string; readonly effects: readonly Effect[] }[];
}

function ablate(
  [whole, ...others]: readonly Variant[],
  make: (seed: number) => Case,
  run: Run,
): AblationReport {
  const ratios = others.map(() => METRICS.map((): number[] => []));
  let title = '';
  for (let seed = 0; seed < run.compositions; seed++) {
    const one = make(seed);
    title = one.name;
    const [keep, points] = [keeperOf(run, one, seed), pointCounts(one)];
    const scores = ({ hash, platform }: Variant): number[] => {
      const made = keep('oracle', hash, points.all, () => oracleOfCase(one, platform));
      return METRICS.map(({ key }) => scoreOf(outcomeOf(one, made, []), ORACLE, key));
    };
    const before = scores(whole!);
    others.forEach((variant, v) => {
      scores(variant).forEach((score, k) => {
        // Without any onset there is no average precision.
        if (!Number.isNaN(score)) ratios[v]![k]!.push(score / before[k]!);
      });
    });
    console.error(`  ${one.name} ${seed + 1}/${run.compositions}`);
  }
  const rows = others.map(({ name }, v) => ({ name, effects: ratios[v]!.map(effectOf) }));
  return { case: title, compositions: run.compositions, rows };
}

function printAblation({ case: title, compositions, rows }: AblationReport): void {
  console.log(
    `\n${title}: change against the forecaster as it is, %, mean over ${compositions} compositions ± its standard error (AP: more is better; loss: less)\n`,
  );
  const cell = ({ mean, error }: Effect): string => `${signed(mean)} ±${(100 * error).toFixed(1)}`;
  console.log(
    renderTable(
      ['without', ...METRICS.map((metric) => metric.title)],
      rows.map(({ name, effects }) => [name, ...effects.map(cell)]),
    ),
  );
}

interface TransferReport {
  readonly domain: string;
  readonly points: number;
  readonly bestSimple: string;
  readonly ratio: number;
  readonly ratios: readonly number[];
  readonly coverage: readonly number[];
}

/** Mean of the three pinball losses against the best simple predictor, whose widths are chosen in hindsight on the domain. */
function transfer(one: Case): TransferReport {
  const points = pointsOf(one.test, one.horizon, one.from);
  const labels = labelsOf(points, one.capacity);
  const oracle = oraclePrediction(one, points);
  const draws = new Float64Array(labels.hosts).fill(1);
  const losses = (p: Parameters<typeof lossByHost>[1]): number[] =>
    TAUS.map((_, k) => meanLoss(lossByHost(labels, p, k as 0)!, draws));
  const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
  const own = losses(oracle);
  const simple = simplePeers(points, points, one.horizon).map((p) => ({
    name: p.name,
    losses: losses(p),
  }));
  const best = simple.reduce((a, b) => (mean(b.losses) < mean(a.losses) ? b : a));
  return {
    domain: one.name,
    points: points.row.length,
    bestSimple: best.name,
    ratio: mean(own) / mean(best.losses),
    ratios: own.map((v, k) => v / best.losses[k]!),
    coverage: TAUS.map((tau, k) => miss(coverage(points.actual, oracle.quantiles![k as 0]), tau)),
  };
}

function printTransfers(reports: readonly TransferReport[]): void {
  console.log(
    `\ndomains that training has not seen, against the best of ${SIMPLE_NAMES.length} simple predictors in hindsight\n`,
  );
  const rows = reports.map((r) => [
    r.domain,
    r.points,
    r.bestSimple,
    r.ratio.toFixed(3),
    ...r.ratios.map((v) => v.toFixed(3)),
    r.coverage.map(signed).join(' '),
  ]);
  console.log(
    renderTable(['domain', 'points', 'best simple', 'mean', 'P50', 'P90', 'P99', 'coverage'], rows),
  );
}

function chartOf(reports: readonly HostReport[]): string {
  const groups = reports.flatMap((report) =>
    METRICS.map(({ title, better }) => {
      const { ratio } = report.metrics[title]!.best;
      const flipped =
        better === 'higher'
          ? { value: 1 / ratio.value, low: 1 / ratio.high, high: 1 / ratio.low }
          : ratio;
      return {
        name: `${report.case.slice(0, 4)} ${title.replace('pinball ', '').replace('onset ', '1/')}`,
        bars: [flipped],
      };
    }),
  );
  return renderChart({
    title: 'Oracle against the best other predictor',
    subtitle:
      'loss ratio (of average precision its inverse), median over compositions, 90 % bound; below 1 the oracle is better',
    unit: '×',
    reference: 1,
    series: [{ name: 'sherd oracle', colour: '#3b7dbf' }],
    groups,
  });
}

const KINDS = { planetlab: planetlabCase, bitbrains: bitbrainsCase };

async function ablations(folder: string, wanted: readonly string[], run: Run): Promise<number> {
  const all = await variants(run.root, builtCore(run.root));
  const reports: AblationReport[] = [];
  for (const [name, make] of Object.entries(KINDS)) {
    if (!wanted.includes(name)) continue;
    const report = ablate(all, (seed) => make(folder, 'validate', seed), run);
    reports.push(report);
    printAblation(report);
  }
  const name = resultName('oracle-ablation', false, run.compositions < 20);
  const result = { machine: machine(), part: 'validate', reports };
  console.log(`\n${writeResult(run.root, `${name}.json`, `${JSON.stringify(result, null, 1)}\n`)}`);
  return 0;
}

export async function main(args: readonly string[], root: string): Promise<number> {
  const options = parseOptions(args, {
    traces: join(root, '../shared/traces'),
    only: 'planetlab,bitbrains,transfer,cost',
    compositions: '20',
    trees: 'yes',
    augurs: 'yes',
    ablation: 'no',
    keep: '',
    final: 'no',
  });
  const folder = resolve(options.traces);
  const wanted = options.only.split(',');
  if (!hasTraces(folder) && wanted.some((name) => name !== 'cost')) {
    console.error(`benchmarks/oracle: no traces in ${folder}; give --traces DIR, or --only cost`);
    return 2;
  }
  const part: Part = options.final === 'yes' ? 'final' : 'validate';
  const compositions = Number(options.compositions);
  const run: Run = {
    root,
    compositions,
    keep: options.keep === '' ? '' : join(resolve(options.keep), part),
    code: options.keep === '' ? '' : codeHash(root),
    withTrees: options.trees !== 'no',
    withAugurs: options.augurs !== 'no',
  };
  if (options.ablation === 'yes') {
    if (part === 'final')
      throw new UsageError(
        '--ablation compares variants: that is for the validation part, not --final',
      );
    return ablations(folder, wanted, run);
  }
  console.log(`part ${part}, ${CONFIGURATIONS} configurations were tried on the validation part`);
  const hosts: HostReport[] = [];
  for (const [name, make] of Object.entries(KINDS)) {
    if (!wanted.includes(name)) continue;
    const { outcomes, fitted } = hostOutcomes((seed) => make(folder, part, seed), run);
    const report = hostReport(outcomes, fitted);
    hosts.push(report);
    printHosts(report);
    printAugurs(report);
  }
  const transfers = wanted.includes('transfer') ? transferCases(folder, part).map(transfer) : [];
  if (transfers.length > 0) printTransfers(transfers);
  const cost = wanted.includes('cost') ? costOf() : undefined;
  if (cost !== undefined) {
    console.log(
      `\ncost: ${cost.microseconds.toFixed(2)} µs a sample and forecast (${cost.series} series × ${cost.steps} steps, model ready), ${cost.stateBytes} B of state a series, a fit of ${cost.fitRows} rows ${(cost.fitMs / 1000).toFixed(2)} s`,
    );
  }
  const result = {
    machine: machine(),
    part,
    configurations: CONFIGURATIONS,
    hosts,
    transfers,
    cost,
  };
  const whole = wanted.length === 4 && compositions >= 20;
  const name = resultName(`oracle-${part}`, whole, compositions < 20);
  console.log(`\n${writeResult(root, `${name}.json`, `${JSON.stringify(result, null, 1)}\n`)}`);
  if (hosts.length > 0) console.log(writeResult(root, `${name}.svg`, chartOf(hosts)));
  if (part === 'final')
    appendFileSync(join(root, LOG), `${JSON.stringify(logLine(hosts, transfers, cost))}\n`);
  return 0;
}

function logLine(
  hosts: readonly HostReport[],
  transfers: readonly TransferReport[],
  cost: ReturnType<typeof costOf> | undefined,
): unknown {
  const ratios = (metrics: Metrics): unknown =>
    Object.fromEntries(
      Object.entries(metrics).map(([title, { best }]) => [title, { of: best.peer, ...best.ratio }]),
    );
  const augursRatios = (metrics: Metrics): unknown =>
    Object.fromEntries(
      Object.entries(metrics).map(([title, { all }]) => [
        title,
        ofAugurs(all).map(({ peer, ratio }) => ({ of: peer, ...ratio })),
      ]),
    );
  return {
    date: new Date().toISOString().slice(0, 10),
    configurations: CONFIGURATIONS,
    hosts: hosts.map(({ case: name, compositions, metrics, augurs, ...report }) => ({
      name,
      compositions,
      ratios: ratios(metrics),
      augurs: augurs && { points: augurs.points, ratios: augursRatios(augurs.metrics) },
      coverage: report.coverage,
      alarms: report.alarms[ORACLE],
      brier: report.brier,
    })),
    transfers,
    cost,
  };
}
