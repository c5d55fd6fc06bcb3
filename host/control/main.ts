/**
 * Entry of a control process: `node dist/control/main.js --fabric embedded:DIR [--port N] [--quota-bytes N] [--parent-watch]`.
 *
 * Does: open the fabric, start its hub, run one ControlServer, end on SIGTERM, with its parent, or on a defect.
 * Does not: print to stdout. To a parent it says, over IPC, `{kind: 'ready', url}` and `{kind: 'shutdown'}` (a client
 * asked for it and every shard is stored); from a parent it takes `{kind: 'node-dead', id}` and `{kind: 'stop'}`.
 *
 * M1  SIGINT is ignored: the terminal's Ctrl-C is the parent's business.
 * M2  With --parent-watch the process ends at once when its parent is gone (IPC disconnect, or stdin at its end).
 * M3  A hub that still lives is that of an orphan, whose parent was killed and which is about to see that: it is waited for.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { calmEngine } from '../fabric/background.js';
import { type EmbeddedHub, openEmbeddedFabric, startEmbeddedHub } from '../fabric/embedded.js';
import { webPlatform } from '../runtime/platform-web.js';
import { EXIT, SherdError } from '../types/errors.js';
import { ControlServer } from './server.js';

/** The oracle's model runs in it. */
const CORE = new URL('../core/core.wasm', import.meta.url);
/** So long, ms, an orphan of an earlier start may take to end. */
const ORPHAN_MS = 15_000;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      fabric: { type: 'string' },
      port: { type: 'string', default: '0' },
      'quota-bytes': { type: 'string' },
      'parent-watch': { type: 'boolean', default: false },
    },
  });
  calmEngine();
  process.on('SIGINT', () => undefined);
  if (values['parent-watch']) watchParent();
  const directory = directoryOf(values.fabric);
  const quota = values['quota-bytes'];
  const fabric = await openEmbeddedFabric(directory, {
    create: true,
    name: 'control',
    ...(quota === undefined ? {} : { quotaBytes: Number(quota) }),
  });
  const hub = await startHub(directory);
  let control: ControlServer | undefined;
  let ending = false;
  const end = async (code: number): Promise<void> => {
    if (ending) return;
    ending = true;
    await control?.close();
    await hub.close();
    await fabric.close();
    process.exit(code);
  };
  control = await ControlServer.start({
    fabric,
    platform: await webPlatform({ coreWasm: await coreWasm() }),
    directory,
    port: Number(values.port),
    lost: () => process.exit(EXIT.failedLater),
    shutDown: () => {
      process.send?.({ kind: 'shutdown' });
      void end(EXIT.ok);
    },
  });
  process.on('SIGTERM', () => void end(EXIT.ok));
  process.on('message', (message: { kind?: string; id?: string }) => {
    if (message.kind === 'stop') void end(EXIT.ok);
    if (message.kind === 'node-dead' && message.id !== undefined)
      control.brain.nodeDied(message.id);
  });
  process.send?.({ kind: 'ready', url: control.info.url });
}

async function coreWasm(): Promise<BufferSource> {
  try {
    return await readFile(CORE);
  } catch (cause) {
    throw new SherdError('SHERD_INTERNAL', 'internal: core.wasm cannot be read', {
      at: fileURLToPath(CORE),
      next: 'install sherd again, or in its sources: npm run build',
      cause,
    });
  }
}

function directoryOf(url: string | undefined): string {
  const match = /^embedded:(.+)$/.exec(url ?? '');
  if (match?.[1] !== undefined) return match[1];
  throw new SherdError('SHERD_USAGE', 'the control needs --fabric embedded:DIR', {
    at: url,
    exitCode: EXIT.refused,
  });
}

/** M3. */
async function startHub(directory: string): Promise<EmbeddedHub> {
  for (const untilMs = performance.now() + ORPHAN_MS; ; ) {
    try {
      return await startEmbeddedHub(directory);
    } catch (cause) {
      const isBusy = cause instanceof SherdError && cause.code === 'SHERD_FABRIC_BUSY';
      if (!isBusy || performance.now() >= untilMs) throw cause;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
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
