/**
 * Small things of the HTTP API: errors as replies, NDJSON streams, checked input.
 *
 * H1  Whatever fails becomes an ErrorReply; what is no SherdError is SHERD_INTERNAL and shows no stack.
 * H2  A stream writes `{"kind":"beat"}` whenever nothing else was written for BEAT_MS.
 * H3  A stream whose reader is slow waits for it; one whose reader is gone ends its generator.
 * H4  A JSON body is held in memory only up to a limit; a longer one is refused.
 * H5  A stream that fails for good says so in its last line; one that fails for the moment breaks off, to be taken up again.
 */
import type { ErrorLine, ErrorReply } from '../types/api.js';
import { type ErrorCode, EXIT, SherdError } from '../types/errors.js';

const BEAT_MS = 5_000;
/** Far more than any request of ours. */
const JSON_BYTES_MAX = 1 << 20;

const STATUS: Partial<Record<ErrorCode, number>> = {
  SHERD_UNAUTHORIZED: 401,
  SHERD_NO_SHARD: 404,
  SHERD_BLOB_MISSING: 404,
  SHERD_STATE: 409,
  SHERD_USAGE: 400,
  SHERD_BLOB_DAMAGED: 400,
  SHERD_LIMIT: 413,
  SHERD_DISK: 507,
  SHERD_TIMEOUT: 504,
};

/** What is no different when it is asked for again. */
const LASTING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'SHERD_BLOB_MISSING',
  'SHERD_BLOB_DAMAGED',
  'SHERD_NO_SHARD',
  'SHERD_USAGE',
]);

export function errorResponse(cause: unknown): Response {
  const reply = replyOf(cause);
  return Response.json(reply, { status: STATUS[reply.error.code] ?? 500 });
}

/** A failure as it goes over the wire. */
export function replyOf(cause: unknown): ErrorReply {
  const error =
    cause instanceof SherdError
      ? cause
      : new SherdError(
          'SHERD_INTERNAL',
          `internal: ${cause instanceof Error ? cause.message : String(cause)}`,
        );
  return {
    error: {
      code: error.code,
      message: error.message,
      at: error.at ?? null,
      next: error.next ?? null,
      exitCode: error.exitCode,
    },
  };
}

/** Lines of a generator as they come, with beats in between. */
export function ndjson(make: (signal: AbortSignal) => AsyncGenerator<object>): Response {
  const gone = new AbortController();
  const lines = make(gone.signal);
  const encoder = new TextEncoder();
  let beat: NodeJS.Timeout | undefined;
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        beat = setInterval(() => {
          try {
            if ((controller.desiredSize ?? 0) > 0)
              controller.enqueue(encoder.encode('{"kind":"beat"}\n'));
          } catch {
            clearInterval(beat);
          }
        }, BEAT_MS);
      },
      async pull(controller) {
        try {
          const next = await lines.next();
          if (next.done === true) {
            clearInterval(beat);
            controller.close();
          } else controller.enqueue(encoder.encode(`${JSON.stringify(next.value)}\n`));
        } catch (cause) {
          clearInterval(beat);
          if (cause instanceof SherdError && LASTING.has(cause.code)) {
            controller.enqueue(encoder.encode(`${JSON.stringify(lastLine(cause))}\n`));
            controller.close();
          } else controller.error(cause);
        }
      },
      async cancel() {
        clearInterval(beat);
        gone.abort();
        await lines.return(undefined);
      },
    },
    { highWaterMark: 16 },
  );
  return new Response(stream, { headers: { 'content-type': 'application/x-ndjson' } });
}

function lastLine(cause: SherdError): ErrorLine {
  return { kind: 'error', ...replyOf(cause) };
}

/** Remembers that something happened until somebody has waited for it. The signal's end counts as happening. */
export class Waker {
  #happened = false;
  #resolve: (() => void) | undefined;

  constructor(signal: AbortSignal) {
    signal.addEventListener('abort', this.wake, { once: true });
  }

  readonly wake = (): void => {
    this.#happened = true;
    this.#resolve?.();
  };

  /** Resolves when `wake` was called since the last wait. */
  async wait(): Promise<void> {
    if (!this.#happened) {
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
    }
    this.#happened = false;
    this.#resolve = undefined;
  }
}

/** A JSON object from a request's body. */
export async function jsonBody(request: Request): Promise<Fields> {
  const text = await bodyText(request);
  let value: unknown;
  try {
    value = text === '' ? {} : JSON.parse(text);
  } catch (cause) {
    throw usage('the body is not JSON', cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw usage('the body is not a JSON object');
  }
  return new Fields(value as Record<string, unknown>);
}

/** H4. */
async function bodyText(request: Request): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of request.body ?? []) {
    bytes += piece.length;
    if (bytes > JSON_BYTES_MAX) {
      throw new SherdError('SHERD_LIMIT', `the body is longer than ${JSON_BYTES_MAX} bytes`);
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

/** Checked access to a request's fields. */
export class Fields {
  constructor(private readonly values: Record<string, unknown>) {}

  text(name: string): string {
    const value = this.values[name];
    if (typeof value !== 'string' || value.length > 4_096) throw usage(`${name} must be a string`);
    return value;
  }

  hash(name: string): string {
    return checkHash(this.text(name), name);
  }

  number(name: string, fallback?: number): number {
    const value = this.values[name] ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value))
      throw usage(`${name} must be a number`);
    return value;
  }

  integer(name: string, fallback?: number): number {
    const value = this.number(name, fallback);
    if (!Number.isSafeInteger(value)) throw usage(`${name} must be an integer`);
    return value;
  }

  flag(name: string): boolean {
    const value = this.values[name] ?? false;
    if (typeof value !== 'boolean') throw usage(`${name} must be true or false`);
    return value;
  }

  optionalText(name: string): string | undefined {
    return this.values[name] === undefined ? undefined : this.text(name);
  }

  /** A 64-bit count as decimal digits. */
  count(name: string): bigint {
    return parseCount(this.text(name), name);
  }

  optionalCount(name: string): bigint | undefined {
    return this.values[name] === undefined ? undefined : this.count(name);
  }
}

export function parseCount(text: string, name: string): bigint {
  if (!/^[0-9]{1,20}$/.test(text)) throw usage(`${name} must be a decimal number`);
  return BigInt(text);
}

export function parseIndex(text: string | undefined, name: string): number {
  const value = Number(text ?? '0');
  if (!Number.isSafeInteger(value) || value < 0) throw usage(`${name} must be a number from 0 on`);
  return value;
}

export function checkHash(text: string, name: string): string {
  if (!/^[0-9a-f]{64}$/.test(text)) throw usage(`${name} must be a SHA-256 in hex`);
  return text;
}

export function usage(message: string, cause?: unknown): SherdError {
  return new SherdError('SHERD_USAGE', message, { exitCode: EXIT.refused, cause });
}
