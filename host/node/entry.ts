/**
 * Which export a run calls.
 *
 * E1  As told; else `_start`; else the only exported function without parameters. Never a guess between several.
 */
import { EXIT, SherdError } from '../types/errors.js';
import type { ShardModule } from '../types/module.js';

/** The entry of a run; SHERD_ENTRY_MISSING (exit code 2) names the candidates. `at` is the program's file. */
export function chooseEntry(
  module: ShardModule,
  wanted: string | undefined,
  at: string | undefined,
): string {
  const names = [...module.exports.keys()];
  if (wanted !== undefined) {
    if (!module.exports.has(wanted)) throw missing(at, `it exports no function '${wanted}'`, names);
    if (parameterCount(module, wanted) > 0) {
      throw missing(at, `'${wanted}' takes parameters, a run's entry takes none`, names);
    }
    return wanted;
  }
  if (module.exports.has('_start')) return '_start';
  const candidates = names.filter(
    (name) => !name.startsWith('__') && parameterCount(module, name) === 0,
  );
  if (candidates.length === 1) return candidates[0]!;
  if (candidates.length === 0) {
    throw missing(at, 'it exports no _start and no function without parameters', names);
  }
  const count = candidates.length;
  throw missing(at, `it exports no _start but ${count} functions that could be meant`, candidates);
}

function parameterCount(module: ShardModule, name: string): number {
  const index = module.exports.get(name) ?? -1;
  const imported = module.imports[index];
  return (imported ?? module.functions[index - module.imports.length])?.params.length ?? 0;
}

function missing(at: string | undefined, message: string, names: readonly string[]): SherdError {
  const shown = names.slice(0, 6).join(', ');
  const next =
    names.length === 0
      ? 'export a function'
      : `name one with --entry: ${shown}${names.length > 6 ? ', …' : ''}`;
  return new SherdError('SHERD_ENTRY_MISSING', message, { at, next, exitCode: EXIT.refused });
}
