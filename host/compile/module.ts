/**
 * Decodes a core Wasm module's sections into index spaces.
 *
 * Does: read everything around the code; keep each function body as a byte range; refuse, by name, what sherd
 * cannot stop exactly.
 * Does not: decode instructions (body.ts) or validate like an engine (the engine validates the program itself when
 * it is instantiated; here only what the rewriter relies on is checked).
 *
 *   sections in order:  type import function table memory global export start element datacount code data | custom*
 *
 * D1  Function indices: imports first, then defined ones; `bodies[k]` belongs to index `imports.length + k`.
 * D2  Every index that this file returns is in range.
 * D3  A refusal (SHERD_FEATURE_UNSUPPORTED) names the feature and where it stands; in code also the function.
 */
import { EXIT, SherdError } from '../types/errors.js';
import { ByteReader, malformed } from './bytes.js';
import { VT } from './opcodes.js';
import { refusedType, unsupported, unsupportedIn } from './refusals.js';

export interface FuncType {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

export interface ImportedFunction {
  readonly module: string;
  readonly field: string;
  readonly type: number;
}

export interface GlobalEntry {
  readonly type: number;
  readonly mutable: boolean;
}

/** An index of an imported function, `[start, end)` in the module's bytes. */
export interface ImportRef {
  readonly start: number;
  readonly end: number;
  readonly index: number;
}

/** An imported memory: where its import lies in the module's bytes, and where its type begins there. */
export interface MemoryImport {
  readonly start: number;
  readonly type: number;
  readonly end: number;
}

/** A function body: `[start, end)` covers the local declarations and the instructions with the final `end`. */
export interface BodyRange {
  readonly start: number;
  readonly end: number;
}

export interface Section {
  readonly id: number;
  /** Start of the id byte. */
  readonly start: number;
  readonly bodyStart: number;
  readonly end: number;
  /** Name of a custom section. */
  readonly name: string;
}

export interface ExportEntry {
  readonly name: string;
  readonly kind: number;
  readonly index: number;
}

export interface WasmModule {
  readonly bytes: Uint8Array;
  readonly sections: readonly Section[];
  readonly types: readonly FuncType[];
  readonly imports: readonly ImportedFunction[];
  /** Type index of every function, imports first. */
  readonly functionTypes: readonly number[];
  readonly tables: number;
  /** Element type of every table. */
  readonly tableTypes: readonly number[];
  readonly memory: { readonly minPages: number; readonly maxPages: number | undefined } | undefined;
  /** The memory is imported. */
  readonly memoryImport: MemoryImport | undefined;
  readonly globals: readonly GlobalEntry[];
  /** Type index of every exception tag. */
  readonly tags: readonly number[];
  readonly exports: readonly ExportEntry[];
  readonly start: number | undefined;
  /** Functions whose address is taken outside of code: element segments, ref.func in globals. */
  readonly addressTaken: ReadonlySet<number>;
  /** Where an imported function is named by an element, a global or an export (see lower.ts). */
  readonly importRefs: readonly ImportRef[];
  readonly elementSegments: number;
  readonly dataSegments: number;
  readonly bodies: readonly BodyRange[];
  readonly names: NameSection;
}

export interface NameSection {
  readonly functions: ReadonlyMap<number, string>;
  readonly locals: ReadonlyMap<number, ReadonlyMap<number, string>>;
  readonly globals: ReadonlyMap<number, string>;
}

export function isReference(type: number): boolean {
  return type === VT.funcref || type === VT.externref;
}

const MAX_LOCALS = 50_000;
const MAX_PAGES = 65_536;

class ModuleReader {
  readonly sections: Section[] = [];
  readonly types: FuncType[] = [];
  readonly imports: ImportedFunction[] = [];
  readonly functionTypes: number[] = [];
  tables = 0;
  readonly tableTypes: number[] = [];
  memory: { minPages: number; maxPages: number | undefined } | undefined;
  memoryImport: MemoryImport | undefined;
  readonly globals: GlobalEntry[] = [];
  readonly tags: number[] = [];
  readonly exports: ExportEntry[] = [];
  start: number | undefined;
  readonly addressTaken = new Set<number>();
  readonly importRefs: ImportRef[] = [];
  elementSegments = 0;
  dataSegments = 0;
  readonly bodies: BodyRange[] = [];
  private namesRead: NameSection | undefined;

  constructor(readonly bytes: Uint8Array) {}

  /** The last name section, read when the first name is asked for. */
  get names(): NameSection {
    this.namesRead ??= readNames(this.bytes, this.sections);
    return this.namesRead;
  }

  read(): void {
    const reader = new ByteReader(this.bytes);
    checkHeader(reader);
    let last = 0;
    while (!reader.done) {
      const section = sectionAt(reader);
      const order = SECTION_ORDER[section.id];
      if (order === undefined) throw malformed(section.start, `unknown section id ${section.id}`);
      if (section.id !== 0) {
        if (order <= last) throw malformed(section.start, 'section out of order');
        last = order;
      }
      this.sections.push(section);
      const body = new ByteReader(this.bytes, section.bodyStart, section.end);
      this.readSection(section, body);
      reader.pos = section.end;
    }
    this.check();
  }

  private readSection(section: Section, r: ByteReader): void {
    switch (section.id) {
      case 0:
        return;
      case 1:
        return this.vector(r, 'type', () => this.readType(r));
      case 2:
        return this.vector(r, 'import', () => this.readImport(r));
      case 3:
        return this.vector(r, 'function', () => {
          this.functionTypes.push(this.typeIndex(r));
        });
      case 4:
        return this.vector(r, 'table', () => this.readTable(r));
      case 5:
        return this.vector(r, 'memory', () => this.readMemory(r));
      case 6:
        return this.vector(r, 'global', () => this.readGlobal(r));
      case 7:
        return this.vector(r, 'export', () => this.readExport(r));
      case 8:
        this.start = r.u32();
        return;
      case 9:
        return this.vector(r, 'element', () => this.readElement(r));
      case 10:
        return this.vector(r, 'code', () => this.readBody(r));
      case 11:
        return this.vector(r, 'data', () => this.readData(r));
      case 12:
        r.u32();
        return;
      case 13:
        return this.vector(r, 'tag', () => this.readTag(r));
    }
  }

  private vector(r: ByteReader, what: string, element: () => void): void {
    const count = r.count(what);
    for (let i = 0; i < count; i++) element();
    if (!r.done) throw malformed(r.pos, `${what} section is longer than its content`);
  }

  private readType(r: ByteReader): void {
    const at = r.pos;
    const form = r.u8();
    if (form === 0x4e || form === 0x50 || form === 0x4f || form === 0x5f || form === 0x5e) {
      throw unsupported('garbage-collected types', `type ${this.types.length}`);
    }
    if (form !== 0x60) throw malformed(at, `unknown type form 0x${form.toString(16)}`);
    this.types.push({ params: this.valTypes(r), results: this.valTypes(r) });
  }

  private valTypes(r: ByteReader): number[] {
    const count = r.count('value type');
    const types: number[] = [];
    for (let i = 0; i < count; i++) types.push(readValType(r, 'function type'));
    return types;
  }

  private typeIndex(r: ByteReader): number {
    const at = r.pos;
    const index = r.u32();
    if (index >= this.types.length) throw malformed(at, `type index ${index} out of range`);
    return index;
  }

  private readImport(r: ByteReader): void {
    const start = r.pos;
    const module = r.name();
    const field = r.name();
    const at = r.pos;
    const kind = r.u8();
    if (kind === 0) {
      const type = this.typeIndex(r);
      const { params, results } = this.types[type]!;
      if ([...params, ...results].some(isReference))
        throw unsupported('a reference that passes a host call', `import ${module}.${field}`);
      this.imports.push({ module, field, type });
      this.functionTypes.push(type);
      return;
    }
    if (kind === 2) {
      this.readMemory(r, `import ${module}.${field}`, start);
      return;
    }
    const what = ['function', 'table', 'memory', 'global', 'tag'][kind];
    if (what === undefined) throw malformed(at, `unknown import kind ${kind}`);
    throw new SherdError(
      'SHERD_IMPORT_UNSUPPORTED',
      `the program imports a ${what} (${module}.${field})`,
      {
        next: 'define it in the program: only functions of WASI preview 1 and a memory can be imported',
        exitCode: EXIT.refused,
      },
    );
  }

  private readTable(r: ByteReader): void {
    const at = r.pos;
    const type = r.u8();
    if (type === 0x40) throw unsupported('typed function references', `table ${this.tables}`);
    if (type !== VT.funcref && type !== VT.externref) {
      r.pos = at;
      readValType(r, `table ${this.tables}`);
      throw malformed(at, 'unknown table element type');
    }
    readLimits(r, 'table');
    this.tableTypes.push(type);
    this.tables++;
  }

  private readTag(r: ByteReader): void {
    const at = r.pos;
    if (r.u8() !== 0) throw malformed(at, 'unknown tag attribute');
    const type = this.typeIndex(r);
    if (this.types[type]!.results.length > 0) throw malformed(at, 'a tag has no results');
    this.tags.push(type);
  }

  /** `importStart`: where the import begins that brings it. */
  private readMemory(r: ByteReader, where = 'memory section', importStart = -1): void {
    const at = r.pos;
    if (this.memory !== undefined) throw unsupported('multiple memories', where);
    const { min, max } = readLimits(r, 'memory', where);
    if (min > MAX_PAGES || (max ?? 0) > MAX_PAGES)
      throw malformed(at, 'memory size must be at most 65536 pages');
    this.memory = { minPages: min, maxPages: max };
    if (importStart >= 0) this.memoryImport = { start: importStart, type: at, end: r.pos };
  }

  private readGlobal(r: ByteReader): void {
    const type = readValType(r, `global ${this.globals.length}`);
    const mutable = r.u8();
    if (mutable > 1) throw malformed(r.pos - 1, 'malformed mutability');
    this.globals.push({ type, mutable: mutable === 1 });
    this.constExpr(r);
  }

  /** Steps over a constant expression and notes functions whose address it takes. */
  private constExpr(r: ByteReader): void {
    for (;;) {
      const at = r.pos;
      const op = r.u8();
      switch (op) {
        case 0x0b:
          return;
        case 0x41:
          r.s32();
          break;
        case 0x42:
          r.skipS64();
          break;
        case 0x43:
          r.skip(4);
          break;
        case 0x44:
          r.skip(8);
          break;
        case 0x23:
          r.u32();
          break;
        case 0x6a:
        case 0x6b:
        case 0x6c:
        case 0x7c:
        case 0x7d:
        case 0x7e:
          break; // extended constant expressions
        case 0xd0:
          r.s33();
          break;
        case 0xd2:
          this.takeAddress(r);
          break;
        case 0xfd: {
          if (r.u32() !== 0x0c) throw malformed(at, 'constant expression required');
          r.skip(16);
          break;
        }
        default:
          throw malformed(at, 'constant expression required');
      }
    }
  }

  private takeAddress(r: ByteReader): void {
    const at = r.pos;
    const index = r.u32();
    if (index >= this.functionTypes.length)
      throw malformed(at, `function index ${index} out of range`);
    this.addressTaken.add(index);
    this.noteImport(at, r.pos, index);
  }

  private noteImport(start: number, end: number, index: number): void {
    if (index < this.imports.length) this.importRefs.push({ start, end, index });
  }

  private readExport(r: ByteReader): void {
    const name = r.name();
    const kind = r.u8();
    const at = r.pos;
    const index = r.u32();
    if (kind === 0 && index >= this.functionTypes.length)
      throw malformed(at, `function index ${index} out of range`);
    if (kind === 0) this.noteImport(at, r.pos, index);
    this.exports.push({ name, kind, index });
  }

  private readElement(r: ByteReader): void {
    this.elementSegments++;
    const at = r.pos;
    const flags = r.u32();
    if (flags > 7) throw malformed(at, 'malformed element segment');
    const passiveOrDeclared = flags & 1;
    if (!passiveOrDeclared) {
      if (flags & 2) r.u32();
      this.constExpr(r);
    }
    const expressions = (flags & 4) !== 0;
    if (passiveOrDeclared || flags & 2) {
      if (expressions) readRefType(r, `element segment ${this.elementSegments - 1}`);
      else if (r.u8() !== 0) throw malformed(r.pos - 1, 'malformed element kind');
    }
    const count = r.count('element');
    for (let i = 0; i < count; i++) {
      if (expressions) this.constExpr(r);
      else this.takeAddress(r);
    }
  }

  private readBody(r: ByteReader): void {
    const size = r.u32();
    const start = r.pos;
    r.skip(size);
    this.bodies.push({ start, end: r.pos });
  }

  private readData(r: ByteReader): void {
    this.dataSegments++;
    const at = r.pos;
    const flags = r.u32();
    if (flags > 2) throw malformed(at, 'malformed data segment');
    if (flags === 2 && r.u32() !== 0) throw unsupported('multiple memories', 'data segment');
    if (flags !== 1) this.constExpr(r);
    r.skip(r.u32());
  }

  private check(): void {
    const defined = this.functionTypes.length - this.imports.length;
    if (defined !== this.bodies.length) {
      throw malformed(
        this.bytes.length,
        `${defined} functions declared, ${this.bodies.length} bodies`,
      );
    }
    if (this.start !== undefined) {
      const type = this.types[this.functionTypes[this.start] ?? -1];
      if (type === undefined || type.params.length + type.results.length > 0) {
        throw malformed(this.bytes.length, 'start function has a wrong type');
      }
    }
  }
}

/** Position in the required order (datacount, id 12, stands before code). */
const SECTION_ORDER: Record<number, number> = {
  0: 0,
  1: 1,
  2: 2,
  3: 3,
  4: 4,
  5: 5,
  13: 6,
  6: 7,
  7: 8,
  8: 9,
  9: 10,
  12: 11,
  10: 12,
  11: 13,
};

function sectionAt(reader: ByteReader): Section {
  const start = reader.pos;
  const id = reader.u8();
  const size = reader.u32();
  const bodyStart = reader.pos;
  reader.skip(size);
  const name = id === 0 ? new ByteReader(reader.bytes, bodyStart, reader.pos).name() : '';
  return { id, start, bodyStart, end: reader.pos, name };
}

function checkHeader(r: ByteReader): void {
  const header = r.bytes.subarray(0, 8);
  const magic = [0x00, 0x61, 0x73, 0x6d];
  if (header.length < 4 || magic.some((byte, i) => header[i] !== byte)) {
    throw new SherdError('SHERD_NOT_WASM', 'not a Wasm file (the first bytes are not \\0asm)', {
      next: 'give a .wasm module, a .ts AssemblyScript source or a .capsule file',
      exitCode: EXIT.refused,
    });
  }
  if (header.length < 8) throw malformed(header.length, 'unexpected end');
  const version = header[4]! | (header[5]! << 8) | (header[6]! << 16) | (header[7]! << 24);
  if (version === 0x0001000d) {
    throw new SherdError(
      'SHERD_FEATURE_UNSUPPORTED',
      'this is a Wasm component, not a core module',
      {
        next: 'install @bytecodealliance/jco, which sherd uses to open components',
        exitCode: EXIT.refused,
      },
    );
  }
  if (version !== 1) throw malformed(4, `unknown version ${version}`);
  r.pos = 8;
}

/** Reads a value type; those that cannot be captured are refused by name. `where` says where it stands. */
export function readValType(r: ByteReader, where: string): number {
  const at = r.pos;
  const type = r.u8();
  if (isValType(type)) return type;
  throw refusedType(type, at, (feature) => unsupported(feature, where));
}

/** The same in a function's code. */
export function readCodeType(r: ByteReader, functionIndex: number): number {
  const at = r.pos;
  const type = r.u8();
  if (isValType(type)) return type;
  throw refusedType(type, at, (feature) => unsupportedIn(functionIndex, feature, at));
}

function isValType(type: number): boolean {
  return (type >= VT.v128 && type <= VT.i32) || isReference(type);
}

/** Reads a reference type. */
function readRefType(r: ByteReader, where: string): number {
  const at = r.pos;
  const type = readValType(r, where);
  if (!isReference(type)) throw malformed(at, 'reference type expected');
  return type;
}

function readLimits(
  r: ByteReader,
  what: string,
  where = what,
): { min: number; max: number | undefined } {
  const at = r.pos;
  const flags = r.u8();
  if (flags & 4) throw unsupported('memory64', where);
  if (flags & 2) throw unsupported('shared memory (threads)', where);
  if (flags > 1) throw malformed(at, `malformed ${what} limits`);
  const min = r.u32();
  const max = flags & 1 ? r.u32() : undefined;
  if (max !== undefined && max < min)
    throw malformed(at, 'size minimum must not be greater than maximum');
  return { min, max };
}

/** Reads the last name section; a damaged one gives what could be read (names are only for people). */
function readNames(bytes: Uint8Array, sections: readonly Section[]): NameSection {
  const section = sections.filter(({ id, name }) => id === 0 && name === 'name').at(-1);
  const r = new ByteReader(bytes, section?.bodyStart ?? 0, section?.end ?? 0);
  const functions = new Map<number, string>();
  const locals = new Map<number, Map<number, string>>();
  const globals = new Map<number, string>();
  const readMap = (reader: ByteReader, into: Map<number, string>): void => {
    for (let n = reader.count('name'); n > 0; n--) {
      const index = reader.u32();
      into.set(index, reader.name());
    }
  };
  try {
    if (!r.done) r.name();
    while (!r.done) {
      const id = r.u8();
      const size = r.u32();
      const sub = new ByteReader(r.bytes, r.pos, Math.min(r.end, r.pos + size));
      r.skip(size);
      if (id === 1) readMap(sub, functions);
      if (id === 7) readMap(sub, globals);
      if (id !== 2) continue;
      for (let n = sub.count('function'); n > 0; n--) {
        const map = new Map<number, string>();
        locals.set(sub.u32(), map);
        readMap(sub, map);
      }
    }
  } catch (error) {
    if (!(error instanceof SherdError)) throw error;
  }
  return { functions, locals, globals };
}

/** Reads a body's local declarations. Returns the parameters' types, then one type a local. */
export function readLocals(
  r: ByteReader,
  functionIndex: number,
  params: readonly number[],
): number[] {
  const groups = r.count('local group');
  const locals = params.slice();
  for (let g = 0; g < groups; g++) {
    const at = r.pos;
    const count = r.u32();
    const type = readCodeType(r, functionIndex);
    if (locals.length - params.length + count > MAX_LOCALS) throw malformed(at, 'too many locals');
    for (let i = 0; i < count; i++) locals.push(type);
  }
  return locals;
}

/** Start of the code section's body, from which safepoint offsets count. */
export function codeStart(module: WasmModule): number {
  return module.sections.find((s) => s.id === 10)?.bodyStart ?? 0;
}

/** The sections of a module, without decoding them. */
export function scanSections(bytes: Uint8Array): Section[] {
  const reader = new ByteReader(bytes);
  checkHeader(reader);
  const sections: Section[] = [];
  while (!reader.done) sections.push(sectionAt(reader));
  return sections;
}

/** Parses a core module. Throws SHERD_NOT_WASM, SHERD_WASM_MALFORMED or SHERD_FEATURE_UNSUPPORTED. */
export function parseModule(bytes: Uint8Array): WasmModule {
  const reader = new ModuleReader(bytes);
  reader.read();
  return reader;
}
