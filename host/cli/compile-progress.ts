/**
 * One line on a terminal that tells how far the compiler is, redrawn in place.
 *
 *   compiling ruby.wasm · 12,032 of 34,000 functions · 35 %
 *
 * Does: draw on stderr when that is a terminal and the user did not say --quiet. Compiling keeps the event loop, so the
 * line is written synchronously, at most every DRAW_MS. Does not: exist for anybody else (see progress.ts).
 */
import { writeSync } from 'node:fs';
import { formatCount } from './format.js';
import type { Rewriting } from './program.js';

const CLEAR = '\r\x1b[2K';
const DRAW_MS = 100;

export interface CompileProgressOptions {
  readonly quiet: boolean;
  readonly label: string;
  /** For tests; default: is stderr a terminal? */
  readonly terminal?: boolean;
  readonly write?: (text: string) => void;
  readonly now?: () => number;
}

export interface CompileProgress {
  /** Undefined where nothing is drawn. */
  readonly told: Rewriting | undefined;
  /** Takes the line away. */
  end(): void;
}

export function compileProgress(options: CompileProgressOptions): CompileProgress {
  const enabled = !options.quiet && (options.terminal ?? process.stderr.isTTY === true);
  if (!enabled) return { told: undefined, end: () => undefined };
  const write = options.write ?? writeToTerminal;
  const now = options.now ?? (() => performance.now());
  let drawnMs = now();
  let drawn = false;
  return {
    told: (done, total) => {
      if (now() - drawnMs < DRAW_MS) return;
      drawnMs = now();
      drawn = true;
      write(`${CLEAR}${compileLine(options.label, done, total)}`);
    },
    end: () => {
      if (drawn) write(CLEAR);
      drawn = false;
    },
  };
}

export function compileLine(label: string, done: number, total: number): string {
  const percent = total === 0 ? 100 : Math.floor((done * 100) / total);
  return `compiling ${label} · ${formatCount(done)} of ${formatCount(total)} functions · ${percent} %`;
}

/** A terminal that cannot take the line now does without it. */
function writeToTerminal(text: string): void {
  try {
    writeSync(2, text);
  } catch (cause) {
    if (!['EAGAIN', 'EPIPE', 'EIO'].includes((cause as NodeJS.ErrnoException).code ?? ''))
      throw cause;
  }
}
