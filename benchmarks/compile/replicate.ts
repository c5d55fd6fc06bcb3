/**
 * One large module out of a small one: its functions many times over, each copy calling its own.
 *
 *   (call $g) in copy c   becomes   (call $g + c · functions)        imports, types, memory, table, globals: shared
 *
 * Does: give a valid module with the small one's mix of instructions and call graphs. Does not: give one worth running.
 */
import { ByteReader, ByteWriter } from '../../host/compile/bytes.js';
import { readBlockType, readImmediate, readOpcode } from '../../host/compile/instructions.js';
import {
  parseModule,
  readCodeType,
  readLocals,
  type WasmModule,
} from '../../host/compile/module.js';
import { Imm, OP, opInfo } from '../../host/compile/opcodes.js';

interface CallSite {
  readonly start: number;
  readonly end: number;
  readonly callee: number;
}

function callSites(module: WasmModule, k: number): CallSite[] {
  const f = module.imports.length + k;
  const { start, end } = module.bodies[k]!;
  const r = new ByteReader(module.bytes, start, end);
  readLocals(r, f, []);
  const sites: CallSite[] = [];
  while (!r.done) {
    const key = readOpcode(r, f);
    const at = r.pos;
    const { imm } = opInfo(key)!;
    if (imm === Imm.block) readBlockType(r, module, f);
    else if (imm === Imm.brTable) for (let n = r.count('label') + 1; n > 0; n--) r.u32();
    else if (imm === Imm.selectTypes) for (let n = r.count('type'); n > 0; n--) readCodeType(r, f);
    else {
      const callee = readImmediate(r, imm);
      const own = (key === OP.call || key === OP.refFunc) && callee >= module.imports.length;
      if (own) sites.push({ start: at, end: r.pos, callee });
    }
  }
  return sites;
}

/** The module with every function `copies` times. */
export function replicate(bytes: Uint8Array, copies: number): Uint8Array {
  const module = parseModule(bytes);
  const count = module.bodies.length;
  const sites = module.bodies.map((_, k) => callSites(module, k));
  const functions = new ByteWriter(1024).u32(count * copies);
  const code = new ByteWriter(bytes.length * copies).u32(count * copies);
  const body = new ByteWriter(1024);
  for (let copy = 0; copy < copies; copy++) {
    module.bodies.forEach(({ start, end }, k) => {
      functions.u32(module.functionTypes[module.imports.length + k]!);
      body.clear();
      let at = start;
      for (const site of sites[k]!) {
        body.copy(bytes, at, site.start).u32(site.callee + copy * count);
        at = site.end;
      }
      body.copy(bytes, at, end);
      code.u32(body.length).append(body);
    });
  }
  const out = new ByteWriter(code.length + bytes.length + 1024).put(bytes.subarray(0, 8));
  for (const section of module.sections) {
    const made = section.id === 3 ? functions : section.id === 10 ? code : undefined;
    if (made !== undefined) out.u8(section.id).u32(made.length).append(made);
    else if (section.id !== 0) out.copy(bytes, section.start, section.end);
  }
  return out.finish();
}
