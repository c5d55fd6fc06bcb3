/**
 * Runs the official WebAssembly core test suite through sherd: `node test/suite/run.mjs FOLDER [NAME…]`.
 *
 * FOLDER is a checkout of https://github.com/WebAssembly/testsuite, which is not part of this project; `wast2json` (wabt)
 * must be on the PATH. NAME… runs only these files (without `.wast`). Counts are printed by file.
 *
 * Does: compile host/ and test/suite/ with tsc into dist/.suite, then load main. Does not: check types (npm run typecheck).
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
if (process.argv[2] === undefined) {
  console.error('usage: node test/suite/run.mjs FOLDER [NAME…]');
  process.exit(2);
}
const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
const built = spawnSync(process.execPath, [tsc, '-p', join(ROOT, 'test/suite/tsconfig.json')], {
  encoding: 'utf8',
});
if (built.status !== 0) process.stderr.write(built.stdout);
const { main } = await import(pathToFileURL(join(ROOT, 'dist/.suite/test/suite/main.js')).href);
process.exitCode = await main(process.argv.slice(2));
