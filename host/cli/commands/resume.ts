/** `sherd resume x.capsule`: goes on with a paused program from its file; `sherd resume SHARD`: in its cluster. */
import { statSync } from 'node:fs';
import type { Command } from 'commander';
import { readSource } from '../../node/source.js';
import { EXIT } from '../../types/errors.js';
import { importCapsule, moduleOf, readCapsuleFile, withLimits } from '../capsule-file.js';
import { clientOf, report } from '../command.js';
import { usageError } from '../format.js';
import { bringHome, keepUnclaimed, requireKnown } from '../home.js';
import { checkDirectories, Uploader } from '../job.js';
import { keyringOf } from '../key-file.js';
import { openSession } from '../open-session.js';
import { Ended } from '../report.js';
import {
  addLimitOptions,
  addPlaceOptions,
  collect,
  parseRunSettings,
  type RawRunOptions,
  type RunSettings,
} from '../run-options.js';
import { type Job, runJob } from '../runner.js';
import { fileError } from '../status.js';

interface Options extends RawRunOptions {
  readonly module?: string;
  readonly expect?: string;
}

export function addResume(program: Command): void {
  const command = program
    .command('resume <what>')
    .description('go on with a paused program: x.capsule, or a shard of a running cluster')
    .option(
      '--dir <guest=host>',
      'where a directory of the program is brought home to (repeatable)',
      collect,
    )
    .option('--module <file>', 'the shard module of a thin capsule')
    .option('--expect <shard[@epoch]>', 'refuse a file of another shard or of an older epoch')
    .option('--json', 'print JSON (a shard of a running cluster)')
    .option('--name <name>', 'name of the shard in reports');
  addPlaceOptions(addLimitOptions(command)).action(async (what: string, raw: Options) => {
    if (!isFile(what)) {
      await resumeShard(what, raw);
      return;
    }
    const settings = parseRunSettings(raw);
    const job = resumeOf(what, raw.module, settings, raw.expect);
    throw new Ended(await runJob(job, settings, (context) => openSession(settings, context)));
  });
}

/** A shard id has no dot and no slash; anything else means a file, there or not. */
function isFile(what: string): boolean {
  return /[./\\]/.test(what) || statSync(what, { throwIfNoEntry: false }) !== undefined;
}

async function resumeShard(id: string, raw: Options): Promise<void> {
  if (raw.output !== undefined || raw.pauseAt !== undefined || raw.pauseAfter !== undefined) {
    throw usageError(
      '-o and --pause-… go with a capsule file',
      `use: sherd pause ${id} -o x.capsule`,
    );
  }
  if (raw.maxMemory !== undefined || raw.maxFuel !== undefined || raw.maxTime !== undefined) {
    throw usageError(
      '--max-… go with a capsule file',
      `pause it into one first: sherd pause ${id} -o x.capsule`,
    );
  }
  if (raw.dropDead === true) {
    throw usageError(
      '--drop-dead goes with a capsule file',
      'a shard has it from its beginning: sherd submit --drop-dead',
    );
  }
  const client = clientOf(raw.fabric === undefined ? {} : { fabric: raw.fabric });
  const view = await client.resume(id);
  await report(raw, view, `${id}  ${view.status} at fuel ${view.fuelUsed}\n`);
}

/** The job of going on from a capsule file. */
export function resumeOf(
  path: string,
  modulePath: string | undefined,
  settings: RunSettings,
  expect?: string,
): Job {
  return {
    at: path,
    prepare: async (context) => {
      await checkDirectories(settings.dirs, context.remark);
      const keyring = await keyringOf(settings.keyFile);
      const read = await readCapsuleFile(path, { keyring, demandSealed: true, expect });
      const file = withLimits(read, settings);
      requireKnown(settings.dirs, file.spec);
      const given =
        modulePath === undefined
          ? undefined
          : await readSource(modulePath).catch((cause: unknown) => {
              throw fileError(cause, modulePath, '--module', EXIT.refused);
            });
      return async (session) => {
        const module = await moduleOf(file, given, session.client);
        const { name, pauseAtFuel } = settings;
        return context.submit(() =>
          importCapsule(session.client, new Uploader(session.client), file, {
            module,
            name,
            pauseAtFuel,
          }),
        );
      };
    },
    finish: async (client, view, context) => {
      const code = await bringHome(client, view, settings.dirs, context.remark, 'elsewhere');
      await keepUnclaimed(client, view, settings.dirs, `${path}.files`, context.remark);
      return code;
    },
  };
}
