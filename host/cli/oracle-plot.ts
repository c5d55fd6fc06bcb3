/**
 * `sherd oracle plot FILE SERIES -o x.svg`: what came, what was forecast before, and when the alarm rang.
 *
 * The band at step t is the forecast that was made at t for the maximum of t+1 … t+K, and the stepped line is that maximum.
 *
 * G1  The forecasts are those of `replay` with the same options, all series of the file included.
 * G2  An alarm: contention is at least ALARM_FROM, and the series is below the capacity.
 */
import type { Command } from 'commander';
import { nodePlatform } from '../node/platform.js';
import { peaksOf, replay } from '../oracle/replay.js';
import { BOTTLENECK } from '../types/brain.js';
import { EXIT, SherdError } from '../types/errors.js';
import { forecastSvg, type PlotStep } from './forecast-svg.js';
import { addSeriesOptions, planOf, type ReplayOptions } from './oracle-replay.js';
import { stdout } from './output.js';
import { readSeriesFile } from './series-file.js';
import { requireDirectoryOf, writeFileAtomically } from './status.js';

const ALARM_FROM = BOTTLENECK.predictedFrom;

interface Options extends ReplayOptions {
  readonly output: string;
}

export function addPlot(oracle: Command): void {
  addSeriesOptions(
    oracle.command('plot <file> <series>').description('draw one series: bands, what came, alarms'),
  )
    .requiredOption('-o, --output <svg>', 'the picture')
    .option('-q, --quiet', 'print nothing')
    .action(plotSeries);
}

async function plotSeries(path: string, name: string, options: Options): Promise<void> {
  const plan = await planOf(options);
  await requireDirectoryOf(options.output, '--output');
  const all = await readSeriesFile(path);
  const wanted = all.find((each) => each.name === name);
  if (wanted === undefined) {
    const some = all.slice(0, 3).map((each) => each.name);
    throw new SherdError('SHERD_USAGE', `it holds no series ${name}`, {
      at: path,
      next: `it has ${all.length}, such as ${some.join(', ')}`,
      exitCode: EXIT.refused,
    });
  }
  const peaks = peaksOf(wanted.values, plan.horizon);
  const steps: PlotStep[] = [];
  replay(nodePlatform, { ...plan, series: all }, (one, step, forecast) => {
    if (one.name !== name) return;
    const value = wanted.values[step]!;
    const below = plan.capacity === undefined || !(value >= plan.capacity);
    const alarm = below && forecast.contention >= ALARM_FROM;
    steps.push({ ...forecast, value, peak: peaks[step]!, alarm });
  });
  const { intervalS, horizon, capacity } = plan;
  const svg = forecastSvg({ title: name, steps, intervalS, horizon, capacity });
  await writeFileAtomically(options.output, Buffer.from(svg));
  if (options.quiet === true) return;
  const alarms = steps.filter(({ alarm }) => alarm).length;
  const note = capacity === undefined ? '' : `, ${alarms} steps with an alarm`;
  await stdout.write(`${options.output}  ${steps.length} steps${note}\n`);
}
