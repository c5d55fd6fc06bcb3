// Quicksort whose comparison is a function reference: one call_indirect per comparison.
function ascending(a: i32, b: i32): i32 {
  return a < b ? -1 : <i32>(a > b);
}

function byLowBits(a: i32, b: i32): i32 {
  return ascending(a & 0xffff, b & 0xffff);
}

function sort(
  items: StaticArray<i32>,
  low: i32,
  high: i32,
  compare: (a: i32, b: i32) => i32,
): void {
  while (low < high) {
    const pivot = unchecked(items[(low + high) >>> 1]);
    let i = low;
    let j = high;
    while (i <= j) {
      while (compare(unchecked(items[i]), pivot) < 0) i++;
      while (compare(unchecked(items[j]), pivot) > 0) j--;
      if (i <= j) {
        const held = unchecked(items[i]);
        unchecked((items[i] = items[j]));
        unchecked((items[j] = held));
        i++;
        j--;
      }
    }
    if (j - low < high - i) {
      sort(items, low, j, compare);
      low = i;
    } else {
      sort(items, i, high, compare);
      high = j;
    }
  }
}

export function run(n: i32): i32 {
  const items = new StaticArray<i32>(n);
  let state: u32 = 12345;
  for (let i = 0; i < n; i++) {
    state = state * 1664525 + 1013904223;
    unchecked((items[i] = <i32>(state >> 1)));
  }
  sort(items, 0, n - 1, ascending);
  let check = 0;
  for (let i = 0; i < n; i += 97) check = check * 31 + unchecked(items[i]);
  sort(items, 0, n - 1, byLowBits);
  for (let i = 0; i < n; i += 97) check = check * 31 + (unchecked(items[i]) & 0xffff);
  return check;
}
