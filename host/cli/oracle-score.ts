/**
 * `sherd oracle score`: how good the forecasters of node demand have been lately, and which of them answers.
 *
 *     WITHIN  OF       SERIES  STEPS  ANSWERS     LAST-VALUE  EWMA   SEASONAL  MODEL  DRIFTS
 *     5 s     cpu           3    812  peaks                1  1.190  –         0.912       0
 *
 * Losses are mean pinball losses of P50, P90 and P99, each divided by last-value's: below 1 is better than "it stays as it is".
 */
import type { Command } from 'commander';
import type { OracleScoreReply } from '../types/api.js';
import { addClientOptions, type ClientOptions, clientOf, report } from './command.js';
import { formatCount, formatMs, renderTable } from './format.js';

type Score = OracleScoreReply['scores'][number];
type Loss = Score['loss'][string];

export function addScore(oracle: Command): void {
  addClientOptions(
    oracle.command('score').description("show how good a cluster's forecasts have been lately"),
  ).action(async (options: ClientOptions) => {
    const reply = await clientOf(options).oracleScore();
    await report(options, reply, () => renderScores(reply.scores));
  });
}

export function renderScores(scores: readonly Score[]): string {
  return renderTable(
    [
      { title: 'WITHIN' },
      { title: 'OF' },
      { title: 'SERIES', align: 'right' },
      { title: 'STEPS', align: 'right' },
      { title: 'ANSWERS' },
      { title: 'LAST-VALUE', align: 'right' },
      { title: 'EWMA', align: 'right' },
      { title: 'SEASONAL', align: 'right' },
      { title: 'MODEL', align: 'right' },
      { title: 'DRIFTS', align: 'right' },
    ],
    scores.map((score) => [
      formatMs(score.windowMs),
      score.kind,
      formatCount(score.series),
      formatCount(score.steps),
      score.wide > 1 ? `${score.answers}, bands × ${score.wide.toFixed(2)}` : score.answers,
      ...['last-value', 'ewma', 'seasonal-naive', 'peaks'].map((name) =>
        relative(score.loss[name], score.loss['last-value']),
      ),
      formatCount(score.drifts),
    ]),
  );
}

/** Mean of the three losses, each in units of last-value's. */
function relative(loss: Loss | undefined, last: Loss | undefined): string {
  if (loss == null || last == null) return '–';
  const ratios = loss.map((one, k) => (one === last[k] ? 1 : one / last[k]!));
  const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
  return Number.isFinite(mean) ? mean.toFixed(3) : '> 999';
}
