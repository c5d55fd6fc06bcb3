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
const table = new StaticArray<u64>(<i32>(lines * 8));

let state: u64 = 1;

function next(): u64 {
  state += 0x9e3779b97f4a7c15;
  let z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

for (let i: u64 = 0; i < lines * 8; i++) unchecked((table[<i32>i] = next()));

const began = monotonicNs();
let written: f64 = 0;
let sum: u64 = 0;
while (true) {
  // Work that writes nothing: about a tenth of a millisecond.
  for (let i = 0; i < 20_000; i++) sum = rotl(sum, 5) ^ unchecked(table[<i32>(next() & 0xffff)]);
  const due = (<f64>(monotonicNs() - began) / 1e6) * bytesPerMs;
  while (written < due) {
    const at = <i32>(next() % lines) * 8;
    for (let i = 0; i < 8; i++) unchecked((table[at + i] += sum));
    written += 64;
  }
}
