/** The simulator's checkers: each finds what it is for, and nothing in a right history. */
import { describe, expect, it } from 'vitest';
import type { CheckContext, Checker } from '../../host/simulate/checkers/checker.js';
import { committers } from '../../host/simulate/checkers/committers.js';
import { output } from '../../host/simulate/checkers/output.js';
import { results } from '../../host/simulate/checkers/results.js';
import { transitions } from '../../host/simulate/checkers/transitions.js';
import { digestOf, SIM_START, SimGuest, type SimSpec } from '../../host/simulate/sim-guest.js';
import { sha256 } from '../../host/simulate/world.js';
import { encodePlain } from '../../host/types/pack.js';
import type { OutputChunk, ShardRecord } from '../../host/types/records.js';
import { HASH, owned, queued } from '../protocol/records.js';

const SPEC: SimSpec = { totalFuel: 30n, fuelPerLine: 10n, maxFuel: 0n, maxTimeMs: 0 };

interface Bench extends CheckContext {
  readonly durable: Map<string, Uint8Array>;
  readonly killed: Set<string>;
  readonly seenHeads: Map<string, Set<string>>;
  readonly specs: Map<string, SimSpec>;
}

function bench(): Bench {
  const durable = new Map([[HASH(1), new Uint8Array(0)]]);
  return { durable, specs: new Map([['s-1', SPEC]]), killed: new Set(), seenHeads: new Map() };
}

function chunk(context: Bench, previous: string | null, offset: number, text: string): string {
  const bytes = new TextEncoder().encode(text);
  const link: OutputChunk = { v: 1, previous, offset, pieces: [{ stream: 'stdout', bytes }] };
  const packed = encodePlain(link);
  context.durable.set(sha256(packed), packed);
  return sha256(packed);
}

/** A right end: three lines in two chunks. */
function finished(
  context: Bench,
  change: Partial<ShardRecord> = {},
  texts = ['0 x\n1 x\n', '2 x\n'],
): ShardRecord {
  let head: string | null = null;
  let bytes = 0;
  for (const text of texts) {
    head = chunk(context, head, bytes, text);
    bytes += text.length;
  }
  const lines = texts.join('').split(/(?<=\n)/);
  const message = `3 ${lines.reduce(digestOf, SIM_START.digest)}`;
  const exit = {
    reason: 'exit',
    code: 0,
    message,
    guestStack: [],
    results: new Uint8Array(0),
  } as const;
  return queued('s-1', {
    status: 'done',
    epoch: 1,
    fuelUsed: 30n,
    exit,
    output: { head, chunks: texts.length, bytes },
    ...change,
  });
}

const end = (checker: Checker, record: ShardRecord, context: Bench): string =>
  checker.atEnd(new Map([[record.id, record]]), context).join('\n');

describe('results', () => {
  it('accepts a right end', () => {
    const context = bench();
    expect(end(results(), finished(context), context)).toBe('');
  });

  it.each<[string, (context: Bench) => ShardRecord, string]>([
    ['a shard that is not done', () => queued(), 'not done in time'],
    ['a line that is missing', (c) => finished(c, {}, ['0 x\n', '2 x\n']), 'line 1'],
    ['a line that comes twice', (c) => finished(c, {}, ['0 x\n1 x\n', '1 x\n2 x\n']), 'line 2'],
    [
      'the output of another execution',
      (c) => ({ ...finished(c, {}, ['0 x\n1 y\n2 x\n']), exit: finished(c).exit }),
      'not what the guest',
    ],
    ['fuel that is too little', (c) => finished(c, { fuelUsed: 20n }), 'ended at fuel 20'],
    [
      'a failure',
      (c) => finished(c, { exit: { ...finished(c).exit!, reason: 'failed' } }),
      'ended with failed',
    ],
    [
      'a kill that nobody asked for',
      (c) => finished(c, { exit: { ...finished(c).exit!, reason: 'killed' } }),
      'nobody asked',
    ],
  ])('finds %s', (_what, make, expected) => {
    const context = bench();
    expect(end(results(), make(context), context)).toContain(expected);
  });

  it('accepts a kill that was asked for, and a missing record is a fault', () => {
    const context = bench();
    context.killed.add('s-1');
    const record = finished(context, { exit: { ...finished(context).exit!, reason: 'killed' } }, [
      '0 x\n',
    ]);
    expect(end(results(), record, context)).toBe('');
    expect(results().atEnd(new Map(), context)).toEqual(['s-1: its record is not there']);
  });
});

describe('output', () => {
  const before = owned('a', 1, { status: 'running' });
  const afterHead = (head: string, bytes: number): ShardRecord => ({
    ...before,
    output: { head, chunks: 1, bytes },
  });

  it.each<[string, (context: Bench) => ShardRecord, string]>([
    ['output that is not durable', () => afterHead(HASH(9), 4), 'before it was durable'],
    [
      'a chunk that follows another one',
      (c) => afterHead(chunk(c, HASH(8), 0, 'x'), 1),
      'does not follow',
    ],
    ['a chunk that begins elsewhere', (c) => afterHead(chunk(c, null, 5, 'x'), 1), 'begins at 5'],
    ['bytes counted wrongly', (c) => afterHead(chunk(c, null, 0, 'x'), 2), 'counts output wrongly'],
    [
      'a capsule that is not durable',
      () => ({ ...before, capsule: HASH(9) }),
      'before it was durable',
    ],
  ])('finds %s', (_what, make, expected) => {
    const context = bench();
    expect(output().onChange(before, make(context), context).join('\n')).toContain(expected);
  });

  it('finds a reader that saw what is not in the final chain', () => {
    const context = bench();
    const record = finished(context);
    context.seenHeads.set('s-1', new Set([record.output.head ?? '']));
    expect(end(output(), record, context)).toBe('');
    context.seenHeads.get('s-1')?.add(HASH(66));
    expect(end(output(), record, context)).toContain('not in the final chain');
  });
});

describe('committers and transitions', () => {
  const running = owned('a', 1, { status: 'running' });
  const commit = (writer: string, fuel: bigint): ShardRecord => ({
    ...running,
    fuelUsed: fuel,
    writer,
    attempt: Number(fuel),
  });

  it('finds two committers of one epoch, and one that is not the owner', () => {
    const checker = committers();
    const context = bench();
    expect(checker.onChange(running, commit('a', 1n), context)).toEqual([]);
    expect(checker.onChange(commit('a', 1n), commit('b', 2n), context).length).toBe(2);
    expect(
      checker.onChange(
        running,
        { ...running, wanted: null, writer: 'control', attempt: 3 },
        context,
      ),
    ).toEqual([]);
    const recovered: ShardRecord = {
      ...running,
      owner: null,
      status: 'queued',
      epoch: 2,
      writer: 'control',
    };
    expect(checker.onChange(running, recovered, context)).toEqual([]);
  });

  it('knows sending on what nobody took up from committing', () => {
    const there = owned('a', 3);
    const sent = { ...there, owner: 'b', epoch: 4, writer: 'control', attempt: 9 };
    expect(committers().onChange(there, sent, bench())).toEqual([]);
    const stolen = { ...running, owner: 'b', epoch: 2, status: 'assigned', writer: 'c' } as const;
    expect(committers().onChange(running, stolen, bench()).length).toBe(1);
    expect(committers().onChange(there, { ...sent, fuelUsed: 5n }, bench()).length).toBe(1);
    expect(committers().onChange(there, { ...sent, moves: 1 }, bench()).length).toBe(1);
  });

  it('finds an illegal change', () => {
    const wrong = { ...running, epoch: 9, attempt: 2 };
    expect(transitions().onChange(running, wrong, bench()).join()).toContain(
      'epoch never goes back and never jumps',
    );
  });
});

describe('the simulated guest', () => {
  it('stops exactly where it is told, and writes the same lines in whatever steps it runs', () => {
    const guest = new SimGuest(SPEC, SIM_START);
    guest.stopAtFuel = 17n;
    guest.run(100n, 1, 'a');
    expect([guest.state.fuelUsed, guest.atStop, guest.drain()]).toEqual([17n, true, '0 1.00 a\n']);
    guest.stopAtFuel = 5n;
    guest.run(100n, 2, 'a');
    expect(guest.state.fuelUsed).toBe(17n);
    guest.stopAtFuel = null;
    for (let i = 0; i < 20; i++) guest.run(1n, 3, 'b');
    expect([guest.over, guest.state.lines, guest.drain()]).toEqual([
      true,
      3,
      '1 3.00 b\n2 3.00 b\n',
    ]);
  });
});
