/**
 * Predictions in files (`--keep DIR`): a long run can be made in parts, and only what has changed is made anew.
 *
 *     code (compiled) ─┐
 *     core.wasm ───────┼─ hash ─▶ DIR/PART/KIND/CASE-SEED-HASH.json
 *     case ────────────┘
 *
 * Does: write predictions down, take them from there, hash what they depend on. Does not: delete what nobody takes any more.
 *
 * K1  What predictions are made from names their file: the core, the compiled code of FOLDERS, the exact versions of all packages, the
 *     version of Node.js (its Math is not the same in all), and all values of the case. What was made from something else is not found.
 * K2  A file is there whole or not at all (written aside, then renamed); one whose arrays do not have the points of the case is refused.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Prediction } from './peers.js';
import type { Case } from './traces.js';

/** Where the code lies that predictions are made with, as benchmarks/run.mjs compiles it. */
const COMPILED = 'dist/.bench';
const FOLDERS = ['host/core', 'host/oracle', 'benchmarks/oracle', 'benchmarks/lib'] as const;
const PACKAGES = 'package-lock.json';
const DIGITS = 16;

/** What lies in a file. */
export interface Kept {
  readonly predictions: readonly Prediction[];
  readonly oracleMs: number;
  /** What is to be said of them. */
  readonly note?: string;
}

export interface Place {
  readonly file: string;
  /** Length of every array in it. */
  readonly points: number;
}

/** One hash of all of these, in this order; where one ends and the next begins counts. */
export function hashOfParts(parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    hash.update(`${bytes.length}:`).update(bytes);
  }
  return hash.digest('hex').slice(0, DIGITS);
}

/** Of the code that makes predictions, but for core.wasm (K1). */
export function codeHash(root: string): string {
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, COMPILED, folder))
      .filter((name) => name.endsWith('.js'))
      .sort()
      .map((name) => join(COMPILED, folder, name)),
  );
  const parts = [...files, PACKAGES].flatMap((file) => [file, readFileSync(join(root, file))]);
  return hashOfParts([process.version, ...parts]);
}

/** Of everything that is in a case. */
export function hashOfCase(one: Case): string {
  const { train, test, ...rest } = one;
  const rows = [...train.map((each) => each.rows), test];
  const head = {
    ...rest,
    intervals: train.map(({ intervalS }) => intervalS),
    names: rows.map((list) => list.map(({ name }) => name)),
  };
  const values = rows
    .flat()
    .map((row) => new Uint8Array(row.values.buffer, row.values.byteOffset, row.values.byteLength));
  return hashOfParts([JSON.stringify(head), ...values]);
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

function unpacked({ file, points }: Place): Kept {
  const kept = JSON.parse(readFileSync(file, 'utf8')) as {
    oracleMs: number;
    note?: string;
    predictions: { name: string; score: string; quantiles?: string[] }[];
  };
  const values = (part: string): Float64Array => {
    const bytes = Uint8Array.from(Buffer.from(part, 'base64'));
    if (bytes.length !== points * Float64Array.BYTES_PER_ELEMENT)
      throw new Error(
        `${file} has an array of ${bytes.length} bytes for ${points} points: delete it`,
      );
    return new Float64Array(bytes.buffer);
  };
  const predictions = kept.predictions.map(({ name, score, quantiles }): Prediction => {
    if (quantiles === undefined) return { name, score: values(score) };
    const [a, b, c] = quantiles.map(values);
    if (a === undefined || b === undefined || c === undefined)
      throw new Error(`${file} has ${quantiles.length} quantiles of ${name}, not 3: delete it`);
    return { name, score: values(score), quantiles: [a, b, c] };
  });
  return { ...kept, predictions };
}

/** What `make` gives, from the file where an earlier run has kept it, if there is one. */
export function keptIn(place: Place, make: () => Kept): Kept {
  if (existsSync(place.file)) return unpacked(place);
  const made = make();
  mkdirSync(dirname(place.file), { recursive: true });
  const aside = `${place.file}.${process.pid}`;
  writeFileSync(aside, packed(made));
  renameSync(aside, place.file);
  return made;
}
