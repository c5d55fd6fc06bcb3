/**
 * What the tidy tests look at: the repository's files and the imports of its TypeScript sources.
 *
 * Does: list tracked and new files, parse a source with the TypeScript API, collect its imports.
 * Does not: judge (the tests do), type-check, follow imports.
 *
 * D1  Files that git ignores are not listed.
 * D2  Static imports, re-exports, dynamic `import()`, `import type` and `import('…')` types all count as imports.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** Repository-relative paths of all files under `folders` (default: everything) that are not ignored. */
export function listFiles(...folders: string[]): string[] {
  const listed = execFileSync(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '--', ...folders],
    {
      cwd: ROOT,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    },
  );
  const paths = listed.split('\0').filter((path) => path !== '' && existsSync(join(ROOT, path)));
  return [...new Set(paths)].sort();
}

export function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

export function parse(path: string, text = readText(path)): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);
}

export interface ImportEdge {
  /** Repository-relative path of the importing file. */
  readonly source: string;
  readonly line: number;
  /** As written: a relative path or a package name. */
  readonly specifier: string;
  /** Repository-relative path of the imported file (`.js` resolved to `.ts`), undefined for packages. */
  readonly target: string | undefined;
  /** `type`: erased by the compiler, nothing is loaded. */
  readonly kind: ImportKind;
}

export type ImportKind = 'static' | 'dynamic' | 'type';

function isTypeOnly(node: ts.ImportDeclaration | ts.ExportDeclaration): boolean {
  if (ts.isExportDeclaration(node)) return node.isTypeOnly;
  return node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
}

function moduleText(node: ts.Node): { text: string; kind: ImportKind } | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    const specifier = node.moduleSpecifier;
    if (specifier === undefined || !ts.isStringLiteral(specifier)) return undefined;
    return { text: specifier.text, kind: isTypeOnly(node) ? 'type' : 'static' };
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
    const argument = node.arguments[0];
    if (argument === undefined || !ts.isStringLiteralLike(argument)) return undefined;
    return { text: argument.text, kind: 'dynamic' };
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    const literal = node.argument.literal;
    return ts.isStringLiteral(literal) ? { text: literal.text, kind: 'type' } : undefined;
  }
  return undefined;
}

/** All imports of one file. */
export function importsOf(path: string, text = readText(path)): ImportEdge[] {
  const file = parse(path, text);
  const edges: ImportEdge[] = [];
  visit(file, (node) => {
    const found = moduleText(node);
    if (found === undefined) return;
    const isRelative = found.text.startsWith('.');
    const joined = isRelative ? relative('.', join(dirname(path), found.text)) : undefined;
    edges.push({
      source: path,
      line: lineOf(file, node),
      specifier: found.text,
      target: joined?.replace(/\.js$/, '.ts'),
      kind: found.kind,
    });
  });
  return edges;
}

export function visit(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node);
  ts.forEachChild(node, (child) => visit(child, see));
}

export function lineOf(file: ts.SourceFile, node: ts.Node): number {
  return file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1;
}
