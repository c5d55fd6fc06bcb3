/**
 * What every command has: a way to fail, a way to print, `--json` and `--fabric`.
 */
import type { Command } from 'commander';
import type { ControlClient } from '../control/client.js';
import { printable, printableLine } from '../types/text.js';
import { connect } from './fabric-url.js';
import { renderJson } from './format.js';
import { stderr, stdout } from './output.js';

export interface ClientOptions {
  readonly fabric?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Declares --fabric and --json on a verb that talks to a running cluster. */
export function addClientOptions(command: Command): Command {
  return command
    .option(
      '--fabric <url>',
      "the cluster, like embedded:DIR (default: $SHERD_FABRIC, else the user's own)",
    )
    .option('--json', 'print JSON')
    .option('-q, --quiet', 'print nothing but what was asked for');
}

export function clientOf(options: ClientOptions): ControlClient {
  return connect(options.fabric);
}

/** Prints a report: JSON when asked for, else the text. */
export async function report(
  options: { readonly json?: boolean },
  value: unknown,
  text: string | (() => string),
): Promise<void> {
  if (options.json === true) await stdout.write(renderJson(value));
  else await stdout.write(printable(typeof text === 'string' ? text : text()));
}

/** A line about what happened, on stderr, unless --quiet. */
export async function remark(options: { readonly quiet?: boolean }, text: string): Promise<void> {
  if (options.quiet !== true) await stderr.write(`${printableLine(`sherd: ${text}`)}\n`);
}
