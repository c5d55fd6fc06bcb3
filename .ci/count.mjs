/**
 * Counts a vitest JSON report: prints `PASSED FAILED`, and on stderr what failed or was skipped.
 *
 * C1  A file that could not be loaded, a missing report and a non-zero exit without a failed test count as a failure.
 * C2  Under CI=true a skipped or to-do test counts as failed.
 *
 * Usage: node .ci/count.mjs REPORT EXIT_STATUS
 */
import { readFileSync } from 'node:fs';

const [file, status] = process.argv.slice(2);

function readReport() {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

function count(report) {
  let passed = 0;
  let failed = 0;
  const fail = (what) => {
    failed++;
    console.error(`  ${what}`);
  };
  for (const suite of report.testResults) {
    const before = failed;
    for (const test of suite.assertionResults) {
      if (test.status === 'passed') passed++;
      else if (test.status === 'failed') fail(`failed: ${suite.name}: ${test.fullName}`);
      else if (process.env.CI === 'true') fail(`skipped: ${suite.name}: ${test.fullName}`);
    }
    if (suite.status === 'failed' && failed === before) fail(`failed: ${suite.name}: ${suite.message}`);
  }
  return { passed, failed };
}

const report = readReport();
const { passed, failed } = report === undefined ? { passed: 0, failed: 0 } : count(report);
const hidden = failed === 0 && (report === undefined || status !== '0') ? 1 : 0;
if (hidden === 1) console.error(report === undefined ? '  no test report' : `  the test command ended with ${status}`);
console.log(`${passed} ${failed + hidden}`);
