/**
 * Runs one benchmark: `node benchmarks/run.mjs NAME [options]` (NAME is a folder here, e.g. overhead).
 *
 * Does: compile host/ and benchmarks/ with tsc into dist/.bench, then load benchmarks/NAME/main. A benchmark runs in
 * this very process, or with `--node PATH` in one of that Node.js. Does not: check types (npm run typecheck does).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const SELF = fileURLToPath(import.meta.url);
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const OUT = join(ROOT, 'dist/.bench');
const BUILT = 'SHERD_BENCH_BUILT';
const [name, ...args] = process.argv.slice(2);

if (name === undefined || !existsSync(join(ROOT, 'benchmarks', name, 'main.ts'))) {
  const names = readdirSync(join(ROOT, 'benchmarks'))
    .filter((folder) => existsSync(join(ROOT, 'benchmarks', folder, 'main.ts')))
    .join('|');
  console.error(`usage: node benchmarks/run.mjs ${names} [--node PATH] [options]`);
  process.exit(2);
}
if (process.env[BUILT] === undefined) {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const built = spawnSync(process.execPath, [tsc, '-p', join(ROOT, 'benchmarks/tsconfig.json')], {
    encoding: 'utf8',
  });
  if (built.status !== 0) process.stderr.write(built.stdout);
}
const at = args.indexOf('--node');
if (at >= 0) {
  const node = args[at + 1];
  if (node === undefined || !existsSync(node)) {
    console.error(`--node ${node ?? ''}: no such file; give the path of a Node.js binary`);
    process.exit(2);
  }
  const rest = [...args.slice(0, at), ...args.slice(at + 2)];
  const child = spawnSync(resolve(node), [SELF, name, ...rest], {
    stdio: 'inherit',
    env: { ...process.env, [BUILT]: '1' },
  });
  process.exit(child.status ?? 1);
}
const { main } = await import(pathToFileURL(join(OUT, 'benchmarks', name, 'main.js')).href);
try {
  process.exitCode = await main(args, ROOT);
} catch (error) {
  if (error.name !== 'UsageError') throw error;
  console.error(error.message);
  process.exitCode = 2;
}
