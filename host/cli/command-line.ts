/**
 * The command line: `sherd <command>`, once its code is loaded (main.ts).
 *
 * Does: run one command and end with its exit code; whatever is thrown becomes one line on stderr (report).
 * Does not: contain a command (commands/, one file each; program-tree.ts puts them together).
 */
import { EXIT } from '../types/errors.js';
import { stderr, stdout } from './output.js';
import { normalizeArguments, programTree } from './program-tree.js';
import { refuseNonText } from './raw-arguments.js';
import { type Failure, failureOf } from './report.js';

/** Runs the command of this process and gives its exit code. Never throws. */
export async function commandLine(): Promise<number> {
  const tree = programTree();
  let verb: string | undefined;
  try {
    const words = process.argv.slice(2);
    refuseNonText(words);
    const normal = normalizeArguments(words, tree);
    verb = tree.commands.find((command) => command.name() === normal[0])?.name();
    await tree.parseAsync(normal, { from: 'user' });
    await stdout.flush();
    return EXIT.ok;
  } catch (thrown) {
    const json = tree.commands.some((command) => command.opts().json === true);
    return conclude(failureOf(thrown, verb), json);
  }
}

async function conclude(failure: Failure, json: boolean): Promise<number> {
  const lines = `${failure.detail ?? ''}${failure.line === undefined ? '' : `${failure.line}\n`}`;
  // Whether anybody can read it does not change the exit code.
  await stderr.write(lines).catch(() => undefined);
  try {
    // In place of the report: after one, even a part, stdout stays what it is.
    if (json && failure.error !== undefined && stdout.bytesWritten === 0) {
      await stdout.write(`${JSON.stringify({ error: failure.error })}\n`);
    }
    await stdout.flush();
  } catch (thrown) {
    // --help ends by a throw: what it has to say is its output. A reader that went is no failure: there it ends.
    const next = failureOf(thrown);
    if (failure.code === EXIT.ok && next.code !== EXIT.ok) return conclude(next, false);
  }
  return failure.code;
}

// Node's own handling of a dead terminal or pipe would print a stack; ours is in FdWriter.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);
