/** What `run`, `resume` and `submit` accept, and what they refuse before anything starts. */
import { describe, expect, it } from 'vitest';
import { parseDirs, parseRunSettings, type RawRunOptions } from '../../host/cli/run-options.js';
import { SherdError } from '../../host/types/errors.js';

function refusal(raw: RawRunOptions): string {
  try {
    parseRunSettings(raw);
  } catch (thrown) {
    if (thrown instanceof SherdError) return `${thrown.exitCode} ${thrown.message}`;
    throw thrown;
  }
  return 'accepted';
}

describe('parseRunSettings', () => {
  it('turns text into figures', () => {
    const settings = parseRunSettings({
      nodes: '3',
      dir: ['/data=./in:ro', '/out/=out'],
      env: ['A=1', 'B=x=y'],
      maxMemory: '1MiB',
      maxFuel: '1e6',
      maxTime: '2s',
      moveEvery: '500ms',
      pauseAt: '123456',
      output: 'x.capsule',
      seed: 'ABC',
      dropDead: true,
    });
    expect(settings).toMatchObject({
      nodes: 3,
      dirs: [
        { guestPath: '/data', hostPath: './in', readOnly: true },
        { guestPath: '/out', hostPath: 'out', readOnly: false },
      ],
      env: ['A=1', 'B=x=y'],
      maxMemoryPages: 16,
      maxFuel: 1_000_000n,
      maxTimeMs: 2_000,
      moveEveryMs: 500,
      pauseAtFuel: 123_456n,
      capsuleFile: 'x.capsule',
      seed: 'abc'.padStart(32, '0'),
      dropDead: true,
    });
  });

  it('has defaults', () => {
    expect(parseRunSettings({})).toMatchObject({
      nodes: 1,
      dirs: [],
      maxMemoryPages: 0,
      maxFuel: 0n,
      maxTimeMs: 0,
      dropDead: false,
      thin: false,
    });
  });

  it.each<[string, RawRunOptions]>([
    ['a pause without a file', { pauseAt: '5' }],
    ['a timed pause without a file', { pauseAfter: '5s' }],
    ['thin without a file', { thin: true }],
    ['moving with one node', { moveEvery: '1s', nodes: '1' }],
    ['no nodes', { nodes: '0' }],
    ['too many nodes', { nodes: '65' }],
    ['an empty directory side', { dir: ['/data='] }],
    ['a directory twice', { dir: ['/a=x', '/a/=y'] }],
    ['an environment without a value', { env: ['NAME'] }],
    ['an environment without a name', { env: ['=v'] }],
    ['a limit below one page', { maxMemory: '1KiB' }],
    ['no fuel at all', { maxFuel: '0' }],
    ['no time at all', { maxTime: '0' }],
    ['a seed that is no hex', { seed: 'xyz' }],
  ])('refuses %s', (_what, raw) => expect(refusal(raw)).toMatch(/^2 /));

  it('moves in a running cluster whatever --nodes says', () => {
    expect(refusal({ moveEvery: '1s', fabric: 'embedded:/x' })).toBe('accepted');
  });
});

describe('parseDirs', () => {
  it('gives a path alone under its own name', () => {
    expect(parseDirs(['data'])).toEqual([{ guestPath: 'data', hostPath: 'data', readOnly: false }]);
  });
  it('keeps a colon that is not :ro', () => {
    expect(parseDirs(['/d=a:b'])).toEqual([{ guestPath: '/d', hostPath: 'a:b', readOnly: false }]);
  });

  it('refuses a guest path that no program could name', () => {
    const path = `/${'a'.repeat(4_096)}`;
    expect(() => parseDirs([`${path}=.`])).toThrow(/^--dir \/a+…: a guest path of more than 4096/);
    expect(parseDirs([`${path.slice(0, 4_096)}=.`])).toHaveLength(1);
  });
});
