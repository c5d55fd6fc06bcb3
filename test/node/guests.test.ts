/** A thread's guests: what it makes ahead for one that may come back is used, once, and changes nothing. */
import { describe, expect, it } from 'vitest';
import { Guests, type LoadedGuest } from '../../host/node/guests.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { Platform } from '../../host/types/platform.js';
import { compiled, sums } from '../control/harness.js';
import { begun, takeUp } from './guest-support.js';

function counted(): { platform: Platform; made: () => number } {
  let count = 0;
  const instantiateWasm: Platform['instantiateWasm'] = (module, imports) => {
    count++;
    return nodePlatform.instantiateWasm(module, imports);
  };
  return { platform: { ...nodePlatform, instantiateWasm }, made: () => count };
}

describe('an instance for a guest that may come back', () => {
  it('is made once for each that has left, and is what the next one is made in', async () => {
    const module = await compiled(sums(1_000, 10, 200));
    const { platform, made } = counted();
    const guests = new Guests(platform);
    const { guest, capsule } = begun(guests, module);
    const load = (): { made: number; guest: LoadedGuest } => {
      const before = made();
      const loaded = guests.load(takeUp(module, capsule.slice()));
      return { made: made() - before, guest: loaded };
    };
    const fresh = load();
    expect(guests.wishes).toBe(false);
    guests.left(guest);
    expect(guests.wishes).toBe(true);
    guests.grant(() => false);
    expect(guests.wishes).toBe(false);
    const after = made();
    guests.left(guest);
    guests.grant(() => false);
    expect(made()).toBe(after); // it waits already
    const again = load();
    expect(again.made).toBeLessThan(fresh.made);
    expect(load().made).toBe(fresh.made);
    for (const each of [fresh.guest, again.guest]) each.run(5_000, () => 0);
    expect(again.guest.encode(2).hash).toBe(fresh.guest.encode(2).hash);
  });

  it('is not finished while somebody waits for the thread, and serves all the same', async () => {
    const module = await compiled(sums(1_000, 10, 200));
    const guests = new Guests(nodePlatform);
    const { guest, capsule } = begun(guests, module);
    guests.left(guest);
    guests.grant(() => true);
    const loaded = guests.load(takeUp(module, capsule.slice()));
    guest.run(2_000, () => 0);
    loaded.run(2_000, () => 0);
    expect(loaded.encode(2).hash).toBe(guest.encode(2).hash);
  });

  it('is made for a few modules only', async () => {
    const { platform, made } = counted();
    const guests = new Guests(platform);
    const texts = [1, 2, 3, 4, 5].map((kib) => sums(1_000, 10, kib));
    const counts: number[] = [];
    for (const text of texts) {
      const { guest } = begun(guests, await compiled(text));
      guests.left(guest);
      const before = made();
      guests.grant(() => false);
      counts.push(made() - before);
    }
    expect(counts.map((count) => count > 0)).toEqual([true, true, true, true, false]);
  });
});
