/** The machine's figures: parsing, first read, resets, missing files. */
import { describe, expect, it } from 'vitest';
import {
  collectSamples,
  parseCpuList,
  parseMeminfo,
  parseStat,
  type SampleSources,
} from '../../host/node/collect.js';
import { CoreShare } from '../../host/node/core-share.js';

const STAT = 'cpu  100 20 30 800 50 5 5 10 7 3\ncpu0 100 20 30 800 50 5 5 10 7 3\nintr 1\n';
const MEMINFO = 'MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n';

function sources(texts: Record<string, (string | undefined)[]>, rest: Partial<SampleSources> = {}) {
  const readText = (path: string): string | undefined => {
    const list = texts[path] ?? [];
    return list.length > 1 ? list.shift() : list[0];
  };
  const fallback: SampleSources = {
    readText,
    inodeOf: () => undefined,
    osTicks: () => ({ busy: 1, all: 4 }),
    osMemoryUsedBytes: () => 77,
    osCores: () => 4,
    hostName: () => 'host',
    ownMs: () => 0,
    nowMs: () => 0,
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

const CORES = [
  'cpu  160 0 0 240 0 0 0 0',
  'cpu0 100 0 0 0 0 0 0 0',
  'cpu1 50 0 0 50 0 0 0 0',
  'cpu2 10 0 0 90 0 0 0 0',
  'cpu3 0 0 0 100 0 0 0 0',
].join('\n');
const allowed = (list: string): string => `Name:\tnode\nCpus_allowed_list:\t${list}\nMems:\t0\n`;
const machineFiles = (list: string, boot: string[] = ['b7\n']) =>
  sources({
    '/proc/stat': [CORES],
    '/proc/self/status': [allowed(list)],
    '/proc/sys/kernel/random/boot_id': boot,
  });

describe('machine', () => {
  it('a list of cores is read as the kernel writes it', () => {
    expect([...(parseCpuList('0-2,5,7-7') ?? [])]).toEqual([0, 1, 2, 5, 7]);
    for (const text of ['', 'a', '3-1', '1-', '-1', '1,,2', '0-99999999', '0x1'])
      expect([text, parseCpuList(text)]).toEqual([text, undefined]);
  });

  it('what may not be used does not count, for the cores and for the busy share', () => {
    const share = (list: string): [number, number] => {
      const collector = collectSamples(machineFiles(list));
      return [collector.machine.cores, collector.read().cpu];
    };
    expect(share('0-3')).toEqual([4, 0.4]);
    expect(share('0-127')).toEqual([4, 0.4]); // the kernel names cores that are not there
    expect(share('1,2')).toEqual([2, 0.3]);
    expect(share('strange')).toEqual([4, 0.4]);
    expect(share('7')).toEqual([4, 0.4]); // none of them is there: all count
  });

  it('is the same one under the same kernel on the same cores only', () => {
    const id = (list: string, boot?: string[]): string =>
      collectSamples(machineFiles(list, boot)).machine.id;
    expect(id('0-3')).toBe(id('0-3'));
    expect(new Set([id('0-3'), id('0-1'), id('0-3', ['c9\n']), id('0-3', [])]).size).toBe(4);
    const elsewhere = collectSamples(sources({})).machine;
    expect(elsewhere).toEqual({ id: 'host:', cores: 4 });
  });
});

describe('own time', () => {
  it('is what the threads had between two reads, whatever the wall clock says', () => {
    const times = { own: [100, 100, 700, 650, 650], now: [0, 500, 1_000, 1_500, 1_500] };
    const collector = collectSamples(
      sources({}, { ownMs: () => times.own.shift() ?? 0, nowMs: () => times.now.shift() ?? 0 }),
    );
    expect(collector.read().ownCores).toBe(0);
    expect(collector.read().ownCores).toBeCloseTo(1.2);
    // Back, and standing still: as it was.
    expect([collector.read().ownCores, collector.read().ownCores]).toEqual([1.2, 1.2]);
  });

  it('of this process: what it burns, and not what it waits', async () => {
    const collector = collectSamples();
    const used = process.cpuUsage();
    const began = performance.now();
    const busy = (): number => {
      const { user, system } = process.cpuUsage(used);
      return (user + system) / 1_000;
    };
    while (busy() < 100);
    const { ownCores = 0 } = collector.read();
    expect(ownCores).toBeGreaterThan(0);
    // Others may have had the core meanwhile: the wall clock then says more than was used.
    expect(ownCores).toBeLessThanOrEqual(Math.max(1, (busy() / (performance.now() - began)) * 1.5));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(collector.read().ownCores).toBeLessThan(ownCores);
    collector.close();
  });
});

describe('a thread that waits for a core', () => {
  it('had the share of the time that the kernel counted', () => {
    const texts = [
      '100 0 1\n',
      '400 100 2\n',
      '400 100 2\n',
      '500 400 3\n',
      'strange',
      '600 400 9\n',
    ];
    const share = new CoreShare(() => texts.shift());
    const window = 200_000_000n;
    expect(share.at(window - 1n)).toBe(1);
    expect(share.at(window)).toBe(0.75);
    expect(share.at(window + 5n)).toBe(0.75); // one read a window
    expect(share.at(2n * window)).toBe(0.75); // no time passed for it
    expect(share.at(3n * window)).toBe(0.25);
    expect([share.at(4n * window), share.at(5n * window), share.at(6n * window)]).toEqual([
      0.25, 0.25, 0.25,
    ]);
  });

  it('where the kernel does not say, it had all', () => {
    expect(new CoreShare(() => undefined).at(10n ** 9n)).toBe(1);
  });
});

describe('collector', () => {
  it('gives the share between two reads', () => {
    const later = 'cpu  150 20 30 850 50 5 5 10 7 3\n';
    const collector = collectSamples(
      sources({ '/proc/stat': [STAT, STAT, later], '/proc/meminfo': [MEMINFO] }),
    );
    expect(collector.read().cpu).toBeCloseTo(170 / 1020);
    expect(collector.read()).toEqual({
      cpu: 0.5,
      ownCores: 0,
      memoryUsedBytes: 409_600,
      eventLoopDelayMs: 3,
    });
  });

  it('keeps what it knew when counters stand still or go back, and goes on from there', () => {
    const reset = 'cpu  1 0 0 9 0 0 0 0\n';
    const after = 'cpu  2 0 0 9 0 0 0 0\n';
    const collector = collectSamples(sources({ '/proc/stat': [STAT, STAT, STAT, reset, after] }));
    const first = collector.read().cpu;
    expect([collector.read().cpu, collector.read().cpu, collector.read().cpu]).toEqual([
      first,
      first,
      1,
    ]);
  });

  it('asks the operating system when there is no /proc', () => {
    const collector = collectSamples(sources({}));
    expect(collector.read()).toEqual({
      cpu: 0.25,
      ownCores: 0,
      memoryUsedBytes: 77,
      eventLoopDelayMs: 3,
    });
  });

  it('never gives NaN or a negative value', () => {
    const strange = {
      osTicks: () => ({ busy: Number.NaN, all: Number.NaN }),
      loopDelayMs: () => Number.NaN,
    };
    const rest = { osMemoryUsedBytes: () => -5, ownMs: () => Number.NaN, osCores: () => 0 };
    const collector = collectSamples(sources({}, { ...strange, ...rest }));
    expect(collector.machine.cores).toBe(1);
    expect(collector.read()).toEqual({
      cpu: 0,
      ownCores: 0,
      memoryUsedBytes: 0,
      eventLoopDelayMs: 0,
    });
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
