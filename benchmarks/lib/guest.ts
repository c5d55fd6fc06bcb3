/**
 * AssemblyScript programs of this project as shard modules, from their sources.
 *
 * Does: compile with the guest SDK of the checkout. Does not: use the compile cache, or run anything.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compileAssemblyScript } from '../../host/compile/assemblyscript.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import type { ShardModule } from '../../host/types/module.js';

/** `path` is relative to `root`, the checkout. */
export async function compileGuest(root: string, path: string): Promise<ShardModule> {
  const readSource = (name: string): string | null =>
    existsSync(name) ? readFileSync(name, 'utf8') : null;
  const guestDirectory = join(root, 'assembly/guest');
  const { wasm } = await compileAssemblyScript(join(root, path), readSource, { guestDirectory });
  return compileProgram(wasm, nodePlatform);
}
