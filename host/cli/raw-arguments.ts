/**
 * Whether the command line was text.
 *
 * Does: find an argument whose bytes are not UTF-8. Node.js hands it over with U+FFFD in the place of what it could not
 * read: another file, another argument than the user's. Does not: carry such arguments; they are refused.
 *
 * Where there is no /proc (not Linux) nothing can be told, and nothing is refused.
 */
import { readFileSync } from 'node:fs';
import { usageError } from './format.js';

const REPLACED = '\ufffd';

/** SHERD_USAGE for an argument that is not UTF-8. */
export function refuseNonText(args: readonly string[], read = rawCommandLine): void {
  if (!args.some((text) => text.includes(REPLACED))) return;
  const raw = read();
  if (raw === undefined) return;
  const strict = new TextDecoder('utf-8', { fatal: true });
  for (const bytes of splitAtZero(raw)) {
    try {
      strict.decode(bytes);
    } catch {
      const shown = Buffer.from(bytes).toString('utf8');
      throw usageError(
        `the argument '${shown}' is not UTF-8`,
        'write names and arguments in UTF-8',
      );
    }
  }
}

function rawCommandLine(): Uint8Array | undefined {
  try {
    return readFileSync('/proc/self/cmdline');
  } catch {
    return undefined;
  }
}

function* splitAtZero(raw: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < raw.length; ) {
    const end = raw.indexOf(0, at);
    yield raw.subarray(at, end < 0 ? raw.length : end);
    at = end < 0 ? raw.length : end + 1;
  }
}
