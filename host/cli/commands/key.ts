/** `sherd key new | rotate | list FILE`: the keys that seal capsule files. Never prints a key. */
import type { Command } from 'commander';
import type { Keyring } from '../../capsule/index.js';
import { report } from '../command.js';
import { usageError } from '../format.js';
import { newKeyFile, readKeyFile, rotateKeyFile } from '../key-file.js';

interface Verb {
  readonly act: (path: string) => Promise<Keyring>;
  readonly say: (ids: readonly string[], path: string) => string;
}

const VERBS: Readonly<Record<string, Verb>> = {
  new: {
    act: async (path) => [await newKeyFile(path)],
    say: ([id], path) =>
      `key ${id} in ${path}; keep it: without it nothing that it seals can be read again\n`,
  },
  rotate: {
    act: rotateKeyFile,
    say: ([id, ...older], path) =>
      `key ${id} in ${path} seals from now on; ${older.join(', ')} still open${older.length === 1 ? 's' : ''}\n`,
  },
  list: {
    act: readKeyFile,
    say: (ids) => ids.map((id, i) => `${id}${i === 0 ? '  seals' : ''}\n`).join(''),
  },
};

export function addKey(program: Command): void {
  program
    .command('key <verb> <file>')
    .description('keys that seal capsule files: new, rotate (a newer one in front) or list')
    .option('--json', 'print JSON')
    .action(async (name: string, path: string, options: { readonly json?: boolean }) => {
      const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
      if (verb === undefined) throw usageError(`key ${name}: unknown`, 'use new, rotate or list');
      const ids = (await verb.act(path)).map(({ id }) => id);
      await report(options, { file: path, seals: ids[0], opens: ids }, verb.say(ids, path));
    });
}
