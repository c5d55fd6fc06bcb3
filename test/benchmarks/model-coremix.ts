/**
 * A plain model of test/fixtures/coremix.c: arrays and library sorts in place of linked lists and hand-made ones.
 */

const crcByte = (crc: number, byte: number): number => {
  let c = crc ^ byte;
  for (let bit = 0; bit < 8; bit++) c = (c & 1) === 1 ? (c >>> 1) ^ 0xa001 : c >>> 1;
  return c;
};

const crc16 = (crc: number, value: number): number =>
  crcByte(crcByte(crc, value & 0xff), (value >>> 8) & 0xff);

const crc32 = (crc: number, value: number): number =>
  crc16(crc16(crc, value & 0xffff), value >>> 16);

const int16 = (x: number): number => (x << 16) >> 16;
const step = (seed: number): number => (Math.imul(seed, 1664525) + 1013904223) >>> 0;

function listRound(start: number): number {
  let seed = start;
  const keys = Array.from({ length: 220 }, () => {
    seed = step(seed);
    return int16(seed >>> 17);
  });
  let crc = 0;
  for (let i = 0; i < 12; i++) {
    const found = keys.indexOf(int16(keys[(i * 37) % 220]! + (i & 1)));
    crc = crc16(crc, found < 0 ? 0xffff : found);
  }
  for (const key of [...keys].sort((a, b) => a - b).reverse()) crc = crc16(crc, key & 0xffff);
  keys.forEach((key, i) => {
    crc = crc16(crc, (key ^ i) & 0xffff);
  });
  return crc;
}

function matrixRound(start: number): number {
  let seed = start >>> 0;
  const scale = (seed & 7) + 1;
  const a: number[][] = [];
  const b: number[][] = [];
  for (let i = 0; i < 12; i++) {
    a.push([]);
    b.push([]);
    for (let j = 0; j < 12; j++) {
      seed = (Math.imul(seed, 69069) + 1) >>> 0;
      a[i]!.push(int16((seed >>> 24) * scale));
      b[i]!.push((seed >>> 16) & 0xff);
    }
  }
  let crc = 0;
  const dot = (row: readonly number[], other: (j: number) => number): number =>
    row.reduce((sum, x, j) => sum + x * other(j), 0);
  for (const row of a) crc = crc32(crc, dot(row, (j) => b[0]![j]!) >>> 0);
  for (const row of a) {
    for (let j = 0; j < 12; j++) {
      const c = dot(row, (k) => b[k]![j]!);
      crc = crc16(crc, (((c >> 2) & 0xf) * ((c >> 5) & 0x7f)) & 0xffff);
    }
  }
  return crc;
}

const WORDS = '5012 -874 +122 35.54 .1234 -110.7 5.5e+3 -.1e-2 T0.3e-1F 1e - 7E+x'.split(' ');

function text(start: number): string[] {
  let out = '';
  for (let seed = step(start); ; seed = step(seed)) {
    const word = WORDS[(seed >>> 20) % 12]!;
    if (out.length + word.length + 1 > 420) return [...out];
    out += `${word},`;
  }
}

/** Next states by [digit, sign, point, e, other]; the letters are coremix.c's states in order. */
const NEXT = ['21388', '28388', '28458', '48888', '48858', '76888', '78888', '78888', '88888'];

function classOf(x: string): number {
  if (x >= '0' && x <= '9') return 0;
  return { '+': 1, '-': 1, '.': 2, e: 3, E: 3 }[x] ?? 4;
}

function stateRound(start: number): number {
  const characters = text(start);
  const counts = new Array<number>(9).fill(0);
  const steps = new Array<number>(9).fill(0);
  for (let pass = 0; pass < 2; pass++) {
    let state = 0;
    for (const x of characters) {
      if (x === ',') {
        counts[state]!++;
        state = 0;
        continue;
      }
      state = Number(NEXT[state]![classOf(x)]);
      steps[state]!++;
    }
    for (let i = pass + 1; i < characters.length; i += 13)
      if (characters[i] !== ',')
        characters[i] = String.fromCharCode(characters[i]!.charCodeAt(0) ^ 4);
  }
  return counts.reduce((crc, count, i) => crc16(crc16(crc, count), steps[i]!), 0);
}

/** The result of `run(rounds)`. */
export function coremix(rounds: number): number {
  let crc = 0;
  for (let i = 0; i < rounds; i++) {
    crc = crc16(crc, listRound(Math.imul(i, 0x9e3779b1) >>> 0));
    crc = crc16(crc, matrixRound(i + crc));
    crc = crc16(crc, stateRound((i ^ crc) >>> 0));
  }
  return crc;
}
