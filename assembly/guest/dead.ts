/**
 * Dead memory: bytes that the program does not need any more, or not yet, though it keeps them.
 *
 *   const buffer = new StaticArray<f64>(1_000_000);
 *   const at = changetype<usize>(buffer), size = <usize>buffer.length * sizeof<f64>();
 *   for (let round = 0; round < rounds; round++) {
 *     …fill it and use it…
 *     markDead(at, size);       from here on its content may become zeros
 *     …long work without it…
 *     markLive(at);             before the first write of the next round
 *   }
 *
 * A shard that runs with `--drop-dead` leaves them out of its capsules. Without it nothing happens.
 *
 *   table   count u32 · { address u32 · bytes u32 } × count      what the host reads (host/capsule/dead.ts)
 *
 * Programs in other languages have the same table: they export its address as a global named `sherd_dead` (in C a variable of
 * this name, linked with `-Wl,--export=sherd_dead`).
 *
 * Does: keep the table. Does not: look at the bytes, or know whether they belong to a live object: mark the content only.
 *
 * M1  The table is whole whenever the program can be stopped: an entry is written before it is counted.
 */
// A program that marks nothing has nothing of this in it.
// @ts-ignore: decorator
@inline const ENTRY: usize = 8;
// @ts-ignore: decorator
@inline const FIRST_ROOM: u32 = 16;
// @ts-ignore: decorator
@inline const MOST: u32 = 65_536;

/** Its address, which the host finds by this variable's name; 0: nothing has been marked yet. */
// @ts-ignore: decorator
@lazy let table: usize = 0;
// @ts-ignore: decorator
@lazy let room: u32 = 0;

/**
 * From here on, until `markLive`, these bytes may become zeros: when the program is paused and goes on, or moves. It must not read
 * them, and must not write them either, and must say `markLive` before it gives the memory back (`heap.free`, or an object that becomes
 * unreachable): what lies there next would be taken for dead. Of a region that is marked already the size is changed.
 */
export function markDead(address: usize, bytes: usize): void {
  const known = entryOf(address);
  if (known != 0) {
    store<u32>(known, <u32>bytes, 4);
    return;
  }
  const count: u32 = table == 0 ? 0 : load<u32>(table);
  assert(count < MOST, "more than 65536 dead regions");
  if (count == room) grow(count);
  const entry = table + 4 + ENTRY * count;
  store<u32>(entry, <u32>address);
  store<u32>(entry, <u32>bytes, 4);
  store<u32>(table, count + 1);
}

/** The program will write the region that begins here, and read what it writes. False: it was not marked. */
export function markLive(address: usize): bool {
  const entry = entryOf(address);
  if (entry == 0) return false;
  const count = load<u32>(table) - 1;
  store<u64>(entry, load<u64>(table + 4 + ENTRY * count));
  store<u32>(table, count);
  return true;
}

/** Where the region's entry is; 0: nowhere. */
function entryOf(address: usize): usize {
  if (table == 0) return 0;
  const end = table + 4 + ENTRY * load<u32>(table);
  for (let entry = table + 4; entry < end; entry += ENTRY) if (load<u32>(entry) == <u32>address) return entry;
  return 0;
}

function grow(count: u32): void {
  const larger = room == 0 ? FIRST_ROOM : 2 * room;
  const fresh = heap.alloc(4 + ENTRY * larger);
  store<u32>(fresh, count);
  if (count > 0) memory.copy(fresh + 4, table + 4, ENTRY * count);
  const old = table;
  table = fresh;
  room = larger;
  if (old != 0) heap.free(old);
}
