/**
 * Input: buffered reading of bytes and lines from a descriptor.
 *
 * Does: stdin and files opened for reading (files.ts makes those).
 * Does not: wait for anything but the host; an end of input is final.
 *
 * I1  `read`, `readByte`, `readLine` and `readAll` share one buffer and one position; they can be mixed.
 * I2  Lines end with LF or CRLF; the end is not part of the line. A last line without an end counts.
 * I3  A failing read ends the program with a message on stderr and a trap: a short file is never mistaken for its end.
 */
import { stdout } from "./output";
import { answer, fd_close, fd_filestat_get, fd_seek, filestat, lastError, ok, readSome, writeError } from "./wasi";

const CAPACITY: i32 = 16384;

/** A buffered input stream. */
export class Input {
  private start: i32 = 0;
  private end: i32 = 0;
  private ended: bool = false;
  private readonly buffer: StaticArray<u8>;

  constructor(
    /** WASI descriptor; -1 once closed. */
    public fd: i32,
    private readonly name: string,
  ) {
    this.buffer = new StaticArray<u8>(CAPACITY);
  }

  /** Fills `target[offset .. offset+length)` as far as the input reaches. Gives the number of bytes; 0 = end. */
  read(target: Uint8Array, offset: i32 = 0, length: i32 = -1): i32 {
    if (length < 0) length = target.length - offset;
    if (offset < 0 || offset + length > target.length) throw new RangeError("read: out of the target's bounds");
    let done = 0;
    while (done < length) {
      if (this.start == this.end && !this.fill()) break;
      const some = min(length - done, this.end - this.start);
      memory.copy(target.dataStart + offset + done, changetype<usize>(this.buffer) + this.start, some);
      this.start += some;
      done += some;
    }
    return done;
  }

  /** The next byte, or -1 at the end. */
  readByte(): i32 {
    if (this.start == this.end && !this.fill()) return -1;
    return unchecked(this.buffer[this.start++]);
  }

  /** The next line as text, or null at the end. */
  readLine(): string | null {
    let text: string | null = null;
    while (true) {
      if (this.start == this.end && !this.fill()) return text;
      const from = this.start;
      let at = from;
      while (at < this.end && unchecked(this.buffer[at]) != 10) at++;
      const found = at < this.end;
      const piece = this.take(from, at, text);
      this.start = found ? at + 1 : at;
      if (found) return piece.endsWith("\r") ? piece.substring(0, piece.length - 1) : piece;
      text = piece;
    }
  }

  /** Everything up to the end. */
  readAll(): Uint8Array {
    let all = new Uint8Array(max(CAPACITY, this.sizeHint() + 1));
    let used = 0;
    while (true) {
      const some = this.read(all, used);
      used += some;
      if (used < all.length) return all.slice(0, used);
      const larger = new Uint8Array(all.length * 2);
      larger.set(all);
      all = larger;
    }
  }

  /** Everything up to the end as text. */
  readText(): string {
    const all = this.readAll();
    return String.UTF8.decodeUnsafe(all.dataStart, all.length);
  }

  /** Moves the position (0 = from the start, 1 = from here, 2 = from the end); -1 on error. Files only. */
  seek(offset: i64, whence: i32 = 0): i64 {
    if (whence == 1) offset -= this.end - this.start;
    this.start = this.end = 0;
    this.ended = false;
    return ok(fd_seek(this.fd, offset, whence, answer)) ? load<i64>(answer) : -1;
  }

  /** Closes. The stream cannot be used afterwards. */
  close(): void {
    if (this.fd >= 0) ok(fd_close(this.fd));
    this.fd = -1;
    this.start = this.end = 0;
    this.ended = true;
  }

  private carry: Uint8Array | null = null;

  /** Decodes buffer[from..to) after what came before. A character cut by the buffer's end is carried as bytes. */
  private take(from: i32, to: i32, before: string | null): string {
    const source = changetype<usize>(this.buffer) + from;
    const bytes = to - from;
    const carried = this.carry;
    if (carried) {
      const joined = new Uint8Array(carried.length + bytes);
      memory.copy(joined.dataStart, carried.dataStart, carried.length);
      memory.copy(joined.dataStart + carried.length, source, bytes);
      this.carry = null;
      return this.decode(joined.dataStart, joined.length, to == this.end, before);
    }
    return this.decode(source, bytes, to == this.end, before);
  }

  private decode(source: usize, bytes: i32, cut: bool, before: string | null): string {
    if (cut && !this.ended) {
      let lead = bytes - 1;
      while (lead > 0 && bytes - lead < 4 && (load<u8>(source + lead) & 0xc0) == 0x80) lead--;
      if (lead >= 0 && sequenceBytes(load<u8>(source + lead)) > bytes - lead) {
        const rest = new Uint8Array(bytes - lead);
        memory.copy(rest.dataStart, source + lead, bytes - lead);
        this.carry = rest;
        bytes = lead;
      }
    }
    const text = String.UTF8.decodeUnsafe(source, bytes);
    return before ? before + text : text;
  }

  private sizeHint(): i32 {
    if (this.fd == 0 || !ok(fd_filestat_get(this.fd, filestat))) return 0;
    return min<u64>(load<u64>(filestat, 32), 1 << 28) as i32;
  }

  private fill(): bool {
    if (this.ended) return false;
    if (this.fd == 0) stdout.flush(); // a prompt is seen before its answer is read (O2)
    const some = readSome(this.fd, changetype<usize>(this.buffer), CAPACITY);
    if (some < 0) {
      writeError("cannot read " + this.name + ": " + lastError() + "\n");
      unreachable();
    }
    this.start = 0;
    this.end = some;
    if (some == 0) this.ended = true;
    return some > 0;
  }
}

function sequenceBytes(lead: u8): i32 {
  if (lead < 0xc0) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

/** Standard input. */
export const stdin: Input = new Input(0, "stdin");
