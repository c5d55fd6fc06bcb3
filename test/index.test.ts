/** The library as its users have it: the built package, programs in worker threads. */
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeBundle, encodeBundle } from '../host/capsule/index.js';
import type { ShardModule, StartOptions } from '../host/index.js';
import { nodePlatform } from '../host/node/platform.js';
import { wasmOf } from './cli/programs.js';

type Library = typeof import('../host/index.js');
type Shard = InstanceType<Library['Shard']>;

let library: Library;
beforeAll(async () => {
  library = (await import(new URL('../dist/index.js', import.meta.url).href)) as Library;
});

async function textOf(shard: Shard): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const { bytes } of shard.output) pieces.push(bytes);
  return Buffer.concat(pieces).toString();
}

describe('the library', () => {
  it('runs a program to its end', async () => {
    const shard = await library.start(await library.compile(await wasmOf('counter')));
    const text = await textOf(shard);
    expect(text.split('\n').slice(0, 20)).toEqual(Array.from({ length: 20 }, (_, i) => `${i + 1}`));
    expect(await shard.result).toMatchObject({ reason: 'exit', code: 7, message: '' });
  });

  it('pauses at any fuel and goes on elsewhere: outputs add up, fuel and code are the same', async () => {
    const module = await library.compile(await wasmOf('counter'));
    const whole = await library.start(module);
    const expected = await textOf(whole);
    const { fuelUsed } = await whole.result;
    for (const part of [0n, 1n, fuelUsed / 3n, fuelUsed / 2n, fuelUsed - 1n]) {
      const first = await library.start(module);
      const capsule = await first.pause({ atFuel: part });
      expect(await first.result).toMatchObject({ reason: 'paused', code: 75, fuelUsed: part });
      const second = await library.resume(capsule);
      const both = (await textOf(first)) + (await textOf(second));
      expect(both).toBe(expected);
      expect(await second.result).toMatchObject({ reason: 'exit', code: 7, fuelUsed });
    }
  });

  it('a time quota goes on in the capsule where it was', async () => {
    const module = await library.compile(await wasmOf('spin'));
    const first = await library.start(module, { maxTimeMs: 3_600_000 });
    const bundle = decodeBundle(await first.pause({ atFuel: 1_000_000n }), nodePlatform);
    expect(bundle.ranMs).toBeGreaterThan(0);
    const late = encodeBundle({ ...bundle, ranMs: 3_600_000 }, nodePlatform);
    expect(await (await library.resume(late)).result).toMatchObject({ reason: 'time-quota' });
  });

  it('pauses a program that never ends, and tells its progress', async () => {
    const shard = await library.start(await library.compile(await wasmOf('spin')));
    const seen: bigint[] = [];
    await new Promise<void>((resolve) => {
      shard.addEventListener('progress', (event) => {
        seen.push((event as CustomEvent).detail.fuelUsed);
        if (seen.length === 3) resolve();
      });
    });
    // Before its first quantum, and then as it goes on.
    expect(seen[0]).toBe(0n);
    expect(seen[1]).toBeGreaterThan(0n);
    expect(seen[2]).toBeGreaterThan(seen[1]!);
    const capsule = await shard.pause();
    const again = await library.resume(capsule);
    const capsuleAgain = await again.pause();
    const { fuelUsed } = await again.result;
    expect(fuelUsed).toBeGreaterThanOrEqual((await shard.result).fuelUsed);
    expect(capsuleAgain.length).toBeGreaterThan(0);
  });

  it('gives everybody who asked for a pause the same capsule, at the earliest position', async () => {
    const module = await library.compile(await wasmOf('spin'));
    for (const later of [10n ** 15n, 50n]) {
      const shard = await library.start(module);
      const early = shard.pause({ atFuel: 40n });
      const all = await Promise.all([
        early,
        shard.pause({ atFuel: later }),
        shard.pause({ atFuel: 60n }),
      ]);
      expect((await shard.result).fuelUsed).toBe(40n);
      for (const capsule of all) expect(capsule).toBe(all[0]);
      expect(await shard.pause()).toBe(all[0]);
    }
  });

  it('reads nothing of a capsule after `resume` has returned', async () => {
    const module = await library.compile(await wasmOf('cat'));
    const first = await library.start(module, { stdin: 'x'.repeat(700_000) });
    const capsule = await first.pause({ atFuel: 2n });
    const second = await library.resume(capsule);
    capsule.fill(0);
    expect((await textOf(first)) + (await textOf(second))).toBe('x'.repeat(700_000));
  });

  it('refuses a capsule put together from several shards', async () => {
    const spin = await library.compile(await wasmOf('spin'));
    const [one, other] = await Promise.all(
      ['1', '2'].map(async (arg) => {
        const shard = await library.start(spin, { args: [arg] });
        return decodeBundle(await shard.pause(), nodePlatform);
      }),
    );
    const cat = await library.compile(await wasmOf('cat'));
    for (const wrong of [{ module: cat.bytes }, { spec: other!.spec! }]) {
      const parts = {
        capsule: one!.capsule,
        module: spin.bytes,
        spec: one!.spec!,
        blobs: new Map(),
      };
      const bytes = encodeBundle({ ...parts, ...wrong }, nodePlatform);
      await expect(library.resume(bytes)).rejects.toMatchObject({
        code: 'SHERD_CAPSULE_MISMATCH',
        exitCode: 2,
      });
    }
  });

  it('ends what is still running when it is disposed of', async () => {
    const module = await library.compile(await wasmOf('spin'));
    const shard = await library.start(module);
    await shard[Symbol.asyncDispose]();
    expect((await shard.result).reason).toBe('killed');
    const abort = new AbortController();
    const aborted = await library.start(module, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await aborted[Symbol.asyncDispose]();
  });

  it('gives traps and quotas as results', async () => {
    const trapped = await library.start(await library.compile(await wasmOf('trap')));
    expect(await trapped.result).toMatchObject({
      reason: 'trap',
      code: 134,
      message: expect.stringContaining('divide by zero'),
    });
    expect((await trapped.result).guestStack.join(' ')).toMatch(/divide.*middle/);
    const spent = await library.start(await library.compile(await wasmOf('spin')), {
      maxFuel: 100_000n,
    });
    expect(await spent.result).toMatchObject({
      reason: 'fuel-quota',
      code: 124,
      fuelUsed: 100_000n,
    });
  });

  it('obeys an abort signal', async () => {
    const abort = new AbortController();
    const shard = await library.start(await library.compile(await wasmOf('spin')), {
      signal: abort.signal,
    });
    abort.abort(new Error('enough'));
    await expect(shard.result).rejects.toThrow('enough');
    const module = await library.compile(await wasmOf('spin'));
    await expect(library.start(module, { signal: abort.signal })).rejects.toThrow('enough');
  });

  it('kills, and refuses to pause what has ended', async () => {
    const shard = await library.start(await library.compile(await wasmOf('spin')));
    shard.kill();
    expect(await shard.result).toMatchObject({ reason: 'killed', code: 137 });
    await expect(shard.pause()).rejects.toMatchObject({ code: 'SHERD_STATE' });
  });

  it('carries standard input of any size', async () => {
    const stdin = new Uint8Array(700_000).map((_, i) => (i * 7919) >> 3);
    const shard = await library.start(await library.compile(await wasmOf('cat')), { stdin });
    const pieces: Uint8Array[] = [];
    for await (const { bytes } of shard.output) pieces.push(bytes);
    expect(Buffer.compare(Buffer.concat(pieces), stdin)).toBe(0);
  });

  it('refuses what it cannot run, and damaged capsules', async () => {
    await expect(library.compile(Uint8Array.of(1, 2, 3))).rejects.toMatchObject({
      code: 'SHERD_NOT_WASM',
      exitCode: 2,
    });
    await expect(library.compile(await wasmOf('foreign'))).rejects.toMatchObject({
      code: 'SHERD_IMPORT_UNSUPPORTED',
      message: expect.stringContaining('env.launch'),
      exitCode: 2,
    });
    const module = await library.compile(await wasmOf('entries'));
    await expect(library.start(module)).rejects.toMatchObject({ code: 'SHERD_ENTRY_MISSING' });
    await expect(library.resume(Uint8Array.of(1, 2, 3))).rejects.toMatchObject({
      code: 'SHERD_CAPSULE_DAMAGED',
    });
    const shard = await library.start(await library.compile(await wasmOf('spin')));
    const capsule = await shard.pause();
    capsule[capsule.length >> 1]! ^= 1;
    await expect(library.resume(capsule)).rejects.toMatchObject({ code: 'SHERD_CAPSULE_DAMAGED' });
  });

  it('refuses options that make no sense, by name', async () => {
    const module = await library.compile(await wasmOf('counter'));
    const refused: [unknown, RegExp][] = [
      [{ args: 'word' }, /^args/],
      [{ args: [1] }, /^args\[0\]/],
      [{ args: ['a\0b'] }, /^args\[0\].*zero/],
      [{ args: ['\ud800'] }, /surrogate/],
      [{ env: { 'A=B': 'c' } }, /^env/],
      [{ env: { '': 'c' } }, /^env/],
      [{ env: { A: 1 } }, /^env A/],
      [{ stdin: 5 }, /^stdin/],
      [{ dirs: { '': '.' } }, /^dirs/],
      [{ dirs: { '/d': '.', '/d/': '.' } }, /^dirs .*twice/],
      [{ seed: 'xyz' }, /^seed/],
      [{ maxMemoryBytes: 1 }, /^maxMemoryBytes/],
      [{ maxMemoryBytes: -1 }, /^maxMemoryBytes/],
      [{ maxMemoryBytes: Number.NaN }, /^maxMemoryBytes/],
      [{ maxFuel: 1000 }, /^maxFuel/],
      [{ maxFuel: -1n }, /^maxFuel/],
      [{ maxFuel: 10n ** 30n }, /^maxFuel/],
      [{ maxTimeMs: 1.5 }, /^maxTimeMs/],
      [{ maxTimeMs: Number.POSITIVE_INFINITY }, /^maxTimeMs/],
      [{ dropDead: 1 }, /^dropDead/],
    ];
    for (const [options, message] of refused) {
      await expect(library.start(module, options as StartOptions)).rejects.toMatchObject({
        code: 'SHERD_USAGE',
        message: expect.stringMatching(message),
        exitCode: 2,
      });
    }
    const usage = { code: 'SHERD_USAGE' };
    const wasm = (await wasmOf('counter')) as unknown as ShardModule;
    await expect(library.start(wasm)).rejects.toMatchObject(usage);
    await expect(library.compile(new URL('http://localhost/x.wasm'))).rejects.toMatchObject(usage);
    await expect(library.compile(7 as unknown as string)).rejects.toMatchObject(usage);
    await expect(library.resume('x' as unknown as Uint8Array)).rejects.toMatchObject(usage);
    const shard = await library.start(module);
    await expect(shard.pause({ atFuel: 5 as unknown as bigint })).rejects.toMatchObject(usage);
    shard.kill();
  });

  it('obeys an abort that comes while it starts', async () => {
    const module = await library.compile(await wasmOf('spin'));
    const abort = new AbortController();
    const starting = library.start(module, { signal: abort.signal });
    abort.abort(new Error('no longer wanted'));
    await expect(starting).rejects.toThrow('no longer wanted');
  });

  it('keeps a time limit that is longer than a timer of Node.js can count', async () => {
    const module = await library.compile(await wasmOf('counter'));
    const shard = await library.start(module, { maxTimeMs: 3e9 });
    expect((await shard.result).reason).toBe('exit');
  });

  it('hands each piece of output to one of several readers, and ends for all of them', async () => {
    const shard = await library.start(await library.compile(await wasmOf('counter')));
    const read = async (): Promise<number> => {
      let bytes = 0;
      for await (const piece of shard.output) bytes += piece.bytes.length;
      return bytes;
    };
    const alone = await library.start(await library.compile(await wasmOf('counter')));
    let expected = 0;
    for await (const piece of alone.output) expected += piece.bytes.length;
    const [one, other] = await Promise.all([read(), read()]);
    expect(one + other).toBe(expected);
  });
});
