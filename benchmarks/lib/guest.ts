/**
 * AssemblyScript programs of this project as shard modules, from their sources, and what programs are started with.
 *
 * Does: compile with the guest SDK of the checkout; fill in a spec. Does not: use the compile cache, or run anything.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileAssemblyScript } from '../../host/compile/assemblyscript.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { Run, TakeUp } from '../../host/node/worker-messages.js';
import { encodeSpec } from '../../host/runtime/spec.js';
import type { ShardSpec } from '../../host/types/host.js';
import type { ShardModule } from '../../host/types/module.js';

/** `path` is relative to `root`, the checkout. */
export async function compileGuest(root: string, path: string): Promise<ShardModule> {
  const readSource = (name: string): string | null =>
    existsSync(name) ? readFileSync(name, 'utf8') : null;
  const guestDirectory = join(root, 'assembly/guest');
  const { wasm } = await compileAssemblyScript(join(root, path), readSource, { guestDirectory });
  return compileProgram(wasm, nodePlatform);
}

/** What a worker thread takes up to run a program from its beginning. The shard has the program's name. */
export function freshTakeUp(run: Run, spec: ShardSpec): TakeUp {
  const bytes = encodeSpec(spec);
  return {
    run,
    shardId: spec.programName,
    moduleHash: spec.moduleHash,
    specHash: nodePlatform.sha256(bytes),
    spec: bytes,
    capsule: null,
    capsuleVerified: false,
    staged: null,
    priority: 0,
  };
}

/** What a program is started with when nothing is said: no input, no directories, no limits. */
export function plainSpec(
  module: Pick<ShardModule, 'moduleHash'>,
  own: Pick<ShardSpec, 'programName' | 'entry' | 'entryArgs' | 'args'>,
): ShardSpec {
  return {
    v: 1,
    moduleHash: module.moduleHash,
    env: [],
    stdin: [],
    dirs: [],
    seed: '0'.repeat(32),
    maxMemoryPages: 0,
    maxFuel: 0n,
    maxTimeMs: 0,
    priority: 0,
    ...own,
  };
}
