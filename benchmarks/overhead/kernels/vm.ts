// A stack machine that interprets a bytecode program (longest Collatz path below n): one hot loop around a switch.
const PUSH: u8 = 0;
const LOAD: u8 = 1;
const STORE: u8 = 2;
const ADD: u8 = 3;
const MUL: u8 = 4;
const HALF: u8 = 5;
const AND: u8 = 6;
const LESS: u8 = 7;
const JUMP: u8 = 8;
const JUMP_ZERO: u8 = 9;
const HALT: u8 = 10;

const TEXT = memory.data(256, 16);
const VARS = memory.data(64, 16);
const STACK = memory.data(256, 16);
let end: usize = 0;

function emit(op: u8): void {
  store<u8>(TEXT + end++, op);
}

function emit2(op: u8, operand: u8): usize {
  emit(op);
  emit(operand);
  return end - 1;
}

function land(jump: usize): void {
  store<u8>(TEXT + jump, <u8>end);
}

// Variables: 0 = i, 1 = x, 2 = steps, 3 = best, 4 = n.
function assemble(): void {
  emit2(PUSH, 1);
  emit2(STORE, 0);
  const outer = end;
  emit2(LOAD, 0);
  emit2(LOAD, 4);
  emit(LESS);
  const done = emit2(JUMP_ZERO, 0);
  emit2(LOAD, 0);
  emit2(STORE, 1);
  emit2(PUSH, 0);
  emit2(STORE, 2);
  const inner = end;
  emit2(PUSH, 1);
  emit2(LOAD, 1);
  emit(LESS);
  const reached = emit2(JUMP_ZERO, 0);
  emit2(LOAD, 1);
  emit2(PUSH, 1);
  emit(AND);
  const even = emit2(JUMP_ZERO, 0);
  emit2(LOAD, 1);
  emit2(PUSH, 3);
  emit(MUL);
  emit2(PUSH, 1);
  emit(ADD);
  emit2(STORE, 1);
  const odd = emit2(JUMP, 0);
  land(even);
  emit2(LOAD, 1);
  emit(HALF);
  emit2(STORE, 1);
  land(odd);
  emit2(LOAD, 2);
  emit2(PUSH, 1);
  emit(ADD);
  emit2(STORE, 2);
  emit2(JUMP, <u8>inner);
  land(reached);
  emit2(LOAD, 3);
  emit2(LOAD, 2);
  emit(LESS);
  const shorter = emit2(JUMP_ZERO, 0);
  emit2(LOAD, 2);
  emit2(STORE, 3);
  land(shorter);
  emit2(LOAD, 0);
  emit2(PUSH, 1);
  emit(ADD);
  emit2(STORE, 0);
  emit2(JUMP, <u8>outer);
  land(done);
  emit(HALT);
}

function interpret(): void {
  let pc: usize = TEXT;
  let sp: usize = STACK;
  while (true) {
    const op = load<u8>(pc++);
    switch (op) {
      case PUSH: {
        store<i32>(sp, load<u8>(pc++));
        sp += 4;
        break;
      }
      case LOAD: {
        store<i32>(sp, load<i32>(VARS + ((<usize>load<u8>(pc++)) << 2)));
        sp += 4;
        break;
      }
      case STORE: {
        sp -= 4;
        store<i32>(VARS + ((<usize>load<u8>(pc++)) << 2), load<i32>(sp));
        break;
      }
      case ADD: {
        sp -= 4;
        store<i32>(sp - 4, load<i32>(sp - 4) + load<i32>(sp));
        break;
      }
      case MUL: {
        sp -= 4;
        store<i32>(sp - 4, load<i32>(sp - 4) * load<i32>(sp));
        break;
      }
      case HALF: {
        store<i32>(sp - 4, <i32>(load<u32>(sp - 4) >> 1));
        break;
      }
      case AND: {
        sp -= 4;
        store<i32>(sp - 4, load<i32>(sp - 4) & load<i32>(sp));
        break;
      }
      case LESS: {
        sp -= 4;
        store<i32>(sp - 4, <i32>(load<u32>(sp - 4) < load<u32>(sp)));
        break;
      }
      case JUMP: {
        pc = TEXT + load<u8>(pc);
        break;
      }
      case JUMP_ZERO: {
        sp -= 4;
        pc = load<i32>(sp) == 0 ? TEXT + load<u8>(pc) : pc + 1;
        break;
      }
      default:
        return;
    }
  }
}

export function run(n: i32): i32 {
  end = 0;
  assemble();
  store<i32>(VARS, n, 16);
  interpret();
  return load<i32>(VARS, 12);
}
