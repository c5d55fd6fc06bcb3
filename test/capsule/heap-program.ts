/**
 * An AssemblyScript heap that a test drives call by call, and what a model that knows only the calls expects of it.
 *
 * Does: compile once, instantiate the plain module, note which blocks are in use. Does not: know flags, lists or bitmaps.
 */
import {
  type AssemblyScriptOptions,
  compileAssemblyScript,
} from '../../host/compile/assemblyscript.js';
import type { DeadRange } from '../../host/core/scan.js';
import { readSource } from '../programs/compiled.js';

const SOURCE = `
export function take(bytes: i32): usize { return heap.alloc(bytes); }
export function again(at: usize, bytes: i32): usize { return heap.realloc(at, bytes); }
export function give(at: usize): void { heap.free(at); }
export function base(): usize { return __heap_base; }
export function grow(pages: i32): i32 { return memory.grow(pages); }
`;

interface Exports {
  readonly memory: WebAssembly.Memory;
  take(bytes: number): number;
  again(at: number, bytes: number): number;
  give(at: number): void;
  base(): number;
  grow(pages: number): number;
}

export async function heapModule(
  runtime: NonNullable<AssemblyScriptOptions['runtime']>,
): Promise<WebAssembly.Module> {
  const read = (path: string): string | null =>
    path === '/src/heap.ts' ? SOURCE : readSource(path);
  const { wasm } = await compileAssemblyScript('/src/heap.ts', read, { runtime, optimizeLevel: 1 });
  return new WebAssembly.Module(wasm as Uint8Array<ArrayBuffer>);
}

/** What one step of a test does; `pick` chooses among the blocks in use. */
export type Step =
  | { readonly kind: 'take'; readonly bytes: number }
  | { readonly kind: 'again'; readonly pick: number; readonly bytes: number }
  | { readonly kind: 'give'; readonly pick: number };

const ALIGN = 16;
const ROOT_BYTES = 1572;
const HEADER = 4;

export class Heap {
  readonly #exports: Exports;
  /** Addresses of blocks in use. */
  readonly live: number[] = [];

  constructor(module: WebAssembly.Module) {
    const refuse = (): never => {
      throw new Error('a host call');
    };
    const imports: WebAssembly.Imports = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module))
      imports[from] = { ...imports[from], [name]: refuse };
    this.#exports = new WebAssembly.Instance(module, imports).exports as unknown as Exports;
  }

  get memory(): Uint8Array {
    return new Uint8Array(this.#exports.memory.buffer);
  }

  get view(): DataView {
    return new DataView(this.#exports.memory.buffer);
  }

  /** Where the allocator's root lies (`initialize` in tlsf.ts). */
  get root(): number {
    return Math.ceil(this.#exports.base() / ALIGN) * ALIGN;
  }

  grow(pages: number): void {
    this.#exports.grow(pages);
  }

  /** The address that the allocator answered with. */
  step(step: Step): number {
    if (step.kind === 'take') {
      const at = this.#exports.take(step.bytes) >>> 0;
      this.memory.fill(0x5a, at, at + step.bytes);
      this.live.push(at);
      return at;
    }
    if (this.live.length === 0) return 0;
    const place = step.pick % this.live.length;
    const [at] = this.live.splice(place, 1);
    if (step.kind === 'give') {
      this.#exports.give(at!);
      return 0;
    }
    const moved = this.#exports.again(at!, step.bytes) >>> 0;
    this.live.push(moved);
    return moved;
  }

  /** Between two neighbouring blocks in use lies one free block or nothing; all of it but its links is dead. */
  expectedDead(): DeadRange[] {
    const { view } = this;
    const first = Math.ceil((this.root + ROOT_BYTES + HEADER) / ALIGN) * ALIGN - HEADER;
    const end = this.memory.length - HEADER; // the tail
    const used = this.live
      .map((at) => ({ first: at - HEADER, end: at + (view.getUint32(at - HEADER, true) & ~3) }))
      .sort((a, b) => a.first - b.first);
    const dead: DeadRange[] = [];
    let from = first;
    for (const block of [...used, { first: end, end }]) {
      if (block.first - from > 16) dead.push({ first: from + 12, end: block.first - 4 });
      from = block.end;
    }
    return dead;
  }
}
