/** host/runtime/wasi, guest-host and spec run in a browser: no node: import, no Node global. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const runtime = fileURLToPath(new URL('../../../host/runtime/', import.meta.url));
const files = [
  ...readdirSync(`${runtime}wasi`).map((name) => `wasi/${name}`),
  'guest-host.ts',
  'spec.ts',
];

describe('portable files', () => {
  it('are found', () => {
    expect(files.filter((file) => file.endsWith('.ts')).length).toBeGreaterThan(12);
  });

  it.each(files)('%s uses nothing of Node', (file) => {
    const source = readFileSync(runtime + file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    const imports = [...source.matchAll(/from '([^']+)'|import\('([^']+)'\)/g)].map(
      (m) => m[1] ?? m[2]!,
    );
    for (const name of imports) expect(name).toMatch(/^\.\.?\//);
    const code = source.replace(/'[^']*'/g, '');
    expect(code).not.toMatch(/\b(Buffer|process|performance|Date)\.|\b(require|setTimeout)\(/);
    expect(source).not.toContain('Math.random');
  });
});
