// Shortest paths between all pairs of nodes, integer lengths.
import { value } from './common';

export function run(n: i32): i32 {
  const path = new StaticArray<i32>(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++)
      unchecked((path[i * n + j] = i == j ? 0 : 1 + <i32>(value(i, j, 1) * 4096.0)));
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < n; i++) {
      const toK = unchecked(path[i * n + k]);
      for (let j = 0; j < n; j++) {
        const through = toK + unchecked(path[k * n + j]);
        if (through < unchecked(path[i * n + j])) unchecked((path[i * n + j] = through));
      }
    }
  }
  let h = 0;
  for (let i = 0; i < n * n; i++) h = (h ^ unchecked(path[i])) * 0x01000193;
  return h;
}
