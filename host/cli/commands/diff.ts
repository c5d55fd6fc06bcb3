/** `sherd diff a.capsule b.capsule`: what changed between two capsule files. */
import type { Command } from 'commander';
import {
  type CapsuleDiff,
  type Change,
  compactChain,
  type DecodedCapsule,
  decodeCapsule,
  diffCapsules,
  readChain,
} from '../../capsule/index.js';
import { readShardModule } from '../../compile/index.js';
import { nodePlatform } from '../../node/platform.js';
import { EXIT, SherdError } from '../../types/errors.js';
import type { ShardModule } from '../../types/module.js';
import { CompileCache } from '../cache.js';
import { type CapsuleFile, readCapsuleFile } from '../capsule-file.js';
import { report } from '../command.js';
import { formatBytes, formatCount, renderFields, renderTable } from '../format.js';
import { keyringOf } from '../key-file.js';
import { initialImage, stackOf } from '../memory-facts.js';

interface Options {
  readonly json?: boolean;
  readonly key?: string;
}

export function addDiff(program: Command): void {
  program
    .command('diff <before> <after>')
    .description('what changed between two capsule files')
    .option('--key <file>', 'key file of sealed ones (default: $SHERD_KEY_FILE)')
    .option('--json', 'print JSON')
    .action(async (before: string, after: string, options: Options) => {
      const keyring = await keyringOf(options.key);
      const files = [
        await readCapsuleFile(before, { keyring }),
        await readCapsuleFile(after, { keyring }),
      ] as const;
      const diff = await diffOf(...files);
      const output = { files: [before, after], ...diff };
      await report(options, output, () => render(files, diff));
    });
}

async function diffOf(before: CapsuleFile, after: CapsuleFile): Promise<CapsuleDiff> {
  const [a, b] = [await moduleIn(before), await moduleIn(after)];
  const [from, to] = [await wholeOf(before, a), await wholeOf(after, b)];
  const module = a ?? b;
  if (module === undefined || from.header.moduleHash !== to.header.moduleHash)
    return diffCapsules(from, to);
  const stack = stackOf(module, from, to);
  return diffCapsules(from, to, { module, base: initialImage(module), stack });
}

async function moduleIn({ module, decoded }: CapsuleFile): Promise<ShardModule | undefined> {
  const bytes = module ?? (await new CompileCache().module(decoded.header.moduleHash));
  return bytes === undefined ? undefined : readShardModule(bytes, nodePlatform);
}

/** Of a delta the full capsule, from the links in the file. */
async function wholeOf(
  { path, capsule, decoded, blobs }: CapsuleFile,
  module: ShardModule | undefined,
): Promise<DecodedCapsule> {
  if (decoded.header.base === null) return decoded;
  if (module === undefined) {
    throw new SherdError('SHERD_CAPSULE_INCOMPLETE', 'its module is not here', {
      at: path,
      next: 'make the file without --thin, or compile the program on this machine first',
      exitCode: EXIT.refused,
    });
  }
  const links = new Map([...blobs, [decoded.hash, capsule]]);
  const chain = await readChain(decoded.hash, async (hash) => links.get(hash), nodePlatform);
  const { bytes } = compactChain(chain, initialImage(module), nodePlatform);
  return decodeCapsule(bytes, nodePlatform);
}

const hex = (address: number): string => `0x${address.toString(16).padStart(8, '0')}`;
const text = (value: Change['before']): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

function render([before, after]: readonly [CapsuleFile, CapsuleFile], diff: CapsuleDiff): string {
  const { fuel, memory } = diff;
  const fields: [string, string][] = [
    ['before', `${before.path}  ${formatBytes(diff.bytes.before)}`],
    ['after', `${after.path}  ${formatBytes(diff.bytes.after)}`],
  ];
  if (diff.equal) return `${renderFields([...fields, ['equal', 'in every part']])}`;
  if (!diff.sameModule) fields.push(['module', 'not the same: names and places do not correspond']);
  fields.push([
    'fuel',
    `${formatCount(BigInt(fuel.before))} → ${formatCount(BigInt(fuel.after))} (${BigInt(fuel.more) < 0n ? '' : '+'}${formatCount(BigInt(fuel.more))})`,
  ]);
  const regions =
    memory.byRegion === null
      ? ''
      : `: ${Object.entries(memory.byRegion)
          .filter(([, bytes]) => bytes > 0)
          .map(([region, bytes]) => `${region} ${formatBytes(bytes)}`)
          .join(', ')}`;
  const grown =
    memory.beforeBytes === memory.afterBytes
      ? formatBytes(memory.afterBytes)
      : `${formatBytes(memory.beforeBytes)} → ${formatBytes(memory.afterBytes)}`;
  fields.push([
    'memory',
    `${grown}, changed ${formatBytes(memory.changedBytes)} in ${formatCount(memory.rangesTotal)} ranges${regions}`,
  ]);
  return [
    renderFields(fields),
    changesText('header', diff.header, diff.header.length),
    stackText(diff),
    changesText('globals', diff.globals, diff.globals.length),
    rangesText(diff),
    changesText('host state: files, descriptors, clock', diff.host, diff.hostTotal),
  ].join('');
}

function changesText(title: string, changes: readonly Change[], total: number): string {
  if (changes.length === 0) return '';
  const rows = changes.map(({ name, before, after }) => [
    name,
    clipped(text(before)),
    clipped(text(after)),
  ]);
  const more = total > changes.length ? `  … ${formatCount(total - changes.length)} more\n` : '';
  return `\n${title}\n${renderTable([{ title: 'NAME' }, { title: 'BEFORE' }, { title: 'AFTER' }], rows)}${more}`;
}

function clipped(value: string): string {
  return value.length <= 60 ? value : `${value.slice(0, 59)}…`;
}

function stackText({ stack }: CapsuleDiff): string {
  if (stack.before.length === 0 && stack.after.length === 0) return '';
  const side = (title: string, frames: readonly string[]): string =>
    `  ${title}\n${frames.map((frame) => `    ${frame}\n`).join('') || '    (none)\n'}`;
  const same = `  ${formatCount(stack.same)} outermost frame${stack.same === 1 ? ' is' : 's are'} the same in both\n`;
  return `\ncall stack, innermost first\n${side('before', stack.before)}${side('after', stack.after)}${same}`;
}

function rangesText({ memory }: CapsuleDiff): string {
  if (memory.ranges.length === 0) return '';
  const rows = memory.ranges.map(({ address, bytes, region, at, before, after }) => [
    hex(address),
    formatBytes(bytes),
    region ?? '-',
    hex(at),
    before,
    after,
  ]);
  const columns = [
    { title: 'MEMORY' },
    { title: 'SIZE', align: 'right' },
    { title: 'REGION' },
    { title: 'FIRST AT' },
    { title: 'BEFORE' },
    { title: 'AFTER' },
  ] as const;
  const left = memory.rangesTotal - memory.ranges.length;
  return `\n${renderTable(columns, rows)}${left > 0 ? `  … ${formatCount(left)} smaller ranges\n` : ''}`;
}
