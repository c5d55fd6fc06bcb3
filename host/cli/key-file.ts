/**
 * Key files: the cluster keys that seal capsule files.
 *
 *     # sherd cluster keys. Whoever has this file can read and make what they seal.
 *     sherd-key-1 <key id> <64 hex digits>        newest first: it seals; all open
 *
 * Does: make, rotate, read. Does not: seal (capsule/sealed.ts), print a key.
 *
 * K1  A key file that others can read or write is refused, not repaired: it may have been read already.
 * K2  A new file never replaces one; a rotated one appears whole or not at all, with mode 0600 from the beginning.
 */
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { type ClusterKey, KEY_BYTES, type Keyring, keyOf } from '../capsule/sealed.js';
import { nodeCipher } from '../node/cipher.js';
import { EXIT, SherdError } from '../types/errors.js';
import { fileError } from './status.js';

const HEAD =
  '# sherd cluster keys. Whoever has this file can read and make what they seal.\n' +
  '# Newest first: it seals; all open.\n';
const LINE = /^sherd-key-1 ([0-9a-f]{16}) ([0-9a-f]{64})$/;
const MODE = 0o600;
const OTHERS = 0o077;
const MAX_BYTES = 1 << 20;

function keyError(path: string, message: string, next: string): SherdError {
  return new SherdError('SHERD_KEY', message, { at: path, next, exitCode: EXIT.refused });
}

/** The file of --key, else of SHERD_KEY_FILE; undefined: nothing is sealed. */
export function keyFileOf(option: string | undefined): string | undefined {
  const path = option ?? process.env.SHERD_KEY_FILE;
  return path === '' ? undefined : path;
}

/** Reads the keys that --key or SHERD_KEY_FILE name. */
export async function keyringOf(option: string | undefined): Promise<Keyring | undefined> {
  const path = keyFileOf(option);
  return path === undefined ? undefined : readKeyFile(path);
}

export async function readKeyFile(path: string): Promise<Keyring> {
  const text = await readPrivate(path);
  const keys: ClusterKey[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const found = LINE.exec(line.trim());
    if (found === null) throw notKeys(path, `line ${i + 1} is no key`);
    const key = await keyOf(new Uint8Array(Buffer.from(found[2] ?? '', 'hex')), nodeCipher);
    if (key.id !== found[1]) throw notKeys(path, `line ${i + 1}: the key is not ${found[1]}`);
    if (keys.some(({ id }) => id === key.id))
      throw notKeys(path, `line ${i + 1}: key ${key.id} again`);
    keys.push(key);
  }
  if (keys.length === 0) throw notKeys(path, 'no key in it');
  return keys;
}

async function readPrivate(path: string): Promise<string> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw fileError(cause, path, 'cannot read the key file', EXIT.refused);
  });
  try {
    const facts = await file.stat();
    if (!facts.isFile() || facts.size > MAX_BYTES) throw notKeys(path, 'not a file of keys');
    const others = facts.mode & OTHERS;
    if (others !== 0 && process.platform !== 'win32') {
      const mode = (facts.mode & 0o777).toString(8).padStart(4, '0');
      throw keyError(
        path,
        `the key file can be used by others (mode ${mode})`,
        `chmod 600 ${path}, or make a new key`,
      );
    }
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function notKeys(path: string, why: string): SherdError {
  return keyError(path, `not a key file: ${why}`, 'make one with: sherd key new FILE');
}

const textOf = (keyring: Keyring): string =>
  HEAD +
  keyring
    .map(({ id, bytes }) => `sherd-key-1 ${id} ${Buffer.from(bytes).toString('hex')}\n`)
    .join('');

const freshKey = (): Promise<ClusterKey> =>
  keyOf(new Uint8Array(randomBytes(KEY_BYTES)), nodeCipher);

async function writeNew(path: string, keyring: Keyring): Promise<void> {
  const file = await open(path, 'wx', MODE);
  try {
    await file.chmod(MODE); // whatever the umask says
    await file.writeFile(textOf(keyring));
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes a key file with one key. A file that is there is refused. */
export async function newKeyFile(path: string): Promise<ClusterKey> {
  const key = await freshKey();
  await writeNew(path, [key]).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'EEXIST')
      throw keyError(
        path,
        'there is a file already',
        `add a newer key to it with: sherd key rotate ${path}`,
      );
    throw fileError(cause, path, 'cannot write the key file', EXIT.refused);
  });
  return key;
}

/** Puts a new key in front. Gives all keys. */
export async function rotateKeyFile(path: string): Promise<Keyring> {
  const keyring = [await freshKey(), ...(await readKeyFile(path))];
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeNew(temporary, keyring);
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw fileError(cause, path, 'cannot write the key file', EXIT.refused);
  }
  return keyring;
}
