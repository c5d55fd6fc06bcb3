/**
 * A shard with a state of a given size, all of it alive: SplitMix64 draws words of a table and changes them, for ever.
 *
 * Usage: churn KIB
 */
import { args, fail } from 'sherd/guest';

const given = args();
if (given.length != 1) fail('usage: churn KIB');
const words = <u64>I32.parseInt(given[0]) * 128;
const table = new StaticArray<u64>(<i32>words);

let state: u64 = 1;

function next(): u64 {
  state += 0x9e3779b97f4a7c15;
  let z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

for (let i: u64 = 0; i < words; i++) unchecked((table[<i32>i] = next()));
while (true) {
  const draw = next();
  const at = <i32>(draw % words);
  unchecked((table[at] = rotl(table[at], 7) ^ draw));
}
