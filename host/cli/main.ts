#!/usr/bin/env node
/**
 * The command line: `sherd <command>`.
 *
 * Does: run one command and end with its exit code; whatever is thrown becomes one line on stderr (report).
 * Does not: contain a command (commands/, one file each; program-tree.ts puts them together).
 */
import { stderr, stdout } from './output.js';
import { normalizeArguments, programTree } from './program-tree.js';
import { refuseNonText } from './raw-arguments.js';
import { failureOf } from './report.js';

async function main(): Promise<number> {
  try {
    const words = process.argv.slice(2);
    refuseNonText(words);
    const tree = programTree();
    await tree.parseAsync(normalizeArguments(words, tree), { from: 'user' });
    await stdout.flush();
    return 0;
  } catch (thrown) {
    const failure = failureOf(thrown);
    const lines = `${failure.detail ?? ''}${failure.line === undefined ? '' : `${failure.line}\n`}`;
    // Whether anybody can read it does not change the exit code.
    await stderr.write(lines).catch(() => undefined);
    await stdout.flush().catch(() => undefined);
    return failure.code;
  }
}

// Node's own handling of a dead terminal or pipe would print a stack; ours is in FdWriter.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);

main()
  .catch(() => 1)
  .then((code) => process.exit(code));
