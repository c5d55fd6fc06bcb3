/**
 * Scripts of the core test suite as lists of commands, through wabt's `wast2json`.
 *
 *   file.wast ── top-level expressions ── groups: a module and what follows it ── wast2json, one group at a time
 *
 * A file whose newest syntax wast2json does not know is not lost as a whole: abbreviations are written out; a module that
 * it cannot read is assembled by Binaryen instead; a group that fails is tried again without the commands that it cannot
 * read.
 *
 * Does: split, convert, read. Does not: run anything (main.ts).
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Value {
  readonly type: string;
  readonly value?: string | readonly string[];
  readonly lane_type?: string;
}

export interface Action {
  readonly type: 'invoke' | 'get';
  readonly module?: string;
  readonly field: string;
  readonly args?: readonly Value[];
}

export interface Command {
  readonly type: string;
  readonly line: number;
  readonly name?: string;
  readonly filename?: string;
  readonly module_type?: string;
  readonly action?: Action;
  readonly expected?: readonly Value[];
  readonly text?: string;
  /** Name under which a module is registered. */
  readonly as?: string;
  /** Bytes of the module that the command carries. */
  bytes?: Uint8Array<ArrayBuffer>;
}

/** The top-level expressions of a script. */
export function expressions(text: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === ';' && text[i + 1] === ';') {
      while (i < text.length && text[i] !== '\n') i++;
    } else if (c === '(' && text[i + 1] === ';') {
      i = endOfComment(text, i);
    } else if (c === '"') {
      for (i++; i < text.length && text[i] !== '"'; i++) if (text[i] === '\\') i++;
    } else if (c === '(') {
      if (depth++ === 0) start = i;
    } else if (c === ')' && --depth === 0) {
      found.push(text.slice(start, i + 1));
    }
  }
  return found;
}

function endOfComment(text: string, from: number): number {
  let nesting = 0;
  for (let i = from; i < text.length; i++) {
    if (text[i] === '(' && text[i + 1] === ';') {
      nesting++;
      i++;
    } else if (text[i] === ';' && text[i + 1] === ')') {
      i++;
      if (--nesting === 0) return i;
    }
  }
  return text.length;
}

const opensModule = (expression: string): boolean => /^\(module(\s|\)|\$)/.test(expression);

/** A module with the commands behind it, up to the next module. */
function groups(text: string): string[][] {
  const all: string[][] = [];
  for (const expression of expressions(text)) {
    if (opensModule(expression) || all.length === 0) all.push([]);
    all[all.length - 1]!.push(expression);
  }
  return all;
}

/** Runs wast2json on a text; undefined: it cannot read it. */
function convert(text: string): Command[] | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'sherd-suite-'));
  try {
    const input = join(folder, 'part.wast');
    const output = join(folder, 'part.json');
    writeFileSync(input, text);
    const done = spawnSync('wast2json', ['--enable-all', '--no-check', input, '-o', output]);
    if (done.error !== undefined) throw new Error('wast2json (wabt) is not on the PATH');
    if (done.status !== 0) return undefined;
    const { commands } = JSON.parse(readFileSync(output, 'utf8')) as { commands: Command[] };
    for (const command of commands) {
      if (command.filename === undefined || command.module_type === 'text') continue;
      command.bytes = new Uint8Array(readFileSync(join(folder, command.filename)));
    }
    return commands;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Newer abbreviations in the words of wabt 1.0.32. */
function writtenOut(text: string): string {
  return text
    .replace(/\b(table\.(?:get|set|grow|fill|size))(?=\s*[()])/g, '$1 0')
    .replace(/\(ref null (func|extern)\)/g, '$1ref')
    .replace(/\(module definition\b/g, '(module');
}

const WASM_AS = fileURLToPath(
  new URL('../../../../node_modules/binaryen/bin/wasm-as', import.meta.url),
);

/** A module's bytes through Binaryen; undefined: it cannot read it either. */
function assembled(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (/^\(module\s+(\$\S+\s+)?(binary|quote|instance)\b/.test(text)) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'sherd-suite-'));
  try {
    const [input, output] = [join(folder, 'part.wat'), join(folder, 'part.wasm')];
    writeFileSync(input, text);
    const args = [WASM_AS, '--all-features', '--disable-custom-descriptors', input, '-o', output];
    return spawnSync(process.execPath, args).status === 0
      ? new Uint8Array(readFileSync(output))
      : undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A group whose module wast2json cannot read: the commands as if the module were empty, and Binaryen's bytes. */
function readAround(group: readonly string[]): { commands: Command[]; unread: number } {
  const bytes = assembled(group[0]!);
  if (bytes === undefined) return { commands: [], unread: group.length };
  const name = /^\(module\s+(\$\S+)/.exec(group[0]!)?.[1] ?? '';
  const { commands, unread } = readGroup([`(module ${name})`, ...group.slice(1)]);
  if (commands[0] !== undefined) commands[0].bytes = bytes;
  return { commands, unread };
}

/** A group's commands; those that cannot be read are counted. */
function readGroup(group: readonly string[]): { commands: Command[]; unread: number } {
  const whole = convert(group.join('\n'));
  if (whole !== undefined) return { commands: whole, unread: 0 };
  const [first, ...rest] = group as [string, ...string[]];
  const isModule = opensModule(first);
  if (isModule && convert(first) === undefined) return readAround(group);
  const readable = (part: readonly string[]): string[] => {
    if (part.length === 0) return [];
    const text = isModule ? [first, ...part] : part;
    if (convert(text.join('\n')) !== undefined) return [...part];
    if (part.length === 1) return [];
    const half = part.length >> 1;
    return [...readable(part.slice(0, half)), ...readable(part.slice(half))];
  };
  const kept = readable(isModule ? rest : group);
  const commands = convert((isModule ? [first, ...kept] : kept).join('\n')) ?? [];
  return { commands, unread: group.length - kept.length - (isModule ? 1 : 0) };
}

export interface Script {
  readonly groups: readonly (readonly Command[])[];
  /** Commands that wast2json cannot read. */
  readonly unread: number;
}

export function readScript(path: string): Script {
  const text = writtenOut(readFileSync(path, 'utf8'));
  const all = convert(text);
  if (all !== undefined) return { groups: [all], unread: 0 };
  const read = groups(text).map(readGroup);
  return {
    groups: read.map(({ commands }) => commands),
    unread: read.reduce((sum, { unread }) => sum + unread, 0),
  };
}
