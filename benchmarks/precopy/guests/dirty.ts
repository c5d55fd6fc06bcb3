/**
 * A shard with a large memory, all of it alive, that writes at a given rate: whole lines of 64 bytes, drawn at random.
 *
 * Usage: dirty MIB MB_PER_SECOND
 */
import { args, fail, monotonicNs } from 'sherd/guest';

const given = args();
if (given.length != 2) fail('usage: dirty MIB MB_PER_SECOND');
const lines = <u64>I32.parseInt(given[0]) * 16384;
const bytesPerMs = <f64>I32.parseInt(given[1]) * 1000;
/** One line more, so that the first one begins where a line of the machine does: one written dirties one, not two. */
const memory = new StaticArray<u64>(<i32>(lines * 8 + 8));
const table = (changetype<usize>(memory) + 63) & ~63;

let state: u64 = 1;

function next(): u64 {
  state += 0x9e3779b97f4a7c15;
  let z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

for (let i: u64 = 0; i < lines * 8; i++) store<u64>(table + (<usize>i << 3), next());

const began = monotonicNs();
let written: f64 = 0;
let sum: u64 = 0;
while (true) {
  // Work that writes nothing: about a tenth of a millisecond.
  for (let i = 0; i < 20_000; i++)
    sum = rotl(sum, 5) ^ load<u64>(table + (<usize>(next() & 0xffff) << 3));
  const due = (<f64>(monotonicNs() - began) / 1e6) * bytesPerMs;
  while (written < due) {
    const line = table + (<usize>(next() % lines) << 6);
    for (let at = line; at < line + 64; at += 8) store<u64>(at, load<u64>(at) + sum);
    written += 64;
  }
}
