/**
 * Completes package-lock.json: adds the optional packages of other platforms that npm left out.
 *
 * npm drops an optional package from the lock file when the registry in use does not carry that platform's build;
 * `npm ci` then refuses the lock file on every machine. The entries added here have a version and the platform
 * that the name states, no integrity: npm takes that from the registry on the platform concerned.
 *
 * Does: edit the lock file in place. Does not: use the network.
 *
 * Usage: node test/tidy/complete-lock.mjs [--check]   (--check: only say what is missing, exit 1 if anything is)
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const LOCK = fileURLToPath(new URL('../../package-lock.json', import.meta.url));
const OS = [
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
  'aix',
];
const CPU = [
  'arm64',
  'arm',
  'x64',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
];

/** `[name, version, parent]` of every optional dependency that the lock file names but does not describe. */
export function missingOptional(lock) {
  const missing = new Map();
  for (const [path, entry] of Object.entries(lock.packages)) {
    for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
      const described = Object.keys(lock.packages).some(
        (at) => at === `node_modules/${name}` || at === `${path}/node_modules/${name}`,
      );
      if (!described) missing.set(`node_modules/${name}`, { name, range, dev: entry.dev === true });
    }
  }
  return missing;
}

function entryFor({ name, range, dev }) {
  const words = name.split(/[-/]/);
  const os = words.filter((word) => OS.includes(word));
  const cpu = words.filter((word) => CPU.includes(word));
  if (!/^\d/.test(range)) throw new Error(`${name}@${range}: not an exact version; add it by hand`);
  if (os.length === 0 && cpu.length === 0)
    throw new Error(`${name}: the name states no platform; add it by hand`);
  return {
    version: range,
    ...(cpu.length > 0 ? { cpu } : {}),
    ...(dev ? { dev: true } : {}),
    ...(words.includes('musl') ? { libc: ['musl'] } : {}),
    optional: true,
    ...(os.length > 0 ? { os } : {}),
  };
}

function main() {
  const lock = JSON.parse(readFileSync(LOCK, 'utf8'));
  const missing = missingOptional(lock);
  for (const [path, wanted] of missing) {
    lock.packages[path] = entryFor(wanted);
    console.log(`${path} ${wanted.range}`);
  }
  if (process.argv.includes('--check')) process.exit(missing.size === 0 ? 0 : 1);
  const [root, ...rest] = Object.keys(lock.packages);
  rest.sort((a, b) => (a < b ? -1 : 1));
  lock.packages = Object.fromEntries([root, ...rest].map((path) => [path, lock.packages[path]]));
  writeFileSync(LOCK, `${JSON.stringify(lock, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
