// Sieve of Eratosthenes, bytes: the tightest loop there is, a store and an add.
export function run(limit: i32): i32 {
  const composite = new StaticArray<u8>(limit + 1);
  for (let i = 2; i * i <= limit; i++) {
    if (unchecked(composite[i]) != 0) continue;
    for (let j = i * i; j <= limit; j += i) unchecked((composite[j] = 1));
  }
  let count = 0;
  for (let i = 2; i <= limit; i++) count += <i32>(unchecked(composite[i]) == 0);
  return count;
}
