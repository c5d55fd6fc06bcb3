/**
 * Where the loops of a program go back to their start: the branch at which a round ends.
 *
 *     12  for (unsigned i = 0; i < count; i++) {      loop          ← a stopped shard stands here: line 10, or none
 *     13    at[next() % 60000] ^= i;                    …           ← line 6: `next` was inlined
 *                                                       br_if 0     ← line 12
 *
 * A `loop` is no instruction of LLVM's own: it gets the line of whatever stands near, often that of the function. The
 * branch back has the line of the loop statement.
 *
 * Does: find the last branch to each loop of a body, body by body, when it is asked for. Does not: know lines, or count
 * clauses of `try_table` and `delegate` as branches.
 *
 * B1  Nothing fails here: an offset at which no loop stands, or code that cannot be read, has no branch back.
 */
import { SherdError } from '../types/errors.js';
import { ByteReader } from './bytes.js';
import { readOpcode, skipImmediates } from './instructions.js';
import { codeStart, parseModule, readLocals, type WasmModule } from './module.js';
import { FACT, FACTS, OP } from './opcodes.js';

/** From a loop's place to that of its last branch back. */
type Branches = ReadonlyMap<number, number>;
const NONE: Branches = new Map();
const NO_LOOP = -1;

export class LoopBranches {
  /** Null: it cannot be read. */
  #module: WasmModule | null | undefined;
  readonly #bodies = new Map<number, Branches>();

  constructor(readonly program: Uint8Array) {}

  /** The offset of the last branch to the loop at an offset; both count from the start of the code section's content. */
  of(offset: number): number | undefined {
    if (this.#module === undefined)
      this.#module = unlessRefused(() => parseModule(this.program), null);
    const module = this.#module;
    if (module === null) return undefined;
    const start = codeStart(module);
    const k = module.bodies.findIndex(
      (body) => start + offset >= body.start && start + offset < body.end,
    );
    if (k < 0) return undefined;
    let branches = this.#bodies.get(k);
    if (branches === undefined) {
      branches = unlessRefused(() => branchesOf(module, k), NONE);
      this.#bodies.set(k, branches);
    }
    const branch = branches.get(start + offset);
    return branch === undefined ? undefined : branch - start;
  }
}

function unlessRefused<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof SherdError)) throw cause; // B1
    return otherwise;
  }
}

function branchesOf(module: WasmModule, k: number): Branches {
  const { start, end } = module.bodies[k]!;
  const r = new ByteReader(module.bytes, start, end);
  readLocals(r, k, []);
  const found = new Map<number, number>();
  /** The open blocks: a loop's place, NO_LOOP for others. The outermost is the function. */
  const open = [NO_LOOP];
  while (open.length > 0) {
    const at = r.pos;
    const key = readOpcode(r, k);
    for (const label of labelsOf(r, module, key, k)) {
      const loop = open[open.length - 1 - label] ?? NO_LOOP;
      if (loop !== NO_LOOP) found.set(loop, at);
    }
    if (key === OP.loop) open.push(at);
    else if (key === OP.block || key === OP.if || key === OP.try || key === OP.tryTable)
      open.push(NO_LOOP);
    else if (key === OP.end || key === OP.delegate) open.pop();
  }
  return found;
}

/** Steps over the immediates; gives the labels that the instruction branches to. */
function labelsOf(r: ByteReader, module: WasmModule, key: number, k: number): number[] {
  if (key === OP.brTable) return Array.from({ length: r.count('label') + 1 }, () => r.u32());
  const value = skipImmediates(r, module, FACTS[key]! & FACT.imm, k);
  return key === OP.br || key === OP.brIf ? [value] : [];
}
