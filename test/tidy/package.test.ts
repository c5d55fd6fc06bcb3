/**
 * package.json, its lock file and the README's commands agree with one another.
 *
 * Does not run the README's commands in a clean clone: `.ci/run` does.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { missingOptional } from './complete-lock.mjs';
import { shellCommands } from './readme-commands.mjs';
import { ROOT, readText } from './sources.js';

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

const manifest = JSON.parse(readText('package.json')) as Manifest;
const named = {
  ...manifest.dependencies,
  ...manifest.devDependencies,
  ...manifest.optionalDependencies,
  ...manifest.peerDependencies,
};

describe('package.json', () => {
  it('pins exact versions', () => {
    const loose = Object.entries(named).filter(
      ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
    );
    expect(loose).toEqual([]);
  });

  it('names the required packages', () => {
    for (const name of ['assemblyscript', '@assemblyscript/loader', 'msgpackr'])
      expect(manifest.dependencies).toHaveProperty([name]);
    expect(manifest.devDependencies).toHaveProperty(['vitest']);
    const jco = '@bytecodealliance/jco';
    const optional =
      manifest.optionalDependencies?.[jco] !== undefined ||
      manifest.peerDependenciesMeta?.[jco]?.optional === true;
    expect([jco, optional, named[jco] !== undefined]).toEqual([jco, true, true]);
  });
});

describe('package-lock.json', () => {
  const text = readText('package-lock.json');

  it('names no registry', () => {
    expect(text.includes(`"${'resolved'}"`)).toBe(false);
  });

  it('describes the optional packages of every platform (else npm ci refuses it: node test/tidy/complete-lock.mjs)', () => {
    expect([...missingOptional(JSON.parse(text)).keys()]).toEqual([]);
  });
});

describe('README', () => {
  it('opens with two commands that exist', () => {
    expect(existsSync(join(ROOT, 'README.md'))).toBe(true);
    const [main, tests] = shellCommands(readText('README.md'));
    for (const command of [main, tests]) {
      expect(command).toMatch(/^npm (ci|install) && /);
      const scripts = [
        ...(command ?? '').matchAll(/npm (?:run )?(start|test|(?<=run )[\w:-]+)/g),
      ].map((match) => match[1] ?? '');
      expect(scripts.length).toBeGreaterThan(0);
      for (const script of scripts) expect(manifest.scripts).toHaveProperty([script]);
    }
    expect(tests).toMatch(/npm (run )?test$/);
  });

  it('finds shell lines only', () => {
    const text =
      '# x\n```sh\n$ npm ci && npm start   # main job\n# note\n```\n```json\n{}\n```\n```bash\nnpm ci && npm test\n```\n';
    expect(shellCommands(text)).toEqual(['npm ci && npm start', 'npm ci && npm test']);
  });
});
