/**
 * Jobs of a parallel machine from a log in the Standard Workload Format, gone through once in the order of time.
 *
 *     line = job, submit s, wait s, run s, processors, CPU s, memory, processors asked, time asked s, memory asked, status,
 *            user, group, executable, queue, partition, preceding job, think time s          −1 = not known; `;` = comment
 *
 *     submitted ──▶ forecast by what has *completed* up to then ──▶ … submit + wait + run: completed, learned from
 *
 * Does: read, replay, ask every predictor. Does not: score (score.ts does).
 *
 * J1  Strictly online: a job that is still running when another is submitted teaches that one nothing.
 * J2  A forecast is scored when the key (user + executable) has a completed job, so that every predictor has something to say.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import {
  RunModel,
  type RunRequest,
  type RunTuning,
  TUNING,
} from '../../host/oracle/history-model.js';
import { KeyHistory, PEERS } from './peers.js';
import { type Forecasts, pointForecast, type Scored } from './score.js';

export interface Job {
  readonly id: number;
  readonly submitS: number;
  readonly endS: number;
  readonly runS: number;
  readonly processors: number;
  readonly askedS: number;
  readonly user: number;
  readonly executable: number;
}

/** In the order of submission; jobs that never ran are left out. */
export function readJobs(path: string): readonly Job[] {
  const bytes = readFileSync(path);
  const text = (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
  const jobs = text.split('\n').flatMap((line): Job[] => {
    if (line.startsWith(';') || line.trim() === '') return [];
    const f = line.trim().split(/\s+/).map(Number);
    const [id = 0, submitS = 0, waitS = 0, runS = -1] = f;
    if (!(runS >= 0)) return [];
    const endS = submitS + Math.max(0, waitS) + runS;
    const processors = f[7]! > 0 ? f[7]! : f[4]!;
    const known = { id, submitS, endS, runS, processors };
    return [{ ...known, askedS: f[8] ?? -1, user: f[11] ?? -1, executable: f[13] ?? -1 }];
  });
  return jobs.sort((a, b) => a.submitS - b.submitS || a.id - b.id);
}

export const JOB_RUNGS = 5;

/** Alike are jobs of the same user, executable and size, then of less and less of these. */
export function jobRequest({ user, executable, processors, askedS }: Job): RunRequest {
  return {
    groups: [
      `${user}/${executable}/${processors}`,
      `${user}/${executable}`,
      `executable ${executable}`,
      `user ${user}`,
      'all',
    ],
    numbers: [processors, ...(askedS > 0 ? [askedS] : [])],
  };
}

/** Needs are kept in ms, of which one is the least that a model tells from none. */
const MS = 1_000;

export interface Variant {
  readonly name: string;
  readonly tuning: Partial<RunTuning>;
}

/** All jobs; scored are those that are submitted from `fromS` up to `untilS`. The first variant is the oracle. */
export function replay(
  jobs: readonly Job[],
  fromS: number,
  untilS: number,
  variants: readonly Variant[],
): Scored[] {
  const models = variants.map(({ tuning }) => new RunModel(JOB_RUNGS, { ...TUNING, ...tuning }));
  const keys = new Map<string, KeyHistory>();
  const running: { readonly job: Job; readonly said: ReturnType<RunModel['forecast']>[] }[] = [];
  const scored: Scored[] = [];
  const complete = (nowS: number): void => {
    const done = running.filter(({ job }) => job.endS <= nowS);
    done.sort((a, b) => a.job.endS - b.job.endS || a.job.id - b.job.id);
    for (const each of done) {
      running.splice(running.indexOf(each), 1);
      const { job, said } = each;
      models.forEach((model, at) => {
        model.learn(jobRequest(job), job.runS * MS, true, said[at]);
      });
      keyHistory(keys, job).add(job.runS);
    }
  };
  for (const job of jobs) {
    if (job.submitS >= untilS) break;
    complete(job.submitS);
    const said = models.map((model) => model.forecast(jobRequest(job)));
    const key = keyHistory(keys, job);
    if (job.submitS >= fromS && key.length > 0 && job.runS > 0) {
      const forecasts: Record<string, Forecasts> = {};
      said.forEach((each, at) => {
        if (each === undefined) return;
        const [p50, p90, p95, p99] = [each.p50, each.p90, each.p95, each.p99].map((v) => v / MS);
        forecasts[variants[at]!.name] = { p50: p50!, p90: p90!, p95: p95!, p99: p99! };
      });
      for (const { name, of } of PEERS) forecasts[name] = of(key);
      if (job.askedS > 0) forecasts['time asked for'] = pointForecast(job.askedS);
      scored.push({
        key: `${job.user}/${job.executable}`,
        before: key.length,
        actual: job.runS,
        forecasts,
      });
    }
    running.push({ job, said });
  }
  return scored;
}

function keyHistory(keys: Map<string, KeyHistory>, { user, executable }: Job): KeyHistory {
  const name = `${user}/${executable}`;
  const known = keys.get(name) ?? new KeyHistory();
  keys.set(name, known);
  return known;
}
