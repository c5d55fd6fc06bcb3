/** Whatever is thrown becomes one line and a code; commander's mistakes included. */
import { CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { ClosedPipe } from '../../host/cli/output.js';
import { asSherdError, Ended, failureOf } from '../../host/cli/report.js';
import { describeExit } from '../../host/cli/views.js';
import { SherdError } from '../../host/types/errors.js';

describe('failureOf', () => {
  it('is silent about an end and a closed pipe', () => {
    expect(failureOf(new Ended(7))).toEqual({ code: 7, line: undefined, detail: undefined });
    expect(failureOf(new ClosedPipe())).toEqual({ code: 0, line: undefined, detail: undefined });
  });

  it('prints a coded error as one line', () => {
    const error = new SherdError('SHERD_FILE', 'a\nb', { at: 'x.wasm', next: 'do', exitCode: 2 });
    expect(failureOf(error)).toEqual({
      code: 2,
      line: 'sherd: x.wasm: a b — do [SHERD_FILE]',
      detail: undefined,
      error: { code: 'SHERD_FILE', message: 'a\nb', at: 'x.wasm', next: 'do', exitCode: 2 },
    });
  });

  it("sends to the command's own help", () => {
    const wrong = new CommanderError(1, 'commander.unknownOption', "error: unknown option '--x'");
    expect(failureOf(wrong, 'ps').line).toBe(
      "sherd: unknown option '--x' — see: sherd ps --help [SHERD_USAGE]",
    );
    expect(failureOf(wrong)).toMatchObject({
      code: 2,
      error: { code: 'SHERD_USAGE', next: 'see: sherd --help', exitCode: 2 },
    });
    expect(failureOf(new CommanderError(0, 'commander.help', 'x'), 'ps').error).toBeUndefined();
  });

  it("shows a compiler's diagnostics before the line", () => {
    const error = new SherdError('SHERD_SOURCE_ERROR', 'm', {
      cause: new Error('ERROR TS1\n  at a.ts'),
      exitCode: 2,
    });
    expect(failureOf(error).detail).toBe('ERROR TS1\n  at a.ts\n');
  });

  it('never shows a stack of ours', () => {
    const failure = failureOf(new TypeError('x is not a function'));
    expect(failure.code).toBe(1);
    expect(failure.line).toMatch(
      /^sherd: internal: TypeError: x is not a function — .*\[SHERD_INTERNAL\]$/,
    );
    expect(failure.detail).toBeUndefined();
  });

  it('knows operating-system errors', () => {
    const errno = Object.assign(new Error('ENOENT'), {
      code: 'ENOENT',
      syscall: 'open',
      path: '/x',
    });
    expect(asSherdError(errno)).toMatchObject({ code: 'SHERD_FILE', at: '/x' });
    const refused = Object.assign(new Error('no'), { code: 'ECONNREFUSED', syscall: 'connect' });
    expect(asSherdError(refused)).toMatchObject({ code: 'SHERD_NO_CLUSTER' });
  });
});

describe('describeExit', () => {
  const exit = {
    code: 134,
    message: 'integer divide by zero',
    guestStack: ['divide (function 3)', 'main (function 5)'],
    results: '',
  };

  it('shows the trap kind and the guest call stack', () => {
    const text = describeExit('x.wasm', { ...exit, reason: 'trap' });
    expect(text.split('\n')).toEqual([
      "sherd: x.wasm: the program trapped: integer divide by zero — the program's call stack: [SHERD_TRAP]",
      '    at divide (function 3)',
      '    at main (function 5)',
      '',
    ]);
  });

  it('folds the same frame many times over', () => {
    const guestStack = ['down', 'down', 'down', 'up', 'down'];
    const lines = describeExit('x', { ...exit, reason: 'trap', guestStack })
      .split('\n')
      .slice(1);
    expect(lines).toEqual(['    at down  × 3', '    at up', '    at down', '']);
  });

  it('says nothing of a program that ended by itself', () => {
    expect(describeExit('x', { ...exit, reason: 'exit', code: 7 })).toBe('');
  });

  it('tells endless recursion apart', () => {
    expect(
      describeExit('x', { ...exit, reason: 'trap', message: 'call stack exhausted' }),
    ).toContain('[SHERD_STACK_EXHAUSTED]');
  });

  it.each([
    ['memory-limit', 'SHERD_MEMORY_LIMIT', '--max-memory'],
    ['fuel-quota', 'SHERD_FUEL_QUOTA', '--max-fuel'],
    ['time-quota', 'SHERD_TIME_QUOTA', '--max-time'],
  ] as const)('%s names the option', (reason, code, option) => {
    const text = describeExit('x', { ...exit, reason, guestStack: [], message: '' });
    expect([text.includes(code), text.includes(option), text.trimEnd().includes('\n')]).toEqual([
      true,
      true,
      false,
    ]);
  });
});
