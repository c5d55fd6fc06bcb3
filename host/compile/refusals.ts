/**
 * What sherd refuses, said by name.
 *
 *   memory64 is not supported (memory section)
 *   relaxed SIMD is not supported (blur, function 12, byte 4711)
 *
 * Does: make such errors; name value types that cannot be captured. Does not: look for them (module.ts, instructions.ts).
 *
 * Q1  A refusal names the feature and where it stands; in code the function, by index and by name where it has one.
 */
import { EXIT, SherdError } from '../types/errors.js';
import { malformed } from './bytes.js';

/** Something that sherd refuses, by its name; in the code of a function if `functionIndex` is not negative. */
export class UnsupportedFeature extends SherdError {
  constructor(
    readonly feature: string,
    readonly where: string,
    readonly functionIndex: number,
    name?: string,
  ) {
    const label = name === undefined ? '' : `${name}, `;
    super('SHERD_FEATURE_UNSUPPORTED', `${feature} is not supported (${label}${where})`, {
      next: 'compile the program without this feature',
      exitCode: EXIT.refused,
    });
  }
}

export function unsupported(feature: string, where: string): UnsupportedFeature {
  return new UnsupportedFeature(feature, where, -1);
}

/** The same in code: the place is a byte of the module. */
export function unsupportedIn(functionIndex: number, feature: string, at: number): SherdError {
  return new UnsupportedFeature(feature, `function ${functionIndex}, byte ${at}`, functionIndex);
}

/** An error with the name of the function in whose code it stands, where it has one. */
export function withName(error: unknown, functions: ReadonlyMap<number, string>): unknown {
  if (!(error instanceof UnsupportedFeature)) return error;
  const { feature, where, functionIndex } = error;
  const name = functions.get(functionIndex);
  return new UnsupportedFeature(feature, where, functionIndex, name);
}

/** The error for the code of a value type that is none of sherd's. */
export function refusedType(type: number, at: number, refuse: (feature: string) => Error): Error {
  if (type >= 0x63 && type <= 0x64) return refuse('typed function references');
  if (type === 0x69 || type === 0x74) return refuse('exception references');
  if (type >= 0x6a && type <= 0x73) return refuse('garbage-collected types');
  return malformed(at, `unknown value type 0x${type.toString(16)}`);
}
