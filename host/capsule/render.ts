/**
 * Reports as aligned text for a terminal.
 *
 * R1  The text depends on the report alone: no clock, no locale, no terminal width.
 * R2  Everything that a program controls (names, host state) is printed without control characters.
 */
import type { CapsuleReport, FrameReport, MemoryReport, ModuleReport } from './inspect.js';
import type { Json } from './values.js';

const MAX_ROWS = 40;
const MAX_FUNCTIONS = 60;
const CONTROL = /\p{Control}|\p{Format}/gu;

/** Readable text of a report. Ends with a newline. */
export function renderReport(report: CapsuleReport | ModuleReport): string {
  const lines = report.kind === 'capsule' ? capsuleLines(report) : moduleLines(report);
  return `${lines.map(printable).join('\n')}\n`;
}

function printable(line: string): string {
  return line.replace(CONTROL, (each) => `\\u{${each.codePointAt(0)?.toString(16)}}`);
}

type Row = readonly string[];

/** Columns padded to their widest cell; `right` names the columns that are numbers. */
function table(rows: readonly Row[], right: readonly number[] = []): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  return rows.map((row) =>
    row
      .map((cell, i) =>
        right.includes(i) ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}

function titled(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', title, ...lines.map((line) => `  ${line}`)];
}

function indented(lines: readonly string[]): string[] {
  return lines.map((line) => `  ${line}`);
}

/** At most `max` of the rows, and how many are left out. */
function limited(lines: readonly string[], max = MAX_ROWS): string[] {
  if (lines.length <= max) return [...lines];
  return [...lines.slice(0, max), `… ${count(lines.length - max)} more`];
}

export function count(value: number | string): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',');
}

function bytesText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const kib = bytes / 1024;
  return kib < 1024 ? `${kib.toFixed(1)} KiB` : `${(kib / 1024).toFixed(1)} MiB`;
}

function hex(address: number): string {
  return `0x${address.toString(16).padStart(8, '0')}`;
}

function capsuleLines(report: CapsuleReport): string[] {
  const { framesTotal } = report;
  return [
    ...identityLines(report),
    ...titled(
      `call stack: ${count(framesTotal)} frame${framesTotal === 1 ? '' : 's'}, innermost first`,
      stackLines(report),
    ),
    ...titled('pending host call', pendingLines(report)),
    ...titled('mutable globals', limited(globalLines(report))),
    ...titled('memory', report.memory === null ? ['none'] : memoryLines(report.memory)),
    ...titled('host state', limited(treeLines(report.host))),
    ...titled('blobs it needs', limited([...report.references])),
    ...titled('header fields of a later version', limited(treeLines(report.unknown))),
    ...titled('sizes', sizeLines(report)),
  ];
}

function identityLines(report: CapsuleReport): string[] {
  const named = report.named ? '' : '  (not at hand: no names or types below)';
  const calls =
    report.calls.length === 0
      ? '-'
      : report.calls.map((call) => call ?? '(start function)').join(', ');
  return table([
    ['capsule', report.hash],
    ['module', `${report.moduleHash}${named}`],
    ['program', report.programHash],
    ['spec', report.specHash],
    ['shard', `${report.shardId}, epoch ${report.epoch}`],
    ['format', `version ${report.formatVersion}, module ABI ${report.abi}`],
    ['status', `${report.status}, fuel used ${count(report.fuelUsed)}, calls left: ${calls}`],
  ]);
}

function stackLines(report: CapsuleReport): string[] {
  if (report.frames.length === 0) return ['empty'];
  const lines: string[] = [];
  const heads = table(report.frames.map(frameHead), [0]);
  let expected = 0;
  report.frames.forEach((frame, i) => {
    if (frame.depth !== expected) lines.push(`… ${count(frame.depth - expected)} frames …`);
    expected = frame.depth + 1;
    lines.push(heads[i] ?? '');
    const locals = frame.locals.map(({ name, type, value }) => [name, type, value]);
    if (frame.raw !== null && frame.raw !== '') locals.push(['slots', 'raw', `0x${frame.raw}`]);
    lines.push(...limited(table(locals)).map((line) => `      ${line}`));
  });
  return lines;
}

function frameHead(frame: FrameReport): Row {
  const where =
    frame.offset === null || frame.kind === 'entry' ? '' : ` at byte ${hex(frame.offset)}`;
  const kind = frame.kind === null ? '' : `${frame.kind}${where}`;
  const name = frame.name ?? '(no name)';
  return [
    `#${frame.depth}`,
    `${name} [function ${frame.func}]`,
    `safepoint ${frame.safepoint}`,
    kind,
    frame.source ?? '',
  ];
}

function pendingLines({ pending }: CapsuleReport): string[] {
  if (pending === null) return [];
  return [`${pending.name}(${pending.args.join(', ')})`, `waits ${pending.wait}`];
}

function globalLines(report: CapsuleReport): string[] {
  return table(
    report.globals.map(({ index, name, type, value }) => [
      `${index}`,
      name ?? '(no name)',
      type ?? 'raw',
      value,
    ]),
    [0],
  );
}

function memoryLines(memory: MemoryReport): string[] {
  const kept = memory.likeNonZeroBaseBytes;
  const like = kept === null ? '' : ` (${bytesText(kept)} not zero)`;
  const row = (name: string, bytes: number, note = ''): Row => [name, bytesText(bytes), note];
  const lines = table(
    [
      row('size', memory.totalBytes, `limit ${bytesText(memory.limitWasmPages * 65_536)}`),
      row('stored', memory.storedBytes, `in ${count(memory.runs)} runs`),
      row('zeroed by the program', memory.zeroedBytes),
      row('as in the base', memory.likeBaseBytes, `left out${like}`),
      ...(memory.deadBytes === 0
        ? []
        : [row('dead', memory.deadBytes, 'zeros, whatever was there')]),
    ],
    [1],
  );
  if (memory.growRefused) lines.push('a memory.grow was refused by the limit');
  if (memory.droppedSegments.length > 0) {
    lines.push(`dropped data segments: ${memory.droppedSegments.join(', ')}`);
  }
  const ranges = memory.ranges.map(({ kind, address, bytes }) => [
    hex(address),
    hex(address + bytes),
    bytesText(bytes),
    kind,
  ]);
  return ranges.length === 0
    ? lines
    : [...lines, 'largest ranges that differ:', ...indented(table(ranges, [2]))];
}

/** Indented `key: value` lines. */
function treeLines(value: Json, indent = ''): string[] {
  if (value === null || typeof value !== 'object') return [`${indent}${String(value)}`];
  const entries: [string, Json][] = Array.isArray(value)
    ? value.map((each: Json): [string, Json] => ['-', each])
    : Object.entries(value as Record<string, Json>);
  return entries.flatMap(([key, each]) => {
    const label = Array.isArray(value) ? key : `${key}:`;
    const inline = inlineText(each);
    if (inline !== undefined) return [`${indent}${label} ${inline}`];
    return [`${indent}${label}`, ...treeLines(each, `${indent}  `)];
  });
}

/** Leaves, and short lists of leaves, in one line. */
function inlineText(value: Json): string | undefined {
  if (value === null || typeof value !== 'object') return String(value);
  const items: Json[] = Object.values(value);
  if (items.length === 0) return Array.isArray(value) ? '[]' : '{}';
  if (!Array.isArray(value)) return undefined;
  const leaves = items.every((each) => each === null || typeof each !== 'object');
  const text = `[${items.map(String).join(', ')}]`;
  return leaves && text.length <= 80 ? text : undefined;
}

function sizeLines(report: CapsuleReport): string[] {
  const { sizes } = report;
  const share = (bytes: number): string => `${((100 * bytes) / sizes.totalBytes).toFixed(1)} %`;
  const rows: Row[] = [
    ['envelope', count(sizes.envelopeBytes), share(sizes.envelopeBytes), ''],
    ...report.sections.map(({ name, bytes, hash }) => [name, count(bytes), share(bytes), hash]),
    ['total', count(sizes.totalBytes), '', ''],
  ];
  return table([['SECTION', 'BYTES', 'SHARE', 'SHA-256'], ...rows], [1, 2]);
}

function moduleLines(report: ModuleReport): string[] {
  const { sizes, memory } = report;
  const ratio = (sizes.moduleBytes / Math.max(1, sizes.programBytes)).toFixed(2);
  const head = table([
    ['module', report.moduleHash],
    ['program', report.programHash],
    ['ABI', String(report.abi)],
    [
      'size',
      `${count(sizes.moduleBytes)} bytes (program ${count(sizes.programBytes)}, × ${ratio})`,
    ],
    ['code', `${count(sizes.moduleCodeBytes)} bytes (program ${count(sizes.programCodeBytes)})`],
    [
      'functions',
      `${count(sizes.functionsTotal)}, ${count(sizes.functionsInstrumented)} instrumented`,
    ],
    ['safepoints', count(sizes.safepoints)],
    ['memory', memory === null ? 'none' : memoryBounds(memory)],
    ['start', report.hasStart ? 'has a start function' : 'none'],
  ]);
  const signature = (params: readonly string[], results: readonly string[]): string =>
    `(${params.join(' ')}) → ${results.join(' ') || '()'}`;
  const functions = report.functions.map((each) => [
    String(each.index),
    each.name ?? '(no name)',
    signature(each.params, each.results),
    count(each.instructions),
    each.instrumented ? String(each.safepoints.length) : '-',
    String(each.loops),
    `${each.calls.length}${each.indirectCalls ? ' + indirect' : ''}`,
  ]);
  const titles = ['INDEX', 'NAME', 'TYPE', 'INSTRUCTIONS', 'SAFEPOINTS', 'LOOPS', 'CALLS'];
  return [
    ...head,
    ...titled(
      'imports',
      table(report.imports.map((each) => [each.name, signature(each.params, each.results)])),
    ),
    ...titled('exports', table(report.exports.map((each) => [each.name, `function ${each.func}`]))),
    ...titled(
      'mutable globals',
      table(
        report.mutableGlobals.map((each) => [`${each.index}`, each.name ?? '(no name)', each.type]),
        [0],
      ),
    ),
    ...titled('functions', limited(table([titles, ...functions], [0, 3, 4, 5]), MAX_FUNCTIONS)),
  ];
}

function memoryBounds(memory: { minPages: number; maxPages: number | null }): string {
  const most =
    memory.maxPages === null ? 'no maximum' : `at most ${bytesText(memory.maxPages * 65_536)}`;
  return `${bytesText(memory.minPages * 65_536)} at first, ${most}`;
}
