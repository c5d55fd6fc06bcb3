/**
 * The fuzzer's corpus: what one seed stands for, and how it is examined.
 *
 *   seed ─ structured generator ─ as it is ──┬─ inputs ─ straight, hops far apart, dense, at waits, single ─ compare
 *                               └ at -O3 ────┘
 *   seed ─ Binaryen's generator, one feature set of several ─ every export with inputs ─ the same
 *
 * Does: turn a seed into modules and reports. Does not: choose seeds, count, keep failures (fuzz.test.ts, long.ts).
 *
 * C1  Both optimisation levels of a module must show the same outcome in the plain engine, and each its own as a shard. Which of two
 *     traps comes first Binaryen may change: that is counted by name, for no shard has run.
 * C2  Code is the engine's first tier, as it is in continuations that have just been made; with `npm run fuzz -- --turbofan` it
 *     is the optimising compiler's (engines.test.ts goes between the two).
 * C3  One seed in three has additional polls close together (spacing.ts), at places of any kind.
 * C4  What the compiler refuses by name is counted, never hidden.
 */
import { SherdError } from '../../host/types/errors.js';
import { generateModule, SETTINGS } from './generate.js';
import {
  argsOf,
  assemble,
  type Effort,
  examine,
  examineSubject,
  load,
  plainOutcome,
  type Report,
  type Visible,
} from './modules.js';
import { optimised } from './optimise.js';
import {
  callables,
  FEATURE_SETS,
  loadTranslated,
  plainCall,
  translate,
  translatedSubject,
  viewOf,
} from './translated.js';

/** What a seed gave: a report a module, input and optimisation level. */
export interface Examined {
  readonly reports: readonly Report[];
  /** The module's text or hex, to be kept when something differs. */
  readonly text: string;
}

/** Small modules first: a failure in a small one is easier to read. */
export function settingsOf(seed: number): typeof SETTINGS {
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

/** Instructions between polls, at most; undefined: as far apart as programs have them. */
export function spacingOf(seed: number): number | undefined {
  return seed % 3 === 1 ? [16, 64, 150, 400][(seed >> 2) % 4] : undefined;
}

/** A generated module at both levels, each with `inputs` sets of arguments. */
export function examineGenerated(seed: number, effort: Effort, inputs: number): Examined {
  const text = generateModule(seed, settingsOf(seed));
  const bytes = assemble(text);
  const small = optimised(bytes);
  const loadOf = (own: Uint8Array) => load(own, spacingOf(seed));
  const levels = [
    { name: '-O0', bytes, loaded: loadOf(bytes) },
    { name: '-O3', bytes: small, loaded: loadOf(small) },
  ];
  const reports: Report[] = [];
  for (let n = 0; n < inputs; n++) {
    const args = argsOf(seed, n);
    reports.push(...compareLevels(n, plainOutcome(bytes, args), plainOutcome(small, args)));
    for (const { name, bytes: own, loaded } of levels)
      reports.push(examine(`seed ${seed}, ${name}, input ${n}`, own, args, effort, loaded));
  }
  return { reports, text };
}

/** What the optimiser did to what the plain engine shows; nothing: no difference. */
function compareLevels(input: number, before: Visible, after: Visible): Report[] {
  const [left, right] = [before, after].map((outcome) => JSON.stringify(outcome));
  if (left === right) return [];
  const traps = before.kind === 'trap' && after.kind === 'trap';
  // What the host saw before is no matter of traps.
  if (traps && before.trap !== after.trap && before.output === after.output)
    return [{ kind: 'the optimiser has another trap first', pauses: 0, differences: [] }];
  const what = `input ${input}: -O0 and -O3 differ in the plain engine\n${left}\n${right}`;
  return [{ kind: 'optimiser', pauses: 0, differences: [what] }];
}

/** What the compiler says no to, by name; anything else is a finding. */
const REFUSED: ReadonlySet<string> = new Set([
  'SHERD_FEATURE_UNSUPPORTED',
  'SHERD_IMPORT_UNSUPPORTED',
]);

/** A module of Binaryen's generator: every export with `inputs` sets of arguments. */
export function examineTranslated(seed: number, effort: Effort, inputs: number): Examined {
  const features = FEATURE_SETS[seed % FEATURE_SETS.length]!;
  const bytes = translate(seed, 400 + (seed % 10) * 700, features);
  const text = Buffer.from(bytes).toString('hex');
  let loaded: ReturnType<typeof loadTranslated>;
  try {
    loaded = loadTranslated(bytes, spacingOf(seed));
  } catch (error) {
    if (!(error instanceof SherdError) || !REFUSED.has(error.code)) throw error;
    const kind = `refused: ${error.message.replace(/\d+/g, 'n')}`;
    return { reports: [{ kind, pauses: 0, differences: [] }], text };
  }
  const reports: Report[] = [];
  for (let n = 0; n < inputs; n++)
    for (const call of callables(loaded.module, seed * 16 + n)) {
      const subject = translatedSubject(`seed ${seed}`, loaded, call);
      const reference = plainCall(bytes, loaded.module, call);
      const report = examineSubject(subject, reference, viewOf(reference), effort);
      const where = `${call.entry}(${call.args.join()}): `;
      reports.push({ ...report, differences: report.differences.map((each) => where + each) });
    }
  return { reports, text };
}
