/**
 * core.wasm: the engine's hot loops over memory, with SIMD. The host's side is host/core/core.ts.
 *
 * Does: find the 64-byte units in which a memory differs from its base and pack them (`scan`), write them back
 * (`apply`), put two such differences together (`merge`). Does not: know capsules, allocate, or reach any memory but its
 * own: the host copies chunks in and results out, and decides where in this memory they lie.
 *
 *     difference = table + payload                              host/capsule/memory.ts says how a file holds it
 *     table      = { gap LEB · count << 2 | kind LEB } a run    gap: units since the end of the run before
 *     payload    = the 64 bytes of each unit of the data runs, in order
 *     kind       = 0 data · 1 zero (the base is not zero there)
 *
 *     now   ─64 B─┬─ equal ─────────────────────────▶ nothing
 *     base  ──────┴─ different ─┬─ now is all zero ─▶ run of zeros
 *                               └─ else ────────────▶ run of data, its bytes appended to the payload
 *
 * K1  No static data, no heap, no garbage: everything from address 0 on is the caller's (`--runtime stub`, nothing
 *     allocates; a test looks at the module).
 * K2  A difference is canonical: runs are maximal and ascend; a unit is in one exactly when it differs.
 * K3  `scan` and `merge` write at most what the caller has reserved: TABLE_BYTES_A_UNIT a unit that may begin a run, and
 *     the payload up to its limit. Beyond that limit payload is counted, not written.
 * K4  Tables are checked (`check`) before `apply` and `merge` read them: these two trust them.
 */

const UNIT_BYTES: usize = 64;
const DATA: u32 = 0;
const ZERO: u32 = 1;
const KIND_BITS: u32 = 2;
const KIND_MASK: u32 = 3;

// --- the difference that is being written ----------------------------------------------------------------

/** Next byte of the table, next byte of the payload, end of the room for payload. */
let tableAt: usize = 0;
let payloadAt: usize = 0;
let payloadEnd: usize = 0;
/** The open run; none when `openCount` is 0. */
let openKind: u32 = 0;
let openFirst: u32 = 0;
let openCount: u32 = 0;
/** Where the last closed run ends, in units. */
let lastEnd: u32 = 0;

let runCount: u32 = 0;
let dataCount: u32 = 0;
let zeroCount: u32 = 0;

export function runs(): u32 {
  return runCount;
}

/** Units of data, those beyond the payload's limit included. */
export function dataUnits(): u32 {
  return dataCount;
}

export function zeroUnits(): u32 {
  return zeroCount;
}

/** Address after the table. */
export function tableEnd(): u32 {
  return <u32>tableAt;
}

/** Address after the payload that was written. */
export function payloadWritten(): u32 {
  return <u32>payloadAt;
}

/** Begins a difference. */
export function begin(table: usize, payload: usize, limit: usize): void {
  tableAt = table;
  payloadAt = payload;
  payloadEnd = limit;
  openCount = 0;
  lastEnd = 0;
  runCount = 0;
  dataCount = 0;
  zeroCount = 0;
}

/** Goes on with the table at another address, once the host has fetched what was written. */
export function moveTable(table: usize): void {
  tableAt = table;
}

/** Goes on with the payload at another address, once the host has fetched what was written. */
export function movePayload(payload: usize, limit: usize): void {
  payloadAt = payload;
  payloadEnd = limit;
}

/** Writes the last run. */
export function end(): void {
  close();
}

function close(): void {
  if (openCount == 0) return;
  tableAt = writeLeb(tableAt, openFirst - lastEnd);
  tableAt = writeLeb(tableAt, (openCount << KIND_BITS) | openKind);
  lastEnd = openFirst + openCount;
  runCount++;
  openCount = 0;
}

function add(kind: u32, first: u32, count: u32): void {
  if (kind == DATA) dataCount += count;
  else zeroCount += count;
  if (openCount != 0) {
    if (kind == openKind && openFirst + openCount == first) {
      openCount += count;
      return;
    }
    close();
  }
  openKind = kind;
  openFirst = first;
  openCount = count;
}

/** Appends payload as far as there is room for whole units. */
// @ts-ignore: decorator
@inline
function append(from: usize, units: u32): void {
  let bytes = <usize>units * UNIT_BYTES;
  const room = payloadEnd - payloadAt;
  if (bytes > room) bytes = room & ~(UNIT_BYTES - 1);
  memory.copy(payloadAt, from, bytes);
  payloadAt += bytes;
}

function writeLeb(at: usize, value: u32): usize {
  while (value >= 0x80) {
    store<u8>(at++, (value & 0x7f) | 0x80);
    value >>= 7;
  }
  store<u8>(at, value);
  return at + 1;
}

// --- scan -----------------------------------------------------------------------------------------------------

// @ts-ignore: decorator
@inline
function isSame(a: usize, b: usize): bool {
  const x = v128.or(
    v128.or(
      v128.xor(v128.load(a), v128.load(b)),
      v128.xor(v128.load(a, 16), v128.load(b, 16)),
    ),
    v128.or(
      v128.xor(v128.load(a, 32), v128.load(b, 32)),
      v128.xor(v128.load(a, 48), v128.load(b, 48)),
    ),
  );
  return !v128.any_true(x);
}

// @ts-ignore: decorator
@inline
function isZero(a: usize): bool {
  const x = v128.or(
    v128.or(v128.load(a), v128.load(a, 16)),
    v128.or(v128.load(a, 32), v128.load(a, 48)),
  );
  return !v128.any_true(x);
}

/** Compares `units` units at `now` with those at `base`; the first of them is unit `first` of the memory. */
export function scan(now: usize, base: usize, first: u32, units: u32): void {
  let i: u32 = 0;
  while (i < units) {
    let a = now + <usize>i * UNIT_BYTES;
    let b = base + <usize>i * UNIT_BYTES;
    if (isSame(a, b)) {
      i++;
      continue;
    }
    const begin = i;
    const from = a;
    if (isZero(a)) {
      // Equal ones are zero in both: they end the run.
      do {
        i++;
        a += UNIT_BYTES;
        b += UNIT_BYTES;
      } while (i < units && isZero(a) && !isZero(b));
      add(ZERO, first + begin, i - begin);
    } else {
      do {
        i++;
        a += UNIT_BYTES;
        b += UNIT_BYTES;
      } while (i < units && !isSame(a, b) && !isZero(a));
      add(DATA, first + begin, i - begin);
      append(from, i - begin);
    }
  }
}

/** The same where the base is zero or absent. */
export function scanFresh(now: usize, first: u32, units: u32): void {
  let i: u32 = 0;
  while (i < units) {
    let a = now + <usize>i * UNIT_BYTES;
    if (isZero(a)) {
      i++;
      continue;
    }
    const begin = i;
    const from = a;
    do {
      i++;
      a += UNIT_BYTES;
    } while (i < units && !isZero(a));
    add(DATA, first + begin, i - begin);
    append(from, i - begin);
  }
}

// --- reading a table --------------------------------------------------------------------------------------------

/** Where `readLeb` stopped. */
let readAt: usize = 0;

/** A number of a checked table. */
// @ts-ignore: decorator
@inline
function readLeb(at: usize): u32 {
  let byte = <u32>load<u8>(at++);
  let value = byte & 0x7f;
  let shift: u32 = 7;
  while (byte >= 0x80) {
    byte = <u32>load<u8>(at++);
    value |= (byte & 0x7f) << shift;
    shift += 7;
  }
  readAt = at;
  return value;
}

// --- apply ----------------------------------------------------------------------------------------------------

let applyTable: usize = 0;
let applyTableEnd: usize = 0;
/** The run that comes next, and what is left of it. */
let runKind: u32 = 0;
let runFirst: u32 = 0;
let runLeft: u32 = 0;
let runEnd: u32 = 0;

/** Begins to apply a table. */
export function beginApply(table: usize, end: usize): void {
  applyTable = table;
  applyTableEnd = end;
  runEnd = 0;
  runLeft = 0;
  nextRun();
}

function nextRun(): void {
  if (applyTable >= applyTableEnd) return;
  runFirst = runEnd + readLeb(applyTable);
  const word = readLeb(readAt);
  applyTable = readAt;
  runKind = word & KIND_MASK;
  runLeft = word >> KIND_BITS;
  runEnd = runFirst + runLeft;
}

/** The unit at which the next piece of a run begins; -1 when there is none. */
export function nextUnit(): i32 {
  return runLeft == 0 ? -1 : <i32>runFirst;
}

export function nextKind(): u32 {
  return runKind;
}

/** Units left of the run. */
export function nextCount(): u32 {
  return runLeft;
}

/** Takes units of the run as done by the host. */
export function skip(units: u32): void {
  runFirst += units;
  runLeft -= units;
  if (runLeft == 0) nextRun();
}

/**
 * Writes all pieces of runs that lie in the units `first` … `first + units`, which are at `target`. The payload goes on
 * at `payload`; gives where it goes on after that.
 */
export function apply(target: usize, first: u32, units: u32, payload: usize): usize {
  const last = first + units;
  while (runLeft != 0 && runFirst < last) {
    const count = min<u32>(runLeft, last - runFirst);
    const at = target + <usize>(runFirst - first) * UNIT_BYTES;
    const bytes = <usize>count * UNIT_BYTES;
    if (runKind == DATA) {
      memory.copy(at, payload, bytes);
      payload += bytes;
    } else {
      memory.fill(at, 0, bytes);
    }
    skip(count);
  }
  return payload;
}

// --- merge ----------------------------------------------------------------------------------------------------

/**
 * Puts two differences against one base together, after `begin`. Gives -1, or the first unit that both have: then what
 * was written is void.
 */
export function merge(
  tableA: usize,
  endA: usize,
  payloadA: usize,
  tableB: usize,
  endB: usize,
  payloadB: usize,
): i32 {
  let firstA: u32 = 0;
  let countA: u32 = 0;
  let kindA: u32 = 0;
  let firstB: u32 = 0;
  let countB: u32 = 0;
  let kindB: u32 = 0;
  for (;;) {
    if (countA == 0 && tableA < endA) {
      firstA += readLeb(tableA);
      const word = readLeb(readAt);
      tableA = readAt;
      countA = word >> KIND_BITS;
      kindA = word & KIND_MASK;
    }
    if (countB == 0 && tableB < endB) {
      firstB += readLeb(tableB);
      const word = readLeb(readAt);
      tableB = readAt;
      countB = word >> KIND_BITS;
      kindB = word & KIND_MASK;
    }
    if (countA == 0 && countB == 0) break;
    if (countA != 0 && countB != 0) {
      if (firstA < firstB + countB && firstB < firstA + countA) return <i32>max(firstA, firstB);
    }
    if (countB == 0 || (countA != 0 && firstA < firstB)) {
      add(kindA, firstA, countA);
      if (kindA == DATA) {
        append(payloadA, countA);
        payloadA += <usize>countA * UNIT_BYTES;
      }
      firstA += countA;
      countA = 0;
    } else {
      add(kindB, firstB, countB);
      if (kindB == DATA) {
        append(payloadB, countB);
        payloadB += <usize>countB * UNIT_BYTES;
      }
      firstB += countB;
      countB = 0;
    }
  }
  close();
  return -1;
}

// --- forecasts ------------------------------------------------------------------------------------------------

export {
  forecastAll,
  forecastBegin,
  forecastClear,
  forecastEndAtTop,
  forecastInputAt,
  forecastIsFull,
  forecastLevelsAt,
  forecastLimit,
  forecastModelAt,
  forecastObserve,
  forecastOffered,
  forecastPoolAt,
  forecastPoolRows,
  forecastReady,
  forecastRowBytes,
  forecastRows,
  forecastStateBytes,
  forecastStates,
  forecastStream,
} from './forecast';
export { forecastTrain, forecastTrainBegin, forecastTrainStep } from './forecast-train';
