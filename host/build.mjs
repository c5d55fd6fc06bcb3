/**
 * `npm run build`: TypeScript → dist/, ready to be run and packed.
 *
 * Does: tsc (incremental), asc for assembly/core (only when a source is newer than core.wasm), make the command line
 * executable, check that the guest SDK is where the compiled code looks for it (assembly/guest beside dist/).
 * Does not: test, lint or pack.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function step(name, action) {
  const start = performance.now();
  const note = action();
  console.log(
    `build: ${name}${note === undefined ? '' : ` (${note})`} ${Math.round(performance.now() - start)} ms`,
  );
}

function fail(message) {
  console.error(`build: ${message}`);
  process.exit(1);
}

step('tsc -> dist', () => {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const { status, error } = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.json')], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status !== 0)
    fail(error === undefined ? 'tsc found errors' : `cannot run tsc: ${error.message}`);
});

step('assembly/core -> dist/core/core.wasm', () => {
  const folder = join(root, 'assembly/core');
  const target = join(root, 'dist/core/core.wasm');
  const sources = [
    ...readdirSync(folder).map((name) => join(folder, name)),
    fileURLToPath(import.meta.url),
  ];
  const newestMs = Math.max(...sources.map((file) => statSync(file).mtimeMs));
  if (existsSync(target) && statSync(target).mtimeMs > newestMs) return 'up to date';
  mkdirSync(dirname(target), { recursive: true });
  const fresh = `${target}.${process.pid}`;
  const asc = fileURLToPath(import.meta.resolve('assemblyscript/asc'));
  const command = join(dirname(dirname(asc)), 'bin/asc.js');
  // No garbage collector, no static data, no imports: what it works on is its caller's (assembly/core/index.ts, K1).
  const config = join(folder, 'asconfig.json');
  const args = [command, join(folder, 'index.ts'), '--config', config, '--outFile', fresh];
  const { status, error } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0)
    fail(error === undefined ? 'asc found errors' : `cannot run asc: ${error.message}`);
  renameSync(fresh, target);
});

step('executable', () => {
  const main = join(root, 'dist/cli/main.js');
  if (!existsSync(main)) return 'no command line yet';
  chmodSync(main, 0o755);
  return relative(root, main);
});

step('guest SDK', () => {
  const guest = join(root, 'assembly/guest/index.ts');
  if (!existsSync(guest)) fail(`${relative(root, guest)} is missing`);
  return relative(root, dirname(guest));
});
