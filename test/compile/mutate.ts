/**
 * The long run of damaged modules: `npm run fuzz -- --mutants 100000 [--from 1]`.
 *
 * Seeds take turns among the fixtures and modules of the structured generator. Does: count, keep what is wrong in the
 * temporary directory. Does not: stop at a fault.
 *
 * N1  Memory is bounded by the heap limit of the process (package.json); the slowest mutant is printed, not judged.
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { settingsOf } from '../exact/corpus.js';
import { generateModule } from '../exact/generate.js';
import { assemble } from '../exact/modules.js';
import { Random } from '../exact/random.js';
import { judge, mutant } from './mutants.js';

const FIXTURES = ['levels/coremix.Oz', 'levels/coremix.O3-features', 'levels/luette.O3', 'wc_sort'];
const GENERATED = 12;
const LINE_EVERY = 5_000;

export async function main(args: string[], root: string): Promise<number> {
  const { values } = parseArgs({
    args,
    options: { mutants: { type: 'string' }, from: { type: 'string', default: '1' } },
  });
  const [count, from] = [Number(values.mutants), Number(values.from)];
  const fixture = (name: string): Uint8Array<ArrayBuffer> =>
    new Uint8Array(readFileSync(join(root, 'test/fixtures', `${name}.wasm`)));
  const bases = FIXTURES.map(fixture);
  for (let seed = 1; seed <= GENERATED; seed++)
    bases.push(assemble(generateModule(seed, settingsOf(seed))));
  const verdicts = new Map<string, number>();
  let [faults, slowestMs, slowest] = [0, 0, 0];
  const line = (n: number): void => {
    const shown = [...verdicts].map(([verdict, times]) => `${verdict} ${times}`).join(', ');
    const mib = Math.round(process.resourceUsage().maxRSS / 1024);
    console.log(
      `${n} mutants: ${shown}; ${faults} faults; slowest ${slowestMs.toFixed(0)} ms (seed ${slowest}); ${mib} MiB at most`,
    );
  };
  for (let seed = from; seed < from + count; seed++) {
    const bytes = mutant(bases[seed % bases.length]!, new Random(seed));
    const start = performance.now();
    try {
      const verdict = judge(bytes);
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
    } catch (error) {
      faults++;
      const file = join(mkdtempSync(join(tmpdir(), 'sherd-mutant-')), `${seed}.wasm`);
      writeFileSync(file, bytes);
      console.log(`FAULT seed ${seed}: ${String(error)} (${file})`);
    }
    const ms = performance.now() - start;
    if (ms > slowestMs) [slowestMs, slowest] = [ms, seed];
    if ((seed - from + 1) % LINE_EVERY === 0) line(seed - from + 1);
  }
  line(count);
  return faults === 0 ? 0 : 1;
}
