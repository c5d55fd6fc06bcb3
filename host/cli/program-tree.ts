/**
 * The tree of commands, and the short form `sherd prog.wasm`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addCompile } from './commands/compile.js';
import { addDemo } from './commands/demo.js';
import { addDiff } from './commands/diff.js';
import { addDown } from './commands/down.js';
import { addDu } from './commands/du.js';
import { addEvents } from './commands/events.js';
import { addFork } from './commands/fork.js';
import { addGc } from './commands/gc.js';
import { addInspect } from './commands/inspect.js';
import { addKey } from './commands/key.js';
import { addKill } from './commands/kill.js';
import { addLogs } from './commands/logs.js';
import { addMove } from './commands/move.js';
import { addNode } from './commands/node.js';
import { addOracle } from './commands/oracle.js';
import { addPause } from './commands/pause.js';
import { addPs } from './commands/ps.js';
import { addResult } from './commands/result.js';
import { addResume } from './commands/resume.js';
import { addRm } from './commands/rm.js';
import { addRun } from './commands/run.js';
import { addSubmit } from './commands/submit.js';
import { addUp } from './commands/up.js';
import { stdout } from './output.js';

/** In the order in which `sherd --help` shows them. */
const COMMANDS = [
  addRun,
  addResume,
  addCompile,
  addInspect,
  addDiff,
  addKey,
  addUp,
  addNode,
  addSubmit,
  addPs,
  addLogs,
  addPause,
  addMove,
  addFork,
  addKill,
  addResult,
  addEvents,
  addRm,
  addGc,
  addDu,
  addDown,
  addOracle,
  addDemo,
] as const;

const EPILOGUE = `
Exit codes of run, resume and result: the program's own; else
  1 sherd failed later    2 refused before start    75 paused    124 time or fuel quota
  130, 143 signals        134 trap                  137 memory limit or kill
--status FILE tells them apart from a program that uses the same numbers.`;

export function programTree(): Command {
  const program = new Command('sherd')
    .description(
      'Runs programs as WebAssembly shards that stop at any instant, move, and carry on exactly.',
    )
    .version(version(), '-V, --version')
    .enablePositionalOptions()
    .showHelpAfterError(false)
    .addHelpText('after', EPILOGUE);
  for (const add of COMMANDS) add(program);
  const verbs = program.commands.flatMap((command) => [command, ...command.commands]);
  for (const command of [program, ...verbs]) {
    command.exitOverride();
    command.configureOutput({
      // Whether that works shows when the command line flushes it.
      writeOut: (text) => void stdout.write(text).catch(() => undefined),
      // Errors are thrown (exitOverride) and printed once, by the command line.
      writeErr: () => undefined,
    });
  }
  return program;
}

/** `sherd prog.wasm …` means `sherd run prog.wasm …`: the first word is a file and no command. */
export function normalizeArguments(args: readonly string[], program: Command): string[] {
  const first = args[0];
  if (first === undefined) return ['--help'];
  const isCommand = (word: string): boolean =>
    program.commands.some((command) => command.name() === word);
  // Help about what is no command gets what that word gets by itself.
  const about = args[1];
  if (first === 'help' && about !== undefined && !isCommand(about)) return args.slice(1);
  if (isCommand(first) || first.startsWith('-') || first === 'help') return [...args];
  const verb = /\.capsule$/.test(first) ? 'resume' : 'run';
  return /\.(wasm|ts|as|capsule)$/.test(first) && existsSync(first) ? [verb, ...args] : [...args];
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
