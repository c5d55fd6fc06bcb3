/**
 * Every benchmark kernel computes what its definition says: uninstrumented, instrumented, and stopped on the way.
 *
 * The models are written apart from the kernels, in plain TypeScript with nested arrays; results are equal bit by bit.
 */
import { describe, expect, it } from 'vitest';
import { bareHost } from '../../benchmarks/lib/bare-host.js';
import { packInstance, unpackInstance } from '../../benchmarks/lib/capsules.js';
import { KERNELS, type Kernel } from '../../benchmarks/overhead/kernels.js';
import { compileKernel } from '../../benchmarks/overhead/programs.js';
import { argumentBytes, resultOf } from '../../benchmarks/overhead/variants.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { Instance, LoadedModule, MAX_BUDGET } from '../../host/runtime/index.js';
import { ALGEBRA } from './model-algebra.js';
import { CLASSICS } from './model-classics.js';
import { GRIDS } from './model-grids.js';

const MODELS: Readonly<Record<string, (n: number) => number>> = {
  ...ALGEBRA,
  ...GRIDS,
  ...CLASSICS,
};
const ROOT = new URL('../..', import.meta.url).pathname;
const HOPS = 5;

function begin(loaded: LoadedModule, kernel: Kernel): Instance {
  const entryArgs = argumentBytes(kernel.smallParameter);
  return Instance.start(loaded, bareHost(), { entry: 'run', entryArgs, limitPages: 0 });
}

/** Stops `HOPS` times, evenly, and goes on in a new instance from a capsule each time. */
function withPauses(loaded: LoadedModule, kernel: Kernel, fuel: bigint): number {
  let instance = begin(loaded, kernel);
  for (let hop = 1; hop <= HOPS; hop++) {
    const target = (fuel * BigInt(hop)) / BigInt(HOPS + 1);
    const budget = Number(target - instance.fuelUsed);
    if (budget < 1) continue;
    expect(instance.run(budget)).toEqual({ kind: 'quantum', fuelUsed: target });
    instance = unpackInstance(packInstance(instance, loaded), loaded);
  }
  return resultOf(instance.run(MAX_BUDGET));
}

describe('kernels', () => {
  it('are as many as there are models, with names of their own', () => {
    expect(KERNELS.map(({ name }) => name).sort()).toEqual(Object.keys(MODELS).sort());
    expect(KERNELS.filter(({ group }) => group === 'polybench')).toHaveLength(30);
  });

  it.each(KERNELS.map((kernel) => [kernel.name, kernel] as const))(
    '%s gives what its model gives, also when stopped',
    async (name, kernel) => {
      const expected = MODELS[name]!(kernel.smallParameter);
      const bytes = await compileKernel(ROOT, kernel);
      const plain = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), {});
      const run = plain.exports.run as (n: number) => number;
      expect(run(kernel.smallParameter)).toBe(expected);
      const loaded = LoadedModule.load(compileProgram(bytes, nodePlatform), nodePlatform);
      const instance = begin(loaded, kernel);
      expect(resultOf(instance.run(MAX_BUDGET))).toBe(expected);
      expect(withPauses(loaded, kernel, instance.fuelUsed)).toBe(expected);
    },
  );
});
