/**
 * Entry of a node process: `node dist/node/main.js --fabric embedded:DIR [--name N] [--workers N] [--parent-watch]`.
 *
 * Does: open the fabric, run one NodeProcess, end on SIGTERM (drained), with its parent, or on a defect.
 * Does not: print to stdout. Reports to a parent go over IPC: `{kind: 'ready', id}`.
 *
 * M1  SIGINT is ignored: the terminal's Ctrl-C is the parent's business.
 * M2  With --parent-watch the process ends at once when its parent is gone (IPC disconnect, or stdin at its end).
 */
import { parseArgs } from 'node:util';
import { calmEngine } from '../fabric/background.js';
import { openEmbeddedFabric } from '../fabric/embedded.js';
import { EXIT, SherdError } from '../types/errors.js';
import { collectSamples } from './collect.js';
import { NodeProcess } from './node.js';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      fabric: { type: 'string' },
      name: { type: 'string', default: 'node' },
      workers: { type: 'string' },
      'parent-watch': { type: 'boolean', default: false },
    },
  });
  calmEngine();
  process.on('SIGINT', () => undefined);
  if (values['parent-watch']) watchParent();
  const fabric = await openEmbeddedFabric(directoryOf(values.fabric));
  const sampler = collectSamples();
  const workers = values.workers === undefined ? {} : { workers: Number(values.workers) };
  const node = await NodeProcess.start({
    fabric,
    name: values.name,
    ...workers,
    machine: sampler.machine,
    ...(sampler.memoryBytes === undefined ? {} : { memoryBytes: sampler.memoryBytes }),
    sample: () => sampler.read(),
    log: process.env['SHERD_LOG'] === undefined ? () => undefined : logLine,
  });
  let stopping = false;
  const stop = async (): Promise<void> => {
    if (stopping) return;
    stopping = true;
    const drained = await node.stop();
    sampler.close();
    await fabric.close();
    process.exit(drained ? EXIT.ok : EXIT.failedLater);
  };
  process.on('SIGTERM', () => void stop());
  process.on('message', (message: { kind?: string }) => {
    if (message.kind === 'stop') void stop();
  });
  process.send?.({ kind: 'ready', id: node.id });
}

function logLine(what: string, shardId: string | null, detail: string): void {
  process.stderr.write(`${shardId ?? '-'} ${what}: ${detail}\n`);
}

function directoryOf(url: string | undefined): string {
  const match = /^embedded:(.+)$/.exec(url ?? '');
  if (match?.[1] !== undefined) return match[1];
  throw new SherdError('SHERD_USAGE', 'a node needs --fabric embedded:DIR', {
    at: url,
    exitCode: EXIT.refused,
  });
}

/** M2. */
function watchParent(): void {
  const gone = (): void => process.exit(EXIT.failedLater);
  if (process.channel !== undefined) process.once('disconnect', gone);
  else process.stdin.once('end', gone).once('error', gone).resume();
}

main().catch((error: unknown) => {
  const line =
    error instanceof SherdError ? error.toLine() : String((error as Error).stack ?? error);
  process.stderr.write(`${line}\n`);
  process.exit(error instanceof SherdError ? error.exitCode : EXIT.failedLater);
});
