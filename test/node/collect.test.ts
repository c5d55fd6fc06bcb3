/** The machine's figures: parsing, first read, resets, missing files. */
import { describe, expect, it } from 'vitest';
import {
  collectSamples,
  parseMeminfo,
  parseStat,
  type SampleSources,
} from '../../host/node/collect.js';

const STAT = 'cpu  100 20 30 800 50 5 5 10 7 3\ncpu0 100 20 30 800 50 5 5 10 7 3\nintr 1\n';
const MEMINFO = 'MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n';

function sources(texts: Record<string, (string | undefined)[]>, rest: Partial<SampleSources> = {}) {
  const readText = (path: string): string | undefined => {
    const list = texts[path] ?? [];
    return list.length > 1 ? list.shift() : list[0];
  };
  const fallback: SampleSources = {
    readText,
    osTicks: () => ({ busy: 1, all: 4 }),
    osMemoryUsedBytes: () => 77,
    loopDelayMs: () => 3,
    close: () => undefined,
  };
  return { ...fallback, ...rest };
}

describe('/proc', () => {
  it('counts everything but idle and iowait as busy, and guest time once', () => {
    expect(parseStat(STAT)).toEqual({ busy: 170, all: 1020 });
  });

  it.each([undefined, '', 'cpu', 'cpu  a b c d e', 'cpu  1 2', 'intr 5'])('refuses %j', (text) => {
    expect(parseStat(text)).toBeUndefined();
  });

  it('memory in use is what programs could not get', () => {
    expect(parseMeminfo(MEMINFO)).toBe(400 * 1_024);
    expect(parseMeminfo('MemTotal: 5 kB')).toBeUndefined();
    expect(parseMeminfo(undefined)).toBeUndefined();
  });
});

describe('collector', () => {
  it('gives the share between two reads', () => {
    const later = 'cpu  150 20 30 850 50 5 5 10 7 3\n';
    const collector = collectSamples(
      sources({ '/proc/stat': [STAT, later], '/proc/meminfo': [MEMINFO] }),
    );
    expect(collector.read().cpu).toBeCloseTo(170 / 1020);
    expect(collector.read()).toEqual({ cpu: 0.5, memoryUsedBytes: 409_600, eventLoopDelayMs: 3 });
  });

  it('keeps what it knew when counters stand still or go back, and goes on from there', () => {
    const reset = 'cpu  1 0 0 9 0 0 0 0\n';
    const after = 'cpu  2 0 0 9 0 0 0 0\n';
    const collector = collectSamples(sources({ '/proc/stat': [STAT, STAT, reset, after] }));
    const first = collector.read().cpu;
    expect([collector.read().cpu, collector.read().cpu, collector.read().cpu]).toEqual([
      first,
      first,
      1,
    ]);
  });

  it('asks the operating system when there is no /proc', () => {
    const collector = collectSamples(sources({}));
    expect(collector.read()).toEqual({ cpu: 0.25, memoryUsedBytes: 77, eventLoopDelayMs: 3 });
  });

  it('never gives NaN or a negative value', () => {
    const strange = {
      osTicks: () => ({ busy: Number.NaN, all: Number.NaN }),
      loopDelayMs: () => Number.NaN,
    };
    const collector = collectSamples(sources({}, { ...strange, osMemoryUsedBytes: () => -5 }));
    expect(collector.read()).toEqual({ cpu: 0, memoryUsedBytes: 0, eventLoopDelayMs: 0 });
  });

  it('measures this machine', () => {
    const collector = collectSamples();
    const { cpu, memoryUsedBytes, eventLoopDelayMs } = collector.read();
    collector.close();
    expect(cpu).toBeGreaterThanOrEqual(0);
    expect(cpu).toBeLessThanOrEqual(1);
    expect(memoryUsedBytes).toBeGreaterThan(0);
    expect(eventLoopDelayMs).toBeGreaterThanOrEqual(0);
  });
});
