/**
 * `npm run fuzz`: compiles host/ and the fuzzers with tsc into dist/.fuzz, then runs one in this process: long.ts, or with
 * `--mutants N` damaged modules through the compiler (test/compile/mutate.ts); with `--capsules` hostile capsules
 * (test/capsule/mutate.ts). `--turbofan`: in a process in which V8's optimising compiler makes all code from the start.
 *
 * Does not: check types (npm run typecheck).
 */
import { spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const OUT = join(ROOT, 'dist/.fuzz');
const args = process.argv.slice(2).filter((each) => each !== '--turbofan');
if (args.length < process.argv.length - 2) {
  const flags = [...process.execArgv, '--no-liftoff', fileURLToPath(import.meta.url), ...args];
  process.exit(spawnSync(process.execPath, flags, { stdio: 'inherit' }).status ?? 1);
}
const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
const built = spawnSync(process.execPath, [tsc, '-p', join(ROOT, 'test/exact/tsconfig.json')], {
  encoding: 'utf8',
});
if (built.status !== 0) process.stderr.write(built.stdout);
cpSync(join(ROOT, 'test/exact/facts.mjs'), join(OUT, 'test/exact/facts.mjs'));
const mutants = args.includes('--mutants') ? 'test/compile/mutate.js' : 'test/exact/long.js';
const file = args.includes('--capsules') ? 'test/capsule/mutate.js' : mutants;
const { main } = await import(pathToFileURL(join(OUT, file)).href);
process.exitCode = await main(args, ROOT);
