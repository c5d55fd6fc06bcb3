/** `sherd node --fabric embedded:DIR`: one more node process for a running cluster, in the foreground. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { NODE_ENGINE_OPTIONS } from '../../fabric/background.js';
import { EXIT } from '../../types/errors.js';
import { tell } from '../child.js';
import { report } from '../command.js';
import { connect, fabricDirectory, fabricUrl } from '../fabric-url.js';
import { parseInteger, usageError } from '../format.js';
import { Interrupts } from '../interrupt.js';
import { stderr } from '../output.js';
import { Ended } from '../report.js';
import { Vigil } from '../vigil.js';

interface Options {
  readonly fabric?: string;
  readonly name: string;
  readonly workers?: string;
  readonly json?: boolean;
}

export function addNode(program: Command): void {
  program
    .command('node')
    .description('one more node process for a running cluster, in the foreground')
    .option('--fabric <url>', 'the cluster, like embedded:DIR')
    .option('--name <name>', 'how its id begins', 'node')
    .option('--workers <count>', 'worker threads (default: one a core)')
    .option('--json', 'print JSON')
    .action(node);
}

async function node(options: Options): Promise<void> {
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(options.name)) {
    throw usageError(`--name ${options.name}: not 1 to 32 letters, digits, - or _`);
  }
  const directory = fabricDirectory(options.fabric);
  await connect(options.fabric).status(); // refuses at once when there is no cluster
  const workers =
    options.workers === undefined
      ? []
      : ['--workers', String(parseInteger(options.workers, '--workers', 1, 256))];
  const script = fileURLToPath(new URL('../../node/main.js', import.meta.url));
  const args = [
    '--fabric',
    fabricUrl(directory),
    '--parent-watch',
    '--name',
    options.name,
    ...workers,
  ];
  const child = fork(script, args, {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    detached: true,
    execArgv: [...NODE_ENGINE_OPTIONS],
  });
  const interrupts = new Interrupts({
    gently: () => void tell(child, { kind: 'stop' }),
    atOnce: () => void child.kill('SIGKILL'),
  });
  const vigil = new Vigil({
    children: () => [{ name: options.name, process: child }],
    log: (line) => void stderr.write(`sherd: ${line}\n`).catch(() => undefined),
  });
  vigil.start();
  child.on('message', (message: { readonly kind?: string; readonly id?: string }) => {
    if (message.kind !== 'ready') return;
    const id = message.id ?? '';
    void report(
      options,
      { id, pid: child.pid },
      `node ${id} (pid ${child.pid}) in ${fabricUrl(directory)}; Ctrl-C takes it out\n`,
    );
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  vigil.end();
  interrupts.dispose();
  throw new Ended(code ?? EXIT.failedLater);
}
