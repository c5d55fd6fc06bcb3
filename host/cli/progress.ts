/**
 * One line on a terminal that tells how a shard is doing, redrawn in place.
 *
 * Does: draw on stderr when that is a terminal and the user did not say --quiet; make way for the program's output.
 * Does not: exist for anybody else: not a byte is written when stderr is a file or a pipe.
 *
 * P1  The line never mixes with output: it is cleared before output is written and is drawn again only where the
 *     cursor stands at the start of a line.
 */
import type { ShardView } from '../types/api.js';
import { printableLine } from '../types/text.js';
import { formatBytes, formatMs, formatShort } from './format.js';
import { type FdWriter, stderr, stdout } from './output.js';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const CLEAR = '\r\x1b[2K';
const DRAW_MS = 100;

export interface ProgressOptions {
  readonly quiet: boolean;
  readonly label?: string;
  /** Fuel of the whole run where it is known: then a bar is drawn. */
  readonly totalFuel?: bigint;
  /** For tests; default: is stderr a terminal? */
  readonly terminal?: boolean;
  readonly writer?: FdWriter;
  readonly columns?: number;
}

export class Progress {
  readonly enabled: boolean;
  readonly #options: ProgressOptions;
  readonly #writer: FdWriter;
  readonly #startMs = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #view: ShardView | undefined;
  #note = '';
  #drawn = false;
  #tick = 0;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#writer = options.writer ?? stderr;
    this.enabled = !options.quiet && (options.terminal ?? process.stderr.isTTY === true);
    if (!this.enabled) return;
    this.#timer = setInterval(() => this.#draw(), DRAW_MS);
    this.#timer.unref();
  }

  update(view: ShardView): void {
    this.#view = view;
  }

  /** What is happening while there is no shard yet (compiling, starting nodes). */
  note(text: string): void {
    this.#note = text;
  }

  /** Writes output; the line makes way for it (P1). */
  async output(writer: FdWriter, bytes: Uint8Array): Promise<void> {
    // It may be drawn again meanwhile.
    while (this.#drawn) await this.clear();
    await writer.write(bytes);
  }

  /** Resolves when the line is gone. What is written to the same writer comes after that by itself. */
  async clear(): Promise<void> {
    if (!this.#drawn) return;
    this.#drawn = false;
    await this.#writer.writeControl(CLEAR).catch(() => undefined);
  }

  /** The same, and it does not come back. */
  end(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    return this.clear();
  }

  #draw(): void {
    // Both streams may share the terminal; a half-written line must stay whole.
    if (!this.#writer.atLineStart) return;
    if (process.stdout.isTTY && !(stdout.atLineStart && stdout.idle)) return;
    const text = progressText({
      frame: this.#tick++,
      elapsedMs: performance.now() - this.#startMs,
      label: this.#options.label ?? '',
      note: this.#note,
      view: this.#view,
      totalFuel: this.#options.totalFuel,
      columns: this.#options.columns ?? process.stderr.columns ?? 80,
    });
    this.#drawn = true;
    void this.#writer.writeControl(CLEAR + text).catch(() => undefined);
  }
}

interface LineFacts {
  readonly frame: number;
  readonly elapsedMs: number;
  readonly label: string;
  readonly note: string;
  readonly view: ShardView | undefined;
  readonly totalFuel: bigint | undefined;
  readonly columns: number;
}

/** The line itself, at most `columns - 1` wide. */
export function progressText(facts: LineFacts): string {
  const parts: string[] = [];
  if (facts.label !== '') parts.push(facts.label);
  const view = facts.view;
  if (view === undefined) parts.push(facts.note);
  else parts.push(...shardParts(view, facts.totalFuel));
  parts.push(formatMs(facts.elapsedMs));
  const shown = printableLine(parts.filter((part) => part !== '').join(' · '));
  const text = `${FRAMES[facts.frame % FRAMES.length]} ${shown}`;
  return [...text].slice(0, Math.max(10, facts.columns - 1)).join('');
}

function shardParts(view: ShardView, totalFuel: bigint | undefined): string[] {
  const fuel = freshFuel(view);
  const rate = view.progress?.fuelPerSecond ?? 0;
  const place = view.owner === null ? view.status : `on ${view.owner}`;
  return [
    totalFuel === undefined || totalFuel === 0n ? '' : bar(fuel, totalFuel),
    place,
    `fuel ${formatShort(fuel)}${rate > 0 ? ` (${formatShort(rate)}/s)` : ''}`,
    `moves ${view.moves}`,
    view.capsuleBytes > 0 ? `capsule ${formatBytes(view.capsuleBytes)}` : '',
    view.reason !== '' && view.status !== 'running' ? view.reason : '',
  ];
}

/** The newest fuel figure that is known of a shard. */
export function freshFuel(view: ShardView): bigint {
  const committed = BigInt(view.fuelUsed);
  const told = BigInt(view.progress?.fuelUsed ?? '0');
  return told > committed && view.status !== 'done' ? told : committed;
}

function bar(done: bigint, total: bigint): string {
  const width = 24;
  const share = Math.min(1, Number((done * 10_000n) / total) / 10_000);
  const full = Math.round(share * width);
  return `${'█'.repeat(full)}${'░'.repeat(width - full)} ${(share * 100).toFixed(0).padStart(3)} %`;
}
