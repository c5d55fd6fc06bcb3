/**
 * What happens to a cluster in a chaos run: each fault by name, with how often it is drawn.
 *
 *   violent    SIGKILL of a node, the control, `up`, two of them, all at once, `up` while it starts; SIGSTOP for a while
 *   orderly    SIGTERM, down, then up again; a node that stands still for longer than its lease, and wakes up
 *   verbs      move, pause and resume, storms of them, travel by capsule file, gc, gc beside moves, rm, one more node,
 *              submit, reading verbs; clients that are killed meanwhile
 *
 * Does: do it, and say in one line what was done. Does not: decide whether all is well (round.ts).
 *
 * F1  A verb may be struck by a violent fault while it is under way. It may then be refused, with one coded line.
 * F2  A fault leaves `up` running, or starting anew, and nothing stopped for longer than STOP_MS_MAX, a zombie ZOMBIE_MS.to.
 */
import type { ChildProcess } from 'node:child_process';
import type { ControlClient } from '../../host/control/client.js';
import { SherdError } from '../../host/types/errors.js';
import type { Random } from '../exact/random.js';
import { isRefusal, type Job } from './job.js';
import { sleep } from './patience.js';
import { Finding, type Processes, type Seen, type Verb } from './processes.js';

export interface World {
  readonly processes: Processes;
  readonly client: ControlClient;
  readonly random: Random;
  readonly nodes: number;
  readonly workers: number;
  readonly jobs: readonly Job[];
  readonly log: (line: string) => void;
  /** Another job, submitted; what became of it is in its fields. */
  readonly submitOne: (killMs?: number) => Promise<Job>;
  /** What goes on behind the faults: continuing what was stopped, extra nodes. */
  readonly background: Promise<unknown>[];
}

export interface Fault {
  readonly name: string;
  readonly weight: number;
  readonly isViolent: boolean;
  act(world: World): Promise<string>;
}

const STOP_MS_MAX = 9_000;
/** Longer than any lease (3 s), so that a successor is at work when it wakes up. */
const ZOMBIE_MS = { from: 4_000, to: 14_000 };
/** A start is struck within this time, a client within that one. */
const START_MS = 1_500;
const CLIENT_MS = 2_500;
const STORM_MAX = 40;
/** A violent fault strikes within this time from the begin of the verb. */
const STRIKE_MS = 900;
const STRIKE_CHANCE = 0.4;

/** Draws one. */
export function drawFault(random: Random): Fault {
  return draw(random, FAULTS);
}

export function faultOf(name: string): Fault {
  const found = FAULTS.find((fault) => fault.name === name);
  if (found === undefined) throw new Error(`no fault is called ${name}`);
  return found;
}

function draw(random: Random, faults: readonly Fault[]): Fault {
  let at = random.below(faults.reduce((sum, { weight }) => sum + weight, 0));
  for (const fault of faults) {
    at -= fault.weight;
    if (at < 0) return fault;
  }
  return faults[0]!;
}

function kill(world: World, kinds: readonly ('control' | 'node')[]): string {
  const killed: string[] = [];
  for (const kind of kinds) {
    const pids = world.processes.of(kind);
    if (pids.length === 0) continue;
    const pid = world.random.pick(pids);
    world.processes.signal(pid, 'SIGKILL');
    killed.push(`${kind} ${pid}`);
  }
  return killed.join(', ');
}

function stop(world: World, kind: 'control' | 'node'): string {
  const pids = world.processes.of(kind);
  const ms = world.random.between(300, STOP_MS_MAX);
  if (pids.length === 0) return `no ${kind}`;
  const pid = world.random.pick(pids);
  world.processes.signal(pid, 'SIGSTOP');
  world.background.push(sleep(ms).then(() => world.processes.signal(pid, 'SIGCONT')));
  return `${kind} ${pid} for ${ms} ms`;
}

/** `up` has ended, or was killed: another one, at once or a little later. */
async function upAgain(world: World): Promise<string> {
  const pauseMs = world.random.chance(0.5) ? 0 : world.random.below(2_000);
  await sleep(pauseMs);
  await world.processes.up(world.nodes, world.workers);
  return `up again after ${pauseMs} ms`;
}

const VIOLENT: readonly Fault[] = [
  violent('kill-node', 10, async (world) => kill(world, ['node'])),
  violent('kill-control', 6, async (world) => kill(world, ['control'])),
  violent('kill-node-and-control', 3, async (world) => kill(world, ['node', 'control'])),
  violent('kill-nodes', 2, async (world) => kill(world, ['node', 'node', 'node'])),
  violent('kill-up', 4, async (world) => {
    await world.processes.killUp();
    return upAgain(world);
  }),
  violent('kill-everything', 4, async (world) => {
    const pids = world.processes.list().filter(isCluster);
    for (const { pid } of pids) world.processes.signal(pid, 'SIGKILL');
    await world.processes.ended();
    return `${pids.length} processes; ${await upAgain(world)}`;
  }),
  violent('kill-two', 4, async (world) => {
    const those = shuffled(world, world.processes.list()).filter(isCluster).slice(0, 2);
    for (const { pid } of those) world.processes.signal(pid, 'SIGKILL');
    const what = those.map(({ kind, pid }) => `${kind} ${pid}`).join(' and ');
    if (!those.some(({ kind }) => kind === 'up')) return what;
    await world.processes.ended();
    return `${what}; ${await upAgain(world)}`;
  }),
  violent('kill-everything-up-at-once', 3, async (world) => {
    const those = world.processes.list().filter(isCluster);
    for (const { pid } of those) world.processes.signal(pid, 'SIGKILL');
    await world.processes.up(world.nodes, world.workers);
    return `${those.length} processes, and up in the same instant`;
  }),
  violent('kill-start', 4, async (world) => {
    await world.processes.killUp();
    const killed: string[] = [];
    for (let i = world.random.between(1, 3); i > 0; i--) {
      const up = world.processes.launch(world.nodes, world.workers);
      const afterMs = world.random.below(START_MS);
      await sleep(afterMs);
      // All that there is by then, or `up` alone: its children must end with it.
      const all = world.random.chance(0.5) ? world.processes.list().filter(isCluster) : [];
      for (const { pid } of all) world.processes.signal(pid, 'SIGKILL');
      up.kill('SIGKILL');
      await world.processes.ended();
      killed.push(`${all.length} after ${afterMs} ms`);
    }
    return `${killed.join(', ')}; ${await upAgain(world)}`;
  }),
  violent('stop-node', 3, async (world) => stop(world, 'node')),
  violent('stop-control', 3, async (world) => stop(world, 'control')),
];

const FAULTS: readonly Fault[] = [
  ...VIOLENT,
  orderly('term', 3, async (world) => {
    await world.processes.term();
    return upAgain(world);
  }),
  orderly('down', 2, async (world) => {
    const ended = await verb(world, ['down']);
    if (ended !== '') await world.processes.term();
    await world.processes.ended();
    return `${ended} ${await upAgain(world)}`;
  }),
  struck('move', 6, async (world) => {
    const job = pickJob(world);
    return job === undefined ? 'no job' : verb(world, ['move', '--timeout', '20s', job.id!]);
  }),
  struck('pause-resume', 4, async (world) => {
    const job = pickJob(world);
    if (job === undefined) return 'no job';
    const paused = await verb(world, ['pause', '--timeout', '20s', job.id!]);
    await sleep(world.random.below(1_500));
    return `${job.name} ${paused} ${await verb(world, ['resume', job.id!])}`;
  }),
  struck('travel', 4, async (world) => {
    const job = pickJob(world);
    return job === undefined ? 'no job' : `${job.name}: ${await job.travel()}`;
  }),
  struck('gc', 4, async (world) => verb(world, ['gc', '--grace', '0'])),
  struck('rm', 2, async (world) => {
    const job = world.jobs.find((each) => each.verified && !each.removed);
    if (job === undefined) return 'none is done';
    const ended = await verb(world, ['rm', job.id!]);
    // Refused: it may have gone all the same, but then it is said to be gone.
    job.removed = ended === '' || (await verb(world, ['rm', job.id!])).includes('SHERD_NO_SHARD');
    return `${job.name} ${ended}`;
  }),
  struck('submit', 4, async (world) => {
    const job = await world.submitOne();
    return `${job.name} as ${job.id ?? 'nothing yet'}`;
  }),
  struck('read', 2, async (world) => {
    const job = pickJob(world);
    const said = [await verb(world, ['ps']), await verb(world, ['du'])];
    if (job !== undefined) said.push(await verb(world, ['inspect', job.id!]));
    return said.join(' ');
  }),
  orderly('zombie', 4, async (world) => {
    const pids = world.processes.of('node');
    if (pids.length === 0) return 'no node';
    const pid = world.random.pick(pids);
    const ms = world.random.between(ZOMBIE_MS.from, ZOMBIE_MS.to);
    world.processes.signal(pid, 'SIGSTOP');
    try {
      const slept = sleep(ms);
      const did = world.random.chance(0.5)
        ? await storm(world)
        : await verb(world, ['gc', '--grace', '0']);
      await slept;
      return `node ${pid} for ${ms} ms; ${did}`;
    } finally {
      world.processes.signal(pid, 'SIGCONT');
    }
  }),
  struck('storm', 4, storm),
  struck('gc-beside-moves', 3, async (world) => {
    const ids = world.jobs.flatMap((job) => (job.isDone || job.id === undefined ? [] : [job.id]));
    const moving = ids.map((id) => verb(world, ['move', '--timeout', '20s', id]));
    const freeing = [1, 2, 3].map(() => verb(world, ['gc', '--grace', '0']));
    return (await Promise.all([...moving, ...freeing])).filter((line) => line !== '').join(' | ');
  }),
  struck('kill-client', 5, async (world) => {
    const afterMs = world.random.below(CLIENT_MS);
    const job = world.random.chance(0.5) ? undefined : pickJob(world);
    if (job === undefined) {
      const { name, id } = await world.submitOne(afterMs);
      return `submit of ${name} after ${afterMs} ms: ${id ?? 'nothing'}`;
    }
    const verbs: [string, ...string[]][] = [
      ['resume'],
      ['move'],
      ['inspect'],
      ['gc', '--grace', '0'],
    ];
    const [name, ...rest] = world.random.pick([['pause'] as [string], ['pause'], ...verbs]);
    if (name === 'pause')
      return `pause -o of ${job.name} after ${afterMs} ms: ${await job.pauseKilled(afterMs)}`;
    const args = [name, ...rest, ...(name === 'gc' ? [] : [job.id!])];
    const ended = await world.processes.killedVerb(args, world.random.below(afterMs + 1));
    if (ended.signal !== 'SIGKILL') expectRefusal(ended);
    return `${args.join(' ')} after ${afterMs} ms: ${ended.signal ?? ended.code}`;
  }),
  orderly('extra-node', 2, async (world) => {
    const child = world.processes.start(['node', '--name', 'extra']);
    world.background.push(extraNode(world, child));
    return 'started';
  }),
];

function violent(name: string, weight: number, act: Fault['act']): Fault {
  return { name, weight, act, isViolent: true };
}

function orderly(name: string, weight: number, act: Fault['act']): Fault {
  return { name, weight, act, isViolent: false };
}

/** F1. */
function struck(name: string, weight: number, act: Fault['act']): Fault {
  return orderly(name, weight, async (world) => {
    const { random } = world;
    if (!random.chance(STRIKE_CHANCE)) return act(world);
    const strike = draw(random, VIOLENT);
    const afterMs = random.below(STRIKE_MS);
    const doing = act(world);
    const striking = sleep(afterMs).then(() => strike.act(world));
    const [did, struckBy] = await Promise.all([doing, striking]);
    return `${did}; struck by ${strike.name} after ${afterMs} ms: ${struckBy}`;
  });
}

/** A job that is in the cluster and not done, if there is one. */
function pickJob({ random, jobs }: World): Job | undefined {
  const waiting = jobs.filter((job) => job.id !== undefined && !job.isDone);
  return waiting.length === 0 ? undefined : random.pick(waiting);
}

/** Runs a verb. Empty when it went well; its line when it was refused; a finding when it failed otherwise. */
async function verb(world: World, args: readonly string[]): Promise<string> {
  return expectRefusal(await world.processes.verb(args));
}

function expectRefusal({ args, code, signal, stderr }: Verb): string {
  if (code === 0) return '';
  if ((code === 1 || code === 2) && isRefusal(stderr)) return stderr.trim();
  throw new Finding(`sherd ${args.join(' ')}: ${code ?? signal}: ${stderr}`);
}

/** Many requests for pauses, resumes and moves of all that runs, some at a time, as fast as they are answered. */
async function storm(world: World): Promise<string> {
  const jobs = world.jobs.filter((job) => job.id !== undefined && !job.isDone);
  const count = world.random.between(10, STORM_MAX);
  const asks = Array.from({ length: jobs.length === 0 ? 0 : count }, () => ({
    id: world.random.pick(jobs).id!,
    op: world.random.pick(['pause', 'pause', 'resume', 'resume', 'move'] as const),
  }));
  let refused = 0;
  const ask = async (): Promise<void> => {
    for (let next = asks.shift(); next !== undefined; next = asks.shift()) {
      await world.client[next.op](next.id).catch((error: unknown) => {
        if (!(error instanceof SherdError) || error.code === 'SHERD_INTERNAL')
          throw new Finding(`${next?.op} in a storm: ${String(error)}`);
        refused += 1;
      });
    }
  };
  await Promise.all([ask(), ask(), ask()]);
  for (const { id } of jobs) await world.client.resume(id!).catch(() => undefined); // it is done
  return `${count} requests to ${jobs.length} jobs, ${refused} refused`;
}

function isCluster({ kind }: Seen): boolean {
  return kind !== 'other';
}

function shuffled<T>({ random }: World, items: readonly T[]): T[] {
  const left = [...items];
  return items.map(() => left.splice(random.below(left.length), 1)[0]!);
}

/** One more node: it is taken out by Ctrl-C, or killed, or ends with its cluster. */
async function extraNode(world: World, child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await sleep(world.random.between(1_500, 8_000));
  child.kill(world.random.chance(0.5) ? 'SIGINT' : 'SIGKILL');
  await world.processes.patience.soon('the end of an extra node', ended);
}
