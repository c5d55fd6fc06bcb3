/**
 * `sherd oracle replay | plot`: forecasts over recorded series, going through time once. `sherd oracle score`: how good a running
 * cluster's forecasts have been.
 *
 * Does: read series, run the forecaster over them, write its lines or a picture, say how good they were.
 * Does not: touch a cluster, but for `score`, which asks one.
 *
 * O1  The line of step t is made from v0 … vt of all series, the history of `--train`, and nothing else.
 * O2  Lines come by step, within a step by name: the order of the rows in the file changes nothing.
 */
import type { Command } from 'commander';
import { addPlot } from '../oracle-plot.js';
import { addReplay } from '../oracle-replay.js';
import { addScore } from '../oracle-score.js';

export function addOracle(program: Command): void {
  const oracle = program
    .command('oracle')
    .description(
      'forecast recorded series: replay (lines), plot (a picture); score of a running cluster',
    );
  addReplay(oracle);
  addPlot(oracle);
  addScore(oracle);
}
