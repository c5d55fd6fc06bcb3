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

/** The next so many instances find no memory. */
function scarce(): { platform: Platform; refuse: (times: number) => void } {
  let left = 0;
  const instantiateWasm: Platform['instantiateWasm'] = (module, imports) => {
    if (left-- > 0) throw new RangeError('no memory');
    return nodePlatform.instantiateWasm(module, imports);
  };
  const refuse = (times: number): void => {
    left = times;
  };
  return { platform: { ...nodePlatform, instantiateWasm }, refuse };
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

  it('waits for the modules of the last guests only', async () => {
    const { platform, made } = counted();
    const guests = new Guests(platform);
    const loads: (() => number)[] = [];
    for (const text of [1, 2, 3, 4, 5].map((kib) => sums(1_000, 10, kib))) {
      const module = await compiled(text);
      const { guest, capsule } = begun(guests, module);
      guests.left(guest);
      guests.grant(() => false);
      loads.push(() => {
        const before = made();
        guests.load(takeUp(module, capsule.slice()));
        return made() - before;
      });
    }
    const first = loads.map((load) => load());
    const fresh = loads.map((load) => load());
    expect(first.map((count, i) => count < fresh[i]!)).toEqual([false, true, true, true, true]);
  });

  it('is made to fit the shard that is announced, whatever left before', async () => {
    const module = await compiled(sums(1_000, 10, 200));
    for (const leftBytes of [64 << 20, 0]) {
      const { platform, made } = counted();
      const guests = new Guests(platform);
      const { guest, capsule } = begun(guests, module);
      const load = (): number => {
        const before = made();
        guests.load(takeUp(module, capsule.slice()));
        return made() - before;
      };
      const fresh = load();
      guests.left({ ...guest, moduleHash: guest.moduleHash, memoryBytes: leftBytes });
      guests.grant(() => false);
      guests.spare(module.moduleHash, guest.memoryBytes);
      expect(load()).toBeLessThan(fresh);
    }
  });

  it('that cannot be made costs nobody anything', async () => {
    const module = await compiled(sums(1_000, 10, 200));
    const { platform, refuse } = scarce();
    const guests = new Guests(platform);
    const { guest, capsule } = begun(guests, module);
    guests.left(guest);
    refuse(Number.POSITIVE_INFINITY);
    guests.grant(() => false);
    guests.spare(module.moduleHash, 1 << 20);
    guests.arrive('s', module.moduleHash, { index: 0, hash: '', bytes: new Uint8Array(0) });
    const load = (): LoadedGuest => guests.load(takeUp(module, capsule.slice()));
    expect(load).toThrowError(expect.objectContaining({ code: 'SHERD_ENGINE_MEMORY' }));
    refuse(0);
    expect(load().run(2_000, () => 0).kind).toBe('quantum');
  });

  it('gives its memory to a guest that finds none', async () => {
    const [small, other] = await Promise.all(
      [200, 300].map((kib) => compiled(sums(1_000, 10, kib))),
    );
    const { platform, refuse } = scarce();
    const guests = new Guests(platform);
    const { capsule } = begun(guests, other!);
    const { guest } = begun(guests, small!);
    const load = (): LoadedGuest => guests.load(takeUp(other!, capsule.slice()));
    refuse(1);
    expect(load).toThrowError(expect.objectContaining({ code: 'SHERD_ENGINE_MEMORY' }));
    guests.left(guest);
    guests.grant(() => false);
    refuse(1);
    expect(load().run(2_000, () => 0).kind).toBe('quantum');
  });
});
