/**
 * Shape of the repository: what lies at the top, how a source file opens, how long it is, what no file contains.
 */
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { lineOf, listFiles, parse, readText, visit } from './sources.js';

/** Everything that may lie at the top level, each with its reason. */
const TOP_LEVEL: Readonly<Record<string, string>> = {
  'package.json': 'package',
  'package-lock.json': 'lock file',
  'tsconfig.json': 'TypeScript settings',
  'asconfig.json': 'AssemblyScript settings',
  'biome.json': 'lint and format settings, found only at the top',
  'vitest.config.ts': 'test settings, found only at the top',
  'README.md': 'first page',
  LICENSE: 'licence',
  assembly: 'AssemblyScript',
  host: 'TypeScript',
  test: 'tests',
  benchmarks: 'benchmarks',
  '.ci': 'continuous integration',
  '.gitignore': 'git',
  '.gitattributes': 'git',
  '.npmrc': 'npm settings',
};

/** Longest source file; the exceptions must carry a reason. */
const MAX_LINES = 600;
const LONG_FILES: Readonly<Record<string, string>> = {};

const BINARY = /\.(wasm|png|capsule|gz|zst|bin)$/;
const isSource = (path: string): boolean =>
  /\.(ts|mts|mjs|js)$/.test(path) && !path.includes('/fixtures/');
const all = listFiles();
const host = all.filter((path) => path.startsWith('host/') && isSource(path));

describe('files', () => {
  it('nothing unexpected lies at the top level', () => {
    const top = new Set(all.map((path) => path.split('/')[0] ?? ''));
    expect([...top].filter((name) => TOP_LEVEL[name] === undefined)).toEqual([]);
  });

  it('every source of host/ opens with a header comment', () => {
    const bare = host.filter((path) => !/^(#!.*\n)?\/\*\*?\s*\n? ?\*? ?\S/.test(readText(path)));
    expect(bare).toEqual([]);
  });

  it(`no source is longer than ${MAX_LINES} lines`, () => {
    const long = all
      .filter((path) => isSource(path) && LONG_FILES[path] === undefined)
      .map((path) => ({ path, lines: readText(path).split('\n').length - 1 }))
      .filter(({ lines }) => lines > MAX_LINES);
    expect(long).toEqual([]);
    for (const [path, reason] of Object.entries(LONG_FILES))
      expect([path, reason.length > 10, all.includes(path)]).toEqual([path, true, true]);
  });

  it('host/ has no `any`', () => {
    const found = host.flatMap((path) => {
      const file = parse(path);
      const lines: string[] = [];
      visit(file, (node) => {
        if (node.kind === ts.SyntaxKind.AnyKeyword) lines.push(`${path}:${lineOf(file, node)}`);
      });
      return lines;
    });
    expect(found).toEqual([]);
  });

  it('no suppressed type errors in host/', () => {
    const marker = new RegExp(['@ts-', '(ignore|nocheck|expect-error)'].join(''));
    expect(host.filter((path) => marker.test(readText(path)))).toEqual([]);
  });
});

describe('forbidden text', () => {
  // Written in pieces, so that this file does not contain what it looks for.
  const FORBIDDEN: readonly (readonly [RegExp, string])[] = [
    [new RegExp(`(^|[^\\w.])/${'work'}/`), 'a path of one machine'],
    [new RegExp(`(^|[^\\w.])/${'root'}/`), 'a path of one machine'],
    [new RegExp(`file:///${'home'}/`), 'a path of one machine'],
    [new RegExp(`https?://[^\\s"']*${'registry'}[^\\s"']*`), 'a package registry'],
    [new RegExp(`https?://(127\\.|localhost)[^\\s"'\`]*/${'npm'}`), 'a package registry'],
  ];

  it('is nowhere', () => {
    const found = all
      .filter((path) => !BINARY.test(path))
      .flatMap((path) => {
        const lines = readText(path).split('\n');
        return lines.flatMap((line, index) =>
          FORBIDDEN.filter(([pattern]) => pattern.test(line)).map(
            ([, what]) => `${path}:${index + 1}: ${what}`,
          ),
        );
      });
    expect(found).toEqual([]);
  });

  it('the patterns see what they look for', () => {
    const samples = [`cd /${'work'}/x`, `"/${'root'}/.npm"`, `https://${'registry'}.example.org/a`];
    for (const sample of samples)
      expect(FORBIDDEN.some(([pattern]) => pattern.test(sample))).toBe(true);
    expect(
      FORBIDDEN.some(([pattern]) => pattern.test("import './network/a.js'; test/root/x")),
    ).toBe(false);
  });
});
