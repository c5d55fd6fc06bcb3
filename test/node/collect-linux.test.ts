/** Control groups, pressure, network and run queue: on texts as kernels write them, and on damaged ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { collectSamples, type SampleSources } from '../../host/node/collect.js';
import {
  groupMemoryBytes,
  LinuxFigures,
  limitOf,
  parseBytes,
  parseCgroup,
  parseCpuMax,
  parseLoadavg,
  parseNamed,
  parseNetDev,
  parsePressure,
} from '../../host/node/collect-linux.js';

const CGROUP = '0::/user.slice/user-1000.slice/session-2.scope\n';
const HYBRID = '4:memory:/x\n1:cpu:/\n0::/kubepods/pod7/c9\n';
const CPU_STAT =
  'usage_usec 8294650\nuser_usec 5571220\nsystem_usec 2723430\nnr_periods 120\nnr_throttled 31\nthrottled_usec 991201\n';
const MEMORY_STAT =
  'anon 104857600\nfile 52428800\ninactive_anon 0\nactive_file 1048576\ninactive_file 41943040\n';
const PRESSURE =
  'some avg10=12.50 avg60=3.29 avg300=1.00 total=2418891906\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n';
const NET = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 3326693    7093    0    0    0     0          0         0  3326693    7093    0    0    0     0       0          0
  eth0: 1000000    7093    0    0    0     0          0         0   500000    7093    0    0    0     0       0          0
wlp2s0:    2000       3    0    0    0     0          0         0     1000       3    0    0    0     0       0          0
docker0: 999999      3    0    0    0     0          0         0   999999       3    0    0    0     0       0          0
veth1a2b@if3: 999     3    0    0    0     0          0         0      999       3    0    0    0     0       0          0
`;

describe('texts', () => {
  it('the group of the unified hierarchy, also beside the old ones', () => {
    expect(parseCgroup(CGROUP)).toBe('/user.slice/user-1000.slice/session-2.scope');
    expect(parseCgroup(HYBRID)).toBe('/kubepods/pod7/c9');
    expect(parseCgroup('0::/\n')).toBe('/');
    for (const text of [undefined, '', '4:memory:/x\n', '0::\n', '0::/a/../../etc\n', '0:/a'])
      expect([text, parseCgroup(text)]).toEqual([text, undefined]);
  });

  it('a quota is cores', () => {
    expect(parseCpuMax('200000 100000\n')).toBe(2);
    expect(parseCpuMax('50000 100000\n')).toBe(0.5);
    expect(parseCpuMax('50000\n')).toBe(0.5);
    for (const text of [
      undefined,
      '',
      'max 100000\n',
      '0 100000',
      '5 0',
      '-1 100000',
      '2e5 100000',
      'x',
    ])
      expect([text, parseCpuMax(text)]).toEqual([text, undefined]);
  });

  it('bytes and named figures', () => {
    expect([parseBytes('1073741824\n'), parseBytes('0')]).toEqual([1_073_741_824, 0]);
    for (const text of [undefined, '', 'max\n', '-5', '1.5', '99999999999999999999', '5 6'])
      expect([text, parseBytes(text)]).toEqual([text, undefined]);
    expect(parseNamed(CPU_STAT, 'usage_usec')).toBe(8_294_650);
    expect(parseNamed(MEMORY_STAT, 'inactive_file')).toBe(41_943_040);
    expect([parseNamed(CPU_STAT, 'usage'), parseNamed(undefined, 'x')]).toEqual([
      undefined,
      undefined,
    ]);
  });

  it('pressure: share of ten seconds, and the sum', () => {
    expect(parsePressure(PRESSURE)).toEqual({ share: 0.125, totalUs: 2_418_891_906 });
    for (const text of [
      undefined,
      '',
      'some',
      'full avg10=1.00 avg60=0 avg300=0 total=4',
      'some avg10=x avg60=0 avg300=0 total=4',
      'some avg10=1.00 avg60=0.0 avg',
    ])
      expect([text, parsePressure(text)]).toEqual([text, undefined]);
  });

  it('network: what came and went, without loopback and what is only passed on', () => {
    expect(parseNetDev(NET)).toBe(1_503_000);
    expect(parseNetDev(NET.slice(0, 330))).toBeUndefined();
    expect([parseNetDev(undefined), parseNetDev('eth0: 1 2 3')]).toEqual([undefined, undefined]);
  });

  it('run queue', () => {
    expect(parseLoadavg('0.20 0.18 0.12 3/80 11206\n')).toBe(3);
    for (const text of [undefined, '', '0.20 0.18 0.12', '0.2 0.1 0.1 x/80 1'])
      expect([text, parseLoadavg(text)]).toEqual([text, undefined]);
  });

  it('of any damage give a finite figure or none', () => {
    const texts = [
      CGROUP,
      CPU_STAT,
      MEMORY_STAT,
      PRESSURE,
      NET,
      '200000 100000\n',
      '0.1 0.2 0.3 4/5 6\n',
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...texts),
        fc.nat(400),
        fc.string({ maxLength: 6 }),
        (text, at, odd) => {
          const bad = text.slice(0, at) + odd + text.slice(at + odd.length);
          const figures = [
            parseCpuMax(bad),
            parseBytes(bad),
            parseNamed(bad, 'usage_usec'),
            parsePressure(bad)?.share,
            parsePressure(bad)?.totalUs,
            parseNetDev(bad),
            parseLoadavg(bad),
          ];
          for (const figure of figures)
            if (figure !== undefined) expect(Number.isFinite(figure) && figure >= 0).toBe(true);
        },
      ),
    );
  });
});

type Files = Record<string, string | string[] | undefined>;

/** Each text of a list is read once, the last one for ever. */
function reader(files: Files): (path: string) => string | undefined {
  return (path) => {
    const text = files[path];
    if (!Array.isArray(text)) return text;
    return text.length > 1 ? text.shift() : text[0];
  };
}

const G = '/sys/fs/cgroup';

describe('limits', () => {
  it('the tightest of the group and of those above it holds', () => {
    const files = {
      '/proc/self/cgroup': '0::/a/b/c\n',
      [`${G}/a/b/c/cpu.max`]: 'max 100000\n',
      [`${G}/a/b/cpu.max`]: '300000 100000\n',
      [`${G}/a/cpu.max`]: '150000 100000\n',
      [`${G}/a/b/memory.max`]: '1000\n',
      [`${G}/memory.max`]: '5000\n',
    };
    expect(limitOf(reader(files), 'cpu.max')).toEqual({ path: `${G}/a`, value: 1.5 });
    expect(limitOf(reader(files), 'memory.max')).toEqual({ path: `${G}/a/b`, value: 1_000 });
    expect(limitOf(reader({ '/proc/self/cgroup': '0::/a\n' }), 'cpu.max')).toBeUndefined();
    expect(limitOf(reader({}), 'cpu.max')).toBeUndefined();
  });

  it('memory of a group is what cannot be taken back', () => {
    const limit = { path: `${G}/a`, value: 1e9 };
    const files = { [`${G}/a/memory.current`]: '104857600\n', [`${G}/a/memory.stat`]: MEMORY_STAT };
    expect(groupMemoryBytes(reader(files), limit)).toBe(104_857_600 - 41_943_040);
    expect(groupMemoryBytes(reader({ [`${G}/a/memory.current`]: '7' }), limit)).toBe(7);
    expect(
      groupMemoryBytes(reader({ [`${G}/a/memory.stat`]: MEMORY_STAT }), limit),
    ).toBeUndefined();
  });
});

describe('figures', () => {
  const pressure = (percent: number, totalUs: number): string =>
    `some avg10=${percent.toFixed(2)} avg60=0.00 avg300=0.00 total=${totalUs}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n`;
  const net = (bytes: number): string => `eth0: ${bytes} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n`;

  it('are rates between reads; after a reset, or without a file, as at first', () => {
    const figures = new LinuxFigures(
      reader({
        '/proc/pressure/cpu': [
          pressure(50, 1_000_000),
          pressure(50, 1_100_000),
          pressure(30, 5),
          'strange',
          pressure(20, 9),
        ],
        '/proc/net/dev': [net(1_000), net(6_000), net(10), net(2_010), net(2_010)],
        '/proc/loadavg': ['0 0 0 3/80 5', 'x'],
      }),
      undefined,
    );
    expect(figures.read(0)).toEqual({ cpuPressure: 0.5, runQueue: 3 });
    expect(figures.read(500)).toEqual({ cpuPressure: 0.2, networkBytesPerS: 10_000 });
    expect(figures.read(1_000)).toEqual({ cpuPressure: 0.3 });
    expect(figures.read(1_500)).toEqual({ networkBytesPerS: 4_000 });
    expect(figures.read(2_000)).toEqual({ cpuPressure: 0.2, networkBytesPerS: 0 });
  });

  it('pressure is of the group where it has a quota and tells, else of the machine', () => {
    const files = {
      '/proc/pressure/cpu': pressure(10, 1),
      '/proc/pressure/io': pressure(20, 1),
      [`${G}/a/cpu.pressure`]: pressure(90, 1),
    };
    expect(new LinuxFigures(reader(files), `${G}/a`).read(0)).toEqual({
      cpuPressure: 0.9,
      ioPressure: 0.2,
    });
    expect(new LinuxFigures(reader(files), undefined).read(0)).toEqual({
      cpuPressure: 0.1,
      ioPressure: 0.2,
    });
  });
});

describe('a node with a quota', () => {
  const STAT = [
    'cpu  100 0 0 300 0 0 0 0',
    ...Array.from({ length: 8 }, (_, i) => `cpu${i} 10 0 0 30 0 0 0 0`),
  ].join('\n');

  function sources(files: Files, times: number[] = [0], inode = 77): SampleSources {
    return {
      readText: reader(files),
      inodeOf: () => inode,
      osTicks: () => ({ busy: 1, all: 4 }),
      osMemoryUsedBytes: () => 5,
      osCores: () => 8,
      hostName: () => 'host',
      ownMs: () => 0,
      nowMs: () => (times.length > 1 ? times.shift()! : times[0]!),
      loopDelayMs: () => 0,
      close: () => undefined,
    };
  }

  const limited: Files = {
    '/proc/self/cgroup': '0::/box\n',
    '/proc/stat': STAT,
    '/proc/meminfo': 'MemTotal:       8000000 kB\nMemAvailable:    6000000 kB\n',
    [`${G}/box/cpu.max`]: '150000 100000\n',
    [`${G}/box/memory.max`]: '1000000000\n',
    [`${G}/box/memory.current`]: '400000000\n',
  };
  const stat = (us: number): string => `usage_usec ${us}\n`;

  it('has that as its cores and its memory, and is busy by what the group had of it', () => {
    const usage = [stat(1_000_000), stat(1_750_000), stat(3_250_000), stat(7), stat(150_007)];
    const collector = collectSamples(
      sources({ ...limited, [`${G}/box/cpu.stat`]: usage }, [0, 1_000, 2_000, 3_000, 4_000, 5_000]),
    );
    expect([collector.machine.cores, collector.memoryBytes]).toEqual([1.5, 1e9]);
    const reads = Array.from({ length: 5 }, () => collector.read());
    // 0.75 of 1.5 cores; all of it; a reset: as before; a tenth.
    expect(reads.map(({ cpu }) => Math.round(cpu * 1e6) / 1e6)).toEqual([0, 0.5, 1, 1, 0.1]);
    expect(reads[0]!.memoryUsedBytes).toBe(4e8);
  });

  it('is a machine of its own, told from others by its group', () => {
    const id = (inode: number): string => collectSamples(sources(limited, [0], inode)).machine.id;
    expect(id(1)).toBe(id(1));
    expect(id(1)).not.toBe(id(2));
    const free = collectSamples(sources({ ...limited, [`${G}/box/cpu.max`]: 'max 100000\n' }));
    expect([free.machine.cores, free.machine.id]).toEqual([8, 'host:']);
  });

  it('a limit above what there is limits nothing', () => {
    const wide = {
      ...limited,
      [`${G}/box/cpu.max`]: '1600000 100000\n',
      [`${G}/box/memory.max`]: '9000000000000\n',
    };
    const collector = collectSamples(sources(wide));
    expect([collector.machine.cores, collector.memoryBytes]).toEqual([8, undefined]);
    expect([collector.read().cpu, collector.read().memoryUsedBytes]).toEqual([0.25, 2_048_000_000]);
  });
});
