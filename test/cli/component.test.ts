/** Components are told apart by their header and are either unpacked or refused by name. */
import { describe, expect, it } from 'vitest';
import wabt from 'wabt';
import { coreModuleOf, isComponent, isWasm, type Jco } from '../../host/cli/component.js';

const COMPONENT = Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0);
const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
/** (module (import "a" "b" (func))) */
const FOREIGN = Uint8Array.of(...EMPTY, 1, 4, 1, 0x60, 0, 0, 2, 7, 1, 1, 0x61, 1, 0x62, 0, 0);

const jcoWith = (...cores: Uint8Array[]): (() => Promise<Jco>) => {
  const files = cores.map((bytes, at) => [`component.core${at}.wasm`, bytes] as const);
  const jco: Jco = {
    transpile: async () => ({ files: [['component.js', new Uint8Array(3)], ...files] }),
  };
  return async () => jco;
};

/** Program, adapter, shim and fixup, as `jco new` and `wasm-tools component new` put them into a component. */
async function adapted(call: string): Promise<[Uint8Array, Uint8Array, Uint8Array, Uint8Array]> {
  const library = await wabt();
  const binary = (text: string): Uint8Array => library.parseWat('x.wat', text).toBinary({}).buffer;
  return [
    binary(`(module (import "wasi_snapshot_preview1" "${call}" (func (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (func (export "_start")))`),
    binary(`(module (import "env" "memory" (memory 0)) (import "wasi:io/error@0.2.6" "drop" (func (param i32)))
      (func (export "cabi_import_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
      (func (export "${call}") (param i32 i32 i32 i32) (result i32) (i32.const 0)))`),
    binary('(module (table (export "$imports") 1 funcref) (func (export "0")))'),
    binary('(module (import "shim" "$imports" (table 1 funcref)) (import "actual" "0" (func)))'),
  ];
}

describe('components', () => {
  it('are told apart by their header', () => {
    expect([
      isWasm(COMPONENT),
      isComponent(COMPONENT),
      isComponent(EMPTY),
      isWasm(Uint8Array.of(1, 2)),
    ]).toEqual([true, true, false, false]);
  });

  it('need jco, and say how to get it', async () => {
    await expect(coreModuleOf(COMPONENT, 'x.wasm', async () => undefined)).rejects.toMatchObject({
      code: 'SHERD_FEATURE_UNSUPPORTED',
      exitCode: 2,
      next: expect.stringContaining('npm install @bytecodealliance/jco@1.34.0'),
    });
  });

  it('give their only core module', async () => {
    expect(await coreModuleOf(COMPONENT, 'x.wasm', jcoWith(EMPTY))).toEqual(EMPTY);
  });

  it('give the program that the preview 1 adapter serves', async () => {
    const [program, adapter, shim, fixup] = await adapted('fd_write');
    expect(await coreModuleOf(COMPONENT, 'x', jcoWith(adapter, shim, program, fixup))).toEqual(
      program,
    );
    const [other] = await adapted('fd_read');
    await expect(
      coreModuleOf(COMPONENT, 'x', jcoWith(other, adapter, shim, fixup)),
    ).rejects.toMatchObject({
      code: 'SHERD_FEATURE_UNSUPPORTED',
      message: expect.stringContaining('wasi_snapshot_preview1.fd_read'),
    });
  });

  it('are refused when several modules are linked, or a foreign import is left', async () => {
    await expect(coreModuleOf(COMPONENT, 'x', jcoWith(EMPTY, EMPTY))).rejects.toMatchObject({
      code: 'SHERD_FEATURE_UNSUPPORTED',
    });
    await expect(coreModuleOf(COMPONENT, 'x', jcoWith(FOREIGN))).rejects.toMatchObject({
      code: 'SHERD_FEATURE_UNSUPPORTED',
      message: expect.stringContaining('a.b'),
    });
  });

  it('that jco cannot read are malformed', async () => {
    const jco: Jco = { transpile: () => Promise.reject(new Error('bad section\nat x')) };
    await expect(coreModuleOf(COMPONENT, 'x', async () => jco)).rejects.toMatchObject({
      code: 'SHERD_WASM_MALFORMED',
      message: expect.stringMatching(/bad section$/),
    });
  });
});
