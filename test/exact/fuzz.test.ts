/**
 * Differential fuzzing, bounded: random modules × inputs × random pause points, against the plain engine.
 *
 * A failure names its seed; `SHERD_FUZZ_SEED=n` runs that one alone, and the text of the module is written to the temporary
 * directory. Much more of it: `npm run fuzz` (long.ts).
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Examined, examineGenerated, examineTranslated } from './corpus.js';
import type { Effort } from './modules.js';

const ONE = process.env.SHERD_FUZZ_SEED;
const FIRST = Number(ONE ?? process.env.SHERD_FUZZ_FIRST ?? 1);
const MODULES = ONE === undefined ? Number(process.env.SHERD_FUZZ_MODULES ?? 50) : 1;
const TRANSLATED = ONE === undefined ? Number(process.env.SHERD_FUZZ_TRANSLATED ?? 8) : 1;

function keep(seed: number, text: string, differences: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'sherd-fuzz-'));
  const file = join(folder, `seed-${seed}.wat`);
  writeFileSync(file, `;; ${differences.join('\n').replaceAll('\n', '\n;; ')}\n${text}\n`);
  return file;
}

interface Tally {
  readonly kinds: Map<string, number>;
  readonly failures: string[];
  pauses: number;
}

function fuzz(what: string, count: number, examine: (seed: number) => Examined): Tally {
  const tally: Tally = { kinds: new Map(), failures: [], pauses: 0 };
  for (let seed = FIRST; seed < FIRST + count; seed++) {
    const { reports, text } = examine(seed);
    for (const { kind, pauses } of reports) {
      tally.pauses += pauses;
      tally.kinds.set(kind, (tally.kinds.get(kind) ?? 0) + 1);
    }
    const differences = reports.flatMap((report) => report.differences);
    if (differences.length > 0)
      tally.failures.push(`seed ${seed}: ${keep(seed, text, differences)}\n  ${differences[0]}`);
  }
  const kinds = JSON.stringify(Object.fromEntries(tally.kinds));
  console.log(`fuzz: ${count} ${what} modules, ${tally.pauses} pauses, ${kinds}`);
  return tally;
}

describe('generated modules', () => {
  const effort: Effort = { spread: 60, dense: 40, singles: 2 };

  it(`seeds from ${FIRST} on, ${MODULES} of them, at -O0 and -O3: exact straight and across pauses`, {
    timeout: 3_600_000,
  }, () => {
    const tally = fuzz('generated', MODULES, (seed) => examineGenerated(seed, effort, 1));
    expect(tally.failures).toEqual([]);
    if (ONE !== undefined) return;
    expect(tally.pauses).toBeGreaterThan(MODULES * 20);
    expect(tally.kinds.get('done') ?? 0).toBeGreaterThan(MODULES / 2.5);
  });
});

describe("modules from Binaryen's generator", () => {
  const effort: Effort = { spread: 20, dense: 15, singles: 1 };

  it(`seeds from ${FIRST} on, ${TRANSLATED} of them: every export, exact straight and across pauses`, {
    timeout: 3_600_000,
  }, () => {
    const tally = fuzz('translated', TRANSLATED, (seed) => examineTranslated(seed, effort, 1));
    expect(tally.failures).toEqual([]);
    if (ONE === undefined) expect(tally.kinds.get('done') ?? 0).toBeGreaterThan(TRANSLATED);
  });
});
