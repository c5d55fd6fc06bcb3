/**
 * Differential fuzzing, bounded: random modules × random pause points, against the plain engine.
 *
 * A failure names its seed; `SHERD_FUZZ_SEED=n` runs that one alone, `SHERD_FUZZ_MODULES=n` more of them (`npm run fuzz`),
 * and the text of the module is written to the temporary directory.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generateModule, SETTINGS } from './generate.js';
import { argsOf, assemble, type Effort, examine, examineSubject } from './modules.js';
import {
  callables,
  loadTranslated,
  plainCall,
  translate,
  translatedSubject,
  viewOf,
} from './translated.js';

const ONE = process.env.SHERD_FUZZ_SEED;
const MODULES = Number(process.env.SHERD_FUZZ_MODULES ?? 100);
const FIRST = Number(ONE ?? process.env.SHERD_FUZZ_FIRST ?? 1);
const EFFORT: Effort = { spread: 60, dense: 40, singles: 3 };

function keep(seed: number, text: string, differences: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'sherd-fuzz-'));
  const file = join(folder, `seed-${seed}.wat`);
  writeFileSync(file, `;; ${differences.join('\n').replaceAll('\n', '\n;; ')}\n${text}\n`);
  return file;
}

/** Small modules first: a failure in a small one is easier to read. */
function settingsOf(seed: number): typeof SETTINGS {
  const size = [20, 40, 90, 160][seed % 4]!;
  return {
    ...SETTINGS,
    size,
    functions: 2 + (seed % 5),
    depth: 3 + (seed % 4),
    simd: seed % 3 !== 0,
    gas: 100 + (seed % 7) * 150,
  };
}

describe('generated modules', () => {
  const seeds = Array.from(
    { length: ONE === undefined ? MODULES : 1 },
    (_, index) => FIRST + index,
  );

  it(`seeds ${seeds[0]} to ${seeds.at(-1)}: exact straight and across pauses`, {
    timeout: 3_600_000,
  }, () => {
    const kinds = new Map<string, number>();
    const failures: string[] = [];
    let pauses = 0;
    for (const seed of seeds) {
      const text = generateModule(seed, settingsOf(seed));
      const report = examine(`seed ${seed}`, assemble(text), argsOf(seed), EFFORT);
      pauses += report.pauses;
      kinds.set(report.kind, (kinds.get(report.kind) ?? 0) + 1);
      if (report.differences.length > 0)
        failures.push(
          `seed ${seed}: ${keep(seed, text, report.differences)}\n  ${report.differences[0]}`,
        );
    }
    console.log(
      `fuzz: ${seeds.length} modules, ${pauses} pauses, ${JSON.stringify(Object.fromEntries(kinds))}`,
    );
    expect(failures).toEqual([]);
    if (ONE !== undefined) return;
    expect(pauses).toBeGreaterThan(seeds.length * 10);
    expect(kinds.get('done') ?? 0).toBeGreaterThan(seeds.length / 5);
  });
});

describe("modules from Binaryen's generator", () => {
  const count = Number(process.env.SHERD_FUZZ_TRANSLATED ?? 8);

  it(`seeds ${FIRST} to ${FIRST + count - 1}: every export, exact straight and across pauses`, {
    timeout: 3_600_000,
  }, () => {
    const kinds = new Map<string, number>();
    const failures: string[] = [];
    let pauses = 0;
    for (let seed = FIRST; seed < FIRST + count; seed++) {
      const bytes = translate(seed, 400 + (seed % 10) * 700);
      const loaded = loadTranslated(bytes);
      const shard = loaded.module;
      for (const call of callables(shard, seed)) {
        const subject = translatedSubject(`seed ${seed}`, loaded, call);
        const report = examineSubject(subject, plainCall(bytes, shard, call), viewOf, {
          spread: 20,
          dense: 15,
          singles: 1,
        });
        pauses += report.pauses;
        kinds.set(report.kind, (kinds.get(report.kind) ?? 0) + 1);
        if (report.differences.length > 0)
          failures.push(
            `seed ${seed}, ${call.entry}(${call.args.join()}): ${report.differences[0]}`,
          );
      }
    }
    console.log(
      `fuzz: ${count} translated modules, ${pauses} pauses, ${JSON.stringify(Object.fromEntries(kinds))}`,
    );
    expect(failures).toEqual([]);
  });
});
