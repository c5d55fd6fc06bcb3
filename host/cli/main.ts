#!/usr/bin/env node
/**
 * Entry of the command line: loads the rest of it.
 *
 * Does: give one line instead of the engine's stack when the code cannot be loaded (few open files allowed, files of it
 * missing). Does not: anything else, and imports nothing that could fail itself.
 */
import { writeSync } from 'node:fs';

function lineFor(cause: unknown): string {
  const { code = '', message = String(cause) } = cause as NodeJS.ErrnoException;
  if (code === 'EMFILE' || code === 'ENFILE') {
    return 'sherd: too many open files — raise the limit (ulimit -n 256) [SHERD_LIMIT]';
  }
  const [first = ''] = message.split('\n');
  return `sherd: its own code cannot be loaded: ${first} — install it again [SHERD_INTERNAL]`;
}

async function main(): Promise<number> {
  try {
    const { commandLine } = await import('./command-line.js');
    return await commandLine();
  } catch (cause) {
    try {
      writeSync(2, `${lineFor(cause)}\n`);
    } catch {
      // Nobody can read it.
    }
    return 2; // refused before the start
  }
}

process.exit(await main());
