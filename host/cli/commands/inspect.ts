/** `sherd inspect x.capsule | x.sherd.wasm | SHARD`: what is inside. */
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import type { Command } from 'commander';
import {
  type Contributor,
  contributors,
  inspectCapsule,
  type MemoryMap,
  mapLines,
  mapSvg,
  memoryMap,
  renderReport,
} from '../../capsule/index.js';
import { plainFunction, readShardModule } from '../../compile/index.js';
import { type PauseBound, pauseBound } from '../../compile/pause-bound.js';
import { nodePlatform } from '../../node/platform.js';
import { readSource } from '../../node/source.js';
import type { InspectReply } from '../../types/api.js';
import { EXIT, SherdError } from '../../types/errors.js';
import type { ShardModule } from '../../types/module.js';
import { printable } from '../../types/text.js';
import { boundJson, boundText } from '../bound.js';
import { CompileCache } from '../cache.js';
import { type CapsuleFile, capsuleFileOf } from '../capsule-file.js';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { isWasm } from '../component.js';
import { formatBytes, formatCount, formatShort, renderFields, renderTable } from '../format.js';
import { keyringOf } from '../key-file.js';
import { initialImage, stackOf } from '../memory-facts.js';
import { loadProgramBytes } from '../program.js';
import { sourcesOf } from '../sources.js';
import { fileError, writeFileAtomically } from '../status.js';

/** Rows of the table of what made a capsule big. */
const MOST_CONTRIBUTORS = 16;

interface Options extends ClientOptions {
  readonly key?: string;
  readonly program?: string;
  readonly svg?: string;
}

export function addInspect(program: Command): void {
  addClientOptions(
    program
      .command('inspect <what>')
      .description('look into x.capsule, x.sherd.wasm (or any program), or a shard'),
  )
    .option('--key <file>', 'key file of a sealed capsule file (default: $SHERD_KEY_FILE)')
    .option(
      '--program <file>',
      'the program it was compiled from: shows source lines (DWARF, source map)',
    )
    .option('--svg <file>', "write a picture of a capsule file's memory there")
    .action(async (what: string, options: Options) => {
      if (!/[./\\]/.test(what) && statSync(what, { throwIfNoEntry: false }) === undefined) {
        const reply = await clientOf(options).inspect(what);
        await report(options, reply, () => renderReply(what, reply));
        return;
      }
      const bytes = await readSource(what).catch((cause: unknown) => {
        throw fileError(cause, what, 'cannot read it', EXIT.refused);
      });
      if (isWasm(bytes) || /\.(ts|as)$/.test(what)) await inspectModule(what, bytes, options);
      else await inspectFile(what, bytes, options);
    });
}

async function inspectFile(path: string, content: Uint8Array, options: Options): Promise<void> {
  const file = await capsuleFileOf(path, content, { keyring: await keyringOf(options.key) });
  const bytes = file.module ?? (await new CompileCache().module(file.decoded.header.moduleHash));
  const module = bytes === undefined ? undefined : readShardModule(bytes, nodePlatform);
  const { program } = options;
  const locate =
    program === undefined ? undefined : await sourcesOf(program, file.decoded.header.programHash);
  const base = module === undefined ? undefined : initialImage(module);
  const inside = inspectCapsule(file.decoded, module, base, locate);
  const map =
    module === undefined || base === undefined
      ? undefined
      : memoryMap(file.decoded, base, stackOf(module, file.decoded));
  const biggest = contributors(file.decoded, map, module);
  if (options.svg !== undefined) await writeSvg(options.svg, path, file, map);
  const bundle = {
    file: path,
    fileBytes: file.bytes,
    sealedWith: file.sealedWith ?? null,
    capsuleBytes: file.capsule.length,
    moduleBytes: file.module?.length ?? null,
    inputBlobs: file.blobs.size,
    inputBytes: [...file.blobs.values()].reduce((sum, blob) => sum + blob.length, 0),
    program: file.spec.programName,
    args: file.spec.args,
  };
  const json = {
    ...bundle,
    capsule: inside,
    biggest,
    memoryMap:
      map === undefined
        ? null
        : { ...map, cells: Buffer.from(map.cells.map((each) => 48 + each)).toString('latin1') },
  };
  await report(options, json, () => {
    const fields = renderFields([
      ['file', `${path}  ${formatBytes(bundle.fileBytes)}`],
      ...(file.sealedWith === undefined
        ? []
        : ([['sealed', `with key ${file.sealedWith}`]] as const)),
      ['program', file.spec.args.join(' ')],
      ['capsule', formatBytes(bundle.capsuleBytes)],
      [
        'module',
        bundle.moduleBytes === null ? 'not in the file (thin)' : formatBytes(bundle.moduleBytes),
      ],
      ['inputs', `${formatCount(bundle.inputBlobs)} blobs, ${formatBytes(bundle.inputBytes)}`],
    ]);
    return `${fields}\n${renderReport(inside)}${renderMap(map, biggest, file.capsule.length)}`;
  });
}

function renderMap(
  map: MemoryMap | undefined,
  biggest: readonly Contributor[],
  capsuleBytes: number,
): string {
  const rows = biggest
    .slice(0, MOST_CONTRIBUTORS)
    .map(({ what, bytes }) => [
      what,
      formatCount(bytes),
      `${((100 * bytes) / capsuleBytes).toFixed(1)} %`,
    ]);
  const columns = [
    { title: 'WHAT MADE IT BIG' },
    { title: 'BYTES', align: 'right' },
    { title: 'SHARE', align: 'right' },
  ] as const;
  const left = biggest.length - rows.length;
  const more = left > 0 ? `  … ${formatCount(left)} smaller parts\n` : '';
  const table = `\n${renderTable(columns, rows)}${more}`;
  if (map === undefined) return table;
  const runs = map.runs.map(({ address, bytes, region }) => [
    `0x${address.toString(16).padStart(8, '0')}`,
    formatBytes(bytes),
    region,
  ]);
  const runTable =
    runs.length === 0
      ? ''
      : `\n${renderTable([{ title: 'STORED FROM' }, { title: 'SIZE', align: 'right' }, { title: 'REGION' }], runs)}`;
  return `${table}${runTable}\nmemory map\n${mapLines(map)
    .map((line) => `  ${line}\n`)
    .join('')}`;
}

async function writeSvg(
  target: string,
  path: string,
  file: CapsuleFile,
  map: MemoryMap | undefined,
): Promise<void> {
  if (map === undefined) {
    throw new SherdError(
      'SHERD_CAPSULE_INCOMPLETE',
      '--svg: no memory to draw, or its module is not here',
      {
        at: path,
        next: 'make the file without --thin, or compile the program on this machine first',
        exitCode: EXIT.refused,
      },
    );
  }
  const { header } = file.decoded;
  const bytes = formatBytes(map.pages * map.pageBytes);
  const note = `fuel ${formatCount(header.fuelUsed)}, memory ${bytes}, capsule ${formatBytes(file.capsule.length)}`;
  await writeFileAtomically(
    target,
    Buffer.from(mapSvg(map, `${file.spec.programName} · ${basename(path)}`, note)),
  );
}

async function inspectModule(
  path: string,
  content: Uint8Array,
  options: ClientOptions,
): Promise<void> {
  const { module } = await loadProgramBytes(path, content);
  const bound = pauseBound(module);
  await report(options, moduleView(module, bound), () => renderModule(path, module, bound));
}

function moduleView(module: ShardModule, bound: PauseBound) {
  const { bytes, exports, functions, ...facts } = module;
  return {
    ...facts,
    moduleBytes: bytes.length,
    pauseBound: boundJson(bound),
    exports: Object.fromEntries(exports),
    functions: functions.map((each) => ({
      ...plainFunction(each),
      localNames: Object.fromEntries(each.localNames),
    })),
  };
}

function renderModule(path: string, module: ShardModule, bound: PauseBound): string {
  const { sizes, memory } = module;
  const fields = renderFields([
    [
      'module',
      `${path}  ${formatBytes(sizes.moduleBytes)} (program ${formatBytes(sizes.programBytes)})`,
    ],
    ['module hash', module.moduleHash],
    ['program hash', module.programHash],
    ['abi', String(module.abi)],
    [
      'imports',
      module.imports.map((entry) => `${entry.module}.${entry.field}`).join(', ') || 'none',
    ],
    ['exports', [...module.exports.keys()].join(', ') || 'none'],
    [
      'memory',
      memory === undefined
        ? 'none'
        : `${memory.minPages} to ${memory.maxPages ?? 65_536} pages of 64 KiB`,
    ],
    ['globals', `${module.mutableGlobals.length} mutable`],
    [
      'safepoints',
      `${formatCount(sizes.safepoints)} in ${formatCount(sizes.functionsInstrumented)} of ${formatCount(sizes.functionsTotal)} functions`,
    ],
    ['pause bound', boundText(module, bound)],
  ]);
  const rows = module.functions.map((each) => [
    String(each.index),
    each.name ?? '-',
    `(${each.params.join(' ')}) → ${each.results.join(' ') || '()'}`,
    formatCount(each.instructions),
    each.instrumented ? String(each.safepoints.length) : '-',
    String(each.loopDepth),
    String(each.calls.length),
  ]);
  const table = renderTable(
    [
      { title: 'FUNCTION', align: 'right' },
      { title: 'NAME' },
      { title: 'TYPE' },
      { title: 'INSTRUCTIONS', align: 'right' },
      { title: 'SAFEPOINTS', align: 'right' },
      { title: 'LOOP DEPTH', align: 'right' },
      { title: 'CALLS', align: 'right' },
    ],
    rows,
    [
      `${formatCount(module.functions.length)}`,
      'functions',
      '',
      formatCount(module.functions.reduce((sum, each) => sum + each.instructions, 0)),
      formatCount(sizes.safepoints),
      '',
      '',
    ],
  );
  return `${fields}\n${table}`;
}

function renderReply(id: string, reply: InspectReply): string {
  switch (reply.source) {
    case 'live':
      return (
        renderFields([
          ['shard', id],
          ['node', reply.nodeId],
          ['doing', reply.activity],
          [
            'fuel',
            `${formatCount(BigInt(reply.fuelUsed))} (${formatShort(reply.fuelPerSecond)}/s)`,
          ],
          ['memory', formatBytes(reply.memoryBytes)],
        ]) +
        `call stack, innermost first\n${reply.guestStack.map((frame) => `    ${frame}\n`).join('')}`
      );
    case 'capsule': {
      const report = renderReport(reply.report as Parameters<typeof renderReport>[0]);
      return reply.why === '' ? report : printable(`${id}  ${reply.why}\n\n${report}`);
    }
    case 'silent':
      return `${id}  node ${reply.nodeId} did not answer within ${reply.waitedMs} ms; sherd kill --force ${id} ends it\n`;
    case 'none':
      return printable(`${id}  ${reply.why}\n`);
  }
}
