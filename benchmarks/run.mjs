/**
 * Runs one benchmark: `node benchmarks/run.mjs NAME [options]` (NAME is a folder here, e.g. overhead).
 *
 * Does: compile host/ and benchmarks/ with tsc into dist/.bench, then load benchmarks/NAME/main. A benchmark runs in
 * this very process, under whichever Node.js started it. Does not: check types (npm run typecheck does).
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const OUT = join(ROOT, 'dist/.bench');
const name = process.argv[2];

if (name === undefined || !existsSync(join(ROOT, 'benchmarks', name, 'main.ts'))) {
  console.error('usage: node benchmarks/run.mjs overhead|… [options]');
  process.exit(2);
}
const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
const built = spawnSync(process.execPath, [tsc, '-p', join(ROOT, 'benchmarks/tsconfig.json')], {
  encoding: 'utf8',
});
if (built.status !== 0) process.stderr.write(built.stdout);
const { main } = await import(pathToFileURL(join(OUT, 'benchmarks', name, 'main.js')).href);
process.exitCode = await main(process.argv.slice(3), ROOT);
