/**
 * Source lines of a program from its DWARF: `.debug_line`, versions 2 to 5 (clang and rustc write 4 and 5).
 *
 *   .debug_line = unit*          unit = header (directories, files, opcode lengths) · line program
 *   line program: a state machine {address, file, line, column}; each `copy` or special opcode emits a row.
 *   An address is an offset from the start of the code section's content, as a safepoint's offset is.
 *
 * Does: give file, line and column of a code offset, and of a loop at it. Does not: read other DWARF (types, inlining,
 * variables), 64-bit DWARF, or relocations of unlinked objects.
 *
 * D1  Untrusted: no length is believed beyond the section; a unit that cannot be read ends the reading, what was read stays.
 * D2  A sequence that the linker dropped begins at address 0 or at the all-ones mark: no code lies there.
 */
import { LoopBranches } from './loop-back.js';
import { scanSections } from './module.js';

export interface SourcePlace {
  readonly file: string;
  readonly line: number;
  /** 0: unknown. */
  readonly column: number;
}

interface Row extends SourcePlace {
  readonly address: number;
  readonly end: boolean;
}

const MAX_ROWS = 4_000_000;
const FORM = {
  data2: 5,
  block: 9,
  data1: 11,
  udata: 15,
  string: 8,
  data4: 6,
  data8: 7,
  data16: 30,
} as const;
const FORM_STRP = 14;
const FORM_LINE_STRP = 31;
const CONTENT_PATH = 1;
const CONTENT_DIRECTORY = 2;

class Reader {
  readonly #view: DataView;

  constructor(
    readonly bytes: Uint8Array,
    public at = 0,
    readonly end = bytes.length,
  ) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  need(count: number): number {
    const from = this.at;
    if (count > this.end - from) throw new RangeError('cut short');
    this.at += count;
    return from;
  }

  u8 = (): number => this.#view.getUint8(this.need(1));
  s8 = (): number => this.#view.getInt8(this.need(1));
  u16 = (): number => this.#view.getUint16(this.need(2), true);
  u32 = (): number => this.#view.getUint32(this.need(4), true);

  leb(signed = false): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte >= 128) continue;
      return signed && (byte & 64) !== 0 ? value - scale * 128 : value;
    }
  }

  text(): string {
    const from = this.at;
    while (this.u8() !== 0);
    return new TextDecoder().decode(this.bytes.subarray(from, this.at - 1));
  }
}

/** Custom sections of a program by name. */
export function customSections(program: Uint8Array): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const { id, name, bodyStart, end } of scanSections(program)) {
    if (id === 0 && name !== undefined) found.set(name, contentOf(program, bodyStart, end, name));
  }
  return found;
}

/** What follows the name of a custom section, whether `start` is before the name or behind it. */
function contentOf(program: Uint8Array, start: number, end: number, name: string): Uint8Array {
  const bytes = program.subarray(start, end);
  const encoded = new TextEncoder().encode(name);
  const reader = new Reader(bytes);
  const length = bytes.length === 0 ? -1 : reader.leb();
  const named =
    length === encoded.length && encoded.every((byte, i) => bytes[reader.at + i] === byte);
  return named ? bytes.subarray(reader.at + length) : bytes;
}

/** The lines of a program, by code offset. */
export class LineTable {
  readonly #rows: readonly Row[];
  readonly #loops: LoopBranches;

  private constructor(rows: readonly Row[], program: Uint8Array) {
    this.#rows = rows;
    this.#loops = new LoopBranches(program);
  }

  /** Undefined when the program has no `.debug_line`. */
  static read(program: Uint8Array): LineTable | undefined {
    const sections = customSections(program);
    const lines = sections.get('.debug_line');
    if (lines === undefined) return undefined;
    const strings = {
      line: sections.get('.debug_line_str') ?? new Uint8Array(0),
      all: sections.get('.debug_str') ?? new Uint8Array(0),
    };
    const rows: Row[] = [];
    try {
      for (let at = 0; at < lines.length && rows.length < MAX_ROWS; )
        at = readUnit(lines, at, strings, rows);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause; // D1
    }
    rows.sort((a, b) => a.address - b.address || Number(b.end) - Number(a.end));
    return new LineTable(rows, program);
  }

  get size(): number {
    return this.#rows.length;
  }

  /** The place to show for a shard that stopped at this offset: at a loop, that of the loop statement (loop-back.ts). */
  placeOf(offset: number): SourcePlace | undefined {
    const branch = this.#loops.of(offset);
    return (branch === undefined ? undefined : this.find(branch)) ?? this.find(offset);
  }

  /** The place that the instruction at this offset came from. */
  find(offset: number): SourcePlace | undefined {
    let low = 0;
    for (let high = this.#rows.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((this.#rows[middle] as Row).address <= offset) low = middle + 1;
      else high = middle;
    }
    const row = this.#rows[low - 1];
    if (row === undefined || row.end || row.line === 0) return undefined;
    const { file, line, column } = row;
    return { file, line, column };
  }
}

interface Strings {
  readonly line: Uint8Array;
  readonly all: Uint8Array;
}

interface UnitHeader {
  readonly version: number;
  readonly minLength: number;
  readonly lineBase: number;
  readonly lineRange: number;
  readonly opcodeBase: number;
  readonly lengths: readonly number[];
  readonly files: readonly string[];
}

/** Reads the unit at a place into `rows`; gives where the next one is. */
function readUnit(bytes: Uint8Array, at: number, strings: Strings, rows: Row[]): number {
  const start = new Reader(bytes, at);
  const length = start.u32();
  if (length >= 0xffff_fff0 || length > bytes.length - start.at)
    throw new RangeError('64-bit, or cut short');
  const unit = new Reader(bytes.subarray(0, start.at + length), start.at);
  const { header, program } = readHeader(unit, strings);
  runProgram(new Reader(unit.bytes, program), header, rows);
  return start.at + length;
}

function readHeader(unit: Reader, strings: Strings): { header: UnitHeader; program: number } {
  const version = unit.u16();
  if (version < 2 || version > 5) throw new RangeError(`version ${version}`);
  if (version === 5) unit.need(2); // address and segment selector size
  const headerBytes = unit.u32();
  const program = unit.at + headerBytes;
  const minLength = unit.u8();
  if (version >= 4) unit.u8(); // operations an instruction: one
  unit.u8(); // default is_stmt
  const lineBase = unit.s8();
  const lineRange = unit.u8();
  const opcodeBase = unit.u8();
  const lengths = Array.from({ length: Math.max(0, opcodeBase - 1) }, () => unit.u8());
  const files = version === 5 ? filesOf5(unit, strings) : filesOf4(unit);
  if (lineRange === 0 || program > unit.end) throw new RangeError('malformed header');
  return {
    header: { version, minLength, lineBase, lineRange, opcodeBase, lengths, files },
    program,
  };
}

function joined(directory: string | undefined, name: string): string {
  return name.startsWith('/') || directory === undefined || directory === ''
    ? name
    : `${directory}/${name}`;
}

/** Versions 2 to 4: lists that end with an empty name; files count from 1. */
function filesOf4(unit: Reader): string[] {
  const directories = [''];
  for (let name = unit.text(); name !== ''; name = unit.text()) directories.push(name);
  const files = [''];
  for (let name = unit.text(); name !== ''; name = unit.text()) {
    const directory = directories[unit.leb()];
    unit.leb(); // time
    unit.leb(); // size
    files.push(joined(directory, name));
  }
  return files;
}

/** Version 5: described entries; files count from 0. */
function filesOf5(unit: Reader, strings: Strings): string[] {
  const directories = entriesOf(unit, strings).map(({ path }) => path);
  const [root] = directories;
  return entriesOf(unit, strings).map(({ path, directory }) => {
    const own = directories[directory];
    return joined(own === root ? own : joined(root, own ?? ''), path);
  });
}

function entriesOf(unit: Reader, strings: Strings): { path: string; directory: number }[] {
  const formats = Array.from({ length: unit.u8() }, () => [unit.leb(), unit.leb()] as const);
  const count = unit.leb();
  const entries: { path: string; directory: number }[] = [];
  if (formats.length === 0 && count > 0) throw new RangeError('entries without content');
  for (let i = 0; i < count; i++) {
    const entry = { path: '', directory: 0 };
    for (const [content, form] of formats) {
      const value = readForm(unit, form, strings);
      if (content === CONTENT_PATH && typeof value === 'string') entry.path = value;
      if (content === CONTENT_DIRECTORY && typeof value === 'number') entry.directory = value;
    }
    entries.push(entry);
  }
  return entries;
}

function readForm(unit: Reader, form: number, strings: Strings): string | number | undefined {
  switch (form) {
    case FORM.string:
      return unit.text();
    case FORM_LINE_STRP:
      return new Reader(strings.line, unit.u32()).text();
    case FORM_STRP:
      return new Reader(strings.all, unit.u32()).text();
    case FORM.udata:
      return unit.leb();
    case FORM.data1:
      return unit.u8();
    case FORM.data2:
      return unit.u16();
    case FORM.data4:
      return unit.u32();
    case FORM.data8:
      return void unit.need(8);
    case FORM.data16: // a checksum
      return void unit.need(16);
    case FORM.block:
      return void unit.need(unit.leb());
    default:
      throw new RangeError(`form ${form}`);
  }
}

/** Runs a line program; rows of dropped sequences are left out (D2). */
function runProgram(code: Reader, header: UnitHeader, rows: Row[]): void {
  const { lineBase, lineRange, opcodeBase, minLength, files, lengths } = header;
  let [address, file, line, column] = [0, 1, 1, 0];
  let sequence: Row[] = [];
  const emit = (end: boolean): void => {
    sequence.push({ address, file: files[file] ?? '?', line, column, end });
    if (!end) return;
    const first = sequence[0]?.address ?? 0;
    if (first > 0 && first < 0xffff_fff0) rows.push(...sequence);
    sequence = [];
    [address, file, line, column] = [0, 1, 1, 0];
  };
  while (code.at < code.end && rows.length + sequence.length < MAX_ROWS) {
    const op = code.u8();
    if (op >= opcodeBase) {
      const special = op - opcodeBase;
      address += minLength * Math.floor(special / lineRange);
      line += lineBase + (special % lineRange);
      emit(false);
      continue;
    }
    switch (op) {
      case 0: {
        const length = code.leb();
        const next = code.at + length;
        const extended = length === 0 ? 0 : code.u8();
        if (extended === 1) emit(true);
        else if (extended === 2) address = length >= 5 ? code.u32() : 0;
        if (next > code.end) throw new RangeError('cut short');
        code.at = next;
        break;
      }
      case 1:
        emit(false);
        break;
      case 2:
        address += minLength * code.leb();
        break;
      case 3:
        line += code.leb(true);
        break;
      case 4:
        file = code.leb();
        break;
      case 5:
        column = code.leb();
        break;
      case 8:
        address += minLength * Math.floor((255 - opcodeBase) / lineRange);
        break;
      case 9:
        address += code.u16();
        break;
      default:
        for (let n = lengths[op - 1] ?? 0; n > 0; n--) code.leb();
    }
  }
}
