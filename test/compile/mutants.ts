/**
 * Damaged modules: what a seed makes of a valid one, and whether the compiler deals with it as it should.
 *
 *   flips · bytes replaced · a piece cut out, repeated or taken from elsewhere · the end cut off
 *   sections swapped, dropped or doubled · a section's or a vector's length that lies
 *
 * Does: make mutants (pure, seeded), judge what `compileProgram` says. Does not: count or print (mutate.ts).
 *
 * U1  Accepted means valid: the result, and so the mutant, pass the engine's validation.
 * U2  Refused means a SherdError with the exit code of refusals, never SHERD_INTERNAL; a mutant that the engine takes is only
 *     refused for a feature, an import or a limit; malformed ones are refused with a place.
 * U3  Said to trap while it is instantiated means that the engine cannot instantiate it.
 */
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import { EXIT, SherdError } from '../../host/types/errors.js';
import type { Random } from '../exact/random.js';

type Bytes = Uint8Array<ArrayBuffer>;

interface Section {
  readonly start: number;
  readonly content: number;
  readonly end: number;
}

function leb(bytes: Uint8Array, at: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let end = at, shift = 0; ; shift += 7) {
    const byte = bytes[end++]!;
    value |= (byte & 127) << shift;
    if ((byte & 128) === 0) return { value, end };
  }
}

/** The sections of a valid module. */
function sectionsOf(bytes: Uint8Array): Section[] {
  const found: Section[] = [];
  for (let start = 8; start < bytes.length; ) {
    const { value, end: content } = leb(bytes, start + 1);
    found.push({ start, content, end: content + value });
    start = content + value;
  }
  return found;
}

const joined = (...parts: readonly Uint8Array[]): Bytes =>
  new Uint8Array(Buffer.concat(parts as Uint8Array[]));

/** Lengths that lie: nearby, huge, overlong, unended. */
function lie(random: Random, truth: number): Uint8Array {
  const written = (value: number): number[] =>
    value < 128 ? [value] : [(value & 127) | 128, ...written(Math.floor(value / 128))];
  return Uint8Array.from(
    random.pick([
      written(Math.max(0, truth + random.between(-3, 3))),
      written(random.bits()),
      [0xff, 0xff, 0xff, 0xff, 0x0f],
      [(truth & 127) | 128, 0x80, 0x80, 0x80, 0x00],
      [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ]),
  );
}

/** One change. */
function change(bytes: Bytes, random: Random, sections: readonly Section[]): Bytes {
  const at = random.below(bytes.length);
  const piece = (): Uint8Array => {
    const from = random.below(bytes.length);
    return bytes.subarray(from, from + random.between(1, 40));
  };
  const section = random.pick(sections);
  const whole = ({ start, end }: Section): Uint8Array => bytes.subarray(start, end);
  switch (random.below(9)) {
    case 0:
    case 1: {
      const flipped = bytes.slice();
      for (let n = random.between(1, 4); n > 0; n--)
        flipped[random.below(flipped.length)]! ^= 1 << random.below(8);
      return flipped;
    }
    case 2: {
      const replaced = bytes.slice();
      for (let n = random.between(1, 4); n > 0; n--)
        replaced[random.below(replaced.length)] = random.below(256);
      return replaced;
    }
    case 3:
      return bytes.slice(0, at);
    case 4:
      return joined(bytes.subarray(0, at), bytes.subarray(at + random.between(1, 40)));
    case 5:
      return joined(bytes.subarray(0, at), piece(), bytes.subarray(at));
    case 6: {
      const order = sections.map(whole);
      const [a, b] = [random.below(order.length), random.below(order.length)];
      [order[a], order[b]] = [order[b]!, order[a]!];
      return joined(bytes.subarray(0, 8), ...order);
    }
    case 7: {
      const times = random.pick([[], [whole(section), whole(section)]]);
      return joined(bytes.subarray(0, section.start), ...times, bytes.subarray(section.end));
    }
    default: {
      const own = random.chance(0.5); // the section's own length, or that of the vector in it
      const from = own ? section.start + 1 : section.content;
      if (from >= bytes.length) return bytes.slice(0, at);
      const { value, end } = leb(bytes, from);
      return joined(bytes.subarray(0, from), lie(random, value), bytes.subarray(end));
    }
  }
}

/** What a seed's generator makes of a valid module: mostly one change, sometimes a second of another kind. */
export function mutant(base: Bytes, random: Random): Bytes {
  const once = change(base, random, sectionsOf(base));
  if (once.length === 0 || random.chance(0.8)) return once;
  const again = once.slice();
  again[random.below(again.length)]! ^= 1 << random.below(8);
  return again;
}

const FOR_VALID_ONES = [
  'SHERD_FEATURE_UNSUPPORTED',
  'SHERD_IMPORT_UNSUPPORTED',
  'SHERD_LIMIT',
  'SHERD_NOT_WASM',
];

export type Verdict = 'compiled' | 'refused by feature' | 'malformed' | 'traps at once';

/** A program without imports that the engine cannot instantiate (U3). */
function trapsAtOnce(bytes: Bytes): boolean {
  const module = new WebAssembly.Module(bytes);
  if (WebAssembly.Module.imports(module).length > 0) return false;
  try {
    new WebAssembly.Instance(module);
    return false;
  } catch (error) {
    return /segment|table index/.test(String(error));
  }
}

/** Compiles and judges (U1, U2); throws what is wrong. */
export function judge(bytes: Bytes): Verdict {
  const valid = WebAssembly.validate(bytes);
  try {
    const module = compileProgram(bytes, nodePlatform);
    if (!valid) throw new Error('an invalid module was compiled');
    if (!WebAssembly.validate(module.bytes as BufferSource))
      throw new Error('the compiled module is invalid');
    return 'compiled';
  } catch (error) {
    if (!(error instanceof SherdError)) throw error;
    const { code, exitCode, message } = error;
    if (code === 'SHERD_TRAP' && exitCode === EXIT.trap && valid) {
      if (
        WebAssembly.Module.imports(new WebAssembly.Module(bytes)).length > 0 ||
        trapsAtOnce(bytes)
      )
        return 'traps at once';
    }
    if (exitCode !== EXIT.refused || code === 'SHERD_INTERNAL')
      throw new Error(`refused with ${code}, exit code ${exitCode}: ${message}`);
    if (FOR_VALID_ONES.includes(code)) return 'refused by feature';
    if (valid) throw new Error(`the engine takes it, but: ${code} ${message}`);
    if (!/\bbyte \d+|@\+\d+/.test(message)) throw new Error(`no place: ${code} ${message}`);
    return 'malformed';
  }
}
