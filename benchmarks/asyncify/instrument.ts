/**
 * The usual answer, as a baseline: Binaryen's Asyncify with polls in loops.
 *
 * Asyncify makes a module able to unwind and rewind its stack from within an imported call. To be able to stop a loop
 * that calls nothing, a poll is put in front of Asyncify:
 *
 *   (loop $l                       (loop $l
 *     BODY)               →          (global.set $budget (i32.sub (global.get $budget) (i32.const 1)))
 *                                    (if (i32.lt_s (global.get $budget) (i32.const 0)) (then (call $poll)))
 *                                    BODY)
 *
 * and the same at the entry of every function that can call itself, so that the two ways stop at the same places.
 * Then Binaryen's asyncify pass at -O3 and its whole optimiser, which Asyncify's authors advise.
 *
 * Does: text in, text out, Binaryen's passes. Does not: run anything; the `poll` import decides when to unwind.
 *
 * A1  `budget` is an exported mutable global; below zero the imported `poll.poll` is called at every safepoint.
 * A2  Recursion is judged conservatively: call_indirect may call every function that is in the table or in a ref.func.
 */
import binaryen from 'binaryen';

const DECREMENT = `(global.set $sherd_budget (i32.sub (global.get $sherd_budget) (i32.const 1)))
(if (i32.lt_s (global.get $sherd_budget) (i32.const 0)) (then (call $sherd_poll)))`;

/** Imports come before everything else that has an index. */
const IMPORT = '(import "poll" "poll" (func $sherd_poll))';
const BUDGET = `(global $sherd_budget (mut i32) (i32.const 0x7fffffff))
(export "budget" (global $sherd_budget))`;

const FUNCTION_LINE = /^ \(func (\$[^\s()]+)/;
const LOOP_LINE = /^\s*\(loop( \$[^\s()]+)?( \(result [^)]*\))?$/;
const BODY_HEADER = /^ {2}\((local|param|result) /;

interface FunctionText {
  readonly name: string;
  readonly calls: readonly string[];
  readonly indirect: boolean;
}

function functionTexts(lines: readonly string[]): FunctionText[] {
  const found: { name: string; calls: string[]; indirect: boolean }[] = [];
  let current: (typeof found)[number] | undefined;
  for (const line of lines) {
    const name = FUNCTION_LINE.exec(line)?.[1];
    if (/^ \(/.test(line))
      current = name === undefined ? undefined : { name, calls: [], indirect: false };
    if (name !== undefined && current !== undefined) found.push(current);
    if (current === undefined) continue;
    const call = /\((?:return_)?call (\$[^\s()]+)/.exec(line)?.[1];
    if (call !== undefined) current.calls.push(call);
    if (/\((?:return_)?call_(indirect|ref)/.test(line)) current.indirect = true;
  }
  return found;
}

/** Names of functions that can reach themselves. */
export function recursiveFunctions(text: string): Set<string> {
  const lines = text.split('\n');
  const functions = functionTexts(lines);
  const taken = lines
    .filter((line) => /\(elem |ref\.func/.test(line))
    .flatMap((line) => line.match(/\$[^\s()]+/g) ?? []);
  const names = new Set(functions.map(({ name }) => name));
  const edges = new Map(
    functions.map(({ name, calls, indirect }) => [
      name,
      [...calls, ...(indirect ? taken : [])].filter((to) => names.has(to)),
    ]),
  );
  const recursive = new Set<string>();
  for (const { name } of functions) {
    const seen = new Set<string>();
    const open = [...(edges.get(name) ?? [])];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (seen.has(at)) continue;
      seen.add(at);
      open.push(...(edges.get(at) ?? []));
    }
    if (seen.has(name)) recursive.add(name);
  }
  return recursive;
}

/** Puts a poll at every loop header and at the entry of every recursive function of a Binaryen text module. */
export function addPolls(text: string): { readonly text: string; readonly polls: number } {
  const recursive = recursiveFunctions(text);
  const out: string[] = [];
  let polls = 0;
  let atEntry = false;
  let hasBudget = false;
  for (const line of text.split('\n')) {
    if (atEntry && !BODY_HEADER.test(line)) {
      out.push(DECREMENT);
      polls++;
      atEntry = false;
    }
    const name = FUNCTION_LINE.exec(line)?.[1];
    if (name !== undefined) {
      atEntry = recursive.has(name);
      if (!hasBudget) out.push(BUDGET);
      hasBudget = true;
    }
    out.push(line);
    if (/^\(module/.test(line)) out.push(IMPORT);
    if (LOOP_LINE.test(line)) {
      out.push(DECREMENT);
      polls++;
    }
  }
  const loops = (text.match(/\(loop\b/g) ?? []).length;
  if (polls < loops) throw new Error(`${loops} loops, only ${polls} polls`);
  return { text: out.join('\n'), polls };
}

const FEATURES = (): number =>
  binaryen.Features.MVP |
  binaryen.Features.MutableGlobals |
  binaryen.Features.SignExt |
  binaryen.Features.NontrappingFPToInt |
  binaryen.Features.BulkMemory |
  binaryen.Features.BulkMemoryOpt |
  binaryen.Features.SIMD128 |
  binaryen.Features.Multivalue |
  binaryen.Features.ReferenceTypes;

export interface Asyncified {
  readonly bytes: Uint8Array;
  readonly polls: number;
}

export interface AsyncifyParts {
  /** Polls in loops and recursive functions. */
  readonly polls: boolean;
  /** Binaryen's asyncify pass. */
  readonly asyncify: boolean;
}

/** The baseline module: polls, asyncify, -O3; or only some of it, to see what each part costs. */
export function asyncify(
  program: Uint8Array,
  parts: AsyncifyParts = { polls: true, asyncify: true },
): Asyncified {
  const original = binaryen.readBinary(program);
  const plain = original.emitText();
  const { text, polls } = parts.polls ? addPolls(plain) : { text: plain, polls: 0 };
  original.dispose();
  const module = binaryen.parseText(text);
  try {
    module.setFeatures(FEATURES());
    binaryen.setOptimizeLevel(3);
    binaryen.setShrinkLevel(0);
    if (parts.asyncify) module.runPasses(['asyncify']);
    module.optimize();
    if (module.validate() === 0) throw new Error('asyncify gave an invalid module');
    return { bytes: module.emitBinary(), polls };
  } finally {
    module.dispose();
  }
}
