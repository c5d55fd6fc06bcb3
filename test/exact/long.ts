/**
 * The long fuzzing run: seeds one after the other until enough pauses were made; progress as lines on stdout.
 *
 *   npm run fuzz -- [--pauses 1000000] [--from 1] [--spread 400] [--dense 200] [--inputs 3] [--translated 20]
 *
 * Each seed is a module of the structured generator; every `--translated`th one (0: none) a module of Binaryen's too.
 *
 * Does: count, print, keep what differs in the temporary directory. Does not: stop at a difference.
 *
 * L1  One process, one seed at a time: memory is bounded by one seed's modules. A line shows the resident size.
 * L2  The last line says seeds, pauses, outcomes, differences; the exit code is 1 when there was a difference.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Examined, examineGenerated, examineTranslated } from './corpus.js';
import type { Effort } from './modules.js';

const LINE_EVERY_MS = 30_000;

class Tally {
  pauses = 0;
  modules = 0;
  runs = 0;
  readonly kinds = new Map<string, number>();
  readonly failures: string[] = [];

  add(what: string, { reports, text }: Examined): void {
    this.modules++;
    this.runs += reports.length;
    for (const { kind, pauses } of reports) {
      this.pauses += pauses;
      this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
    }
    const differences = reports.flatMap((report) => report.differences);
    if (differences.length > 0) this.fail(what, text, differences);
  }

  fail(what: string, text: string, differences: readonly string[]): void {
    const folder = mkdtempSync(join(tmpdir(), 'sherd-fuzz-'));
    writeFileSync(join(folder, 'module'), text);
    writeFileSync(join(folder, 'differences'), differences.join('\n'));
    this.failures.push(`${what}: ${folder}`);
    console.log(`DIFFERENCE ${what}: ${folder}\n  ${differences[0]}`);
  }

  line(): string {
    const kinds = [...this.kinds].sort((a, b) => b[1] - a[1]).map(([kind, n]) => `${kind} ${n}`);
    const { modules, runs, pauses, failures } = this;
    return `${modules} modules, ${runs} runs, ${pauses} pauses, ${failures.length} differences (${kinds.join(', ')})`;
  }
}

function commitOf(root: string): string {
  try {
    return execFileSync('git', ['-C', root, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' });
  } catch {
    return 'unknown';
  }
}

/** A failure to run at all is a difference as well. */
function attempt(what: string, tally: Tally, examine: () => Examined): void {
  try {
    tally.add(what, examine());
  } catch (error) {
    tally.fail(what, '', [error instanceof Error ? (error.stack ?? error.message) : String(error)]);
  }
}

const OPTIONS = {
  pauses: { type: 'string', default: '1000000' },
  from: { type: 'string', default: '1' },
  spread: { type: 'string', default: '400' },
  dense: { type: 'string', default: '200' },
  inputs: { type: 'string', default: '3' },
  translated: { type: 'string', default: '20' },
} as const;

export async function main(args: readonly string[], root: string): Promise<number> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS });
  const effort: Effort = {
    spread: Number(values.spread),
    dense: Number(values.dense),
    singles: 3,
  };
  const [first, wanted, every] = [values.from, values.pauses, values.translated].map(Number);
  const inputs = Number(values.inputs);
  console.log(`fuzz: commit ${commitOf(root).trim()}, Node ${process.version}, from seed ${first}`);
  const tally = new Tally();
  const startedMs = performance.now();
  let lineMs = startedMs;
  let seed = first!;
  for (; tally.pauses < wanted!; seed++) {
    attempt(`seed ${seed}`, tally, () => examineGenerated(seed, effort, inputs));
    if (every! > 0 && seed % every! === 0)
      attempt(`translated ${seed / every!}`, tally, () =>
        examineTranslated(seed / every!, effort, inputs),
      );
    if (performance.now() - lineMs < LINE_EVERY_MS) continue;
    lineMs = performance.now();
    const megabytes = Math.round(process.memoryUsage.rss() / 2 ** 20);
    const cpu = Math.round((process.cpuUsage().user + process.cpuUsage().system) / 1e6);
    console.log(`seed ${seed}: ${tally.line()}; ${megabytes} MiB, ${cpu} s of CPU`);
    await new Promise((resolve) => setTimeout(resolve, 0)); // lets the engine free what is gone
  }
  const seconds = Math.round((performance.now() - startedMs) / 1e3);
  console.log(`END seeds ${first} to ${seed - 1}: ${tally.line()} in ${seconds} s`);
  return tally.failures.length === 0 ? 0 : 1;
}
