/**
 * Drives one run: to a fuel position, through a capsule into a fresh instance, to the end.
 *
 *   Journey.begin ─ runTo(n) ─ hop ─ runTo(m) ─ hop ─ … ─ finish → Outcome
 *                              └ capture → encodeCapsule → decodeCapsule → restored host + resumed instance
 *
 * Does: play the node's part (waits, blobs, output) with a clock of its own. Does not: compare outcomes.
 *
 * J1  `hop` throws the old instance and host away; nothing but the capsule's bytes, the blobs and the collected output
 *     goes over.
 * J2  Time stands still except in waits: two runs of a program see the same clock.
 */
import { createHash } from 'node:crypto';
import { bareHost } from '../../benchmarks/lib/bare-host.js';
import { deadRanges, decodeCapsule, encodeCapsule } from '../../host/capsule/index.js';
import type { DeadRange } from '../../host/core/scan.js';
import { nodePlatform } from '../../host/node/platform.js';
import {
  createGuestHost,
  encodeSpec,
  encodeTrees,
  Instance,
  type LoadedModule,
  MAX_BUDGET,
  restoreGuestHost,
} from '../../host/runtime/index.js';
import type {
  GuestHost,
  HostControl,
  HostFunctions,
  OutputPiece,
  ShardSpec,
} from '../../host/types/host.js';
import type { Hash, Platform } from '../../host/types/platform.js';
import type { RunResult } from '../../host/types/state.js';
import { endFacts, endWait, virtualPlatform } from './facts.mjs';

export type MakeFunctions = (control: HostControl, log: (entry: string) => void) => HostFunctions;

export interface Subject {
  readonly name: string;
  readonly loaded: LoadedModule;
  readonly entry: string;
  readonly entryArgs: Uint8Array;
  /** A WASI program's spec; undefined: a module whose imports are `functions`. */
  readonly spec: ShardSpec | undefined;
  readonly blobs: ReadonlyMap<Hash, Uint8Array>;
  readonly functions?: MakeFunctions;
  /** The same functions, some calls of which wait first. */
  readonly waiting?: MakeFunctions;
  readonly limitPages?: number;
  /** A run that goes on past it is wrong: `finish` throws. */
  readonly mostFuel?: bigint;
}

export interface Facts {
  readonly kind: string;
  readonly code: number | null;
  readonly trap: string | null;
  /** Guest functions at a trap, innermost first. */
  readonly stack: string;
  readonly results: string;
  readonly fuel: bigint | null;
  readonly memoryPages: number;
  readonly memory: Hash;
  readonly globals: string;
  /** Tables and segments as far as the program changed them. */
  readonly tables: string;
  readonly files: string;
}

/** All that must be equal, however the run was cut up. */
export interface Outcome extends Facts {
  /** Stream names and hashes of all bytes, and what a bare host logged. */
  readonly output: string;
}

/** Collects output across instances. */
export class Collected {
  private readonly streams = new Map<
    string,
    { hash: ReturnType<typeof createHash>; bytes: number }
  >();
  readonly logged: string[] = [];

  add(pieces: readonly OutputPiece[]): void {
    for (const { stream, bytes } of pieces) {
      const at = this.streams.get(stream) ?? { hash: createHash('sha256'), bytes: 0 };
      this.streams.set(stream, at);
      at.hash.update(bytes);
      at.bytes += bytes.length;
    }
  }

  summary(): string {
    const streams = [...this.streams]
      .sort()
      .map(([name, { hash, bytes }]) => `${name} ${bytes} ${hash.copy().digest('hex')}`);
    return [...streams, ...(this.logged.length > 0 ? [`log ${this.logged.join(' ')}`] : [])].join(
      '; ',
    );
  }
}

export interface Capsule {
  readonly bytes: Uint8Array;
  readonly hash: Hash;
  readonly fuel: bigint;
}

const NO_SPEC = '0'.repeat(64);

export class Journey {
  private ended: RunResult | undefined;
  hops = 0;

  private constructor(
    readonly subject: Subject,
    private readonly hopAtWaits: boolean,
    private readonly slice: number,
    readonly platform: Platform & { readonly clock: { ns: bigint } },
    readonly collected: Collected,
    private readonly blobs: Map<Hash, Uint8Array>,
    private host: GuestHost,
    private instance: Instance,
  ) {}

  /** `hopAtWaits`: also each suspended host call goes through a capsule. */
  static begin(subject: Subject, hopAtWaits = false, slice = MAX_BUDGET): Journey {
    const platform = virtualPlatform(nodePlatform);
    const blobs = new Map(subject.blobs);
    const collected = new Collected();
    const host = makeHost(subject, platform, blobs, collected);
    const { entry, entryArgs, limitPages = 0 } = subject;
    const instance = Instance.start(subject.loaded, host, { entry, entryArgs, limitPages });
    return new Journey(subject, hopAtWaits, slice, platform, collected, blobs, host, instance);
  }

  get fuel(): bigint {
    return this.instance.fuelUsed;
  }

  /** Runs until exactly `fuel` safepoints have been passed. False: it ended before. */
  runTo(fuel: bigint): boolean {
    while (this.ended === undefined && this.fuel < fuel) {
      const left = fuel - this.fuel;
      this.run(left > BigInt(MAX_BUDGET) ? MAX_BUDGET : Number(left));
    }
    if (this.ended === undefined && this.fuel !== fuel)
      throw new Error(`stopped at ${this.fuel}, not at ${fuel}`);
    return this.ended === undefined;
  }

  /** In slices of `slice`, as a worker thread does it: one call of the instance's `run`. */
  private run(budget: number): void {
    let left = budget;
    const more = (): number => {
      const next = Math.min(this.slice, left);
      left -= next;
      return next;
    };
    this.settle(this.instance.run(more(), more));
  }

  private settle(result: RunResult): void {
    this.collected.add(this.host.drainOutput());
    if (result.kind === 'waiting') {
      if (this.hopAtWaits) this.hop();
      endWait(this.platform, this.host, result.wait);
    } else if (result.kind !== 'quantum') this.ended = result;
  }

  /** Captures and encodes; the run can go on in place afterwards. */
  pack(dead: readonly DeadRange[] = []): Capsule {
    const { subject, platform, host, instance } = this;
    const fuel = instance.fuelUsed;
    const state = instance.capture();
    const references = host.references();
    for (const [hash, bytes] of host.newBlobs()) this.blobs.set(hash, bytes.slice());
    host.markDurable([...host.newBlobs().keys()]);
    const specHash =
      subject.spec === undefined ? NO_SPEC : platform.sha256(encodeSpec(subject.spec));
    const base = subject.loaded.baseImage();
    const encoded = encodeCapsule(
      { state, base, dead, specHash, epoch: 1, shardId: 's-exact', references },
      platform,
    );
    return { bytes: encoded.bytes, hash: encoded.hash, fuel };
  }

  /**
   * The same without dead memory, compared with the full one: equal but for the dead ranges, which are zero; then they are filled
   * with what nobody wants to read. Gives how many bytes they have.
   */
  hopWithoutDead(): number {
    const { loaded } = this.subject;
    const state = this.instance.capture();
    const dead = deadRanges(state, loaded.module);
    const expected = this.instance.memorySnapshot();
    for (const { first, end } of dead) expected.fill(0, first, end);
    this.unpack(this.pack(dead).bytes);
    if (Buffer.compare(this.instance.memoryView(), expected) !== 0)
      throw new Error(`memory differs at fuel ${this.fuel}`);
    for (const { first, end } of dead) this.instance.memoryView().fill(0xa5, first, end);
    return dead.reduce((sum, { first, end }) => sum + end - first, 0);
  }

  /** Through a capsule into a fresh instance, which takes the place of the old one. */
  hop(): Capsule {
    const capsule = this.pack();
    this.unpack(capsule.bytes);
    return capsule;
  }

  unpack(bytes: Uint8Array): void {
    const { subject, platform } = this;
    const decoded = decodeCapsule(bytes, platform, {
      moduleHash: subject.loaded.module.moduleHash,
    });
    const state = decoded.state(subject.loaded.baseImage());
    this.host = makeHost(subject, platform, this.blobs, this.collected, state.host);
    this.instance = Instance.resume(subject.loaded, this.host, state);
    this.hops++;
  }

  /** What another process needs besides the capsule. */
  get allBlobs(): ReadonlyMap<Hash, Uint8Array> {
    return this.blobs;
  }

  private budget(): number {
    const { mostFuel } = this.subject;
    if (mostFuel === undefined) return MAX_BUDGET;
    const left = mostFuel - this.fuel;
    if (left <= 0n) throw new Error(`the run goes on past ${mostFuel} fuel`);
    return left > BigInt(MAX_BUDGET) ? MAX_BUDGET : Number(left);
  }

  /** Runs to the end. */
  finish(): Outcome {
    while (this.ended === undefined) this.run(this.budget());
    const trees = this.subject.spec === undefined ? undefined : encodeTrees;
    const facts: Facts = endFacts(this.ended, this.instance, this.host, this.platform, trees);
    return { ...facts, output: this.collected.summary() };
  }
}

function makeHost(
  subject: Subject,
  platform: Platform,
  blobs: ReadonlyMap<Hash, Uint8Array>,
  collected: Collected,
  snapshot?: Parameters<typeof restoreGuestHost>[1],
): GuestHost {
  const { spec, functions } = subject;
  if (spec === undefined) {
    const log = (entry: string): void => void collected.logged.push(entry);
    return bareHost(functions === undefined ? undefined : (control) => functions(control, log));
  }
  if (snapshot === undefined) return createGuestHost(spec, blobs, platform);
  return restoreGuestHost(spec, snapshot, blobs, platform);
}

export function straight(subject: Subject): Outcome {
  return Journey.begin(subject).finish();
}

export interface Passage {
  readonly outcome: Outcome;
  /** The capsules' hashes by position. */
  readonly hops: Map<bigint, Hash>;
  /** All hops, those at waits too. */
  readonly count: number;
}

/** Stops at each of these positions (ascending) and hops. */
export function through(
  subject: Subject,
  positions: Iterable<bigint>,
  hopAtWaits = false,
): Passage {
  return passage(Journey.begin(subject, hopAtWaits), positions);
}

/** Runs in slices of so much fuel, with a hop at these positions. */
export function inSlices(
  subject: Subject,
  slice: number,
  positions: readonly bigint[] = [],
): Passage {
  return passage(Journey.begin(subject, false, slice), positions);
}

function passage(journey: Journey, positions: Iterable<bigint>): Passage {
  const hops = new Map<bigint, Hash>();
  for (const position of positions) {
    if (!journey.runTo(position)) break;
    hops.set(position, journey.hop().hash);
  }
  return { outcome: journey.finish(), hops, count: journey.hops };
}

/** first, first + step, … up to `last`. */
export function* every(step: bigint, last: bigint, first = step): Generator<bigint> {
  for (let at = first; at <= last; at += step) yield at;
}
