/** Leases by the observer's clock. */
import { describe, expect, it } from 'vitest';
import { Leases } from '../../host/core/leases.js';

/** Lets time pass as a live observer sees it: with ticks. */
function pass(leases: Leases, fromMs: number, ms: number): string[] {
  const expired: string[] = [];
  for (let at = fromMs; at <= fromMs + ms; at += 100) expired.push(...leases.expire(at));
  return expired;
}

describe('leases', () => {
  it('expire once, when the revision stood still for the lease', () => {
    const leases = new Leases(1_000);
    leases.observe('a', 5, 0);
    expect(pass(leases, 0, 900)).toEqual([]);
    leases.observe('a', 6, 900);
    expect(pass(leases, 1_000, 800)).toEqual([]);
    leases.observe('a', 6, 1_800);
    leases.observe('a', 4, 1_800);
    expect(pass(leases, 1_900, 2_000)).toEqual(['a']);
    expect(leases.isAlive('a')).toBe(false);
  });

  it('a node whose revision moves after its expiry is alive again', () => {
    const leases = new Leases(1_000);
    leases.observe('a', 5, 0);
    expect(pass(leases, 0, 2_000)).toEqual(['a']);
    expect(leases.observe('a', 6, 2_100)).toBe(true);
    expect(leases.isAlive('a')).toBe(true);
    expect(pass(leases, 2_200, 2_000)).toEqual(['a']);
  });

  it('time in which the observer stood still does not count', () => {
    const leases = new Leases(1_000);
    leases.observe('a', 5, 0);
    expect(leases.expire(60_000)).toEqual([]);
    leases.observe('a', 6, 60_050);
    expect(pass(leases, 60_100, 900)).toEqual([]);
  });

  it('the dead stay dead, whatever beats still arrive', () => {
    const leases = new Leases(1_000);
    leases.observe('a', 5, 0);
    leases.died('a');
    expect([leases.isAlive('a'), leases.isDead('a')]).toEqual([false, true]);
    expect(leases.observe('a', 6, 10)).toBe(false);
    expect(pass(leases, 100, 3_000)).toEqual([]);
  });

  it('a node that was only heard of has one lease to show up', () => {
    const leases = new Leases(1_000);
    leases.expect('a', 0);
    leases.expect('b', 0);
    expect(leases.isAlive('a')).toBe(true);
    expect(pass(leases, 0, 900)).toEqual([]);
    leases.observe('b', 9, 900);
    expect(pass(leases, 900, 600)).toEqual(['a']);
    leases.forget('a');
    expect(leases.knows('a')).toBe(false);
  });
});
