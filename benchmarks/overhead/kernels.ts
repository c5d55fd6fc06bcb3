/**
 * The list of kernels: where each comes from and with which parameters it is run.
 *
 * Does: name sources and numbers. Does not: compile (programs.ts) or measure.
 *
 * K1  `parameter` is chosen so that a warm call takes about 20–60 ms uninstrumented on a 2020s core.
 * K2  `longParameter` makes one call of about 1.5 s: with 30 % of it done, a second of work remains.
 * K3  `smallParameter` ends within milliseconds in plain TypeScript: for the models in the tests.
 */

export type Group = 'polybench' | 'classic' | 'c';

export interface Kernel {
  readonly name: string;
  readonly group: Group;
  readonly parameter: number;
  readonly longParameter: number;
  readonly smallParameter: number;
  /** AssemblyScript runtime; C kernels bring their own. */
  readonly runtime: 'stub' | 'minimal' | 'incremental';
}

type Row = readonly [name: string, parameter: number, long: number, small: number];

const POLYBENCH: readonly Row[] = [
  ['2mm', 250, 980, 12],
  ['3mm', 215, 900, 12],
  ['adi', 60, 3800, 2],
  ['atax', 750, 45_000, 3],
  ['bicg', 1100, 72_000, 3],
  ['cholesky', 560, 2300, 12],
  ['correlation', 360, 1300, 12],
  ['covariance', 360, 1300, 12],
  ['deriche', 45, 2600, 2],
  ['doitgen', 75, 215, 7],
  ['durbin', 110, 6600, 2],
  ['fdtd-2d', 300, 22_000, 2],
  ['floyd-warshall', 310, 1300, 12],
  ['gemm', 330, 1300, 12],
  ['gemver', 400, 25_000, 2],
  ['gesummv', 1250, 90_000, 3],
  ['gramschmidt', 300, 1080, 12],
  ['heat-3d', 240, 16_000, 2],
  ['jacobi-1d', 12_000, 750_000, 3],
  ['jacobi-2d', 300, 20_000, 2],
  ['lu', 440, 1850, 12],
  ['ludcmp', 440, 1850, 12],
  ['mvt', 650, 42_000, 3],
  ['nussinov', 520, 2100, 14],
  ['seidel-2d', 150, 9500, 2],
  ['symm', 340, 1280, 12],
  ['syr2k', 330, 1280, 12],
  ['syrk', 370, 1500, 12],
  ['trisolv', 1600, 110_000, 3],
  ['trmm', 370, 1400, 12],
];

const CLASSIC: readonly Row[] = [
  ['fib', 33, 42, 12],
  ['nbody', 450_000, 28_000_000, 10],
  ['sha256', 100_000, 5_600_000, 3],
  ['sieve', 6_000_000, 220_000_000, 1000],
  ['mandelbrot', 460, 2900, 12],
  ['vm', 18_000, 460_000, 30],
  ['quicksort', 100_000, 4_000_000, 300],
  ['fannkuch', 9, 11, 6],
  ['spectral', 1050, 7600, 9],
  ['simd', 350, 15_000, 2],
];

function rows(list: readonly Row[], group: Group, runtime: Kernel['runtime']): Kernel[] {
  return list.map(([name, parameter, longParameter, smallParameter]) => ({
    name,
    group,
    parameter,
    longParameter,
    smallParameter,
    runtime,
  }));
}

export const KERNELS: readonly Kernel[] = [
  ...rows(POLYBENCH, 'polybench', 'stub'),
  ...rows(CLASSIC, 'classic', 'stub'),
  ...rows([['trees', 16, 20, 6]], 'classic', 'minimal'),
  ...rows([['strings', 14_000, 600_000, 1500]], 'classic', 'incremental'),
  ...rows(
    [
      ['coremix', 700, 22_000, 3],
      ['luette', 70, 1200, 2],
    ],
    'c',
    'stub',
  ),
];
