import { describe, expect, it } from 'vitest';
import { SherdError } from '../../host/types/errors.js';
import { printable, printableLine } from '../../host/types/text.js';

describe('text of others', () => {
  it.each([
    ['plain, ü€😀\n', 'plain, ü€😀\n'],
    ['\u001b[2Jgone', '\\x1b[2Jgone'],
    ['a\rb\tc\u007f\u009b', 'a\\x0db\\x09c\\x7f\\x9b'],
    ['left \u202e right', 'left \\u{202e} right'],
  ])('%j', (text, shown) => expect(printable(text)).toBe(shown));

  it('is one line where one line is wanted', () =>
    expect(printableLine('a\nb\u001b')).toBe('a b\\x1b'));

  it('does not steer the terminal out of an error line', () =>
    expect(new SherdError('SHERD_FILE', 'no', { at: 'x\u001b]0;y\u0007\nz' }).toLine()).toBe(
      'sherd: x\\x1b]0;y\\x07 z: no [SHERD_FILE]',
    ));
});
