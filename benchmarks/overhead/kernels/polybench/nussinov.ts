// Nussinov's dynamic program: the largest number of base pairs in a folded strand of RNA (bases 0…3, x pairs with 3 − x).
import { value } from './common';

export function run(n: i32): i32 {
  const strand = new StaticArray<i32>(n);
  const best = new StaticArray<i32>(n * n);
  for (let i = 0; i < n; i++) unchecked((strand[i] = <i32>(value(i, 0, 1) * 4.0)));
  for (let i = n - 1; i >= 0; i--) {
    const row = i * n;
    for (let j = i + 1; j < n; j++) {
      let most = max(unchecked(best[row + j - 1]), unchecked(best[row + n + j]));
      const pairs = i < j - 1 && unchecked(strand[i] + strand[j]) == 3;
      most = max(most, unchecked(best[row + n + j - 1]) + <i32>pairs);
      for (let k = i + 1; k < j; k++)
        most = max(most, unchecked(best[row + k] + best[(k + 1) * n + j]));
      unchecked((best[row + j] = most));
    }
  }
  let h = 0;
  for (let i = 0; i < n * n; i++) h = (h ^ unchecked(best[i])) * 0x01000193;
  return h;
}
