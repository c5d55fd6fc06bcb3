/** `sherd run PROG [ARGS…]`: runs a program as a shard, to its end or to a pause. */
import type { Command } from 'commander';
import { bringHome } from '../home.js';
import { buildSpec, checkDirectories, checkMemoryLimit, submitJob, Uploader } from '../job.js';
import { openSession } from '../open-session.js';
import { stderr } from '../output.js';
import { loadProgram } from '../program.js';
import { Ended } from '../report.js';
import {
  addPlaceOptions,
  addProgramOptions,
  parseRunSettings,
  type RawRunOptions,
  type RunSettings,
} from '../run-options.js';
import { type Job, runJob } from '../runner.js';

export function addRun(program: Command): void {
  const command = program
    .command('run <program> [args...]')
    .description("run a program as a shard; what follows the program is the program's")
    .passThroughOptions();
  addPlaceOptions(addProgramOptions(command)).action(
    async (path: string, args: string[], raw: RawRunOptions) => {
      const settings = parseRunSettings(raw);
      const job = runOf(path, args, settings);
      throw new Ended(await runJob(job, settings, (context) => openSession(settings, context)));
    },
  );
}

/** The job of running a program from its beginning. */
export function runOf(path: string, args: readonly string[], settings: RunSettings): Job {
  return {
    at: path,
    prepare: async (context) => {
      await checkDirectories(settings.dirs, context.remark);
      context.progress.note(`compiling ${path}`);
      const program = await loadProgram(path);
      checkMemoryLimit(program, path, settings.maxMemoryPages);
      if (program.diagnostics !== '' && !settings.quiet)
        await stderr.write(`${program.diagnostics.trimEnd()}\n`);
      return async (session) => {
        context.progress.note('sending inputs');
        const uploader = new Uploader(session.client);
        const spec = await buildSpec(program, path, args, settings, uploader, context.remark);
        return context.submit(() => submitJob(session.client, uploader, program, spec, settings));
      };
    },
    finish: (client, view, context) =>
      bringHome(client, view, settings.dirs, context.remark, 'same'),
  };
}
