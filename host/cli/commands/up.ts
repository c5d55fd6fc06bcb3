/** `sherd up`: a lasting cluster on this machine, in the foreground. */
import type { Command } from 'commander';
import { EXIT } from '../../types/errors.js';
import { report } from '../command.js';
import { fabricDirectory, fabricUrl } from '../fabric-url.js';
import { parseInteger, parseSizeBytes, renderFields } from '../format.js';
import { exitCodeOfSignal, Interrupts } from '../interrupt.js';
import { stderr } from '../output.js';
import { Ended } from '../report.js';
import { MAX_NODES } from '../run-options.js';
import { Supervisor } from '../supervisor.js';

interface Options {
  readonly nodes: string;
  readonly workers?: string;
  readonly port?: string;
  readonly quota?: string;
  readonly fabric?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function addUp(program: Command): void {
  program
    .command('up')
    .description('start a cluster on this machine and keep it running, in the foreground')
    .option('-n, --nodes <count>', 'node processes', '1')
    .option(
      '--workers <count>',
      'worker threads a node (default: the cores, divided among the nodes)',
    )
    .option('--port <number>', 'of the API on loopback (default: any free one)')
    .option('--quota <size>', 'limit of what it stores, like 2GiB; 0 = none (default: as it was)')
    .option('--fabric <url>', 'its data directory, like embedded:DIR')
    .option('--json', 'print the addresses as JSON')
    .option('-q, --quiet', 'print nothing')
    .action(up);
}

async function up(options: Options): Promise<void> {
  const directory = fabricDirectory(options.fabric);
  let running = false;
  const supervisor = await Supervisor.start({
    directory,
    nodes: parseInteger(options.nodes, '--nodes', 1, MAX_NODES),
    ...(options.workers === undefined
      ? {}
      : { workers: parseInteger(options.workers, '--workers', 1, 256) }),
    ...(options.port === undefined
      ? {}
      : { port: parseInteger(options.port, '--port', 1, 65_535) }),
    ...(options.quota === undefined
      ? {}
      : { quotaBytes: parseSizeBytes(options.quota, '--quota') }),
    log: (line) => {
      // Until it runs, the one error line says it all.
      if (running && options.quiet !== true)
        void stderr.write(`sherd: ${line}\n`).catch(() => undefined);
    },
  });
  running = true;
  const interrupts = new Interrupts({
    gently: (signal) => {
      if (options.quiet !== true) {
        void stderr
          .write('sherd: stopping; shards are paused and stored. Once more ends at once\n')
          .catch(() => undefined);
      }
      void supervisor.stop().catch(() => supervisor.killNow());
      process.exitCode = signal === 'SIGHUP' ? exitCodeOfSignal(signal) : EXIT.ok;
    },
    atOnce: () => supervisor.killNow(),
  });
  try {
    await announce(supervisor, options);
    await supervisor.ended;
  } finally {
    interrupts.dispose();
  }
  throw new Ended(Number(process.exitCode ?? EXIT.ok));
}

async function announce(supervisor: Supervisor, options: Options): Promise<void> {
  if (options.quiet === true) return;
  const { url } = await supervisor.info();
  const fabric = fabricUrl(supervisor.directory);
  const nodes = supervisor.pids.filter(({ nodeId }) => nodeId !== undefined);
  const facts = {
    fabric,
    api: url,
    pid: process.pid,
    nodes: nodes.map(({ nodeId, pid }) => ({ id: nodeId ?? '', pid })),
  };
  const isDefault = fabricDirectory(undefined) === supervisor.directory;
  const flag = isDefault ? '' : ` --fabric ${fabric}`;
  await report(options, facts, () =>
    renderFields([
      [
        'sherd is up',
        `${nodes.length} node${nodes.length === 1 ? '' : 's'}: ${facts.nodes.map(({ id, pid }) => `${id} (pid ${pid})`).join(', ')}`,
      ],
      ['fabric', fabric],
      ['api', `${url} (token in ${supervisor.directory}/control.json)`],
      ['next', `sherd submit${flag} prog.wasm`],
      ['', `sherd ps${flag}`],
      ['one more node', `sherd node --fabric ${fabric}`],
      ['stop', `Ctrl-C, or sherd down${flag}`],
    ]),
  );
}
