/**
 * An explanation of a function as text for people.
 *
 * Does: lay out. Does not: find anything out (explain.ts).
 */
import type { ExplainedSafepoint, ExplainedValue, FunctionExplanation } from './explain.js';

/** At most so many values are named in one line. */
const NAMED = 12;

const at = (offset: number | null): string =>
  offset === null ? '' : ` at 0x${offset.toString(16)}`;

function values(list: readonly ExplainedValue[]): string {
  if (list.length === 0) return 'nothing';
  const names = list.slice(0, NAMED).map(({ name, type }) => `${name}: ${type}`);
  const more = list.length - names.length;
  const bytes = list.reduce((sum, value) => sum + value.bytes, 0);
  return `${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}  (${bytes} bytes)`;
}

function safepoint(s: ExplainedSafepoint): string[] {
  const depth = s.loopDepth > 0 ? `, loop depth ${s.loopDepth}` : '';
  const lines = [
    `  ${s.number}  ${s.kind}${at(s.offset)}${depth}: ${s.what}`,
    `       why      ${s.why}`,
    `       fuel     ${s.fuel === 1 ? '1 a passage' : '0: what it calls pays its own'}`,
    `       live     ${values(s.live)}`,
  ];
  if (s.rebuilt.length > 0) lines.push(`       operands ${s.rebuilt.join('; ')}`);
  if (s.results.length > 0)
    lines.push(`       then     the call gives ${s.results.join(', ')}, from registers`);
  if (s.guarded) lines.push('       guarded  an exception from the call can be caught here');
  return lines;
}

/** The explanation, ending with a line break. */
export function renderExplanation(e: FunctionExplanation): string {
  const lines = [
    `function ${e.index}${e.name === null ? '' : `  ${e.name}`}  (${e.params.join(' ')}) → (${e.results.join(' ')})`,
    `  code         ${e.programBytes} → ${e.moduleBytes} bytes, ${e.instructions} instructions${e.deadInstructions > 0 ? `, ${e.deadInstructions} of them unreachable and left out` : ''}`,
    `  can stop     ${e.canStop ? 'yes' : 'no'}: ${e.whyStop}`,
    `  fuel         ${e.carriesFuel ? 'carried' : 'none'}: ${e.whyFuel}`,
  ];
  if (e.canStop) {
    lines.push(
      `  frame        ${e.frameBytes} bytes: ${e.slots.length} values, the union over all safepoints`,
    );
    if (e.saves.length > 0) {
      const places = e.saves.slice(0, NAMED).map((s) => `0x${s.offset.toString(16)}`);
      const more = e.saves.length - places.length;
      lines.push(
        `  saves        ${e.saves.length} in the fast code, of operands that a later safepoint needs: at ${places.join(', ')}${more > 0 ? ` and ${more} more` : ''}`,
      );
    }
    for (const part of e.outlined) lines.push(`  out of line  ${part}`);
    lines.push(`safepoints: ${e.safepoints.length}`, ...e.safepoints.flatMap(safepoint));
  }
  lines.push(`loops and calls without a safepoint: ${e.without.length}`);
  for (const { offset, what, why } of e.without) lines.push(`  ${what}${at(offset)}: ${why}`);
  return `${lines.join('\n')}\n`;
}
