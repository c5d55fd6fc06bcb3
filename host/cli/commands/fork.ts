/**
 * `sherd fork SHARD`: copies of a shard as it is now, in the same cluster.
 *
 *     shard   ── runs ──┤ pause · capsule ├── runs ──▶        it stands still for one pause, however many copies there are
 *     copies            └─────────────────┴─▶ all begin from that one capsule; nothing is copied
 *
 * Does: pause (if it runs), let it go on, import its capsule N times. Does not: store anything: module, spec, files and memory
 * are blobs that the copies share, and each writes capsules of its own only when it is paused, moved or kept.
 *
 * F1  The shard goes on whatever becomes of the copies; one that was paused stays paused.
 * F2  A copy prints what it prints from there on; it has its own id, output and files.
 */
import type { Command } from 'commander';
import type { ControlClient } from '../../control/client.js';
import type { ShardView } from '../../types/api.js';
import { EXIT, SherdError } from '../../types/errors.js';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { parseDurationMs, parseInteger } from '../format.js';
import { untilPaused } from './pause.js';

const MOST_COPIES = 10_000;
/** Imports that are under way at a time. */
const AT_ONCE = 8;

interface Options extends ClientOptions {
  readonly copies: string;
  readonly name?: string;
  readonly paused?: boolean;
  readonly timeout: string;
}

export function addFork(program: Command): void {
  addClientOptions(
    program.command('fork <shard>').description('make copies of a shard as it is now'),
  )
    .option('-n, --copies <n>', 'how many', '1')
    .option('--name <name>', 'name of the copies in reports (default: the name of the shard)')
    .option('--paused', 'the copies stay paused until they are resumed')
    .option('--timeout <duration>', 'how long to wait for the shard to stop', '10s')
    .action(async (shard: string, options: Options) => {
      const copies = parseInteger(options.copies, '--copies', 1, MOST_COPIES);
      const patienceMs = parseDurationMs(options.timeout, '--timeout');
      const client = clientOf(options);
      const stood = await stand(client, shard, patienceMs);
      const ids = await copiesOf(client, stood, copies, options);
      const result = { shard: stood.id, fuelUsed: stood.fuelUsed, copies: ids };
      await report(options, result, () =>
        ids.map((id) => `${id}  copy of ${stood.id} at fuel ${stood.fuelUsed}\n`).join(''),
      );
    });
}

/** The shard as it was when it stood still; it goes on already if it did before (F1). */
async function stand(client: ControlClient, id: string, patienceMs: number): Promise<ShardView> {
  const before = await client.shard(id);
  if (before.status === 'paused') return before;
  if (before.status === 'done') throw ended(id);
  if (before.wanted !== null) {
    throw new SherdError('SHERD_STATE', `a ${before.wanted.op} of it is asked for already`, {
      at: id,
      next: `fork it when that is done, or take it back with: sherd resume ${id}`,
      exitCode: EXIT.failedLater,
    });
  }
  let stood: ShardView;
  try {
    await client.pause(id, {});
    stood = await untilPaused(client, id, patienceMs, undefined);
  } catch (cause) {
    // A pause that was not answered is taken back; why it was not is the error to be told.
    await client.resume(id).catch(() => undefined);
    throw cause;
  }
  if (stood.status === 'done') throw ended(id);
  await client.resume(id);
  return stood;
}

function ended(id: string): SherdError {
  return new SherdError('SHERD_STATE', 'it has ended: there is nothing to fork', {
    at: id,
    next: 'submit its program again',
    exitCode: EXIT.failedLater,
  });
}

async function copiesOf(
  client: ControlClient,
  stood: ShardView,
  count: number,
  options: Options,
): Promise<string[]> {
  const ids: string[] = [];
  while (ids.length < count) {
    const some = Math.min(AT_ONCE, count - ids.length);
    const made = Array.from({ length: some }, () => copyOf(client, stood, options));
    ids.push(...(await Promise.all(made)));
  }
  return ids;
}

/** One that never ran has no capsule: its copy begins as it did. */
function copyOf(client: ControlClient, stood: ShardView, options: Options): Promise<string> {
  const { spec, moduleHash, priority, capsule, capsuleBytes, fuelUsed, memoryBytes, ranMs } = stood;
  const request = { name: options.name ?? stood.name, spec, moduleHash, priority };
  if (capsule === null)
    return client.submit({ ...request, ...(options.paused === true ? { pauseAtFuel: '0' } : {}) });
  const paused = options.paused === true;
  const from = { capsule, capsuleBytes, fuelUsed, memoryBytes, ranMs };
  return client.importShard({ ...request, ...from, paused });
}
