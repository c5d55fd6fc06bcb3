/**
 * The counting of `.ci/run`: failures, skipped tests, files that did not load and silent exits all count.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from './sources.js';

function count(report: unknown, status: number, ci: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'sherd-count-'));
  try {
    const file = join(folder, 'report.json');
    if (report !== undefined) writeFileSync(file, JSON.stringify(report));
    return execFileSync(process.execPath, [join(ROOT, '.ci/count.mjs'), file, String(status)], {
      encoding: 'utf8',
      env: { ...process.env, CI: ci },
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const suite = (status: string, ...tests: string[]) => ({
  name: 'a.test.ts',
  status,
  message: '',
  assertionResults: tests.map((test) => ({ status: test, fullName: 'x' })),
});

describe('.ci/count.mjs', () => {
  it('counts passed and failed tests', () => {
    expect(
      count(
        { testResults: [suite('passed', 'passed', 'passed'), suite('failed', 'failed', 'passed')] },
        1,
        'true',
      ),
    ).toBe('3 1');
  });
  it('counts skipped tests as failed under CI only', () => {
    expect(count({ testResults: [suite('passed', 'passed', 'pending', 'todo')] }, 0, 'true')).toBe(
      '1 2',
    );
    expect(count({ testResults: [suite('passed', 'passed', 'pending')] }, 0, '')).toBe('1 0');
  });
  it('counts a file that did not load', () => {
    expect(count({ testResults: [suite('passed', 'passed'), suite('failed')] }, 1, 'true')).toBe(
      '1 1',
    );
  });
  it('counts a missing report and a silent failure', () => {
    expect(count(undefined, 1, 'true')).toBe('0 1');
    expect(count({ testResults: [suite('passed', 'passed')] }, 1, 'true')).toBe('1 1');
  });
});
