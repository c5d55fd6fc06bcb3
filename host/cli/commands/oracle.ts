/**
 * `sherd oracle replay | plot`: forecasts over recorded series, going through time once.
 *
 * Does: read series, run the forecaster over them, write its lines or a picture, say how good they were.
 * Does not: touch a cluster.
 *
 * O1  The line of step t is made from v0 … vt of all series, the history of `--train`, and nothing else.
 * O2  Lines come by step, within a step by name: the order of the rows in the file changes nothing.
 */
import type { Command } from 'commander';
import { addPlot } from '../oracle-plot.js';
import { addReplay } from '../oracle-replay.js';

export function addOracle(program: Command): void {
  const oracle = program
    .command('oracle')
    .description('forecast recorded series: replay (lines), plot (a picture)');
  addReplay(oracle);
  addPlot(oracle);
}
