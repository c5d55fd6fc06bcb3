/**
 * Compiles one module in a process of its own, again and again, and prints what it took as JSON: so that the first time
 * is cold and the peak memory is this module's.
 *
 *   node child.js FILE ROUNDS
 */
import { readFileSync } from 'node:fs';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';

export interface ChildResult {
  /** Times of all compilations in order, the cold one first. */
  readonly ms: readonly number[];
  readonly codeBytes: number;
  readonly moduleCodeBytes: number;
  readonly functions: number;
  readonly safepoints: number;
  readonly firstPeakBytes: number;
  readonly peakBytes: number;
}

/** Small modules are compiled at least for so long: the engine tiers up by work done. */
const WARM_MS = 1_500;

const peakBytes = (): number => process.resourceUsage().maxRSS * 1024;

function run(file: string, rounds: number): ChildResult {
  const bytes = readFileSync(file);
  const ms: number[] = [];
  let result: ChildResult | undefined;
  let firstPeakBytes = 0;
  const begin = performance.now();
  for (let round = 0; round <= rounds || performance.now() - begin < WARM_MS; round++) {
    const start = performance.now();
    const { sizes } = compileProgram(bytes, nodePlatform);
    ms.push(performance.now() - start);
    if (round === 0) firstPeakBytes = peakBytes();
    result = {
      ms,
      codeBytes: sizes.programCodeBytes,
      moduleCodeBytes: sizes.moduleCodeBytes,
      functions: sizes.functionsTotal,
      safepoints: sizes.safepoints,
      firstPeakBytes,
      peakBytes: peakBytes(),
    };
  }
  return result!;
}

const [file, rounds] = process.argv.slice(2);
process.stdout.write(JSON.stringify(run(file!, Number(rounds))));
