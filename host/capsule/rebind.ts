/**
 * The same state under another spec: what resuming with other limits needs.
 *
 * Does: write a capsule's header anew, with the hash of the new spec and the new memory limit; all other sections stay as they are,
 * and so do the format version and the base.
 * Does not: know what else is in a spec.
 */
import { invariant, SherdError } from '../types/errors.js';
import { decodePlain, encodePlain } from '../types/pack.js';
import type { Hash, Platform } from '../types/platform.js';
import { hexToBytes } from './bytes.js';
import { CAPSULE, decodeCapsule } from './capsule.js';
import { layOut, readEnvelope, type SectionPlan, seal, versionOf } from './envelope.js';
import { WASM_PAGE_BYTES } from './memory.js';

export interface Rebinding {
  readonly specHash: Hash;
  /** Undefined: as it was. */
  readonly limitPages: number | undefined;
  /** Names the file in errors. */
  readonly at?: string;
}

/** Verifies the capsule and gives the new one. Refuses a memory limit below what it has. */
export function rebindCapsule(bytes: Uint8Array, to: Rebinding, platform: Platform): Uint8Array {
  const { memory } = decodeCapsule(bytes, platform).header; // verifies it
  const sections = readEnvelope(CAPSULE, bytes, platform, to.at, true);
  const contents = sections.map(({ name, bytes: content }) => {
    if (name !== 'header') return content;
    const fields = decodePlain(content) as Record<string, unknown>;
    const limited = memory === null ? null : { ...memory, limitPages: limitOf(memory, to) };
    return encodePlain({ ...fields, specHash: hexToBytes(to.specHash), memory: limited });
  });
  const plans: SectionPlan[] = sections.map(({ id, required }, at) => {
    const content = contents[at];
    invariant(content !== undefined, 'a section has its content');
    return { id, required, bytes: content.length };
  });
  const layout = layOut(CAPSULE, plans, undefined, versionOf(bytes));
  contents.forEach((content, at) => {
    layout.sections[at]?.set(content);
  });
  seal(layout, plans, platform);
  return layout.bytes;
}

function limitOf(
  memory: { readonly pages: number; readonly limitPages: number },
  { limitPages, at }: Rebinding,
): number {
  if (limitPages === undefined) return memory.limitPages;
  if (limitPages >= memory.pages) return limitPages;
  const kib = (pages: number): string => `${(pages * WASM_PAGE_BYTES) / 1024} KiB`;
  throw new SherdError(
    'SHERD_MEMORY_LIMIT',
    `the program has ${kib(memory.pages)} of memory, more than the limit of ${kib(limitPages)}`,
    { at, next: `give at least ${kib(memory.pages)}`, exitCode: 2 },
  );
}
