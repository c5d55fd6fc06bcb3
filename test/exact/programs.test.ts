/**
 * Exactness of real programs: however a run is cut up and wherever its pieces run, it ends the same.
 *
 * For every program: straight through; a chain with at least 1,000 pauses at different fuel values, each one
 * capture → encode → decode → fresh instance; single pauses that run to the end, here and in other processes. Compared:
 * output, exit code, memory, globals, files, fuel. A capsule taken at fuel N has the same bytes whatever was before.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { every, Journey, type Outcome, type Subject, straight, through } from './drive.js';
import { ProcessPool } from './pool.js';
import { CASES, loadCase } from './programs.js';
import { Random } from './random.js';

const PAUSES = 1_000;
const SINGLE_PAUSES = 12;
const HOPS_AMONG_PROCESSES = 60;
const PROCESSES = 3;

let pool: ProcessPool;
beforeAll(() => {
  pool = new ProcessPool(PROCESSES);
});
afterAll(() => pool.close());

/** Carries a run through all processes in turn, about `hops` times. */
async function amongProcesses(
  subject: Subject,
  fuel: bigint,
  hops: number,
): Promise<{ outcome: Outcome; hops: number }> {
  const step = fuel / BigInt(hops) + 1n;
  const journey = Journey.begin(subject);
  journey.runTo(step);
  let { bytes } = journey.pack();
  let made = 1;
  const blobs = new Map(journey.allBlobs);
  for (let next = step * 2n; ; next += step) {
    const answer = await pool.go(made++, subject, bytes, [...blobs], next);
    if (answer.kind === 'loaded' || answer.kind === 'failed') throw new Error(answer.kind);
    journey.collected.add(answer.pieces);
    if (answer.kind === 'ended')
      return { outcome: { ...answer.facts, output: journey.collected.summary() }, hops: made - 1 };
    bytes = answer.capsule;
    for (const [hash, blob] of answer.blobs) blobs.set(hash, blob);
  }
}

describe.each(CASES)('$name', (each) => {
  let subject: Subject;
  let expected: Outcome;
  let fuel: bigint;
  let hashes: Map<bigint, string>;

  beforeAll(async () => {
    subject = await loadCase(each);
    expected = straight(subject);
    if (expected.fuel === null) throw new Error(`the program traps: ${expected.trap}`);
    fuel = expected.fuel;
  });

  it('runs, and runs the same twice', () => {
    expect(expected.kind).toMatch(/^(done|exit)$/);
    expect(expected.output).not.toBe('');
    expect(fuel).toBeGreaterThanOrEqual(PAUSES);
    expect(straight(subject)).toEqual(expected);
  });

  it(`${PAUSES} pauses in one run change nothing`, { timeout: 180_000 }, () => {
    const { outcome, hops } = through(subject, every(fuel / BigInt(PAUSES), fuel));
    hashes = hops;
    expect(hops.size).toBeGreaterThanOrEqual(PAUSES);
    expect(outcome).toEqual(expected);
  });

  it('one pause anywhere changes nothing, and its capsule does not depend on earlier pauses', {
    timeout: 120_000,
  }, () => {
    const random = new Random(11);
    const known = [...hashes.keys()];
    for (let i = 0; i < SINGLE_PAUSES; i++) {
      const at = i % 2 === 0 ? random.pick(known) : BigInt(1 + random.below(Number(fuel)));
      const { outcome, hops } = through(subject, [at]);
      expect([at, outcome]).toEqual([at, expected]);
      if (hashes.has(at)) expect([at, hops.get(at)]).toEqual([at, hashes.get(at)]);
    }
  });

  it(`goes through ${PROCESSES} processes, ${HOPS_AMONG_PROCESSES} hops`, {
    timeout: 120_000,
  }, async () => {
    expect(new Set([...pool.pids, process.pid]).size).toBe(PROCESSES + 1);
    await pool.load(subject);
    const { outcome, hops } = await amongProcesses(subject, fuel, HOPS_AMONG_PROCESSES);
    expect(hops).toBeGreaterThanOrEqual(50);
    expect(outcome).toEqual(expected);
  });

  it('ends in another process after one pause', { timeout: 120_000 }, async () => {
    const random = new Random(13);
    for (let i = 0; i < 6; i++) {
      const journey = Journey.begin(subject);
      journey.runTo(BigInt(1 + random.below(Number(fuel))));
      const { bytes } = journey.pack();
      const answer = await pool.go(i, subject, bytes, [...journey.allBlobs], null);
      if (answer.kind !== 'ended') throw new Error(answer.kind);
      journey.collected.add(answer.pieces);
      expect({ ...answer.facts, output: journey.collected.summary() }).toEqual(expected);
    }
  });
});
