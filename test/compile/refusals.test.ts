/**
 * What sherd refuses, it refuses by name, with the function: on any engine, and also what only a newer engine knows.
 *
 *   every opcode that the table lacks ─ does this engine know it? ─ then a feature's name, the function's name, the byte
 *   every declaration of a refused feature ─ a feature's name and where it stands
 *
 * Does: try the whole space of opcodes. Does not: run anything. With a newer engine it is run by newest-engine.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../host/compile/bytes.js';
import { opInfo, refusedFeature } from '../../host/compile/opcodes.js';
import { SherdError } from '../../host/types/errors.js';
import { load } from '../runtime/support.js';

const HEADER = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const PREFIXES = [0xfb, 0xfc, 0xfd, 0xfe];
const SUB_OPCODES = 0x200;

interface Parts {
  readonly types?: readonly number[];
  readonly imports?: readonly number[];
  readonly tables?: readonly number[];
  readonly memories?: readonly number[];
  readonly globals?: readonly number[];
  readonly locals?: readonly number[];
  readonly code?: readonly number[];
}

/** Functions 0 `fine` and 1 `culprit`; each part is a section's content. */
function moduleOf(parts: Parts): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(256).put(HEADER);
  const section = (id: number, content: ByteWriter): void => {
    out.u8(id).u32(content.length).put(content.view());
  };
  const raw = (id: number, content: readonly number[] | undefined): void => {
    if (content !== undefined) section(id, new ByteWriter().put(Uint8Array.from(content)));
  };
  raw(1, parts.types ?? [1, 0x60, 0, 0]);
  raw(2, parts.imports);
  raw(3, [2, 0, 0]);
  raw(4, parts.tables);
  raw(5, parts.memories);
  raw(6, parts.globals);
  const culprit = Uint8Array.from([...(parts.locals ?? [0]), ...(parts.code ?? []), 0x0b]);
  const code = new ByteWriter().u32(2).u32(2).u8(0).u8(0x0b).u32(culprit.length).put(culprit);
  section(10, code);
  const names = new ByteWriter().u32(2).u32(0).name('fine').u32(1).name('culprit');
  section(0, new ByteWriter().name('name').u8(1).u32(names.length).put(names.view()));
  return new Uint8Array(out.finish());
}

function refusal(bytes: Uint8Array): SherdError {
  try {
    load(bytes);
  } catch (error) {
    if (error instanceof SherdError) return error;
    throw error;
  }
  throw new Error('accepted');
}

/** Whether this engine knows an opcode, whatever it thinks of the operands. */
function engineKnows(code: readonly number[]): boolean {
  try {
    new WebAssembly.Module(moduleOf({ code }));
    return true;
  } catch (error) {
    return !/invalid (numeric |simd |gc |atomic )?(opcode|prefix|instruction)/i.test(String(error));
  }
}

const leb = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, value >> 7];

function unaccepted(): [name: string, code: number[]][] {
  const plain = Array.from({ length: 0x100 }, (_, key) => key)
    .filter((key) => !PREFIXES.includes(key) && opInfo(key) === undefined)
    .map((key): [string, number[]] => [`0x${key.toString(16)}`, [key, 0, 0, 0]]);
  const prefixed = PREFIXES.flatMap((prefix) =>
    Array.from({ length: SUB_OPCODES }, (_, sub) => sub)
      .filter((sub) => sub > 0xff || opInfo((prefix << 8) | sub) === undefined)
      .map((sub): [string, number[]] => [
        `0x${prefix.toString(16)} ${sub}`,
        [prefix, ...leb(sub), 0, 0, 0],
      ]),
  );
  return [...plain, ...prefixed];
}

describe('instructions that are not in the table', () => {
  it('are refused, by a feature and the function where the engine knows them', () => {
    const known: string[] = [];
    for (const [name, code] of unaccepted()) {
      const { code: kind, message } = refusal(moduleOf({ code }));
      const place = [name, kind, message];
      expect(place).toEqual([name, expect.stringMatching(/UNSUPPORTED|MALFORMED/), message]);
      expect(message).toMatch(/byte \d+/);
      if (!engineKnows(code)) continue;
      known.push(name);
      expect(place).toEqual([name, 'SHERD_FEATURE_UNSUPPORTED', expect.any(String)]);
      expect(message).toContain('culprit, function 1, byte ');
      expect([name, message]).not.toEqual([name, expect.stringMatching(/^opcode/)]);
    }
    expect(known.length).toBeGreaterThan(60); // atomics at least
  });
});

const inCode: readonly (readonly [feature: string, parts: Parts])[] = [
  ['exception references', { code: [0x0a] }],
  ['exception references', { code: [0x1f, 0x40, 1, 3, 0, 0x0b] }],
  ['exception references', { code: [0xd0, 0x69, 0x1a] }],
  ['exception references', { locals: [1, 1, 0x69] }],
  ['garbage-collected types', { locals: [1, 1, 0x6e] }],
  ['garbage-collected types', { code: [0x41, 0, 0xfb, 0x1c, 0x1a] }],
  ['typed function references', { locals: [1, 1, 0x63, 0] }],
  ['typed function references', { code: [0xd0, 0, 0x1a] }],
  ['typed function references', { code: [0xd0, 0, 0x14, 0] }],
  ['relaxed SIMD', { code: [0xfd, 0x80, 0x02] }],
  ['threads and atomics', { code: [0xfe, 0x03, 0x00] }],
  ['multiple memories', { memories: [1, 0, 1], code: [0x3f, 1, 0x1a] }],
  ['multiple memories', { memories: [1, 0, 1], code: [0x41, 0, 0x28, 0x42, 1, 0, 0x1a] }],
];

const declared: readonly (readonly [feature: string, parts: Parts])[] = [
  ['multiple memories is not supported (memory section)', { memories: [2, 0, 1, 0, 1] }],
  ['memory64 is not supported (memory section)', { memories: [1, 4, 1] }],
  ['memory64 is not supported (table)', { tables: [1, 0x70, 4, 1] }],
  ['shared memory (threads) is not supported (memory section)', { memories: [1, 3, 1, 1] }],
  ['typed function references is not supported (table 0)', { tables: [1, 0x63, 0, 0, 1] }],
  ['exception references is not supported (global 0)', { globals: [1, 0x69, 0, 0xd0, 0x69, 0x0b] }],
  ['exception references is not supported (function type)', { types: [1, 0x60, 1, 0x69, 0] }],
  ['garbage-collected types is not supported (type 0)', { types: [1, 0x5f, 0] }],
  ['garbage-collected types is not supported (type 0)', { types: [1, 0x4e, 1, 0x60, 0, 0] }],
  ['imports a global (a.b)', { imports: [1, 1, 0x61, 1, 0x62, 3, 0x7f, 1] }],
  ['imports a table (a.b)', { imports: [1, 1, 0x61, 1, 0x62, 1, 0x70, 0, 1] }],
  ['imports a tag (a.b)', { imports: [1, 1, 0x61, 1, 0x62, 4, 0, 0] }],
  [
    'a reference that passes a host call is not supported (import a.b)',
    { types: [2, 0x60, 0, 0, 0x60, 1, 0x6f, 0], imports: [1, 1, 0x61, 1, 0x62, 0, 1] },
  ],
];

describe('features', () => {
  it.each(inCode)('%s: the function is named (%#)', (feature, parts) => {
    const { code, message } = refusal(moduleOf(parts));
    expect([code, message]).toEqual(['SHERD_FEATURE_UNSUPPORTED', message]);
    expect(message).toContain(feature);
    expect(message).toMatch(/culprit, function 1, byte \d+/);
  });

  it.each(declared)('%s', (words, parts) => {
    expect(refusal(moduleOf(parts)).message).toContain(words);
  });

  it('a name for every refused opcode of one byte', () => {
    for (let key = 0; key < 0x100; key++)
      if (opInfo(key) === undefined) expect(refusedFeature(key)).not.toBe('');
  });
});
