/**
 * What runs in a fresh process: one of three jobs, each answer a line of JSON on stdout.
 *
 *   base      warm code; writes the capsule; then, for each line on stdin, long runs plain, as a shard, as a shard again,
 *             and as a shard up to the pause
 *   resumed   from the bytes of shard module and capsule to the end of the program: compiling included; in quanta, as worker
 *             threads run every guest (host/node/rotation.ts)
 *   straight  the same in one go
 *   cold      never paused: from the bytes of the program to its end, compiling included
 *
 * Does: measure its own process. Does not: compare (main.ts).
 *
 * J1  Every run gives the program's checksum, which the parent compares.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { readShardModule } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { type Instance, LoadedModule, MAX_BUDGET } from '../../host/runtime/index.js';
import { packInstance, unpackInstance } from '../lib/capsules.js';
import { type Timed, timeOnce, type Variant, WARM_UP, warmUp } from '../lib/timing.js';
import type { Program } from '../overhead/programs.js';
import {
  finish,
  finishInQuanta,
  plainVariant,
  sherdVariant,
  startInstance,
} from '../overhead/variants.js';

export interface Job {
  readonly kind: 'base' | 'resumed' | 'straight' | 'cold';
  readonly name: string;
  readonly programPath: string;
  readonly shardPath: string;
  readonly capsulePath: string;
  readonly parameter: number;
  readonly longParameter: number;
  /** Where the pause is, as a part of the run's fuel. */
  readonly pausedAt: number;
}

/** One round in warm code. */
export interface BaseRound {
  readonly plain: Timed;
  readonly sherd: Timed;
  readonly again: Timed;
  /** The shard up to the pause, in place. */
  readonly prefix: Timed;
}

export interface BaseAnswer {
  readonly fuel: string;
  readonly pausedFuel: string;
  readonly capsuleBytes: number;
  readonly guestStack: readonly string[];
}

export interface EndAnswer {
  readonly timed: Timed;
  /** Part of it before the first instruction of the program: compiling, decoding, the continuation. */
  readonly readyMs: number;
}

function runTo(instance: Instance, fuel: bigint): void {
  while (instance.fuelUsed < fuel) {
    const left = fuel - instance.fuelUsed;
    const result = instance.run(Number(left > BigInt(MAX_BUDGET) ? BigInt(MAX_BUDGET) : left));
    if (result.kind !== 'quantum') throw new Error(`ended with ${result.kind} before the pause`);
  }
}

async function base(job: Job): Promise<void> {
  const program = programOf(job);
  const long: Program = { ...program, parameter: job.longParameter };
  const loaded = load(job);
  await warmUp(plainVariant('plain', program, 'plain'), WARM_UP);
  await warmUp(sherdVariant('sherd', program, loaded, MAX_BUDGET), WARM_UP);
  const whole = startInstance(loaded, long);
  finish(whole, MAX_BUDGET);
  const fuel = whole.fuelUsed;
  const pausedFuel = BigInt(Math.max(1, Math.floor(Number(fuel) * job.pausedAt)));
  const paused = startInstance(loaded, long);
  runTo(paused, pausedFuel);
  const capsule = packInstance(paused, loaded);
  writeFileSync(job.capsulePath, capsule);
  const prefixVariant: Variant = {
    name: 'prefix',
    prepare: () => {
      const instance = startInstance(loaded, long);
      return () => {
        runTo(instance, pausedFuel);
        return 0;
      };
    },
  };
  answer({
    fuel: fuel.toString(),
    pausedFuel: pausedFuel.toString(),
    capsuleBytes: capsule.length,
    guestStack: paused.guestStack(8),
  } satisfies BaseAnswer);
  const again = (name: string): Variant => sherdVariant(name, long, loaded, MAX_BUDGET);
  for await (const _ of createInterface({ input: process.stdin }))
    answer({
      plain: timeOnce(plainVariant('plain', long, 'plain')),
      sherd: timeOnce(again('sherd')),
      prefix: timeOnce(prefixVariant),
      again: timeOnce(again('again')),
    } satisfies BaseRound);
}

function programOf(job: Job): Program {
  const { name, parameter, longParameter } = job;
  return { name, parameter, longParameter, bytes: new Uint8Array(readFileSync(job.programPath)) };
}

function load(job: Job): LoadedModule {
  const bytes = new Uint8Array(readFileSync(job.shardPath));
  return LoadedModule.load(readShardModule(bytes, nodePlatform), nodePlatform);
}

function resumed(job: Job): EndAnswer {
  const shard = new Uint8Array(readFileSync(job.shardPath));
  const capsule = new Uint8Array(readFileSync(job.capsulePath));
  let readyMs = 0;
  const timed = timeOnce({
    name: 'resumed',
    prepare: () => () => {
      const startedMs = performance.now();
      const loaded = LoadedModule.load(readShardModule(shard, nodePlatform), nodePlatform);
      const instance: Instance = unpackInstance(capsule, loaded);
      instance.warm();
      readyMs = performance.now() - startedMs;
      return job.kind === 'straight' ? finish(instance, MAX_BUDGET) : finishInQuanta(instance);
    },
  });
  return { timed, readyMs };
}

function cold(job: Job): EndAnswer {
  const program = { ...programOf(job), parameter: job.longParameter };
  let readyMs = 0;
  const timed = timeOnce({
    name: 'cold',
    prepare: () => () => {
      const startedMs = performance.now();
      const call = plainVariant('cold', program, 'cold').prepare();
      readyMs = performance.now() - startedMs;
      return call();
    },
  });
  return { timed, readyMs };
}

function answer(value: BaseAnswer | BaseRound | EndAnswer): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

const job = JSON.parse(process.argv[2]!) as Job;
if (job.kind === 'base') await base(job);
else answer(job.kind === 'cold' ? cold(job) : resumed(job));
