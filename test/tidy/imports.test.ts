/**
 * Import direction of host/ and the absence of I/O, clocks and chance in the pure folders.
 * The rules are in direction.ts; each rule is also tried on an edge that breaks it.
 */
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { complaint, folderOf, PORTABLE_FOLDERS, PURE_FOLDERS } from './direction.js';
import { importsOf, lineOf, listFiles, parse, visit } from './sources.js';

const files = listFiles('host').filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'));

function problemsOf(path: string, text: string): string[] {
  return importsOf(path, text).flatMap((edge) => complaint(edge) ?? []);
}

describe('import direction (DESIGN §3)', () => {
  it('holds for every edge of host/', () => {
    expect(files.length).toBeGreaterThan(10);
    expect(
      files.flatMap((path) => importsOf(path).flatMap((edge) => complaint(edge) ?? [])),
    ).toEqual([]);
  });

  it.each([
    ['host/scheduler/a.ts', "import { x } from '../guardian/b.js';"],
    ['host/oracle/a.ts', "import { x } from '../fabric/types.js';"],
    ['host/compile/a.ts', "import { x } from '../capsule/format.js';"],
    ['host/capsule/a.ts', "export { x } from '../runtime/instance.js';"],
    ['host/capsule/a.ts', "import type { x } from '../node/platform.js';"],
    ['host/runtime/a.ts', "import fs from 'node:fs';"],
    ['host/runtime/a.ts', "const fs = await import('fs');"],
    ['host/runtime/a.ts', "type X = import('node:fs').Stats;"],
    ['host/compile/assemblyscript.ts', "import asc from 'assemblyscript/asc';"],
    ['host/compile/a.ts', "const asc = await import('assemblyscript/asc');"],
    ['host/fabric/a.ts', "import { x } from '../core/core.js';"],
    ['host/simulate/a.ts', "import { x } from '../fabric/embedded/store.js';"],
    ['host/node/a.ts', "import { x } from '../control/server.js';"],
    ['host/control/a.ts', "import { x } from '../simulate/world.js';"],
    ['host/types/a.ts', "import { x } from '../core/core.js';"],
    ['host/node/a.ts', "import { x } from '../../test/exact/subject.js';"],
    ['host/newfolder/a.ts', "import { x } from '../types/state.js';"],
  ])('names the violating edge: %s: %s', (path, text) => {
    const problems = problemsOf(path, text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`${path}:1 → `);
  });

  it.each([
    [
      'host/runtime/a.ts',
      "import { x } from '../capsule/format.js'; import { Packr } from 'msgpackr';",
    ],
    [
      'host/simulate/a.ts',
      "import { x } from '../fabric/memory.js'; import { y } from '../fabric/memory/faults.js';",
    ],
    ['host/compile/assemblyscript.ts', "const asc = await import('assemblyscript/asc');"],
    ['host/node/a.ts', "import fs from 'node:fs'; import { x } from '../protocol/life.js';"],
    ['host/cli/a.ts', "import { x } from '../index.js'; import { y } from '../control/client.js';"],
  ])('permits: %s: %s', (path, text) => {
    expect(problemsOf(path, text)).toEqual([]);
  });
});

/** Globals of Node that a portable folder must not use, and sources of time and chance that a pure one must not. */
const NODE_GLOBALS = ['Buffer', 'process', '__dirname', '__filename', 'require', 'setImmediate'];
const IMPURE_GLOBALS = [
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'queueMicrotask',
  'fetch',
  'crypto',
  'console',
];

/** `file:line name` for each use of a global from `names` (declared names of the file itself are not globals). */
function globalUses(path: string, names: readonly string[], text?: string): string[] {
  const file = parse(path, text);
  const uses: string[] = [];
  const declared = new Set<string>();
  visit(file, (node) => {
    const name = (node as ts.NamedDeclaration).name;
    if (ts.isIdentifier(node) || name === undefined || !ts.isIdentifier(name)) return;
    if (ts.isVariableDeclaration(node) || ts.isParameter(node) || ts.isFunctionDeclaration(node))
      declared.add(name.text);
  });
  visit(file, (node) => {
    if (!ts.isIdentifier(node) || !names.includes(node.text) || declared.has(node.text)) return;
    const parent = node.parent;
    if (ts.isPropertyAccessExpression(parent) && parent.name === node) return;
    if (
      (ts.isPropertyAssignment(parent) ||
        ts.isPropertySignature(parent) ||
        ts.isMethodDeclaration(parent)) &&
      parent.name === node
    )
      return;
    if (ts.isTypeReferenceNode(parent)) return;
    uses.push(`${path}:${lineOf(file, node)} ${node.text}`);
  });
  return uses;
}

function mathRandomUses(path: string, text?: string): string[] {
  const file = parse(path, text);
  const uses: string[] = [];
  visit(file, (node) => {
    if (ts.isPropertyAccessExpression(node) && node.getText(file) === 'Math.random')
      uses.push(`${path}:${lineOf(file, node)}`);
  });
  return uses;
}

describe('purity', () => {
  it('portable folders use no global of Node', () => {
    const portable = files.filter((path) => PORTABLE_FOLDERS.includes(folderOf(path)));
    expect(portable.flatMap((path) => globalUses(path, NODE_GLOBALS))).toEqual([]);
  });

  it('pure folders read no clock, do no I/O and call no Math.random', () => {
    const pure = files.filter((path) => PURE_FOLDERS.includes(folderOf(path)));
    expect(
      pure.flatMap((path) => [...globalUses(path, IMPURE_GLOBALS), ...mathRandomUses(path)]),
    ).toEqual([]);
  });

  it('sees such uses', () => {
    expect(
      globalUses('host/oracle/a.ts', IMPURE_GLOBALS, 'const x = Date.now();\nsetTimeout(f, 1);'),
    ).toEqual(['host/oracle/a.ts:1 Date', 'host/oracle/a.ts:2 setTimeout']);
    expect(
      globalUses('host/oracle/a.ts', NODE_GLOBALS, 'const x = { process: 1 }; x.process;'),
    ).toEqual([]);
    expect(mathRandomUses('host/oracle/a.ts', 'Math.random()')).toEqual(['host/oracle/a.ts:1']);
  });
});
