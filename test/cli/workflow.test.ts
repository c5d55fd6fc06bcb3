/**
 * The workflow from a program's arrival to its move before a bottleneck, live: two shards crowd one node, a third waits, an
 * urgent one preempts, a second node joins and takes over. Every step must show in `sherd events`, in its order.
 */
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TraceEvent } from '../../host/types/brain.js';
import { programDirectory } from './programs.js';
import { type Running, sherd, startSherd } from './sherd.js';

const SLOW = 300_000;
const env = { SHERD_FABRIC: 'embedded:data' };
let cwd: string;
const started: Running[] = [];
const seen: TraceEvent[] = [];
let heard: () => void = () => undefined;

function start(...args: string[]): Running {
  const running = startSherd(args, { cwd, env });
  started.push(running);
  return running;
}

async function submit(...args: string[]): Promise<string> {
  const ended = await sherd(['submit', ...args], { cwd, env });
  expect([ended.code, ended.stderr]).toEqual([0, '']);
  return ended.text.trim();
}

async function kill(...ids: string[]): Promise<void> {
  const ended = await sherd(['kill', ...ids], { cwd, env });
  expect([ended.code, ended.stderr]).toEqual([0, '']);
}

/** The first event from `after` on for which this holds; waits until there is one. */
async function event(
  what: string,
  holds: (event: TraceEvent) => boolean = () => true,
  after = 0,
): Promise<TraceEvent> {
  for (;;) {
    const found = seen.find((each) => each.seq > after && each.what === what && holds(each));
    if (found !== undefined) return found;
    await new Promise<void>((resolve) => {
      heard = resolve;
    });
  }
}

const of =
  (id: string) =>
  ({ shardId }: TraceEvent): boolean =>
    shardId === id;
const onNode =
  (name: string) =>
  ({ nodeId }: TraceEvent): boolean =>
    nodeId?.startsWith(`${name}-`) === true;

/** The events of these names for one shard, each after the one before. */
async function inOrder(id: string, names: readonly string[], after = 0): Promise<TraceEvent[]> {
  const found: TraceEvent[] = [];
  for (const name of names) found.push(await event(name, of(id), found.at(-1)?.seq ?? after));
  return found;
}

beforeAll(async () => {
  cwd = await programDirectory(['spin']);
  await start('up', '--nodes', '1', '--workers', '1').until('stop ');
  let rest = '';
  start('events', '--follow', '--json').child.stdout?.on('data', (bytes: Buffer) => {
    const lines = (rest + bytes.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) seen.push(JSON.parse(line) as TraceEvent);
    heard();
  });
}, SLOW);

afterAll(async () => {
  for (const running of started.reverse()) {
    running.child.kill('SIGTERM');
    await running.ended;
  }
  await rm(cwd, { recursive: true, force: true });
}, SLOW);

it(
  'shows every step of the workflow',
  async () => {
    // 1 to 5: received, cut, predicted, assigned to a node because of its forecast, runs.
    const first = await submit('spin.wasm');
    const early = await inOrder(first, ['received', 'decomposed', 'predicted', 'assign', 'runs']);
    expect(early.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
    const [, , , assigned, running] = early;
    expect([assigned?.nodeId, assigned?.detail]).toEqual([
      running?.nodeId,
      expect.stringMatching(/load/),
    ]);
    const second = await submit('spin.wasm');
    await inOrder(second, ['received', 'decomposed', 'predicted', 'assign', 'runs']);

    // 6: the load is watched; a bottleneck is predicted where two crowd one worker. They take turns meanwhile.
    expect((await event('watching', onNode('n1'))).step).toBe(6);
    const alarm = await event('bottleneck predicted', onNode('n1'));
    expect([alarm.step, alarm.detail]).toEqual([
      6,
      expect.stringMatching(/probability [01]\.\d\d/),
    ]);
    expect((await event('preempt by quantum', onNode('n1'))).step).toBe(7);

    // No suitable node: it queues, and says why. A more urgent one preempts.
    const third = await submit('spin.wasm');
    const waits = await event('waits', of(third));
    expect([waits.step, waits.detail.length > 0]).toEqual([4, true]);
    const urgent = await submit('--priority', '9', 'spin.wasm');
    const preempt = await event('preempt', ({ detail }) => detail.includes(urgent));
    expect(preempt.step).toBe(7);
    const victim = preempt.shardId!;
    await event('captured', of(victim), preempt.seq);
    const [placed] = await inOrder(urgent, ['assign', 'runs'], preempt.seq);
    expect(placed?.nodeId).toBe(assigned?.nodeId);
    await kill(third, urgent);
    await inOrder(urgent, ['ended']);
    await inOrder(victim, ['assign', 'resumed'], placed?.seq);

    // 7: a node with room joins. One of the two is captured, moved before the bottleneck, and goes on there.
    const joined = seen.at(-1)!.seq;
    start('node', '--name', 'n2', '--workers', '1');
    await event('watching', onNode('n2'), joined);
    const migrate = await event('migrate', onNode('n2'), joined);
    expect([migrate.step, migrate.detail]).toEqual([
      7,
      expect.stringContaining('bottleneck predicted'),
    ]);
    const moved = migrate.shardId!;
    expect([first, second]).toContain(moved);
    const late = await inOrder(moved, ['captured', 'moved', 'resumed', 'runs'], migrate.seq);
    expect(late.map(({ step }) => step)).toEqual([7, 7, 7, 5]);
    expect(late.slice(1).every(onNode('n2'))).toBe(true);
    expect((await event('bottleneck over', onNode('n1'), migrate.seq)).step).toBe(6);
    await kill(first, second);
    await event('turns over', onNode('n1'), migrate.seq);
  },
  SLOW,
);
