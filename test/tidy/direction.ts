/**
 * The import direction of host/ (DESIGN §3), as data and as a function from an edge to a complaint.
 *
 *   index.ts · cli · dashboard
 *            │
 *     node   │   control      simulate
 *        └───┼──────┘            │
 *   runtime → capsule → compile  │      fabric (simulate: fabric/memory only)
 *            │      {scheduler, guardian, generator, oracle, protocol}
 *            └──────────────┬────┘
 *                     core → types
 *
 * I1  A folder may import itself and what ALLOWED names, nothing else.
 * I2  Portable and pure folders, core and types use no Node builtin and only the packages in PACKAGES.
 */
import { isBuiltin } from 'node:module';
import type { ImportEdge } from './sources.js';

const PURE = ['scheduler', 'guardian', 'generator', 'oracle', 'protocol'] as const;
const LOWER = ['types', 'core'];
const PORTABLE = ['compile', 'capsule', 'runtime'];
const BELOW_NODE = [...LOWER, ...PURE, ...PORTABLE, 'fabric'];
const ALL = [...BELOW_NODE, 'simulate', 'node', 'control', 'cli', 'dashboard', 'index.ts'];

/** What each folder of host/ may import besides itself. */
export const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  types: [],
  core: ['types'],
  ...Object.fromEntries(PURE.map((folder) => [folder, LOWER])),
  compile: LOWER,
  capsule: [...LOWER, 'compile'],
  runtime: [...LOWER, 'capsule', 'compile'],
  fabric: ['types'],
  simulate: [...LOWER, ...PURE, 'fabric/memory'],
  node: BELOW_NODE,
  control: BELOW_NODE,
  dashboard: ALL,
  cli: ALL,
  'index.ts': ALL,
};

export const PURE_FOLDERS: readonly string[] = PURE;

/** Folders without any Node API. */
export const PORTABLE_FOLDERS: readonly string[] = [...LOWER, ...PURE, ...PORTABLE];

/** Packages that a folder without Node API may import; other folders may import any dependency. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  types: ['msgpackr'],
  core: ['@assemblyscript/loader'],
  capsule: ['msgpackr'],
  runtime: ['msgpackr', 'hash-wasm', 'fflate'],
};

/** Single files with a package of their own: loaded lazily only. */
const LAZY: Readonly<Record<string, readonly string[]>> = {
  'host/compile/assemblyscript.ts': ['assemblyscript'],
  'host/compile/component.ts': ['@bytecodealliance/jco'],
};

/** `host/compile/x.ts` → `compile`, `host/index.ts` → `index.ts`. */
export function folderOf(path: string): string {
  return path.split('/')[1] ?? '';
}

function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function mayImport(source: string, target: string): boolean {
  const from = folderOf(source);
  if (folderOf(target) === from) return true;
  return (ALLOWED[from] ?? []).some((allowed) => {
    const prefix = `host/${allowed}`;
    return target === prefix || target === `${prefix}.ts` || target.startsWith(`${prefix}/`);
  });
}

/** What is wrong with this edge, in one line; undefined when nothing is. */
export function complaint(edge: ImportEdge): string | undefined {
  const at = `${edge.source}:${edge.line} → ${edge.specifier}`;
  const from = folderOf(edge.source);
  if (ALLOWED[from] === undefined)
    return `${at}: host/${from} has no rule; add it to DESIGN §3 first`;
  if (edge.target !== undefined) {
    if (!edge.target.startsWith('host/'))
      return edge.target === 'package.json' ? undefined : `${at}: leaves host/`;
    return mayImport(edge.source, edge.target)
      ? undefined
      : `${at}: host/${from} may not import host/${folderOf(edge.target)}`;
  }
  if (!PORTABLE_FOLDERS.includes(from)) return undefined;
  if (isBuiltin(edge.specifier)) return `${at}: Node builtin in a portable folder`;
  const name = packageOf(edge.specifier);
  if (LAZY[edge.source]?.includes(name)) {
    return edge.kind !== 'static' ? undefined : `${at}: ${name} must be loaded lazily`;
  }
  return PACKAGES[from]?.includes(name) ? undefined : `${at}: package ${name} in host/${from}`;
}
