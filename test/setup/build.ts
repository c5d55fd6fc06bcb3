/**
 * Vitest's global set-up: builds dist/ once, before any test.
 *
 * Does: run `host/build.mjs` (or plain tsc as long as there is none) when a source is newer than the last build.
 * Does not: clean. Several test runs may share the tree; a lock directory keeps two builds from overlapping.
 *
 * U1  Under CI a failed build fails the whole run; elsewhere it is reported and tests that need no dist/ still run.
 * U2  SHERD_TEST_BUILD=0 skips the build.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const STAMP = join(ROOT, 'dist/.test-build');
const LOCK = join(ROOT, 'dist/.test-build-lock');
const LOCK_STALE_MS = 300_000;
const SOURCES = ['host', 'assembly', 'package.json', 'tsconfig.json', 'asconfig.json'];

function newestMs(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...readdirSync(path).map((name) => newestMs(join(path, name))));
}

function upToDate(): boolean {
  const built = statSync(STAMP, { throwIfNoEntry: false });
  return (
    built !== undefined && SOURCES.every((name) => newestMs(join(ROOT, name)) <= built.mtimeMs)
  );
}

async function takeLock(): Promise<void> {
  mkdirSync(join(ROOT, 'dist'), { recursive: true });
  for (;;) {
    try {
      mkdirSync(LOCK);
      return;
    } catch {
      const held = statSync(LOCK, { throwIfNoEntry: false });
      if (held !== undefined && Date.now() - held.mtimeMs > LOCK_STALE_MS)
        rmSync(LOCK, { recursive: true, force: true });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}

function build(): void {
  const script = join(ROOT, 'host/build.mjs');
  const args = existsSync(script)
    ? [script]
    : [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', join(ROOT, 'tsconfig.json')];
  const startedMs = Date.now();
  const result = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
  if (result.status === 0) {
    writeFileSync(STAMP, '');
    console.log(`build: ${Date.now() - startedMs} ms`);
    return;
  }
  const message = `build failed (${args.join(' ')}):\n${result.stdout}${result.stderr}`;
  if (process.env.CI === 'true') throw new Error(message);
  console.error(`${message}\ntests that need dist/ may fail`);
}

export default async function setup(): Promise<void> {
  if (process.env.SHERD_TEST_BUILD === '0' || upToDate()) return;
  await takeLock();
  try {
    if (!upToDate()) build();
  } finally {
    rmSync(LOCK, { recursive: true, force: true });
  }
}
