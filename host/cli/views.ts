/**
 * How shards, nodes, moves and events look as tables. Pure: views in, text out.
 */
import type { ExitView, MoveEntry, NodeView, ShardView } from '../types/api.js';
import type { TraceEvent } from '../types/brain.js';
import { printable, printableLine } from '../types/text.js';
import { formatBytes, formatCount, formatMs, formatShort, renderTable } from './format.js';
import { freshFuel } from './progress.js';

/** Nodes report several times a second: what is older than this is worth saying. */
const STUCK_MS = 2_000;

/** `ps`: one line a shard, and why it does not run. */
export function renderShards(shards: readonly ShardView[]): string {
  const rows = shards.map((view) => [
    view.id,
    view.name,
    statusText(view),
    view.owner ?? '-',
    formatShort(freshFuel(view)),
    view.progress === null || view.status === 'done' ? '-' : formatShort(fuelPerSecond(view)),
    formatBytes(view.progress?.memoryBytes ?? view.memoryBytes),
    view.capsuleBytes > 0 ? formatBytes(view.capsuleBytes) : '-',
    String(view.moves),
    whyText(view),
  ]);
  const totals = [
    `${shards.length} shards`,
    '',
    `${shards.filter((view) => view.status === 'running').length} running`,
    '',
    formatShort(shards.reduce((sum, view) => sum + freshFuel(view), 0n)),
    formatShort(
      shards.reduce((sum, view) => sum + (view.status === 'done' ? 0 : fuelPerSecond(view)), 0),
    ),
    formatBytes(
      shards.reduce((sum, view) => sum + (view.progress?.memoryBytes ?? view.memoryBytes), 0),
    ),
    formatBytes(shards.reduce((sum, view) => sum + view.capsuleBytes, 0)),
    String(shards.reduce((sum, view) => sum + view.moves, 0)),
    '',
  ];
  return renderTable(
    [
      { title: 'SHARD' },
      { title: 'NAME' },
      { title: 'STATUS' },
      { title: 'NODE' },
      { title: 'FUEL', align: 'right' },
      { title: 'FUEL/S', align: 'right' },
      { title: 'MEMORY', align: 'right' },
      { title: 'CAPSULE', align: 'right' },
      { title: 'MOVES', align: 'right' },
      { title: 'WHY' },
    ],
    rows,
    totals,
  );
}

function statusText(view: ShardView): string {
  if (view.status === 'done' && view.exit !== null) {
    return view.exit.reason === 'exit' ? `exit ${view.exit.code}` : view.exit.reason;
  }
  return view.wanted === null ? view.status : `${view.status}, ${view.wanted.op} asked`;
}

/** What keeps it from running, or what it was last seen doing. */
function whyText(view: ShardView): string {
  if (view.status === 'done') return view.exit?.message ?? '';
  if (view.status !== 'running') return view.reason;
  const progress = view.progress;
  if (progress === null) return 'no word from its node yet';
  if (progress.trouble !== '') return `waits, tries again: ${progress.trouble}`;
  const where = progress.safepoint === null ? '' : ` in ${progress.safepoint}`;
  if (!isStuck(view)) {
    const age = progress.ageMs > STUCK_MS ? `, ${formatMs(progress.ageMs)} ago` : '';
    return `${progress.activity}${where}${age}`;
  }
  const last = progress.fuelUsed === '0' ? 'none so far' : `the last${where}`;
  return `no safepoint for ${formatMs(progress.ageMs)}, ${last}`;
}

/** It computes, or would if it had its turn, and has passed no safepoint for long. */
function isStuck({ status, progress }: ShardView): boolean {
  if (status !== 'running' || progress === null || progress.ageMs <= STUCK_MS) return false;
  return progress.activity === 'running' || progress.activity === 'runnable';
}

function fuelPerSecond(view: ShardView): number {
  return isStuck(view) ? 0 : (view.progress?.fuelPerSecond ?? 0);
}

export function renderNodes(nodes: readonly NodeView[]): string {
  return renderTable(
    [
      { title: 'NODE' },
      { title: 'PID', align: 'right' },
      { title: 'STATE' },
      { title: 'WORKERS', align: 'right' },
      { title: 'SHARDS', align: 'right' },
      { title: 'CPU', align: 'right' },
      { title: 'GUEST CPU', align: 'right' },
      { title: 'MEMORY', align: 'right' },
      { title: 'ENGINE' },
    ],
    nodes.map(({ node, shards, alive, silentMs }) => [
      node.id,
      String(node.pid),
      alive ? (node.draining ? 'draining' : 'alive') : `silent ${formatMs(silentMs)}`,
      String(node.workers),
      String(shards.length),
      `${Math.round(node.sample.cpu * 100)} %`,
      node.sample.guestCpu.toFixed(2),
      formatBytes(node.sample.memoryUsedBytes),
      node.engine,
    ]),
    [
      `${nodes.length} nodes`,
      '',
      `${nodes.filter((view) => view.alive).length} alive`,
      String(nodes.reduce((sum, view) => sum + view.node.workers, 0)),
      String(nodes.reduce((sum, view) => sum + view.shards.length, 0)),
      '',
      nodes.reduce((sum, view) => sum + view.node.sample.guestCpu, 0).toFixed(2),
      formatBytes(nodes.reduce((sum, view) => sum + view.node.sample.memoryUsedBytes, 0)),
      '',
    ],
  );
}

const MOVE_COLUMNS = [
  { title: 'MOVE' },
  { title: 'FROM → TO' },
  { title: 'AT FUEL', align: 'right' },
  { title: 'CAPSULE', align: 'right' },
  { title: 'MEMORY', align: 'right' },
  { title: 'PAUSE µs', align: 'right' },
  { title: 'ENCODE µs', align: 'right' },
  { title: 'STORE µs', align: 'right' },
  { title: 'RESTORE µs', align: 'right' },
  { title: 'DOWN ms', align: 'right' },
] as const;

/** Table of moves; the last row has the medians (sum of the bytes for the capsules). */
export function renderMoves(moves: readonly MoveEntry[]): string {
  const rows = moves.map((move, at) => [
    `${at + 1}`,
    `${move.source} → ${move.target}`,
    formatCount(BigInt(move.fuelUsed)),
    `${formatCount(move.capsuleBytes)} B`,
    formatBytes(move.memoryBytes),
    figure(move.pauseUs, 0),
    figure(move.encodeUs, 0),
    figure(move.storeUs, 0),
    figure(move.restoreUs, 0),
    figure(move.downMs, 2),
  ]);
  const totals = [
    `${moves.length} moves`,
    'median',
    '',
    `${formatCount(median(moves.map((move) => move.capsuleBytes)) ?? 0)} B`,
    '',
    figure(median(moves.map((move) => move.pauseUs)), 0),
    figure(median(moves.map((move) => move.encodeUs)), 0),
    figure(median(moves.map((move) => move.storeUs)), 0),
    figure(median(moves.map((move) => move.restoreUs)), 0),
    figure(median(moves.map((move) => move.downMs)), 2),
  ];
  return renderTable(MOVE_COLUMNS, rows, totals);
}

function figure(value: number | null, digits: number): string {
  return value === null ? '-' : digits === 0 ? formatCount(value) : value.toFixed(digits);
}

/** Median of what is known; null of nothing. */
export function median(values: readonly (number | null)[]): number | null {
  const known = values.filter((value): value is number => value !== null).sort((a, b) => a - b);
  if (known.length === 0) return null;
  const middle = known.length >> 1;
  return known.length % 2 === 1 ? known[middle]! : (known[middle - 1]! + known[middle]!) / 2;
}

const STEPS = ['', 'input', 'split', 'predict', 'place', 'run', 'watch', 'move'] as const;

/** `14:03:27.123`, local time. */
function clockTime(wallMs: number): string {
  const date = new Date(wallMs);
  const part = (value: number, digits: number): string => String(value).padStart(digits, '0');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()];
  return `${time.map((each) => part(each, 2)).join(':')}.${part(date.getMilliseconds(), 3)}`;
}

/** One line of `sherd events`. */
export function renderEvent(event: TraceEvent): string {
  const about = [event.shardId, event.nodeId].filter((id) => id !== null).join(' ');
  const when = clockTime(event.atMs);
  return `${when}  ${event.step} ${(STEPS[event.step] ?? '').padEnd(7)}  ${event.what.padEnd(20)}  ${about}  ${event.detail}`.trimEnd();
}

interface ExitText {
  readonly code: string;
  readonly what: string;
  /** True: the record's message says more than `what`. */
  readonly withMessage: boolean;
  readonly next: string;
}

const EXIT_TEXTS: Readonly<Record<Exclude<ExitView['reason'], 'exit'>, ExitText>> = {
  trap: { code: 'SHERD_TRAP', what: 'the program trapped', withMessage: true, next: '' },
  'memory-limit': {
    code: 'SHERD_MEMORY_LIMIT',
    what: 'the program ran out of its memory limit',
    withMessage: false,
    next: 'raise --max-memory',
  },
  'fuel-quota': {
    code: 'SHERD_FUEL_QUOTA',
    what: 'the program used up its fuel quota',
    withMessage: false,
    next: 'raise --max-fuel',
  },
  'time-quota': {
    code: 'SHERD_TIME_QUOTA',
    what: 'the program used up its time quota',
    withMessage: false,
    next: 'raise --max-time',
  },
  killed: {
    code: 'SHERD_ABORTED',
    what: 'the shard was killed',
    withMessage: false,
    next: 'run it again',
  },
  failed: {
    code: 'SHERD_INTERNAL',
    what: 'the shard failed',
    withMessage: true,
    next: 'sherd events tells what happened',
  },
};

/** One line, then the guest's call stack where there is one. Nothing for a program that ended by itself. */
export function describeExit(at: string, exit: ExitView): string {
  if (exit.reason === 'exit') return '';
  const { code, what, withMessage, next } = EXIT_TEXTS[exit.reason];
  const overflow = exit.reason === 'trap' && /stack exhausted/i.test(exit.message);
  const shownCode = overflow ? 'SHERD_STACK_EXHAUSTED' : code;
  const message = withMessage && exit.message !== '' ? `: ${exit.message}` : '';
  const step = next === '' ? stackStep(exit) : ` — ${next}`;
  const line = printableLine(`sherd: ${at}: ${what}${message}${step} [${shownCode}]`);
  return `${line}\n${printable(guestStackLines(exit.guestStack))}`;
}

function stackStep(exit: ExitView): string {
  return exit.guestStack.length === 0 ? '' : " — the program's call stack:";
}

/** A frame a line; the same frame many times over is one line with its count. */
function guestStackLines(frames: readonly string[]): string {
  let text = '';
  for (let from = 0; from < frames.length; ) {
    let to = from + 1;
    while (frames[to] === frames[from]) to += 1;
    text += `    at ${frames[from]}${to - from > 1 ? `  × ${to - from}` : ''}\n`;
    from = to;
  }
  return text;
}
