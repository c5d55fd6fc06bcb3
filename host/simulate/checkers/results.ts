/**
 * Every shard ends, and rightly: all lines once and in order, and the digest that the guest computed over them is the digest of what
 * was released. Only a shard that somebody killed may end killed.
 */
import type { ShardRecord } from '../../types/records.js';
import { digestOf, expectedLines, SIM_START, type SimSpec } from '../sim-guest.js';
import type { CheckContext, Checker } from './checker.js';
import { chainOf } from './output.js';

function textOf(record: ShardRecord, context: CheckContext): string {
  const decoder = new TextDecoder();
  return chainOf(record, context)
    .flatMap((chunk) => chunk.pieces)
    .map((piece) => decoder.decode(piece.bytes))
    .join('');
}

function linesFaults(record: ShardRecord, lines: readonly string[]): string[] {
  const wrong = lines.findIndex((line, index) => !line.startsWith(`${index} `));
  return wrong < 0
    ? []
    : [`${record.id}: line ${wrong} of the output is "${lines[wrong]?.trim()}"`];
}

function resultFaults(record: ShardRecord, spec: SimSpec, context: CheckContext): string[] {
  const exit = record.exit;
  if (exit === null)
    return [
      `${record.id}: not done in time, ${record.status} on ${record.owner ?? 'no node'}: ${record.reason}`,
    ];
  const text = textOf(record, context);
  const lines =
    text === ''
      ? []
      : text
          .slice(0, -1)
          .split('\n')
          .map((line) => `${line}\n`);
  const faults = linesFaults(record, lines);
  if (exit.reason === 'killed') {
    if (!context.killed.has(record.id))
      faults.push(`${record.id}: killed, but nobody asked for it`);
    return faults;
  }
  const quota = spec.maxFuel > 0n && spec.maxFuel < spec.totalFuel;
  const fuel = quota ? spec.maxFuel : spec.totalFuel;
  const expected = expectedLines({ ...spec, totalFuel: fuel });
  if (exit.reason !== (quota ? 'fuel-quota' : 'exit'))
    faults.push(`${record.id}: ended with ${exit.reason}: ${exit.message}`);
  if (record.fuelUsed !== fuel)
    faults.push(`${record.id}: ended at fuel ${record.fuelUsed}, not ${fuel}`);
  if (lines.length !== expected)
    faults.push(`${record.id}: released ${lines.length} lines, not ${expected}`);
  const digest = lines.reduce(digestOf, SIM_START.digest);
  if (!quota && exit.message !== `${expected} ${digest}`) {
    faults.push(`${record.id}: what was released is not what the guest that ended had written`);
  }
  return faults;
}

export const results = (): Checker => ({
  name: 'results',
  onChange: () => [],
  atEnd(records, context) {
    const faults: string[] = [];
    for (const [id, spec] of context.specs) {
      const record = records.get(id);
      if (record === undefined) faults.push(`${id}: its record is not there`);
      else faults.push(...resultFaults(record, spec, context));
    }
    return faults;
  },
});
