/**
 * `npm run chaos`: builds dist/, compiles the driver with tsc into dist/.chaos, then runs it in this process (long.ts).
 *
 * Does not: check types (npm run typecheck).
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const OUT = join(ROOT, 'dist/.chaos');
const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
const steps = [[join(ROOT, 'host/build.mjs')], [tsc, '-p', join(ROOT, 'test/chaos/tsconfig.json')]];
for (const step of steps) {
  const built = spawnSync(process.execPath, step, { encoding: 'utf8' });
  if (built.status !== 0) process.stderr.write(built.stdout + built.stderr);
}
const { main } = await import(pathToFileURL(join(OUT, 'test/chaos/long.js')).href);
process.exitCode = await main(process.argv.slice(2), ROOT);
