/**
 * Writes a module anew with functions appended and pieces of its bytes replaced.
 *
 *   types    t0 t1 …            + types that the new functions need
 *   code     f0 f1 f2           f0 f1' f2 + n0 n1          f1': `memory.copy` replaced by `call n0`
 *   names    "a" "b" "c"        + "memory.copy"
 *
 * Does: the writing, and the way back from a place in the new code to the program's own. Does not: decide what to
 * replace (lower.ts, pieces.ts).
 *
 * P1  No index of the program changes; types and functions are appended.
 * P2  Replacements lie in element, global or export sections or in bodies, ascend and do not overlap.
 */
import { invariant } from '../types/errors.js';
import { ByteWriter } from './bytes.js';
import { codeStart, type FuncType, parseModule, type WasmModule } from './module.js';
import { extendedSection, extendedTypes, TypeTable, writeSection } from './sections.js';

/** A function to append. */
export interface AddedFunction {
  readonly type: FuncType;
  /** Local declarations and instructions, `end` included. */
  readonly code: Uint8Array;
  readonly name: string | undefined;
}

/** Bytes `[start, end)` of the module (maybe none) that give way to others. */
export interface Replacement {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
}

const TYPE = 1;
const FUNCTION = 3;
const CODE = 10;
/** Places of sections whose place is not their number: tags before globals, the data count before the code. */
const PLACE: Readonly<Record<number, number>> = { 13: 5.5, 12: 9.5 };

/** The new module. Its function index of `added[0]` is the old number of functions. */
export function rewritten(
  module: WasmModule,
  added: readonly AddedFunction[],
  replacements: readonly Replacement[],
): WasmModule {
  const rewriting = new Rewriting(module, added, replacements);
  const result = parseModule(rewriting.run());
  rememberOrigin(result, module, rewriting.bodyAt, replacements);
  return result;
}

class Rewriting {
  private readonly types: TypeTable;
  private readonly addedTypes: readonly number[];
  private next = 0;
  private readonly out: ByteWriter;
  /** Per body of the program: where its new form begins, in the new code section's content. */
  readonly bodyAt: number[] = [];

  constructor(
    private readonly module: WasmModule,
    private readonly added: readonly AddedFunction[],
    private readonly replacements: readonly Replacement[],
  ) {
    this.types = new TypeTable(module.types);
    this.addedTypes = added.map(({ type }) => this.types.intern(type));
    this.out = new ByteWriter(module.bytes.length + 4096).put(module.bytes.subarray(0, 8));
  }

  run(): Uint8Array {
    const { module, out } = this;
    const missing = [TYPE, FUNCTION, CODE].filter(
      (id) => !module.sections.some((s) => s.id === id),
    );
    const lastNames = module.sections.filter((s) => s.id === 0 && s.name === 'name').at(-1);
    for (const section of module.sections) {
      while (
        missing.length > 0 &&
        section.id !== 0 &&
        (PLACE[section.id] ?? section.id) > missing[0]!
      )
        this.section(missing.shift()!);
      if (section.id === TYPE || section.id === FUNCTION || section.id === CODE)
        this.section(section.id);
      else if (section === lastNames && this.added.length > 0)
        this.names(section.bodyStart, section.end);
      else if (this.touches(section.start, section.end))
        writeSection(out, section.id, this.patched(section.bodyStart, section.end));
      else out.copy(module.bytes, section.start, section.end);
    }
    for (const id of missing) this.section(id);
    if (lastNames === undefined && this.added.length > 0) this.names(0, 0);
    invariant(this.next === this.replacements.length, 'every replacement was made');
    return out.finish();
  }

  private section(id: number): void {
    if (id === TYPE) writeSection(this.out, id, extendedTypes(this.module, this.types));
    else if (id === FUNCTION) writeSection(this.out, id, this.functionSection());
    else writeSection(this.out, id, this.codeSection());
  }

  private functionSection(): ByteWriter {
    const { module, added } = this;
    const w = extendedSection(module, FUNCTION, module.bodies.length, added.length);
    for (const type of this.addedTypes) w.u32(type);
    return w;
  }

  private codeSection(): ByteWriter {
    const { module, added } = this;
    const w = new ByteWriter(module.bytes.length).u32(module.bodies.length + added.length);
    for (const { start, end } of module.bodies) {
      if (this.touches(start, end)) {
        const body = this.patched(start, end);
        this.bodyAt.push(w.u32(body.length).length);
        w.append(body);
      } else {
        this.bodyAt.push(w.u32(end - start).length);
        w.copy(module.bytes, start, end);
      }
    }
    for (const { code } of added) w.u32(code.length).put(code);
    return w;
  }

  private touches(start: number, end: number): boolean {
    const at = this.replacements[this.next]?.start ?? Number.POSITIVE_INFINITY;
    invariant(at >= start, 'replacements ascend');
    return at < end;
  }

  private patched(start: number, end: number): ByteWriter {
    const { bytes } = this.module;
    const w = new ByteWriter(end - start + 64);
    let at = start;
    for (; this.touches(at, end); this.next++) {
      const replacement = this.replacements[this.next]!;
      w.copy(bytes, at, replacement.start).put(replacement.bytes);
      at = replacement.end;
    }
    return w.copy(bytes, at, end);
  }

  /** The last name section with the new functions' names (a second list of functions behind the others). */
  private names(start: number, end: number): void {
    const { module, added, out } = this;
    const w = new ByteWriter(256);
    if (end > start) w.copy(module.bytes, start, end);
    else w.name('name');
    const list = new ByteWriter(64);
    const named = added.flatMap(({ name }, k) => (name === undefined ? [] : [{ name, k }]));
    list.u32(named.length);
    for (const { name, k } of named) list.u32(module.functionTypes.length + k).name(name);
    w.u8(1).u32(list.length).append(list);
    writeSection(out, 0, w);
  }
}

/** From places in a rewritten module's code to the program's own: ascending places, what to add from there on, up to where. */
interface Origin {
  readonly from: number[];
  readonly shift: number[];
  /** Of the place just before the next replacement: all of the replacement counts as what it replaces. */
  readonly last: number[];
}

const origins = new WeakMap<WasmModule, Origin>();

function rememberOrigin(
  made: WasmModule,
  module: WasmModule,
  bodyAt: readonly number[],
  replacements: readonly Replacement[],
): void {
  const origin: Origin = { from: [], shift: [], last: [] };
  const note = (from: number, shift: number): void => {
    origin.from.push(from);
    origin.shift.push(shift);
    origin.last.push(Number.POSITIVE_INFINITY);
  };
  const newStart = codeStart(made);
  const before = codeOffsets(module);
  let next = replacements.findIndex(({ start }) => start >= (module.bodies[0]?.start ?? 0));
  if (next < 0) next = replacements.length;
  module.bodies.forEach(({ start, end }, k) => {
    let shift = before(start) - bodyAt[k]!;
    note(newStart + bodyAt[k]!, shift);
    for (; next < replacements.length && replacements[next]!.start < end; next++) {
      const { start: at, end: to, bytes } = replacements[next]!;
      const place = newStart + (before(at) - shift) + bytes.length;
      shift = before(to) - (place - newStart);
      origin.last[origin.last.length - 1] = before(at);
      note(place, shift);
    }
  });
  origins.set(made, origin);
}

/** Where a byte of a module's code lies in the code section of the program that it was made from. */
export function codeOffsets(module: WasmModule): (position: number) => number {
  const start = codeStart(module);
  const origin = origins.get(module);
  if (origin === undefined) return (position) => position - start;
  const { from, shift, last } = origin;
  return (position) => {
    let low = 0;
    let high = from.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (from[middle]! <= position) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return position - start;
    return Math.min(position - start + shift[low - 1]!, last[low - 1]!);
  };
}
