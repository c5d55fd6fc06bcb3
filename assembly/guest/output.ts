/**
 * Output: buffered byte and text streams over a descriptor.
 *
 * Does: stdout, stderr and files opened for writing (files.ts makes those).
 * Does not: translate line ends or know encodings other than UTF-8.
 *
 * O1  Bytes come out in the order in which they were written to one stream.
 * O2  stdout is flushed when its buffer is full, by `flush`, before a sleep, before stdin is read, and at every clean
 *     end of the program (`exit`, `abort`, end of the top-level code). A trap (unreachable, out of bounds) loses what is in
 *     the buffer, as in C.
 * O3  stderr is never buffered beyond one call.
 * O4  A failing write ends the program with a message on stderr and a trap: output is never lost silently.
 */
import { fd_close, fd_seek, answer, lastError, ok, writeAll, writeError } from "./wasi";

const CAPACITY: i32 = 8192;

/** A buffered output stream. */
export class Output {
  private used: i32 = 0;
  private readonly buffer: StaticArray<u8>;

  constructor(
    /** WASI descriptor; -1 once closed. */
    public fd: i32,
    /** For messages. */
    private readonly name: string,
    private readonly unbuffered: bool = false,
  ) {
    this.buffer = new StaticArray<u8>(CAPACITY);
  }

  /** Writes bytes. */
  write(bytes: Uint8Array): void {
    this.writeRaw(bytes.dataStart, bytes.length);
  }

  /** Writes `bytes` bytes at an address in memory. */
  writeRaw(source: usize, bytes: i32): void {
    if (bytes > CAPACITY - this.used) this.drain();
    if (bytes >= CAPACITY) {
      this.send(source, bytes);
      return;
    }
    memory.copy(changetype<usize>(this.buffer) + this.used, source, bytes);
    this.used += bytes;
    if (this.unbuffered) this.drain();
  }

  /** Writes one byte. */
  writeByte(byte: u8): void {
    if (this.used == CAPACITY) this.drain();
    unchecked((this.buffer[this.used++] = byte));
    if (this.unbuffered) this.drain();
  }

  /** Writes text as UTF-8. */
  print(text: string): void {
    const most = text.length * 3;
    if (most > CAPACITY) {
      const encoded = String.UTF8.encode(text);
      this.writeRaw(changetype<usize>(encoded), encoded.byteLength);
      return;
    }
    if (most > CAPACITY - this.used) this.drain();
    const target = changetype<usize>(this.buffer) + this.used;
    this.used += String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, target) as i32;
    if (this.unbuffered) this.drain();
  }

  /** Writes text and a line feed. */
  println(text: string = ""): void {
    if (this.unbuffered) {
      this.print(text + "\n"); // one piece, so that lines of two streams do not mix
      return;
    }
    this.print(text);
    this.writeByte(10);
  }

  /** Hands what is buffered to the host. */
  flush(): void {
    this.drain();
  }

  /** Moves the position (0 = from the start, 1 = from here, 2 = from the end); -1 on error. Files only. */
  seek(offset: i64, whence: i32 = 0): i64 {
    this.drain();
    return ok(fd_seek(this.fd, offset, whence, answer)) ? load<i64>(answer) : -1;
  }

  /** Flushes and closes. The stream cannot be used afterwards. */
  close(): void {
    if (this.fd < 0) return;
    this.drain();
    const code = fd_close(this.fd);
    this.fd = -1;
    const files = open;
    if (files) {
      const at = files.indexOf(this);
      if (at >= 0) files.splice(at, 1);
    }
    if (!ok(code)) this.fail();
  }

  private drain(): void {
    const bytes = this.used;
    if (bytes == 0) return;
    this.used = 0;
    this.send(changetype<usize>(this.buffer), bytes);
  }

  private send(source: usize, bytes: i32): void {
    if (!writeAll(this.fd, source, bytes)) this.fail();
  }

  private fail(): void {
    if (this.fd != 2) writeError("cannot write " + this.name + ": " + lastError() + "\n");
    unreachable();
  }
}

// What the end of the program flushes. Null until made: `abort` can come before that.
let open: Output[] | null = null;
let standard: Output | null = null;

/** Standard output. */
export const stdout: Output = new Output(1, "stdout");
standard = stdout;
/** Standard error: not buffered. */
export const stderr: Output = new Output(2, "stderr", true);

/** Internal: a stream on a descriptor that files.ts opened. */
export function fileOutput(fd: i32, name: string): Output {
  const output = new Output(fd, name);
  if (!open) open = [];
  open!.push(output);
  return output;
}

/** Writes text to stdout. */
export function print(text: string): void {
  stdout.print(text);
}

/** Writes text and a line feed to stdout. */
export function println(text: string = ""): void {
  stdout.println(text);
}

/** Writes bytes to stdout. */
export function writeBytes(bytes: Uint8Array): void {
  stdout.write(bytes);
}

/** Hands buffered stdout to the host. */
export function flush(): void {
  stdout.flush();
}

/** Writes a line to stderr at once. */
export function log(text: string): void {
  stderr.println(text);
}

/** Internal: flushes stdout and every file still open. */
export function flushAll(): void {
  const out = standard;
  if (out) out.flush();
  const files = open;
  if (files) for (let i = 0; i < files.length; i++) files[i].flush();
}
