/** The library's declarations, as a strict TypeScript program for Node.js has them: no DOM, and every declaration checked. */
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const DIST = new URL('../dist/', import.meta.url).href;
const ENTRY = fileURLToPath(new URL('index.d.ts', DIST));

function complaintsWith(lib: readonly string[]): string[] {
  const program = ts.createProgram([ENTRY], {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: lib.map((name) => `lib.${name}.d.ts`),
    types: ['node'],
  });
  return ts
    .getPreEmitDiagnostics(program)
    .filter(({ file }) => file === undefined || file.fileName.includes('/dist/'))
    .map(({ messageText, file }) => {
      return `${file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
}

describe('the declarations of the library', () => {
  it.each([[['es2022']], [['es2023', 'esnext.disposable']], [['es2022', 'dom']]])(
    'hold with %j',
    { timeout: 60_000 },
    (lib) => {
      expect(complaintsWith(lib)).toEqual([]);
    },
  );
});
