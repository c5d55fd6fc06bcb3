/**
 * `--fabric URL`: which cluster a command talks to.
 *
 *   embedded:DIR     a data directory on this machine (the default kind); a path alone means the same
 *   $SHERD_FABRIC    used when the option is absent
 *   neither          $XDG_STATE_HOME/sherd, else ~/.local/state/sherd
 *
 * Does not: open the fabric. Client verbs use the control's HTTP API, found through DIR/control.json.
 */
import { statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { ControlClient } from '../control/client.js';
import { EXIT, SherdError } from '../types/errors.js';
import { usageError } from './format.js';

/** The data directory that a fabric URL names; absolute. */
export function fabricDirectory(
  url: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): string {
  const chosen = url ?? env.SHERD_FABRIC;
  if (chosen === undefined || chosen === '') return join(stateHome(env), 'sherd');
  const scheme = /^([a-z][a-z0-9+.-]*):(.*)$/s.exec(chosen);
  if (scheme === null) return resolve(chosen);
  if (scheme[1] === 'embedded') {
    if (scheme[2] === '')
      throw usageError(`--fabric ${chosen}: no directory`, 'write embedded:DIR');
    return resolve(scheme[2]!);
  }
  throw new SherdError(
    'SHERD_FEATURE_UNSUPPORTED',
    `--fabric ${chosen}: unknown kind of fabric '${scheme[1]}'`,
    {
      next: 'this version has embedded:DIR',
      exitCode: EXIT.refused,
    },
  );
}

/** The URL of a data directory, as it is shown to the user and typed again. */
export function fabricUrl(directory: string): string {
  return `embedded:${directory}`;
}

/** A client of a running cluster; refuses at once when the data directory is not there. */
export function connect(
  url: string | undefined,
  options: { signal?: AbortSignal } = {},
): ControlClient {
  const directory = fabricDirectory(url);
  requireDataDirectory(directory);
  return ControlClient.forDirectory(directory, { patienceMs: 3_000, ...options });
}

/** SHERD_NO_CLUSTER unless the directory exists. */
export function requireDataDirectory(directory: string): void {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true) return;
  throw new SherdError('SHERD_NO_CLUSTER', 'no such data directory', {
    at: directory,
    next: `start a cluster there with: sherd up --fabric ${fabricUrl(directory)}`,
    exitCode: EXIT.refused,
  });
}

function stateHome(env: NodeJS.ProcessEnv): string {
  const given = env.XDG_STATE_HOME;
  return given?.startsWith('/') ? given : join(homedir(), '.local', 'state');
}
