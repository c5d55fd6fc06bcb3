/** `sherd compile PROG`: makes a shard module and says what it cost; `--explain FUNCTION` says what became of one function. */
import { basename } from 'node:path';
import type { Command } from 'commander';
import { explainFunction, findFunction } from '../../compile/explain.js';
import { renderExplanation } from '../../compile/explain-text.js';
import { type PauseBound, pauseBound } from '../../compile/pause-bound.js';
import { nodePlatform } from '../../node/platform.js';
import type { ShardModule } from '../../types/module.js';
import { boundJson, boundText } from '../bound.js';
import { CompileCache } from '../cache.js';
import { remark, report } from '../command.js';
import { compileProgress } from '../compile-progress.js';
import { formatBytes, formatCount, renderTable } from '../format.js';
import { stderr } from '../output.js';
import { loadProgram } from '../program.js';
import { requireDirectoryOf, writeFileAtomically } from '../status.js';

interface Options {
  readonly output?: string;
  readonly explain?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export function addCompile(program: Command): void {
  program
    .command('compile <program>')
    .description(
      'compile AssemblyScript (.ts), a core module or a component (.wasm) to a shard module',
    )
    .option('-o, --output <file>', 'where it goes (default: beside the program, .sherd.wasm)')
    .option(
      '--explain <function>',
      'print what was done to this function (index or name) and why; writes no module without -o',
    )
    .option('--json', 'print JSON')
    .option('-q, --quiet', 'print nothing')
    .action(async (path: string, options: Options) => {
      const output = options.output ?? defaultOutput(path);
      const writes = options.explain === undefined || options.output !== undefined;
      if (writes) await requireDirectoryOf(output, '-o');
      const startNs = nodePlatform.monotonicNs();
      const progress = compileProgress({ quiet: options.quiet === true, label: basename(path) });
      const { module, diagnostics, cached } = await loadProgram(
        path,
        new CompileCache(),
        progress.told,
      ).finally(() => progress.end());
      const compileMs = Number(nodePlatform.monotonicNs() - startNs) / 1e6;
      if (diagnostics !== '' && options.quiet !== true)
        await stderr.write(`${diagnostics.trimEnd()}\n`);
      if (writes) await writeFileAtomically(output, module.bytes);
      if (options.quiet === true) return;
      if (options.explain !== undefined) {
        const explained = explainFunction(module, findFunction(module, options.explain));
        await report(options, explained, () => renderExplanation(explained));
        return;
      }
      const bound = pauseBound(module);
      const facts = reportOf(module, path, output, compileMs, cached);
      await report(options, { ...facts, pauseBound: boundJson(bound) }, () =>
        renderCompile(module, path, output, bound),
      );
      if (cached && options.json !== true) await remark(options, 'taken from the compile cache');
    });
}

export function defaultOutput(path: string): string {
  return `${path.replace(/(\.sherd)?\.(wasm|ts|as)$/, '')}.sherd.wasm`;
}

function reportOf(
  module: ShardModule,
  program: string,
  output: string,
  compileMs: number,
  cached: boolean,
) {
  return {
    program,
    output,
    moduleHash: module.moduleHash,
    programHash: module.programHash,
    abi: module.abi,
    compileMs: Math.round(compileMs * 100) / 100,
    cached,
    ...module.sizes,
  };
}

function renderCompile(
  module: ShardModule,
  program: string,
  output: string,
  bound: PauseBound,
): string {
  const { sizes } = module;
  const row = (what: string, before: number, after: number): string[] => [
    what,
    formatBytes(before),
    formatBytes(after),
    before === 0 ? '-' : `${(after / before).toFixed(2)}×`,
  ];
  const table = renderTable(
    [
      { title: program },
      { title: 'BEFORE', align: 'right' },
      { title: 'AFTER', align: 'right' },
      { title: 'RATIO', align: 'right' },
    ],
    [
      row('code', sizes.programCodeBytes, sizes.moduleCodeBytes),
      row('module', sizes.programBytes, sizes.moduleBytes),
    ],
  );
  const counts = `${formatCount(sizes.functionsInstrumented)} of ${formatCount(sizes.functionsTotal)} functions instrumented, ${formatCount(sizes.safepoints)} safepoints`;
  return `${table}${counts}\npause bound: ${boundText(module, bound)}\nwrote ${output}  ${module.moduleHash}\n`;
}
