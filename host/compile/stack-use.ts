/**
 * How a program's code uses its stack pointer global: what can be said of memory below the pointer's value.
 *
 *     LLVM, a function with calls or a large frame            LLVM, a leaf with a small frame: its "red zone"
 *     global.get $sp  i32.const 32  i32.sub  local.tee $fp    global.get $sp  i32.const 32  i32.sub  local.tee $fp
 *     global.set $sp                                          loop … i32.load offset=8 (local.get $fp) …      not set at all
 *     loop …                          all above the pointer                                       below the pointer
 *
 *     AssemblyScript, each function with a frame:  global.get $sp  i32.const FLOOR  i32.lt_s  if  stack overflow
 *
 * Does: find functions that can be stopped while they use memory below the pointer, and the check of AssemblyScript's compiler.
 * Does not: know where a stack lies (capsule/dead-stack.ts).
 *
 * K1  A value of the pointer that outlives the straight-line code in which it was read, without a write of the pointer in
 *     between, may be the base of a red zone. Safepoints of the function itself stand only where straight-line code ends.
 */
import { ByteReader } from './bytes.js';
import { isBulk, readOpcode, skipImmediates } from './instructions.js';
import { readLocals, type WasmModule } from './module.js';
import { FACT, FACTS, type Imm, OP } from './opcodes.js';

/** Ends a straight-line piece of code: control flow, calls, and the instructions that can be stopped in the middle. */
function endsStretch(key: number): boolean {
  return (key <= OP.returnCallIndirect && key !== OP.nop) || ENDS.has(key) || isBulk(key);
}
const ENDS: ReadonlySet<number> = new Set([OP.delegate, OP.catchAll, OP.tryTable]);

const I32_LOAD = 0x28;

/** One instruction: its opcode, and its index or its i32 constant. */
type Visit = (key: number, operand: number) => void;

function eachInstruction(module: WasmModule, func: number, visit: Visit): void {
  const body = module.bodies[func - module.imports.length];
  const type = module.types[module.functionTypes[func] ?? -1];
  if (body === undefined || type === undefined) return;
  const r = new ByteReader(module.bytes, body.start, body.end);
  readLocals(r, func, type.params);
  while (!r.done) {
    const key = readOpcode(r, func);
    if (key === OP.i32Const) visit(key, r.s32());
    else visit(key, skipImmediates(r, module, ((FACTS[key] ?? 0) & FACT.imm) as Imm, func));
  }
}

/** K1: the function may use memory below the stack pointer (global `pointer`) where it can be stopped. */
export function mayUseRedZone(module: WasmModule, func: number, pointer: number): boolean {
  let read = false;
  let found = false;
  eachInstruction(module, func, (key, operand) => {
    if (key === OP.globalGet && operand === pointer) read = true;
    else if (key === OP.globalSet && operand === pointer) read = false;
    else if (read && endsStretch(key)) found = true;
  });
  return found;
}

/**
 * A function of the module gives the pointer a value from elsewhere: one of its parameters, a loaded value, another global. That is
 * how a program changes from one stack to another; LLVM's own code adds to and subtracts from what it read from the pointer.
 */
export function switchesStacks(module: WasmModule, pointer: number): boolean {
  let found = false;
  for (let k = 0; k < module.bodies.length && !found; k++) {
    const func = module.imports.length + k;
    const params = module.types[module.functionTypes[func] ?? -1]?.params.length ?? 0;
    let foreign = false;
    eachInstruction(module, func, (key, operand) => {
      if (key === OP.globalSet && operand === pointer) found ||= foreign;
      const taken = key === OP.localGet && operand < params;
      foreign = taken || key === I32_LOAD || (key === OP.globalGet && operand !== pointer);
    });
  }
  return found;
}

/** The lowest address that AssemblyScript's stack may reach, from the checks in its code. Undefined: none, or they differ. */
export function stackFloor(module: WasmModule, pointer: number): number | undefined {
  let floor: number | undefined;
  let differ = false;
  for (let k = 0; k < module.bodies.length; k++) {
    let [isPointer, constant] = [false, Number.NaN];
    eachInstruction(module, module.imports.length + k, (key, operand) => {
      if (key === OP.i32LtS && !Number.isNaN(constant)) {
        differ ||= floor !== undefined && floor !== constant;
        floor = constant;
      }
      constant = key === OP.i32Const && isPointer ? operand : Number.NaN;
      isPointer = key === OP.globalGet && operand === pointer;
    });
  }
  return differ ? undefined : floor;
}
