/**
 * The spec of a shard that starts from its beginning, for the command line and the library.
 *
 * Does: fill in what every new spec has (entry, seed, argv[0]). Does not: read or check input.
 */
import { randomBytes } from 'node:crypto';
import type { ShardSpec } from '../types/host.js';
import type { ShardModule } from '../types/module.js';
import { chooseEntry } from './entry.js';

type Given = 'env' | 'stdin' | 'dirs' | 'maxMemoryPages' | 'maxFuel' | 'maxTimeMs';

export interface NewSpec extends Pick<ShardSpec, Given> {
  readonly programName: string;
  /** Arguments after the program's name. */
  readonly args: readonly string[];
  /** Undefined: the only one that there is. */
  readonly entry: string | undefined;
  /** Undefined: a random one. */
  readonly seed: string | undefined;
  readonly priority: number;
  readonly dropDead: boolean;
}

/** `at` names the program in errors. */
export function newSpec(module: ShardModule, given: NewSpec, at: string): ShardSpec {
  const { programName, args, env, stdin, dirs, seed } = given;
  const { maxMemoryPages, maxFuel, maxTimeMs, priority } = given;
  return {
    v: 1,
    programName,
    moduleHash: module.moduleHash,
    entry: chooseEntry(module, given.entry, at),
    entryArgs: new Uint8Array(0),
    args: [programName, ...args],
    env,
    stdin,
    dirs,
    seed: seed ?? randomBytes(16).toString('hex'),
    maxMemoryPages,
    maxFuel,
    maxTimeMs,
    priority,
    ...(given.dropDead ? ({ dropDead: true } as const) : {}),
  };
}
