/** `sherd submit PROG [ARGS…]`: hands a program to a running cluster and prints the shard's id. */
import type { Command } from 'commander';
import { addClientOptions, clientOf, remark, report } from '../command.js';
import { buildSpec, checkDirectories, checkMemoryLimit, submitJob, Uploader } from '../job.js';
import { stderr } from '../output.js';
import { loadProgram } from '../program.js';
import { addProgramOptions, parseRunSettings, type RawRunOptions } from '../run-options.js';

export function addSubmit(program: Command): void {
  const command = program
    .command('submit <program> [args...]')
    .description("hand a program to a running cluster; what follows the program is the program's")
    .passThroughOptions();
  addClientOptions(addProgramOptions(command))
    .option('--priority <number>', 'more goes first', '0')
    .action(async (path: string, args: string[], raw: RawRunOptions) => {
      const settings = parseRunSettings(raw);
      const client = clientOf(raw.fabric === undefined ? {} : { fabric: raw.fabric });
      const say = (text: string): void => void remark(settings, text).catch(() => undefined);
      await checkDirectories(settings.dirs, say);
      await client.status(); // refuses before the work when nobody is there
      const loaded = await loadProgram(path);
      checkMemoryLimit(loaded, path, settings.maxMemoryPages);
      if (loaded.diagnostics !== '' && !settings.quiet)
        await stderr.write(`${loaded.diagnostics.trimEnd()}\n`);
      const uploader = new Uploader(client);
      const spec = await buildSpec(loaded, path, args, settings, uploader, say);
      const id = await submitJob(client, uploader, loaded, spec, settings);
      await report(settings, { id }, `${id}\n`);
    });
}
