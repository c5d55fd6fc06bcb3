/**
 * Predictions in files (`--keep DIR`): a long run can be made in parts, and only what has changed is made anew.
 *
 * Does: write predictions down, take them from there. Does not: know what they depend on: the caller names the folder for it.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Prediction } from './peers.js';

/** What lies in a file. */
export interface Kept {
  readonly predictions: readonly Prediction[];
  readonly oracleMs: number;
  /** What is to be said of them. */
  readonly note?: string;
}

function packed({ predictions, oracleMs, note }: Kept): string {
  const text = (values: Float64Array): string =>
    Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64');
  const list = predictions.map(({ name, score, quantiles }) => ({
    name,
    score: text(score),
    quantiles: quantiles?.map(text),
  }));
  return JSON.stringify({ oracleMs, note, predictions: list });
}

function unpacked(text: string): Kept {
  const kept = JSON.parse(text) as {
    oracleMs: number;
    note?: string;
    predictions: { name: string; score: string; quantiles?: string[] }[];
  };
  const values = (part: string): Float64Array => {
    const bytes = Uint8Array.from(Buffer.from(part, 'base64'));
    return new Float64Array(bytes.buffer);
  };
  const predictions = kept.predictions.map(({ name, score, quantiles }): Prediction => {
    const [a, b, c] = (quantiles ?? []).map(values);
    return {
      name,
      score: values(score),
      ...(a === undefined || b === undefined || c === undefined ? {} : { quantiles: [a, b, c] }),
    };
  });
  return { ...kept, predictions };
}

/** What `make` gives, from the file where an earlier run has kept it, if there is one; `folder` '' = nothing is kept. */
export function kept(folder: string, name: string, make: () => Kept): Kept {
  const file = join(folder, `${name}.json`);
  if (folder !== '' && existsSync(file)) return unpacked(readFileSync(file, 'utf8'));
  const made = make();
  if (folder !== '') {
    mkdirSync(folder, { recursive: true });
    writeFileSync(file, packed(made));
  }
  return made;
}
