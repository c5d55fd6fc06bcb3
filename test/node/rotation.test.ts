/** Laws of the rotation, driven by guests of plain arithmetic on a clock that only they move. */
import { describe, expect, it } from 'vitest';
import { type Guest, Rotation } from '../../host/node/rotation.js';
import type { WorkerReport } from '../../host/node/worker-messages.js';
import type { OutputPiece } from '../../host/types/host.js';
import type { RunResult, Wait } from '../../host/types/state.js';

class World {
  now = 0n;
  coreShare = 1;
  called = false;
  readonly reports: WorkerReport[] = [];
  readonly blobs = new Set<string>();
  readonly rotation = new Rotation(
    {
      nowNs: () => this.now,
      isCalled: () => this.called,
      coreShare: () => this.coreShare,
      report: (report) => this.reports.push(report),
      hasBlob: (hash) => this.blobs.has(hash),
    },
    2_000,
  );

  of<K extends WorkerReport['kind']>(kind: K): Extract<WorkerReport, { kind: K }>[] {
    return this.reports.filter((report) => report.kind === kind) as never;
  }
}

class FakeGuest implements Guest {
  fuelUsed = 0n;
  readonly memoryBytes = 65_536;
  setupNs = 0;
  steps = 0;
  /** What a stop costs before the guest runs on. */
  stopNs = 0;
  readonly maxFuel = 0n;
  readonly maxTimeMs = 0;
  clockRuns = false;
  suspendedNs = 0n;
  readonly budgets: number[] = [];
  pieces: OutputPiece[] = [];
  waits = new Map<bigint, Wait>();
  endsAt = 1n << 62n;
  breaks = false;

  constructor(
    readonly world: World,
    readonly fuelPerMs: number,
  ) {}

  readonly host = {
    drainOutput: () => this.pieces.splice(0),
    newBlobs: () => new Map<string, Uint8Array>(),
    markDurable: () => undefined,
    suspendClock: () => {
      this.clockRuns = false;
    },
    resumeClock: () => {
      this.clockRuns = true;
    },
    guestMonotonicNs: () => this.world.now,
  };

  #warm = true;

  /** Stopping costs `stopNs`, paid before it runs on. */
  warm(): boolean {
    if (this.#warm || this.stopNs === 0) return false;
    this.#warm = true;
    this.setupNs += this.stopNs;
    this.world.now += BigInt(this.stopNs);
    return true;
  }

  get isWarm(): boolean {
    return this.#warm || this.stopNs === 0;
  }

  run(budget: number, more: () => number): RunResult {
    if (this.breaks) throw new Error('broken');
    expect(this.clockRuns).toBe(true);
    // As the runtime does it: the clock stands still outside of run.
    this.clockRuns = false;
    for (let left = budget; ; ) {
      const result = this.#slice(left);
      left = result.kind === 'quantum' ? more() : 0;
      if (left === 0) return result;
    }
  }

  #slice(budget: number): RunResult {
    this.budgets.push(budget);
    this.#warm = false;
    this.steps++;
    let left = BigInt(budget);
    const waitAt = [...this.waits.keys()].find(
      (at) => at >= this.fuelUsed && at - this.fuelUsed <= left,
    );
    if (waitAt !== undefined) left = waitAt - this.fuelUsed;
    if (this.endsAt - this.fuelUsed <= left) {
      left = this.endsAt - this.fuelUsed;
      this.#use(left);
      return { kind: 'exit', fuelUsed: this.fuelUsed, code: 7 } as const;
    }
    this.#use(left);
    const wait = waitAt === undefined ? undefined : this.waits.get(waitAt);
    if (waitAt !== undefined) this.waits.delete(waitAt);
    return wait === undefined
      ? ({ kind: 'quantum', fuelUsed: this.fuelUsed } as const)
      : ({ kind: 'waiting', fuelUsed: this.fuelUsed, wait } as const);
  }

  #use(fuel: bigint): void {
    this.fuelUsed += fuel;
    this.world.now += BigInt(Math.ceil((Number(fuel) * 1e6) / this.fuelPerMs));
  }

  guestStack() {
    return ['inner', 'outer'];
  }
  encode(epoch: number) {
    return { bytes: Uint8Array.of(epoch), hash: `capsule-${this.fuelUsed}` };
  }
  encodeTrees() {
    return Uint8Array.of(9);
  }
}

function started(world: World, run: number, fuelPerMs: number, priority = 0): FakeGuest {
  const guest = new FakeGuest(world, fuelPerMs);
  world.rotation.add(run, guest, { shardId: `s-${run}`, priority });
  world.rotation.go(run, null);
  return guest;
}

function turns(world: World, count: number): void {
  for (let i = 0; i < count; i++) world.rotation.turn();
}

const BASE = { capsule: 'ab'.repeat(32), below: [], pages: 0, bytes: new Uint8Array(0) };

describe('Rotation', () => {
  it('gives guests of equal weight equal time, whatever fuel they burn', () => {
    const world = new World();
    const fast = started(world, 1, 1_000_000);
    const slow = started(world, 2, 500);
    turns(world, 2_000);
    const timeOf = (guest: FakeGuest): number => Number(guest.fuelUsed) / guest.fuelPerMs;
    expect(timeOf(fast) / timeOf(slow)).toBeGreaterThan(0.9);
    expect(timeOf(fast) / timeOf(slow)).toBeLessThan(1.1);
  });

  it('gives a guest of one step more priority twice the time', () => {
    const world = new World();
    const high = started(world, 1, 10_000, 1);
    const low = started(world, 2, 10_000, 0);
    turns(world, 3_000);
    const ratio = Number(high.fuelUsed) / Number(low.fuelUsed);
    expect(ratio).toBeGreaterThan(1.8);
    expect(ratio).toBeLessThan(2.2);
  });

  it('gives a guest about one quantum of time, in slices of which an order waits for one', () => {
    const world = new World();
    const guest = started(world, 1, 123_456);
    turns(world, 100);
    const sliceMs = guest.budgets.at(-1)! / guest.fuelPerMs;
    expect(sliceMs).toBeGreaterThan(0.38);
    expect(sliceMs).toBeLessThan(0.42);
    const quantum = (): { readonly ms: number; readonly slices: number } => {
      const { now } = world;
      const before = guest.budgets.length;
      world.rotation.turn();
      return { ms: Number(world.now - now) / 1e6, slices: guest.budgets.length - before };
    };
    expect(quantum().ms).toBeGreaterThan(1.95);
    expect(quantum().ms).toBeLessThan(2.45);
    world.called = true;
    expect(quantum().slices).toBe(1);
  });

  it('says what a guest does before its first quantum, which may never end', () => {
    const world = new World();
    started(world, 1, 10_000);
    expect(
      world.of('progress').map(({ runs }) => runs.map(({ run, state }) => [run, state.fuelUsed])),
    ).toEqual([[[1, 0n]]]);
  });

  it('runs on for as long as it takes to make ready what a stop needs, and is fair all the same', () => {
    const world = new World();
    const dear = started(world, 1, 123_456);
    const cheap = started(world, 2, 123_456);
    dear.stopNs = 5_000_000;
    turns(world, 400);
    const runMs = dear.budgets.at(-1)! / dear.fuelPerMs;
    expect(runMs).toBeGreaterThan(4.5);
    expect(runMs).toBeLessThan(5.5);
    const timeOf = (guest: FakeGuest): number =>
      guest.setupNs / 1e6 + Number(guest.fuelUsed) / guest.fuelPerMs;
    expect(timeOf(dear) / timeOf(cheap)).toBeGreaterThan(0.9);
    expect(timeOf(dear) / timeOf(cheap)).toBeLessThan(1.1);
  });

  it('looks at orders between making what a quantum begins with and running it', () => {
    const world = new World();
    const guest = started(world, 1, 123_456);
    guest.stopNs = 5_000_000;
    turns(world, 20);
    for (let ran = -1; guest.budgets.length !== ran + 1; turns(world, 1))
      ran = guest.budgets.length;
    const { fuelUsed, setupNs } = guest;
    turns(world, 1);
    expect(guest.setupNs).toBe(setupNs + guest.stopNs);
    world.rotation.setStop(1, 0n);
    turns(world, 3);
    expect(guest.fuelUsed).toBe(fuelUsed);
    expect(world.of('reached')).toHaveLength(1);
  });

  it('stops exactly at the fuel that was asked for, stays there, and goes on from there', () => {
    const world = new World();
    const guest = new FakeGuest(world, 1_000);
    world.rotation.add(1, guest, { shardId: 's-1', priority: 0 });
    world.rotation.go(1, 123_457n);
    turns(world, 1_000);
    expect(guest.fuelUsed).toBe(123_457n);
    expect(guest.clockRuns).toBe(false);
    expect(world.of('reached').map((report) => report.state.fuelUsed)).toEqual([123_457n]);
    world.rotation.go(1, null);
    turns(world, 10);
    expect(guest.fuelUsed).toBeGreaterThan(123_457n);
  });

  it('stops at once when the fuel asked for has passed', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    turns(world, 10);
    const at = guest.fuelUsed;
    world.rotation.setStop(1, 5n);
    turns(world, 10);
    expect(guest.fuelUsed).toBe(at);
    expect(world.of('reached')).toHaveLength(1);
  });

  it('sleeps without a turn and wakes when the time has come', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    guest.waits.set(500n, { kind: 'until', monotonicNs: 1_000_000_000n });
    turns(world, 50);
    expect(guest.fuelUsed).toBe(500n);
    const wait = world.rotation.turn();
    expect(wait).toBeGreaterThan(0);
    expect(guest.clockRuns).toBe(true);
    world.now = 1_000_000_001n;
    turns(world, 1);
    expect(guest.fuelUsed).toBeGreaterThan(500n);
  });

  it('a sleep of a held guest is over later by the time it was held', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    guest.waits.set(500n, { kind: 'until', monotonicNs: 50_000_000n });
    turns(world, 5);
    world.rotation.capture(1, 'c', true, 1);
    world.now += 1_000_000_000n;
    turns(world, 5);
    expect(guest.fuelUsed).toBe(500n);
    world.rotation.go(1, null);
    turns(world, 2);
    expect(guest.fuelUsed).toBeGreaterThan(500n);
  });

  it('asks for a blob that is not there, and goes on when it has come', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    guest.waits.set(500n, { kind: 'blob', hash: 'b' });
    turns(world, 5);
    expect(world.of('need-blob').map((report) => report.hash)).toEqual(['b']);
    expect(guest.fuelUsed).toBe(500n);
    world.blobs.add('b');
    world.rotation.blobCame('b', true);
    turns(world, 5);
    expect(guest.fuelUsed).toBeGreaterThan(500n);
  });

  it('a blob that is nowhere breaks the run that waits for it, and no other', () => {
    const world = new World();
    started(world, 1, 1_000).waits.set(500n, { kind: 'blob', hash: 'b' });
    started(world, 2, 1_000);
    turns(world, 10);
    world.rotation.blobCame('b', false);
    expect(world.of('crashed').map((report) => report.run)).toEqual([1]);
    expect(world.rotation.size).toBe(1);
  });

  it('hands output over exactly once, joined by stream, in order', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
    guest.pieces.push(
      { stream: 'stdout', bytes: bytes('a') },
      { stream: 'stdout', bytes: bytes('b') },
    );
    guest.pieces.push(
      { stream: 'stderr', bytes: bytes('c') },
      { stream: 'stdout', bytes: bytes('d') },
    );
    turns(world, 1);
    world.rotation.capture(1, 'c1', false, 1);
    world.rotation.capture(1, 'c2', false, 1);
    const harvests = world
      .of('captured')
      .map((report) =>
        report.captured.harvest.output.map(
          (piece) => `${piece.stream} ${new TextDecoder().decode(piece.bytes)}`,
        ),
      );
    expect(harvests).toEqual([['stdout ab', 'stderr c', 'stdout d'], []]);
  });

  it('stops a guest that is rung for, and counts the order that follows from then on', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    const other = started(world, 2, 1_000);
    turns(world, 10);
    expect(world.rotation.halt('s-9')).toBe(false);
    expect(world.rotation.halt('s-1')).toBe(true);
    expect(world.rotation.halt('s-1')).toBe(false);
    const [stoodNs, fuel, otherFuel] = [world.now, guest.fuelUsed, other.fuelUsed];
    expect(guest.clockRuns).toBe(false);
    turns(world, 10);
    expect(guest.fuelUsed).toBe(fuel);
    expect(other.fuelUsed).toBeGreaterThan(otherFuel);
    world.rotation.capture(1, 'c', true, 1);
    expect(world.of('captured').map(({ captured }) => captured.stoppedNs)).toEqual([stoodNs]);
    world.now += 1_000_000_000n;
    turns(world, 10);
    expect(guest.fuelUsed).toBe(fuel);
    world.rotation.go(1, null);
    turns(world, 10);
    expect(guest.fuelUsed).toBeGreaterThan(fuel);
  });

  it('lets a guest go on for which nothing but a ring came', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    turns(world, 10);
    world.rotation.halt('s-1');
    const fuel = guest.fuelUsed;
    const waitMs = world.rotation.turn();
    expect(guest.fuelUsed).toBe(fuel);
    expect(waitMs).toBeGreaterThan(0);
    // A checkpoint on the way does not end it, and does not let it stand still for ever.
    world.rotation.capture(1, 'c', false, 1);
    turns(world, 3);
    expect(guest.fuelUsed).toBe(fuel);
    world.now += BigInt(Math.ceil((waitMs as number) * 1e6));
    turns(world, 3);
    expect(guest.fuelUsed).toBeGreaterThan(fuel);
    expect(guest.clockRuns).toBe(true);
  });

  it('stands still through the last round of its copy, counted from its beginning, and goes on when told or after a time', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    const stays = (): boolean => {
      const { fuelUsed } = guest;
      turns(world, 3);
      return guest.fuelUsed === fuelUsed;
    };
    turns(world, 3);
    world.rotation.stand(9);
    expect(stays()).toBe(false);
    world.rotation.stand(1);
    expect(world.rotation.hasStood(1)).toBe(true);
    // Longer than for a ring.
    world.now += 2_000_000_000n;
    expect(stays()).toBe(true);
    world.rotation.goOn(1);
    expect([stays(), guest.clockRuns, world.rotation.hasStood(1)]).toEqual([false, true, false]);
    world.rotation.stand(1);
    world.now += 3_000_000_000n;
    expect([stays(), world.rotation.hasStood(1)]).toEqual([false, false]);
    world.rotation.halt('s-1');
    expect(world.rotation.hasStood(1)).toBe(false);
    world.rotation.goOn(1);
    world.rotation.capture(1, 'p', true, 1);
    world.rotation.stand(1);
    expect(world.rotation.hasStood(1)).toBe(true);
    world.rotation.go(1, null);
    expect(world.rotation.hasStood(1)).toBe(false);
    // Rung for, and then the last round.
    world.rotation.halt('s-1');
    const stoodNs = world.now;
    world.rotation.stand(1);
    world.now += 1_000_000_000n;
    expect(stays()).toBe(true);
    world.rotation.capture(1, 'c', true, 1);
    expect(world.of('captured').at(-1)?.captured.stoppedNs).toBe(stoodNs);
    // Held by an order: neither lets it go on.
    world.rotation.goOn(1);
    world.rotation.stand(1);
    world.now += 5_000_000_000n;
    expect(stays()).toBe(true);
  });

  it('goes on when the order that it stands for fails', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    guest.encode = () => {
      throw new RangeError('no room');
    };
    for (const stand of [() => world.rotation.stand(1), () => undefined]) {
      stand();
      world.rotation.capture(1, 'c', true, 1);
      const { fuelUsed } = guest;
      turns(world, 3);
      expect(guest.fuelUsed).toBeGreaterThan(fuelUsed);
    }
    expect(world.of('capture-failed').length).toBe(2);
    // A checkpoint that fails on the way is not that order, unless it completes the copy.
    world.rotation.stand(1);
    world.rotation.capture(1, 'c', false, 1);
    const { fuelUsed } = guest;
    turns(world, 3);
    expect(guest.fuelUsed).toBe(fuelUsed);
    world.rotation.capture(1, 'c', false, 1, BASE);
    turns(world, 3);
    expect(guest.fuelUsed).toBeGreaterThan(fuelUsed);
  });

  it('goes on after a checkpoint, of its copy or of everything, however long it was to stand', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    world.rotation.stand(1);
    const { fuelUsed } = guest;
    world.rotation.capture(1, 'c', false, 1);
    turns(world, 3);
    expect(guest.fuelUsed).toBeGreaterThan(fuelUsed);
    world.rotation.stand(1);
    const before = guest.fuelUsed;
    world.rotation.capture(1, 'd', false, 1, BASE);
    turns(world, 3);
    expect(guest.fuelUsed).toBeGreaterThan(before);
    expect(world.of('captured').length).toBe(2);
  });

  it('stops where it was told to while it stood still', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    turns(world, 10);
    world.rotation.halt('s-1');
    const { fuelUsed } = guest;
    world.rotation.setStop(1, fuelUsed);
    world.now += 1_000_000_000n;
    turns(world, 3);
    expect(guest.fuelUsed).toBe(fuelUsed);
    expect(world.of('reached').map(({ state }) => state.fuelUsed)).toEqual([fuelUsed]);
  });

  it('a capture without hold goes on, with hold stays until it is told', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    turns(world, 3);
    world.rotation.capture(1, 'c1', false, 4);
    const before = guest.fuelUsed;
    turns(world, 3);
    expect(guest.fuelUsed).toBeGreaterThan(before);
    world.rotation.capture(1, 'c2', true, 4);
    const held = guest.fuelUsed;
    turns(world, 3);
    expect(guest.fuelUsed).toBe(held);
    expect(world.of('captured').map((report) => report.captured.harvest.trees)).toEqual([
      null,
      Uint8Array.of(9),
    ]);
    expect(world.of('captured').map((report) => [...report.captured.capsule])).toEqual([[4], [4]]);
  });

  it('an end of its own gives the exit, then the run is gone', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    guest.endsAt = 5_000n;
    turns(world, 100);
    expect(world.of('ended').map((report) => [report.exit.reason, report.exit.code])).toEqual([
      ['exit', 7],
    ]);
    expect(guest.fuelUsed).toBe(5_000n);
    expect(world.rotation.size).toBe(0);
  });

  it('a guest that breaks is reported and does not disturb the others', () => {
    const world = new World();
    const broken = started(world, 1, 1_000);
    const sound = started(world, 2, 1_000);
    broken.breaks = true;
    turns(world, 10);
    expect(world.of('crashed').map((report) => report.run)).toEqual([1]);
    expect(sound.fuelUsed).toBeGreaterThan(0n);
  });

  it('reports progress about every 200 ms of time, and sooner while output waits', () => {
    const world = new World();
    const guest = started(world, 1, 10_000);
    turns(world, 500);
    const seconds = Number(world.now) / 1e9;
    const calm = world.of('progress').length;
    expect(calm).toBeGreaterThan(seconds * 3);
    expect(calm).toBeLessThan(seconds * 6);
    guest.pieces.push({ stream: 'stdout', bytes: Uint8Array.of(1) });
    const before = world.now;
    turns(world, 500);
    const busySeconds = Number(world.now - before) / 1e9;
    expect(world.of('progress').length - calm).toBeGreaterThan(busySeconds * 15);
    expect(world.of('progress').at(-1)!.runs[0]!.outputBytes).toBe(1);
  });

  it('counts for a guest the time that its thread had a core, not the time that a quantum took', () => {
    const world = new World();
    started(world, 1, 1_000);
    started(world, 2, 1_000);
    turns(world, 1_000);
    expect(world.of('progress').at(-1)!.runs[0]!.share).toBeCloseTo(0.5, 1);
    world.coreShare = 0.4;
    turns(world, 1_000);
    expect(world.of('progress').at(-1)!.runs[0]!.share).toBeCloseTo(0.2, 1);
  });

  it('holds a guest back whose output nobody takes', () => {
    const world = new World();
    const guest = started(world, 1, 1_000);
    turns(world, 2);
    guest.pieces.push({ stream: 'stdout', bytes: new Uint8Array(20 * 1024 * 1024) });
    turns(world, 1);
    const at = guest.fuelUsed;
    turns(world, 10);
    expect(guest.fuelUsed).toBe(at);
    world.rotation.capture(1, 'c', false, 1);
    turns(world, 1);
    expect(guest.fuelUsed).toBeGreaterThan(at);
  });
});
