/** Laws of what users type and what reports print. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatBytes,
  formatCount,
  formatShort,
  parseCount,
  parseDurationMs,
  parseInteger,
  parseSizeBytes,
  renderFields,
  renderJson,
  renderTable,
} from '../../host/cli/format.js';
import { SherdError } from '../../host/types/errors.js';

function codeOf(action: () => unknown): string | number {
  try {
    action();
  } catch (thrown) {
    if (thrown instanceof SherdError) return `${thrown.code} ${thrown.exitCode}`;
    throw thrown;
  }
  return 'accepted';
}

describe('durations', () => {
  it.each([
    ['500ms', 500],
    ['2s', 2_000],
    ['1.5m', 90_000],
    ['1h', 3_600_000],
    ['0', 0],
    ['30d', 2_592_000_000],
  ])('%s', (text, ms) => expect(parseDurationMs(text, '--x')).toBe(ms));

  it.each(['', '5', '-1s', '1 week', 's', '1s2', 'NaNs', '1e3s', '99999999999999d'])(
    'refuses %j',
    (text) => expect(codeOf(() => parseDurationMs(text, '--x'))).toBe('SHERD_USAGE 2'),
  );
});

describe('sizes', () => {
  it.each([
    ['64MiB', 64 * 1024 ** 2],
    ['1G', 1024 ** 3],
    ['500kB', 500_000],
    ['65536', 65_536],
    ['1.5KiB', 1536],
  ])('%s', (text, bytes) => expect(parseSizeBytes(text, '--x')).toBe(bytes));

  it.each(['', 'MiB', '-1', '1TiB5', '1 potato', '99999999999GiB'])('refuses %j', (text) =>
    expect(codeOf(() => parseSizeBytes(text, '--x'))).toBe('SHERD_USAGE 2'),
  );
});

describe('counts', () => {
  it.each([
    ['250000', 250_000n],
    ['1_000_000', 1_000_000n],
    ['1e6', 1_000_000n],
    ['10M', 10_000_000n],
    ['9223372036854775807', 2n ** 63n - 1n],
  ])('%s', (text, value) => expect(parseCount(text, '--x')).toBe(value));

  it('takes every whole number back from its grouped print', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), (value) => {
        expect(parseCount(formatCount(value).replaceAll(',', '_'), '--x')).toBe(value);
      }),
    );
  });

  it.each(['', '-1', '1.5', 'x', '1e', '0x10', '9223372036854775808', '1e99'])(
    'refuses %j',
    (text) => expect(codeOf(() => parseCount(text, '--x'))).toBe('SHERD_USAGE 2'),
  );

  it('keeps bounds', () => {
    expect(parseInteger('3', '--x', 1, 3)).toBe(3);
    for (const text of ['0', '4', '-1', '2.5', '']) {
      expect(codeOf(() => parseInteger(text, '--x', 1, 3))).toBe('SHERD_USAGE 2');
    }
  });
});

describe('printing', () => {
  it('gives few digits', () => {
    expect([formatBytes(1023), formatBytes(1024), formatBytes(150 * 1024)]).toEqual([
      '1023 B',
      '1.00 KiB',
      '150.0 KiB',
    ]);
    expect([formatShort(999), formatShort(1_234), formatShort(12_345_678n)]).toEqual([
      '999',
      '1.23 k',
      '12.3 M',
    ]);
  });

  it('aligns every line of a table and keeps every cell', () => {
    const cell = fc.string({
      unit: fc.constantFrom('a', 'é', '7', '日', '-'),
      minLength: 1,
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 8 }), (rows) => {
        const text = renderTable([{ title: 'A' }, { title: 'B', align: 'right' }], rows, [
          'total',
          '1',
        ]);
        const lines = text.trimEnd().split('\n');
        expect(lines).toHaveLength(rows.length + 3);
        const width = new Set(lines.map((line) => [...line].length));
        expect(width.size).toBe(1); // the last column is right-aligned: all lines end together
        rows.forEach(([a, b], at) => {
          expect(lines[at + 1]?.startsWith(a)).toBe(true);
          expect(lines[at + 1]?.endsWith(b)).toBe(true);
        });
      }),
    );
  });

  it('lines labels up', () => {
    expect(
      renderFields([
        ['a', '1'],
        ['long', '2'],
      ]),
    ).toBe('a     1\nlong  2\n');
  });

  it('carries bigint and bytes in JSON', () => {
    const value = { small: 5n, big: 2n ** 63n, bytes: Uint8Array.of(1, 2) };
    expect(JSON.parse(renderJson(value))).toEqual({
      small: 5,
      big: '9223372036854775808',
      bytes: 'AQI=',
    });
  });
});
