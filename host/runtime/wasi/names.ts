/**
 * What a name in a directory may be.
 *
 * Does: one rule for guests, specs and host directories alike. Does not: touch paths.
 *
 * N1  A name is 1 to 255 bytes of well-formed UTF-8, without `/` and NUL, and neither `.` nor `..`.
 */

export const NAME_BYTES_MAX = 255;
export const PATH_BYTES_MAX = 4096;

const utf8 = new TextEncoder();

/** Length in UTF-8 bytes. */
export function utf8Bytes(text: string): number {
  if (text.length > PATH_BYTES_MAX * 2) return text.length;
  return utf8.encode(text).length;
}

/** True when the text has no lone surrogate. */
export function isWellFormed(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0xd800 || unit > 0xdfff) continue;
    const next = text.charCodeAt(at + 1);
    if (unit > 0xdbff || !(next >= 0xdc00 && next <= 0xdfff)) return false;
    at += 1;
  }
  return true;
}

/** True when it can name a directory entry. */
export function isName(text: string): boolean {
  if (text === '' || text === '.' || text === '..') return false;
  if (text.includes('/') || text.includes('\0')) return false;
  return isWellFormed(text) && utf8Bytes(text) <= NAME_BYTES_MAX;
}
