/**
 * Test settings: node environment, one build before the first test, two processes at most.
 *
 * T1  No test starts before `host/build.mjs` has succeeded: tests that start processes use dist/.
 * T2  With SHERD_TEST_REPORT=FILE a JSON report is written as well (`.ci/run` counts from it).
 * T3  The clock decides nothing but timeouts, which are generous: a slow machine is not a failure.
 */
import { defineConfig } from 'vitest/config';

const reportFile = process.env.SHERD_TEST_REPORT;

export default defineConfig({
  test: {
    environment: 'node',
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/setup/build.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 10_000,
    reporters: reportFile === undefined ? ['default'] : ['default', ['json', { outputFile: reportFile }]],
    coverage: {
      provider: 'v8',
      include: [
        'host/{scheduler,guardian,generator,oracle,protocol}/**/*.ts',
        'host/{compile,capsule,runtime}/**/*.ts',
        'host/fabric/**/*.ts',
      ],
      reporter: ['text-summary', 'json-summary'],
    },
  },
});
