/**
 * A program that counts what it executes: the measure by which published bounds and fuel are checked.
 *
 *   every instruction      count += 1 before it
 *   every poll             longest = max(longest, count); count = 0; passages += 1        (a call of an appended function)
 *
 * Does: rewrite a plain module, given where the polls are (the resume map). Does not: stop, or use the rewriter's passes.
 *
 * C1  No index of the program changes; a type, a function, three globals and three exports are appended.
 */
import { ByteReader, ByteWriter } from '../../host/compile/bytes.js';
import { readOpcode, skipImmediates } from '../../host/compile/instructions.js';
import { codeStart, parseModule, readLocals, type WasmModule } from '../../host/compile/module.js';
import { FACT, FACTS, OP, VT } from '../../host/compile/opcodes.js';
import { writeSection, writeType } from '../../host/compile/sections.js';
import type { ShardModule } from '../../host/types/module.js';

const NAMES = ['count', 'longest', 'passages'] as const;
const ADD = 0x6a;
const GT_U = 0x4b;

class Counting {
  private readonly count: number;
  private readonly poll: number;

  constructor(
    private readonly module: WasmModule,
    private readonly shard: ShardModule,
  ) {
    this.count = module.globals.length;
    this.poll = module.functionTypes.length;
  }

  run(): Uint8Array<ArrayBuffer> {
    const { module } = this;
    const out = new ByteWriter(module.bytes.length * 4).put(module.bytes.subarray(0, 8));
    const added = new Map<number, ByteWriter>([
      [1, this.extended(1, 1, (w) => writeType(w, { params: [], results: [] }))],
      [3, this.extended(3, 1, (w) => w.u32(module.types.length))],
      [6, this.extended(6, 3, (w) => this.globals(w))],
      [7, this.extended(7, 3, (w) => this.exports(w))],
      [10, this.code()],
    ]);
    for (const id of [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11]) {
      const section = module.sections.find((s) => s.id === id);
      const body = added.get(id);
      if (body !== undefined) writeSection(out, id, body);
      else if (section !== undefined) out.copy(module.bytes, section.start, section.end);
    }
    return new Uint8Array(out.finish());
  }

  private extended(id: number, extra: number, write: (w: ByteWriter) => void): ByteWriter {
    const section = this.module.sections.find((s) => s.id === id);
    const w = new ByteWriter(256);
    if (section === undefined) w.u32(extra);
    else {
      const r = new ByteReader(this.module.bytes, section.bodyStart, section.end);
      w.u32(r.u32() + extra).copy(this.module.bytes, r.pos, section.end);
    }
    write(w);
    return w;
  }

  private globals(w: ByteWriter): void {
    for (const _ of NAMES) w.u8(VT.i32).u8(1).u8(OP.i32Const).s32(0).u8(OP.end);
  }

  private exports(w: ByteWriter): void {
    NAMES.forEach((name, k) => {
      w.name(`counted.${name}`)
        .u8(3)
        .u32(this.count + k);
    });
  }

  private add(w: ByteWriter, global: number): void {
    w.op(OP.globalGet, global).u8(OP.i32Const).s32(1).u8(ADD).op(OP.globalSet, global);
  }

  private code(): ByteWriter {
    const { module } = this;
    const w = new ByteWriter(module.bytes.length * 4).u32(module.bodies.length + 1);
    for (let k = 0; k < module.bodies.length; k++) {
      const body = this.body(k);
      w.u32(body.length).append(body);
    }
    const poll = this.pollBody();
    return w.u32(poll.length).append(poll);
  }

  private body(k: number): ByteWriter {
    const { module } = this;
    const index = module.imports.length + k;
    const { start, end } = module.bodies[k]!;
    const r = new ByteReader(module.bytes, start, end);
    readLocals(r, index, []);
    const { safepoints } = this.shard.functions[k]!;
    const loops = new Set(safepoints.flatMap((s) => (s.kind === 'loop' ? [s.offset] : [])));
    const w = new ByteWriter((end - start) * 4).copy(module.bytes, start, r.pos);
    if (safepoints.some(({ kind }) => kind === 'entry')) w.op(OP.call, this.poll);
    while (!r.done) {
      const from = r.pos;
      const key = readOpcode(r, index);
      const polls = loops.has(from - codeStart(module));
      if (polls && key !== OP.loop) w.op(OP.call, this.poll); // one that was added
      skipImmediates(r, module, FACTS[key]! & FACT.imm, index);
      // Nothing may stand between a body and its handlers but the end of the body: this still is the body.
      this.add(w, this.count);
      w.copy(module.bytes, from, r.pos);
      if (polls && key === OP.loop) w.op(OP.call, this.poll);
    }
    return w;
  }

  private pollBody(): ByteWriter {
    const [count, longest, passages] = [this.count, this.count + 1, this.count + 2];
    const w = new ByteWriter(64).u32(0);
    w.op(OP.globalGet, count).op(OP.globalGet, longest).u8(GT_U).u8(OP.if).u8(0x40);
    w.op(OP.globalGet, count).op(OP.globalSet, longest).u8(OP.end);
    w.u8(OP.i32Const).s32(0).op(OP.globalSet, count);
    this.add(w, passages);
    return w.u8(OP.end);
  }
}

/** The counting twin of the program from which `shard` was compiled. */
export function counted(program: Uint8Array, shard: ShardModule): Uint8Array<ArrayBuffer> {
  return new Counting(parseModule(program), shard).run();
}

export interface Counts {
  /** Instructions in the longest stretch between polls, or before the first or after the last one. */
  readonly longest: number;
  readonly passages: number;
}

/** What an instance of a counting twin has counted so far. */
export function countsOf(exports: WebAssembly.Exports): Counts {
  const [count, longest, passages] = NAMES.map(
    (name) => (exports[`counted.${name}`] as WebAssembly.Global).value as number,
  );
  return { longest: Math.max(count!, longest!), passages: passages! };
}
