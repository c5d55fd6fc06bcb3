/**
 * Text of others (file names, names in a module, messages of a fabric) on its way to a terminal.
 *
 * X1  What comes out moves no cursor, changes no colour and turns no text around: control characters other than line
 *     feed, and Unicode's bidirectional controls, are shown as `\xNN` or `\u{NNNN}`.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNPRINTABLE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

/** The text, harmless. Line feeds stay. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}

/** The same on one line. */
export function printableLine(text: string): string {
  return printable(text.replaceAll('\n', ' '));
}
