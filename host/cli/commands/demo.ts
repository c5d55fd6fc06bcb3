/**
 * `sherd demo`: the main job. Several node processes render a ray-traced picture while it moves between them.
 *
 * Does: render once without a move and once with moves, in the same cluster; compare fuel, bytes and SHA-256; keep the
 * picture; print the table of moves. Does not: know the right hash beforehand: it compares what it made.
 */
import { Buffer } from 'node:buffer';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import type { MoveEntry, ShardView } from '../../types/api.js';
import { SherdError } from '../../types/errors.js';
import { sha256 } from '../cache.js';
import { report } from '../command.js';
import { Follower, keepMoving } from '../follow.js';
import {
  formatBytes,
  formatCount,
  formatMs,
  parseDurationMs,
  parseInteger,
  renderFields,
} from '../format.js';
import { exitCodeOfSignal, Interrupts, type StopSignal } from '../interrupt.js';
import { buildSpec, submitJob, Uploader } from '../job.js';
import { openSession } from '../open-session.js';
import { stdout } from '../output.js';
import { type LoadedProgram, loadProgram } from '../program.js';
import { Progress } from '../progress.js';
import { Ended } from '../report.js';
import { MAX_NODES, parseRunSettings } from '../run-options.js';
import type { Session } from '../session.js';
import { requireDirectoryOf, writeFileAtomically } from '../status.js';
import { describeExit, renderMoves } from '../views.js';

const PROGRAM = fileURLToPath(new URL('../../../assembly/programs/raytracer.ts', import.meta.url));
const DEFAULT_MOVES = 8;
const SHORTEST_INTERVAL_MS = 100;

interface Options {
  readonly nodes: string;
  readonly moveEvery?: string;
  readonly size: string;
  readonly samples: string;
  readonly output: string;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description(
      'the main job: render a picture in 3 processes while the render moves between them',
    )
    .option('-n, --nodes <count>', 'node processes', '3')
    .option(
      '--move-every <duration>',
      `how often it moves (default: ${DEFAULT_MOVES} times in all)`,
    )
    .option('--size <width>x<height>', 'of the picture', '960x540')
    .option('--samples <count>', 'rays a pixel', '6')
    .option('-o, --output <file>', 'where the picture goes', 'raytracer.png')
    .option('-q, --quiet', 'no progress')
    .option('--json', 'print JSON')
    .action(demo);
}

async function demo(options: Options): Promise<void> {
  const nodes = parseInteger(options.nodes, '--nodes', 2, MAX_NODES);
  const args = pictureArguments(options);
  const everyMs =
    options.moveEvery === undefined
      ? undefined
      : parseDurationMs(options.moveEvery, '--move-every');
  await requireDirectoryOf(options.output, '-o');
  const say = async (text: string): Promise<void> => {
    if (options.json !== true) await stdout.write(text);
  };
  await say(
    `${nodes} node processes render a picture (${options.size}) while the render moves between them\n\n`,
  );
  const compileStart = performance.now();
  const program = await loadProgram(PROGRAM);
  const { sizes } = program.module;
  await say(
    `compiled   ${program.name}, ${formatBytes(sizes.programBytes)} → ${formatBytes(sizes.moduleBytes)}, ` +
      `${formatCount(sizes.safepoints)} safepoints, ${formatMs(performance.now() - compileStart)}${program.cached ? ' (cached)' : ''}\n`,
  );
  const abort = new AbortController();
  const stopped: { signal?: StopSignal } = {};
  const quiet = options.quiet === true || options.json === true;
  const settings = parseRunSettings({ nodes: options.nodes, quiet });
  const context = {
    progress: new Progress({ quiet: true }),
    signal: abort.signal,
    remark: () => undefined,
  };
  let session: Session | undefined;
  const interrupts = new Interrupts({
    gently: (signal) => {
      stopped.signal = signal;
      abort.abort();
    },
    atOnce: () => session?.endNow(),
  });
  try {
    session = await openSession(settings, context);
    const render = (o: Pick<RenderOptions, 'label' | 'everyMs' | 'totalFuel'>): Promise<Rendered> =>
      renderPicture({
        ...o,
        session: session as Session,
        program,
        args,
        quiet,
        signal: abort.signal,
      });
    const still = await render({
      label: 'without a move',
      everyMs: undefined,
      totalFuel: undefined,
    });
    await say(line('rendered', 'without a move', still));
    const interval = everyMs ?? Math.max(SHORTEST_INTERVAL_MS, still.wallMs / (DEFAULT_MOVES + 1));
    const moved = await render({
      label: 'moving',
      everyMs: interval,
      totalFuel: BigInt(still.view.fuelUsed),
    });
    await say(line('rendered', `with ${moved.view.moves} moves`, moved));
    await conclude(options, still, moved, say);
  } catch (thrown) {
    if (stopped.signal !== undefined) throw new Ended(exitCodeOfSignal(stopped.signal));
    throw thrown;
  } finally {
    await session?.end();
    interrupts.dispose();
  }
}

function pictureArguments(options: Options): string[] {
  const [width, height] = options.size.split('x');
  return [
    String(parseInteger(width ?? '', '--size', 1, 10_000)),
    String(parseInteger(height ?? '', '--size', 1, 10_000)),
    String(parseInteger(options.samples, '--samples', 1, 1_000)),
  ];
}

interface RenderOptions {
  readonly session: Session;
  readonly program: LoadedProgram;
  readonly args: readonly string[];
  readonly label: string;
  readonly everyMs: number | undefined;
  readonly totalFuel: bigint | undefined;
  readonly quiet: boolean;
  readonly signal: AbortSignal;
}

interface Rendered {
  readonly view: ShardView;
  readonly picture: Uint8Array;
  readonly sha256: string;
  readonly wallMs: number;
  readonly moves: readonly MoveEntry[];
}

async function renderPicture(o: RenderOptions): Promise<Rendered> {
  const { client } = o.session;
  const progress = new Progress({
    quiet: o.quiet,
    label: o.label,
    ...(o.totalFuel === undefined ? {} : { totalFuel: o.totalFuel }),
  });
  const pieces: Uint8Array[] = [];
  const ended = new AbortController();
  const signal = AbortSignal.any([o.signal, ended.signal]);
  try {
    const settings = parseRunSettings({ stdin: '/dev/null' });
    const uploader = new Uploader(client);
    const spec = await buildSpec(o.program, PROGRAM, o.args, settings, uploader, () => undefined);
    const startMs = performance.now();
    const shardId = await submitJob(client, uploader, o.program, spec, settings);
    const follower = new Follower({
      client,
      shardId,
      progress,
      signal: o.signal,
      sink: async (stream, bytes) => {
        if (stream === 'stdout') pieces.push(bytes);
      },
    });
    const run = follower.run();
    const moving =
      o.everyMs === undefined
        ? undefined
        : keepMoving(client, shardId, o.everyMs, () => follower.latest, signal);
    const outcome = await (moving === undefined
      ? run
      : Promise.race([run, moving.then(() => run)]));
    const wallMs = performance.now() - startMs;
    if (outcome.kind !== 'done')
      throw new SherdError('SHERD_STATE', `the render was ${outcome.kind}`);
    const { view } = outcome;
    if (view.exit?.reason !== 'exit' || view.exit.code !== 0) {
      const what =
        view.exit === null ? 'it has no exit' : describeExit(o.program.name, view.exit).trim();
      throw new SherdError('SHERD_STATE', `the render failed: ${what}`);
    }
    const picture = Buffer.concat(pieces);
    return { view, picture, sha256: sha256(picture), wallMs, moves: await client.moves(shardId) };
  } finally {
    ended.abort();
    await progress.end();
  }
}

function line(what: string, how: string, rendered: Rendered): string {
  return `${what}   ${how.padEnd(15)} ${formatMs(rendered.wallMs).padStart(9)}, fuel ${formatCount(BigInt(rendered.view.fuelUsed))}\n`;
}

async function conclude(
  options: Options,
  still: Rendered,
  moved: Rendered,
  say: (text: string) => Promise<void>,
): Promise<void> {
  await writeFileAtomically(options.output, moved.picture);
  const same =
    Buffer.compare(still.picture, moved.picture) === 0 &&
    still.sha256 === moved.sha256 &&
    still.view.fuelUsed === moved.view.fuelUsed;
  await say(`\n${renderMoves(moved.moves)}\n`);
  await say(
    renderFields([
      ['picture', `${options.output}, ${formatCount(moved.picture.length)} bytes`],
      ['sha-256', `${moved.sha256}  rendered with ${moved.view.moves} moves`],
      ['', `${still.sha256}  rendered without a move`],
      [
        'checked',
        same
          ? 'the two pictures are the same, byte for byte, and so is the fuel'
          : 'THE TWO RENDERS DIFFER',
      ],
    ]),
  );
  const facts = (rendered: Rendered) => ({
    sha256: rendered.sha256,
    bytes: rendered.picture.length,
    fuelUsed: rendered.view.fuelUsed,
    wallMs: rendered.wallMs,
    moves: rendered.moves,
  });
  if (options.json === true) {
    await report(
      options,
      { picture: options.output, same, still: facts(still), moved: facts(moved) },
      '',
    );
  }
  if (moved.view.moves === 0) {
    throw new SherdError('SHERD_STATE', 'the render ended before it was moved', {
      next: 'give a shorter --move-every or more --samples',
    });
  }
  if (!same) {
    throw new SherdError(
      'SHERD_INTERNAL',
      'internal: the render with moves differs from the one without',
      {
        next: 'please report this with both SHA-256',
      },
    );
  }
}
