/**
 * Where a capsule's memory lies and what made the capsule big.
 *
 *   page of 4 KiB      stored, zeroed, or as in the module's initial image (zero or not)
 *   region             stack  from the stack pointer up to its initial value; from 0 on where all data lies above that
 *                      data   what the initial image has, and what lies below the stack (zero data, stack left behind)
 *                      heap   all else
 *
 * Does: classify pages, draw them as text and as SVG, list what takes most. Does not: know allocators.
 *
 * M1  Regions are a reading, not a fact: without a stack pointer (AssemblyScript keeps none) there is no stack.
 * M2  Everything here depends on capsule, module and base image alone. Of a delta it is what the delta itself stores.
 */
import { DATA, type Difference, eachRun, UNIT_BYTES } from '../core/difference.js';
import type { ShardModule } from '../types/module.js';
import { encodePlain } from '../types/pack.js';
import type { BaseImage } from '../types/state.js';
import type { DecodedCapsule } from './capsule.js';
import { PAGE_BYTES, WASM_PAGE_BYTES } from './memory.js';

export type Region = 'data' | 'stack' | 'heap';
const REGIONS: readonly Region[] = ['data', 'stack', 'heap'];
/** What a page is: as it was (zero, not zero), zeroed by the program, or stored, by region. */
const CELL = { zero: 0, same: 1, zeroed: 2, data: 3, stack: 4, heap: 5 } as const;
type CellName = keyof typeof CELL;
const CELL_NAMES = Object.keys(CELL) as CellName[];
const MAX_RUNS = 12;
const COLUMNS = 64;
const MAX_LINES = 24;

export interface MapRun {
  readonly address: number;
  readonly bytes: number;
  readonly region: Region;
}

export interface MemoryMap {
  readonly pageBytes: number;
  readonly pages: number;
  /** Stored bytes by region. */
  readonly storedBytes: Readonly<Record<Region, number>>;
  /** The largest runs of stored pages, largest first. */
  readonly runs: readonly MapRun[];
  /** One digit a page: 0 zero, 1 as in the initial image, 2 zeroed, 3 data, 4 stack, 5 heap. */
  readonly cells: Uint8Array;
}

export interface Contributor {
  readonly what: string;
  readonly bytes: number;
}

/** Where regions end; undefined where nothing says so. */
export interface RegionHints {
  /** The stack pointer's value when the program begins. */
  readonly stackTop: number | undefined;
  /** Its value in this capsule. */
  readonly stackPointer: number | undefined;
}

/** Undefined for a shard without memory. */
export function memoryMap(
  decoded: DecodedCapsule,
  base: BaseImage,
  hints: RegionHints,
): MemoryMap | undefined {
  const { header, memory } = decoded;
  if (header.memory === null || memory === null) return undefined;
  const pages = header.memory.pages * (WASM_PAGE_BYTES / PAGE_BYTES);
  const cells = new Uint8Array(pages);
  for (const page of base.nonZero.keys()) cells[page] = CELL.same;
  const regionOf = regions(base, hints);
  const storedBytes: Record<Region, number> = { data: 0, stack: 0, heap: 0 };
  const runs: MapRun[] = [];
  eachPiece(memory, (stored, address, bytes) => {
    const place = Math.floor(address / PAGE_BYTES);
    if (!stored) {
      cells[place] = Math.max(cells[place] ?? 0, CELL.zeroed);
      return;
    }
    const region = regionOf(place);
    cells[place] = CELL[region];
    storedBytes[region] += bytes;
    const last = runs.at(-1);
    if (last?.region === region && last.address + last.bytes === address)
      runs[runs.length - 1] = { ...last, bytes: last.bytes + bytes };
    else runs.push({ address, bytes, region });
  });
  runs.sort((a, b) => b.bytes - a.bytes || a.address - b.address);
  return { pageBytes: PAGE_BYTES, pages, storedBytes, runs: runs.slice(0, MAX_RUNS), cells };
}

/** Visits what differs from the base, cut at the ends of pages; `from` is where its bytes are in the payload. */
export function eachPiece(
  memory: Difference,
  visit: (stored: boolean, address: number, bytes: number, from: number) => void,
): void {
  let from = 0;
  eachRun(memory.table, (kind, first, count) => {
    const end = (first + count) * UNIT_BYTES;
    for (let address = first * UNIT_BYTES; address < end; ) {
      const next = Math.min(end, (Math.floor(address / PAGE_BYTES) + 1) * PAGE_BYTES);
      visit(kind === DATA, address, next - address, from);
      if (kind === DATA) from += next - address;
      address = next;
    }
  });
}

/** The region of a page. */
export function regions(base: BaseImage, hints: RegionHints): (page: number) => Region {
  const { stackTop = 0, stackPointer = stackTop } = hints;
  let [dataStart, dataEnd] = [Number.POSITIVE_INFINITY, 0];
  for (const page of base.nonZero.keys()) {
    dataStart = Math.min(dataStart, page);
    dataEnd = Math.max(dataEnd, page + 1);
  }
  const stackEnd = Math.ceil(stackTop / PAGE_BYTES);
  const stackFirst = dataStart >= stackEnd;
  const stackStart = stackFirst ? 0 : Math.floor(Math.max(0, stackPointer) / PAGE_BYTES);
  return (page) => {
    if (page >= stackStart && page < stackEnd) return 'stack';
    return page < Math.max(stackEnd, dataEnd) ? 'data' : 'heap';
  };
}

/** What takes most of the capsule, largest first: memory by region, frames by function, host state by part, the rest. */
export function contributors(
  decoded: DecodedCapsule,
  map: MemoryMap | undefined,
  module: ShardModule | undefined,
): Contributor[] {
  const { sizes, frames, host } = decoded;
  const list: Contributor[] = [
    { what: 'envelope: prologue and section table', bytes: sizes.envelopeBytes },
    { what: 'header', bytes: sizes.headerBytes },
    { what: 'globals', bytes: sizes.globalsBytes },
  ];
  if (map === undefined) list.push({ what: 'memory', bytes: sizes.memoryBytes });
  else {
    let left = sizes.memoryBytes;
    for (const region of REGIONS) {
      list.push({ what: `memory: ${region}`, bytes: map.storedBytes[region] });
      left -= map.storedBytes[region];
    }
    list.push({ what: 'memory: its list of runs', bytes: left });
  }
  const byFunction = new Map<number, { frames: number; bytes: number }>();
  for (const { func, slots } of frames) {
    const known = byFunction.get(func) ?? { frames: 0, bytes: 0 };
    byFunction.set(func, { frames: known.frames + 1, bytes: known.bytes + slots.length });
  }
  for (const [func, { frames: count, bytes }] of byFunction) {
    const name = module?.functions[func - module.imports.length]?.name ?? `function ${func}`;
    list.push({ what: `frames: ${count} of ${name}`, bytes });
  }
  const isMap =
    typeof host === 'object' &&
    host !== null &&
    !Array.isArray(host) &&
    !(host instanceof Uint8Array);
  for (const [part, value] of Object.entries(isMap ? host : { all: host }))
    list.push({ what: `host state: ${part}`, bytes: encodePlain({ part: value }).length - 6 });
  return list
    .filter(({ bytes }) => bytes > 0)
    .sort((a, b) => b.bytes - a.bytes || (a.what < b.what ? -1 : 1));
}

const SIGN: Readonly<Record<CellName, string>> = {
  zero: '.',
  same: '-',
  zeroed: 'z',
  data: 'D',
  stack: 'S',
  heap: 'H',
};

/** The map as lines of text: a cell stands for several pages when there are many, and shows what is stored among them. */
export function mapLines(map: MemoryMap): string[] {
  const pagesPerCell = Math.max(1, Math.ceil(map.pages / (COLUMNS * MAX_LINES)));
  const lines: string[] = [];
  for (let first = 0; first < map.pages; first += COLUMNS * pagesPerCell) {
    let line = '';
    for (let i = 0; i < COLUMNS && first + i * pagesPerCell < map.pages; i++) {
      const from = first + i * pagesPerCell;
      line += signOf(map.cells.subarray(from, from + pagesPerCell));
    }
    lines.push(`${addressText(first * map.pageBytes)}  ${line}`);
  }
  const size = (pagesPerCell * map.pageBytes) / 1024;
  lines.push(
    `one sign is ${size} KiB: D S H stored of data, stack, heap (small: not all of it), z zeroed, - as in the module, . zero`,
  );
  return lines;
}

function signOf(cells: Uint8Array): string {
  const most = cells.reduce((a, b) => Math.max(a, b), 0);
  const sign = SIGN[CELL_NAMES[most] ?? 'zero'];
  return most >= CELL.data && cells.some((cell) => cell < CELL.data) ? sign.toLowerCase() : sign;
}

function addressText(address: number): string {
  return `0x${address.toString(16).padStart(8, '0')}`;
}

const COLOUR: Readonly<Record<CellName, string>> = {
  zero: '#f1f3f5',
  same: '#c3cad3',
  zeroed: '#e9b8b8',
  data: '#2f6fb5',
  stack: '#c98a1b',
  heap: '#2f8f5b',
};
const LEGEND: readonly (readonly [CellName, string])[] = [
  ['data', 'data, stored'],
  ['stack', 'stack, stored'],
  ['heap', 'heap, stored'],
  ['zeroed', 'zeroed'],
  ['same', 'as in the module'],
  ['zero', 'zero'],
];
/** Side of the drawn field, and how many squares a row may have: the fewest that keep it about square. */
const FIELD = 768;
const WIDTHS = [32, 48, 64, 96] as const;
const LEFT = 84;
const TOP = 58;

/** The same as a picture of its own. `title` and `note` are text of others: escaped. */
export function mapSvg(map: MemoryMap, title: string, note: string): string {
  const columns = WIDTHS.find((each) => each * each >= map.pages) ?? 96;
  const side = FIELD / columns;
  const pagesPerCell = Math.max(1, Math.ceil(map.pages / (columns * columns)));
  const cellCount = Math.ceil(map.pages / pagesPerCell);
  const rows = Math.ceil(cellCount / columns);
  const [width, height] = [LEFT + FIELD + 20, TOP + rows * side + 52];
  const parts: string[] = [];
  for (let row = 0; row < rows; row++) parts.push(...rowOf(map, row, columns, pagesPerCell));
  const step = Math.max(1, Math.ceil(rows / 16));
  for (let row = 0; row < rows; row += step) {
    const address = addressText(row * columns * pagesPerCell * map.pageBytes);
    parts.push(
      `<text x="${LEFT - 8}" y="${TOP + (row + 0.5) * side + 4}" text-anchor="end">${address}</text>`,
    );
  }
  let x = LEFT;
  for (const [name, label] of LEGEND) {
    const y = TOP + rows * side + 16;
    parts.push(`<rect x="${x}" y="${y}" width="10" height="10" fill="${COLOUR[name]}"/>`);
    parts.push(`<text x="${x + 15}" y="${y + 9}">${label}</text>`);
    x += 30 + label.length * 6.4;
  }
  const size = (pagesPerCell * map.pageBytes) / 1024;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, Menlo, DejaVu Sans Mono, monospace" font-size="10" fill="#333">
<rect width="${width}" height="${height}" fill="#fff"/>
<text x="${LEFT}" y="22" font-size="14" font-weight="bold">${escaped(title)}</text>
<text x="${LEFT}" y="40">${escaped(note)}; one square is ${size} KiB</text>
${parts.join('\n')}
</svg>
`;
}

/** Neighbours of one colour are one rectangle. */
function rowOf(map: MemoryMap, row: number, columns: number, pagesPerCell: number): string[] {
  const parts: string[] = [];
  const side = FIELD / columns;
  let [from, colour] = [0, ''];
  const close = (to: number): void => {
    if (colour === '') return;
    const width = (to - from) * side - 1;
    parts.push(
      `<rect x="${LEFT + from * side}" y="${TOP + row * side}" width="${width}" height="${side - 1}" fill="${colour}"/>`,
    );
  };
  for (let column = 0; column < columns; column++) {
    const first = (row * columns + column) * pagesPerCell;
    const cells = map.cells.subarray(first, first + pagesPerCell);
    const most = cells.reduce((a, b) => Math.max(a, b), 0);
    const here = cells.length === 0 ? '' : COLOUR[CELL_NAMES[most] ?? 'zero'];
    if (here === colour) continue;
    close(column);
    [from, colour] = [column, here];
  }
  close(columns);
  return parts;
}

/** Text of others for SVG: characters that XML does not allow, or nobody can read, become question marks. */
export function escaped(text: string): string {
  return text
    .replace(/[^\x20-\x7e\u00a0-\ud7ff]/g, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}
