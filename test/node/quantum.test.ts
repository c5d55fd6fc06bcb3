/** Laws of a quantum: where it ends, and how long an order waits for it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Pace } from '../../host/node/pace.js';
import { type Ran, runQuantum, type SlicedGuest } from '../../host/node/quantum.js';
import type { RunResult } from '../../host/types/state.js';

const QUANTUM_NS = 500_000;

/** A guest that only uses time: so much for each unit of fuel. `coldAt`: there it has to make what it goes on with. */
class Program implements SlicedGuest {
  fuelUsed = 0n;
  setupNs = 0;
  steps = 0;
  isWarm = true;
  nowNs = 0n;
  readonly slices: number[] = [];

  constructor(
    readonly costNs: (fuel: number) => number,
    readonly coldAt: ReadonlySet<number> = new Set(),
  ) {}

  warm(): boolean {
    if (this.isWarm) return false;
    this.isWarm = true;
    this.setupNs += 1_000_000;
    this.nowNs += 1_000_000n;
    return true;
  }

  run(budget: number, more: () => number): RunResult {
    for (let left = budget; left > 0; left = more()) {
      this.slices.push(left);
      let ns = 0;
      const from = Number(this.fuelUsed);
      for (let i = 0; i < left; i++) ns += this.costNs(from + i);
      this.fuelUsed += BigInt(left);
      this.nowNs += BigInt(Math.ceil(ns));
      this.steps++;
      if (this.coldAt.has(this.slices.length)) this.isWarm = false;
    }
    return { kind: 'quantum', fuelUsed: this.fuelUsed };
  }
}

interface Setting {
  readonly stopAtFuel?: bigint;
  readonly isCalled?: () => boolean;
}

/** A function that runs one quantum of it after the other. */
function inQuanta(guest: Program, { stopAtFuel, isCalled = () => false }: Setting = {}): () => Ran {
  const turn = { guest, pace: new Pace(QUANTUM_NS), stopAtFuel: stopAtFuel ?? null, warmedNs: 0 };
  return () => runQuantum(turn, { nowNs: () => guest.nowNs, isCalled }, QUANTUM_NS);
}

describe('runQuantum', () => {
  it('lasts a quantum, in slices of a fifth', () => {
    const guest = new Program(() => 10);
    const next = inQuanta(guest);
    for (let i = 0; i < 20; i++) next();
    guest.slices.length = 0;
    expect(next().tookNs).toBe(QUANTUM_NS);
    expect(guest.slices).toEqual(Array(5).fill(10_000));
  });

  it('ends after the slice in which somebody called', () => {
    const guest = new Program(() => 10);
    let called = false;
    const next = inQuanta(guest, { isCalled: () => called });
    for (let i = 0; i < 20; i++) next();
    called = true;
    expect(next().tookNs).toBe(QUANTUM_NS / 5);
  });

  it('an order waits for a slice where the program becomes slow, not for a quantum', () => {
    const slowAt = 400_000;
    const guest = new Program((fuel) => (fuel < slowAt ? 10 : 400));
    const next = inQuanta(guest, { isCalled: () => guest.fuelUsed > slowAt });
    let longestNs = 0;
    while (guest.fuelUsed < slowAt + 50_000) longestNs = Math.max(longestNs, next().tookNs);
    // The rest of the quantum so far, then a slice at 40 times its cost.
    expect(longestNs).toBeLessThan(QUANTUM_NS + (QUANTUM_NS / 5) * 40);
    expect(next().tookNs).toBeLessThan(QUANTUM_NS / 4);
  });

  it('ends where something has to be made first, which is a quantum of its own', () => {
    const guest = new Program(() => 10, new Set([3]));
    const next = inQuanta(guest);
    expect(next().result?.kind).toBe('quantum');
    expect(guest.slices).toHaveLength(3);
    expect(next()).toEqual({ result: undefined, tookNs: 1_000_000, setupNs: 1_000_000 });
    expect(next().result?.kind).toBe('quantum');
    expect(guest.slices.length).toBeGreaterThan(3);
  });

  it('never passes its stop, and comes to it exactly', () => {
    const stops = fc.integer({ min: 1, max: 300_000 });
    const costs = fc.array(fc.integer({ min: 1, max: 2_000 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(stops, costs, (stop, all) => {
        const guest = new Program((fuel) => all[Math.floor(fuel / 1_000) % all.length]!);
        const next = inQuanta(guest, { stopAtFuel: BigInt(stop) });
        while (guest.fuelUsed < BigInt(stop)) next();
        expect(guest.fuelUsed).toBe(BigInt(stop));
      }),
      { numRuns: 40 },
    );
  });
});
