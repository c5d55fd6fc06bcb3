/**
 * What is known of a shard before it begins, as a request to the program history.
 *
 *     render -o a.png 960 540 6   stdin 0 B, dir /data 1,200 B
 *       groups   same      module, entry, every argument, every input by its hash      only the seed may differ
 *                words     module, entry, arguments with each number as '#'            render -o a.png # # #
 *                entry     module, entry
 *                module    module
 *       numbers  [ 1200, 960, 540, 6 ]                                                 bytes of input, then the arguments' numbers
 *
 * Does: name the groups, collect the numbers. Does not: take a number for a size: whether fuel, time or memory go with it is
 * what the history finds out (history-experts.ts E1), as it is for the bytes of input.
 *
 * Q1  Equal inputs give equal names; other inputs other names, but for collisions of a 64-bit hash.
 * Q2  Without a spec all groups are the module's: nothing is guessed.
 */
import type { DirectoryNode, ShardSpec, TreeNode } from '../types/host.js';
import type { Hash } from '../types/platform.js';
import { NUMBERS_MAX } from './history-group.js';
import type { RunRequest } from './history-model.js';

/** Groups of a request. */
export const PROGRAM_RUNGS = 4;
/** Each character can be matched in one way only: an argument is as long as its sender likes. */
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
/** No number is written longer. */
const NUMBER_CHARS = 64;

function isNumber(arg: string): boolean {
  return arg.length <= NUMBER_CHARS && NUMBER.test(arg) && Number.isFinite(Number(arg));
}

/** @param spec undefined = it could not be read */
export function requestOf(moduleHash: Hash, spec: ShardSpec | undefined): RunRequest {
  const module = `module ${moduleHash}`;
  if (spec === undefined) {
    const unknown = `unknown ${moduleHash}`;
    return { groups: [unknown, unknown, unknown, module], numbers: [] };
  }
  const args = spec.args.slice(1);
  const words = args.map((arg) => (isNumber(arg) ? '#' : arg));
  const inputs = new Inputs(spec);
  const entry = `${moduleHash} ${spec.entry}`;
  const entryArgs = [...spec.entryArgs].join(' ');
  return {
    groups: [
      `same ${moduleHash} ${hashed([spec.entry, entryArgs, ...args, '', ...spec.env, '', ...inputs.names])}`,
      `words ${moduleHash} ${hashed([spec.entry, ...words])}`,
      `entry ${entry}`,
      module,
    ],
    numbers: [inputs.bytes, ...args.filter(isNumber).map((arg) => Math.abs(Number(arg)))].slice(
      0,
      NUMBERS_MAX,
    ),
  };
}

/** Standard input and the files of all directories. */
class Inputs {
  bytes = 0;
  readonly names: string[] = [];

  constructor(spec: ShardSpec) {
    for (const { hash, bytes } of spec.stdin) this.#add(hash, bytes);
    for (const { guestPath, root } of spec.dirs) {
      this.names.push(guestPath);
      this.#addDirectory(root);
    }
  }

  #add(hash: Hash, bytes: number): void {
    this.names.push(hash);
    this.bytes += bytes;
  }

  #addDirectory({ entries }: DirectoryNode): void {
    for (const [name, node] of entries) {
      this.names.push(name);
      this.#addNode(node);
    }
  }

  #addNode(node: TreeNode): void {
    if (node.kind === 'dir') this.#addDirectory(node);
    else if (node.kind === 'symlink') this.names.push(node.target);
    else for (const { hash, bytes } of node.chunks) this.#add(hash, bytes);
  }
}

/** FNV-1a over the texts and their ends, twice with different beginnings: a name, no protection. */
function hashed(texts: readonly string[]): string {
  let low = 0x811c9dc5;
  let high = 0x01000193;
  const take = (unit: number): void => {
    low = Math.imul(low ^ unit, 0x01000193);
    high = Math.imul(high ^ (unit + 0x9e37), 0x85ebca6b);
  };
  for (const text of texts) {
    for (let at = 0; at < text.length; at++) take(text.charCodeAt(at));
    take(0x1_0000);
  }
  const hex = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');
  return hex(high) + hex(low);
}
