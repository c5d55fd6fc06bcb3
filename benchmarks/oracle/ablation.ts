/**
 * What each part of the forecaster is worth: core.wasm compiled from its own source with one or two lines changed, and the
 * same cases forecast with it. Runners-up are here too (another scale, other tails).
 *
 *     assembly/core ── lines changed ──▶ asc ──▶ core.wasm of the variant ──▶ replay ──▶ score ÷ score as it is
 *
 * So the core needs no switches for it, and is measured as it runs. Does: change, compile, compare. Does not: choose cases, print.
 *
 * A1  Every line to be changed is there exactly once (tested), or the variant is refused.
 * A2  The unchanged source gives the very bytes of the built core.wasm: what is compiled here is compiled as there.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodePlatform } from '../../host/node/platform.js';
import type { Platform } from '../../host/types/platform.js';

const FOLDER = 'assembly/core';

interface Change {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

export interface Ablation {
  readonly name: string;
  readonly changes: readonly Change[];
}

const change = (file: string, from: string, to: string): Change => ({ file, from, to });

const NO_OWN = change(
  'forecast.ts',
  'const OFFSET_RATE: f32 = 0.01;',
  'const OFFSET_RATE: f32 = 0;',
);
const NO_POOLED = change(
  'forecast.ts',
  'const POOLED_RATE: f64 = 0.002;',
  'const POOLED_RATE: f64 = 0;',
);
const OWN_SCALE =
  'const own = Math.sqrt(1.6 * load<f64>(state, A_STEP) * Math.sqrt(load<f64>(state, A_VARIANCE)));';
const P99_LINEAR = 'const P99_LINEAR: f32 = 0.8;';

const scale = (to: string): Change[] => [change('forecast.ts', OWN_SCALE, `const own = ${to};`)];
const linear = (from: string, to: string): Change[] => [change('forecast-linear.ts', from, to)];

export const ABLATIONS: readonly Ablation[] = [
  {
    name: 'no trees: the linear part alone',
    changes: [
      change('forecast-train.ts', 'store<i32>(H_TREES, TREES_MAX)', 'store<i32>(H_TREES, 0)'),
    ],
  },
  {
    name: 'no linear part: trees over constants',
    changes: linear('const RIDGE: f64 = 30;', 'const RIDGE: f64 = 1e12;'),
  },
  { name: 'no offsets of the series', changes: [NO_OWN] },
  { name: 'no pooled offsets', changes: [NO_POOLED] },
  { name: 'no offsets at all', changes: [NO_OWN, NO_POOLED] },
  { name: 'scale: a quarter of the level', changes: scale('0.25 * level') },
  { name: 'scale: the spread alone', changes: scale('Math.sqrt(load<f64>(state, A_VARIANCE))') },
  { name: 'scale: the mean step alone', changes: scale('1.6 * load<f64>(state, A_STEP)') },
  {
    name: 'no end beyond the highest value so far',
    changes: [
      change('forecast.ts', 'const BEYOND_TOP: f64 = 0.1;', 'const BEYOND_TOP: f64 = 1e9;'),
    ],
  },
  {
    name: 'not what all series do',
    changes: [
      change('forecast.ts', 'const share = 1 / (count + CROSS_PRIOR);', 'const share: f64 = 0;'),
    ],
  },
  {
    name: 'no time of day, no yesterday',
    changes: [
      change('forecast-features.ts', 'if (period <= 0) return;', 'if (period >= 0) return;'),
    ],
  },
  {
    name: 'P99: the pooled tail alone',
    changes: linear(P99_LINEAR, 'const P99_LINEAR: f32 = 0;'),
  },
  {
    name: 'P99: its linear fit alone',
    changes: linear(P99_LINEAR, 'const P99_LINEAR: f32 = 1;'),
  },
  {
    name: 'tails in units of P90 − P50, not of a learned power',
    changes: linear('let candidate = 0;', 'let candidate = TAIL_POWERS - 1;'),
  },
  {
    name: 'linear part: smoothing not narrowed',
    changes: linear('epsilon *= <f32>0.3333;', 'epsilon *= <f32>1;'),
  },
];

/** The source of the core, with the changes made (A1). */
export function sourceOf(root: string, file: string, changes: readonly Change[]): string {
  const source = readFileSync(join(root, FOLDER, file), 'utf8');
  return changes
    .filter((each) => each.file === file)
    .reduce((text, { from, to }) => {
      const parts = text.split(from);
      if (parts.length !== 2) throw new Error(`${file} has "${from}" ${parts.length - 1} times`);
      return parts.join(to);
    }, source);
}

async function compiled(root: string, { name, changes }: Ablation): Promise<Uint8Array> {
  const { default: asc } = await import('assemblyscript/asc');
  let wasm: Uint8Array | undefined;
  let diagnostics = '';
  const options = ['--config', 'asconfig.json', '--outFile', 'core.wasm'];
  const { error } = await asc.main(['index.ts', ...options], {
    readFile: (file) =>
      existsSync(join(root, FOLDER, file)) ? sourceOf(root, file, changes) : null,
    writeFile: (_, contents) => {
      wasm = contents as Uint8Array;
    },
    listFiles: () => [],
    stderr: {
      write: (text) => {
        diagnostics += String(text);
      },
    },
    stdout: { write: () => {} },
  });
  if (error !== null || wasm === undefined)
    throw new Error(`${name}: ${diagnostics || String(error)}`);
  return wasm;
}

export interface Variant {
  readonly name: string;
  readonly platform: Platform;
  /** Names its core. */
  readonly hash: string;
}

export const hashOf = (core: Uint8Array): string =>
  createHash('sha256').update(core).digest('hex').slice(0, 12);

/** The forecaster as it is first, then all ablations; `built`: the core.wasm that is in use (A2). */
export async function variants(root: string, built: Uint8Array): Promise<Variant[]> {
  const all: Variant[] = [];
  for (const ablation of [{ name: 'as it is', changes: [] }, ...ABLATIONS]) {
    const core = await compiled(root, ablation);
    const module = new WebAssembly.Module(core as Uint8Array<ArrayBuffer>);
    const platform = { ...nodePlatform, coreModule: () => module };
    all.push({ name: ablation.name, platform, hash: hashOf(core) });
  }
  if (all[0]?.hash !== hashOf(built))
    throw new Error('core.wasm is not what its source gives: npm run build');
  return all;
}

export interface Effect {
  /** Mean over the compositions of the logarithm of the ratio, and its standard error. */
  readonly mean: number;
  readonly error: number;
}

export function effectOf(ratios: readonly number[]): Effect {
  const logs = ratios.map(Math.log);
  const mean = logs.reduce((a, b) => a + b, 0) / logs.length;
  const squares = logs.reduce((sum, v) => sum + (v - mean) ** 2, 0);
  return { mean, error: Math.sqrt(squares / Math.max(1, logs.length - 1) / logs.length) };
}
