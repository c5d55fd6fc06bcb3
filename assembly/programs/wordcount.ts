/**
 * Word count: lines, words, distinct words, and the most frequent ones.
 *
 * Usage: wordcount [-n N] [FILE]          default N = 10; without FILE it reads stdin
 *
 * A word is a run of letters, digits and apostrophes, and of bytes above 127 (so UTF-8 letters count); ASCII letters are
 * folded to lower case. Words of equal count are listed in byte order. The text is read in pieces, never held whole:
 * memory grows with the distinct words only.
 */
import { args, fail, Input, lastError, openInput, println, stdin } from "sherd/guest";

const PIECE: i32 = 65536;
const WORD_MAX: i32 = 1024; // longer runs are cut here

/**
 * Open addressing over words in an arena.
 *   slot i: hashes[i], starts[i], lengths[i], counts[i]; counts 0 = free
 */
class WordTable {
  hashes: StaticArray<u32>;
  starts: StaticArray<i32>;
  lengths: StaticArray<i32>;
  counts: StaticArray<u32>;
  arena: Uint8Array = new Uint8Array(1 << 16);
  arenaUsed: i32 = 0;
  distinct: i32 = 0;

  constructor(public capacity: i32 = 4096) {
    this.hashes = new StaticArray<u32>(capacity);
    this.starts = new StaticArray<i32>(capacity);
    this.lengths = new StaticArray<i32>(capacity);
    this.counts = new StaticArray<u32>(capacity);
  }

  add(word: usize, length: i32, hash: u32): void {
    let slot = hash & (this.capacity - 1);
    while (unchecked(this.counts[slot]) > 0) {
      if (unchecked(this.hashes[slot]) == hash && unchecked(this.lengths[slot]) == length
        && memory.compare(this.arena.dataStart + unchecked(this.starts[slot]), word, length) == 0) {
        unchecked(this.counts[slot]++);
        return;
      }
      slot = (slot + 1) & (this.capacity - 1);
    }
    unchecked((this.hashes[slot] = hash));
    unchecked((this.lengths[slot] = length));
    unchecked((this.starts[slot] = this.keep(word, length)));
    unchecked((this.counts[slot] = 1));
    if (++this.distinct * 4 > this.capacity * 3) this.grow();
  }

  private keep(word: usize, length: i32): i32 {
    if (this.arenaUsed + length > this.arena.length) {
      const larger = new Uint8Array(this.arena.length * 2);
      larger.set(this.arena);
      this.arena = larger;
    }
    const at = this.arenaUsed;
    memory.copy(this.arena.dataStart + at, word, length);
    this.arenaUsed += length;
    return at;
  }

  private grow(): void {
    const larger = new WordTable(this.capacity * 2);
    for (let i = 0; i < this.capacity; i++) {
      if (this.counts[i] == 0) continue;
      let slot = this.hashes[i] & (larger.capacity - 1);
      while (larger.counts[slot] > 0) slot = (slot + 1) & (larger.capacity - 1);
      larger.hashes[slot] = this.hashes[i];
      larger.starts[slot] = this.starts[i];
      larger.lengths[slot] = this.lengths[i];
      larger.counts[slot] = this.counts[i];
    }
    this.capacity = larger.capacity;
    this.hashes = larger.hashes;
    this.starts = larger.starts;
    this.lengths = larger.lengths;
    this.counts = larger.counts;
  }

  /** True when slot a comes before slot b in the report. */
  before(a: i32, b: i32): bool {
    if (this.counts[a] != this.counts[b]) return this.counts[a] > this.counts[b];
    const start = this.arena.dataStart;
    const length = min(this.lengths[a], this.lengths[b]);
    const order = memory.compare(start + this.starts[a], start + this.starts[b], length);
    return order != 0 ? order < 0 : this.lengths[a] < this.lengths[b];
  }

  text(slot: i32): string {
    return String.UTF8.decodeUnsafe(this.arena.dataStart + this.starts[slot], this.lengths[slot]);
  }

  /** Slots of the n most frequent words, best first. */
  top(n: i32): i32[] {
    const best: i32[] = [];
    for (let slot = 0; slot < this.capacity; slot++) {
      if (this.counts[slot] == 0) continue;
      if (best.length == n && (n == 0 || !this.before(slot, best[n - 1]))) continue;
      let at = best.length < n ? best.push(slot) - 1 : n - 1;
      while (at > 0 && this.before(slot, best[at - 1])) {
        best[at] = best[at - 1];
        at--;
      }
      best[at] = slot;
    }
    return best;
  }
}

const table = new WordTable();
let bytesTotal: u64 = 0;
let lines: u64 = 0;
let words: u64 = 0;

/** For each byte: 0 = not part of a word, else the byte folded to lower case. */
function wordBytes(): StaticArray<u8> {
  const map = new StaticArray<u8>(256);
  for (let c = 0; c < 256; c++) {
    const letter = (c >= 97 && c <= 122) || (c >= 48 && c <= 57) || c == 39 || c >= 128;
    map[c] = letter ? (c as u8) : c >= 65 && c <= 90 ? ((c + 32) as u8) : 0;
  }
  return map;
}

function count(input: Input): void {
  const map = wordBytes();
  const piece = new Uint8Array(PIECE);
  const word = new StaticArray<u8>(WORD_MAX);
  let length = 0;
  let hash: u32 = 2166136261;
  while (true) {
    const got = input.read(piece);
    for (let i = 0; i < got; i++) {
      const byte = unchecked(piece[i]);
      const folded = unchecked(map[byte]);
      if (folded != 0) {
        if (length < WORD_MAX) {
          unchecked((word[length++] = folded));
          hash = (hash ^ folded) * 16777619;
        }
        continue;
      }
      if (byte == 10) lines++;
      if (length > 0) {
        words++;
        table.add(changetype<usize>(word), length, hash);
        length = 0;
        hash = 2166136261;
      }
    }
    bytesTotal += got;
    if (got < PIECE) break;
  }
  if (length > 0) {
    words++;
    table.add(changetype<usize>(word), length, hash);
  }
}

function main(): void {
  const given = args();
  let n = 10;
  if (given.length >= 2 && given[0] == "-n") {
    const value = parseInt(given[1]);
    if (!(value >= 0 && value <= 10000)) fail("wordcount: N must be 0..10000", 2);
    n = value as i32;
    given.splice(0, 2);
  }
  if (given.length > 1) fail("usage: wordcount [-n N] [FILE]", 2);
  let input: Input | null = stdin;
  if (given.length == 1) input = openInput(given[0]);
  if (input === null) {
    fail("wordcount: cannot open " + given[0] + ": " + lastError());
    return;
  }
  count(input);
  println(bytesTotal.toString() + " bytes");
  println(lines.toString() + " lines");
  println(words.toString() + " words");
  println(table.distinct.toString() + " distinct");
  const best = table.top(n);
  for (let i = 0; i < best.length; i++) {
    println(table.counts[best[i]].toString() + " " + table.text(best[i]));
  }
}

main();
