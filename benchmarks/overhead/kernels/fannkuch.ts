// Fannkuch: permutations of n and their prefix reversals; short loops over a small array.
export function run(n: i32): i32 {
  const perm = new StaticArray<i32>(n);
  const work = new StaticArray<i32>(n);
  const count = new StaticArray<i32>(n);
  for (let i = 0; i < n; i++) unchecked((perm[i] = i));
  let maxFlips = 0;
  let checksum = 0;
  let parity = 0;
  let r = n;
  while (true) {
    for (; r != 1; r--) unchecked((count[r - 1] = r));
    for (let i = 0; i < n; i++) unchecked((work[i] = perm[i]));
    let flips = 0;
    let first = unchecked(work[0]);
    while (first != 0) {
      for (let i = 0, j = first; i < j; i++, j--) {
        const held = unchecked(work[i]);
        unchecked((work[i] = work[j]));
        unchecked((work[j] = held));
      }
      flips++;
      first = unchecked(work[0]);
    }
    if (flips > maxFlips) maxFlips = flips;
    checksum += (parity & 1) == 0 ? flips : -flips;
    parity++;
    while (true) {
      if (r == n) return checksum * 100 + maxFlips;
      const held = unchecked(perm[0]);
      for (let i = 0; i < r; i++) unchecked((perm[i] = perm[i + 1]));
      unchecked((perm[r] = held));
      unchecked((count[r] -= 1));
      if (unchecked(count[r]) > 0) break;
      r++;
    }
  }
}
