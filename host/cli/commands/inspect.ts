/** `sherd inspect x.capsule | x.sherd.wasm | SHARD`: what is inside. */
import { statSync } from 'node:fs';
import type { Command } from 'commander';
import { inspectCapsule, renderReport } from '../../capsule/index.js';
import { plainFunction, readShardModule } from '../../compile/index.js';
import { type PauseBound, pauseBound } from '../../compile/pause-bound.js';
import { nodePlatform } from '../../node/platform.js';
import { readSource } from '../../node/source.js';
import type { InspectReply } from '../../types/api.js';
import { EXIT } from '../../types/errors.js';
import type { ShardModule } from '../../types/module.js';
import { printable } from '../../types/text.js';
import { boundJson, boundText } from '../bound.js';
import { CompileCache } from '../cache.js';
import { capsuleFileOf } from '../capsule-file.js';
import { addClientOptions, type ClientOptions, clientOf, report } from '../command.js';
import { isWasm } from '../component.js';
import { formatBytes, formatCount, formatShort, renderFields, renderTable } from '../format.js';
import { loadProgramBytes } from '../program.js';
import { fileError } from '../status.js';

export function addInspect(program: Command): void {
  addClientOptions(
    program
      .command('inspect <what>')
      .description('look into x.capsule, x.sherd.wasm (or any program), or a shard'),
  ).action(async (what: string, options: ClientOptions) => {
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

async function inspectFile(
  path: string,
  content: Uint8Array,
  options: ClientOptions,
): Promise<void> {
  const file = capsuleFileOf(path, content);
  const bytes = file.module ?? (await new CompileCache().module(file.decoded.header.moduleHash));
  const module = bytes === undefined ? undefined : readShardModule(bytes, nodePlatform);
  const inside = inspectCapsule(file.decoded, module);
  const bundle = {
    file: path,
    fileBytes: file.bytes,
    capsuleBytes: file.capsule.length,
    moduleBytes: file.module?.length ?? null,
    inputBlobs: file.blobs.size,
    inputBytes: [...file.blobs.values()].reduce((sum, blob) => sum + blob.length, 0),
    program: file.spec.programName,
    args: file.spec.args,
  };
  await report(options, { ...bundle, capsule: inside }, () => {
    const fields = renderFields([
      ['file', `${path}  ${formatBytes(bundle.fileBytes)}`],
      ['program', file.spec.args.join(' ')],
      ['capsule', formatBytes(bundle.capsuleBytes)],
      [
        'module',
        bundle.moduleBytes === null ? 'not in the file (thin)' : formatBytes(bundle.moduleBytes),
      ],
      ['inputs', `${formatCount(bundle.inputBlobs)} blobs, ${formatBytes(bundle.inputBytes)}`],
    ]);
    return `${fields}\n${renderReport(inside)}`;
  });
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
