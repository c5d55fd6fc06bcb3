/**
 * The workflow of the seed, live: a cluster of two nodes, real programs, and every step of it in `sherd events`.
 *
 *   n1 [ A C ]  n2 [ B D ]   four places, all taken     E waits        no suitable node: queued
 *   H (urgent) comes         one of A–D is preempted    H runs, ends   overloaded: a lower priority gives way; deployed
 *   E gets the place         the preempted one waits, is killed
 *   one node is emptied      the other one has two shards for one worker: a bottleneck is predicted, a shard is moved there:
 *                            captured, resumed from exactly there; the bottleneck is over
 *
 * Every wait names what it waits for, and shows what came instead when its patience is at an end.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TraceEvent } from '../../host/types/brain.js';
import { EventLog } from './event-log.js';
import { type Running, sherd, startSherd } from './sherd.js';

const PATIENCE_MS = 600_000;
const FORTH = fileURLToPath(new URL('../fixtures/forth.wasm', import.meta.url));
const FIB = ': fib dup 2 < if else dup 1 - recurse swap 2 - recurse + then ;';
const env = { SHERD_FABRIC: 'embedded:data' };

let cwd: string;
let up: Running;
let log: EventLog;

async function run(...args: string[]): Promise<string> {
  const ended = await sherd(args, { cwd, env });
  expect([args, ended.code, ended.stderr]).toEqual([args, 0, '']);
  return ended.text.trim();
}

const submit = (name: string, ...more: string[]): Promise<string> =>
  run(
    'submit',
    '--name',
    name,
    '--stdin',
    `${more.length > 0 ? 'short' : 'long'}.fs`,
    ...more,
    FORTH,
  );

/** The node on which the shard was put last, among the events before `until`. */
function nodeOf(id: string, until?: TraceEvent): string | null {
  const { events } = log;
  const before = until === undefined ? events : events.slice(0, events.indexOf(until));
  return before.findLast(of('runs', id))?.nodeId ?? null;
}

const of = (what: string, id: string | null) => (event: TraceEvent) =>
  event.what === what && event.shardId === id;
const at = (what: string, nodeId: string) => (event: TraceEvent) =>
  event.what === what && event.nodeId === nodeId;

beforeAll(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'cli-flow-'));
  await writeFile(join(cwd, 'long.fs'), `${FIB} 60 fib . cr\n`); // for years
  // A record that changes twice within a watch's turn is seen once: it runs long enough to be seen running.
  await writeFile(join(cwd, 'short.fs'), `${FIB} 24 fib drop 12 fib . cr\n`);
  up = startSherd(['up', '--nodes', '2', '--workers', '1'], { cwd, env });
  await up.until('stop ');
  log = new EventLog(startSherd(['events', '-f', '--json'], { cwd, env }));
}, PATIENCE_MS);
afterAll(async () => {
  log.close();
  up.child.kill('SIGTERM');
  await up.ended;
  await rm(cwd, { recursive: true, force: true });
}, PATIENCE_MS);

describe('the workflow of a cluster', { timeout: PATIENCE_MS }, () => {
  const long: string[] = [];
  let waiting: string;
  let preempted: string;

  it('1–5: a program is taken in, cut, predicted, placed, run', async () => {
    const first = await log.until('one node', (event) => event.what === 'watching');
    await log.until(
      'two nodes',
      ({ what, nodeId }) => what === 'watching' && nodeId !== first.nodeId,
    );
    for (const name of ['A', 'B', 'C', 'D']) {
      const id = await submit(name);
      long.push(id);
      await log.sequence(
        `the first steps of ${name}`,
        ['received', 'decomposed', 'predicted', 'assign', 'runs'].map((what) => of(what, id)),
      );
    }
    const steps = log.events.filter(({ shardId }) => shardId === long[0]).map(({ step }) => step);
    expect(steps.slice(0, 5)).toEqual([1, 2, 3, 4, 5]);
    const used = long.map((id) => nodeOf(id));
    expect(new Set(used).size).toBe(2);
    for (const node of used) expect(used.filter((other) => other === node)).toHaveLength(2);
  });

  it('4: no node has room: it is queued, and says why', async () => {
    waiting = await submit('E');
    const event = await log.until('E waits', of('waits', waiting));
    expect(event).toMatchObject({ step: 4, detail: 'every node is full (2 up)' });
  });

  it('7: an urgent one comes: a lower priority is preempted, captured, queued; the urgent one is deployed', async () => {
    const urgent = await submit('H', '--priority', '5');
    const preempt = await log.until('a preemption', ({ what }) => what === 'preempt');
    preempted = preempt.shardId ?? '';
    expect([...long, waiting]).toContain(preempted);
    expect(preempt).toMatchObject({ step: 7, detail: expect.stringContaining(urgent) });
    await log.sequence('its state is stored', [
      of('preempt', preempted),
      of('captured', preempted),
    ]);
    await log.sequence('H gets the place', [
      of('received', urgent),
      of('waits', urgent),
      of('assign', urgent),
      of('runs', urgent),
      of('ended', urgent),
    ]);
    const result = await sherd(['result', urgent], { cwd, env });
    expect([result.code, result.text]).toEqual([0, '144 \n']);
  });

  it('4: the place that is free again goes to who waited longest', async () => {
    await log.sequence('E is placed', [
      of('waits', waiting),
      of('assign', waiting),
      of('runs', waiting),
    ]);
    const placed = log.events.findIndex(of('assign', waiting));
    const ended = log.events.findIndex(({ what }) => what === 'ended');
    expect(placed).toBeGreaterThan(ended);
    await log.until('the preempted one waits', of('waits', preempted));
    await run('kill', preempted);
  });

  it('6, 7: a bottleneck is predicted: a shard is stopped, captured, moved, goes on from there; it is over', async () => {
    const left = [...long, waiting].filter((id) => id !== preempted);
    const crowded = nodeOf(waiting) ?? '';
    const predicted = await log.until(
      `a bottleneck of ${crowded}`,
      at('bottleneck predicted', crowded),
    );
    expect(predicted.step).toBe(6);
    const leaving = left.filter((id) => nodeOf(id) !== crowded);
    expect(leaving).toHaveLength(2);
    await run('kill', ...leaving);
    const migrate = await log.until('a migration', ({ what }) => what === 'migrate');
    const moved = migrate.shardId ?? '';
    // It may run elsewhere already.
    expect(nodeOf(moved, migrate)).toBe(crowded);
    expect(migrate.nodeId).not.toBe(crowded);
    expect(migrate).toMatchObject({
      step: 7,
      detail: expect.stringContaining('bottleneck predicted'),
    });
    const [, captured, , resumed] = await log.sequence('the shard is moved', [
      of('migrate', moved),
      of('captured', moved),
      of('moved', moved),
      of('resumed', moved),
      of('runs', moved),
    ]);
    expect(captured).toMatchObject({ step: 7, nodeId: crowded });
    expect(resumed).toMatchObject({ step: 7, nodeId: migrate.nodeId });
    expect(resumed?.detail).toBe(/at fuel \d+/.exec(captured?.detail ?? '')?.[0]);
    await log.sequence('the bottleneck is over', [
      of('moved', moved),
      at('bottleneck over', crowded),
    ]);
    // Nothing was gained by moving on: neither the one that moved nor the one that stayed moves again.
    expect(log.events.filter(({ what }) => what === 'migrate')).toHaveLength(1);
    await run('kill', ...left.filter((id) => !leaving.includes(id)));
  });
});
