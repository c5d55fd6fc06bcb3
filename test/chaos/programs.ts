/**
 * What a chaos run computes, and what each of it gives when nothing happens to it.
 *
 *   kind ── library or `sherd run`, once ──▶ Straight: output of both streams, exit, fuel, files
 *
 * Does: make inputs, run straight, remember. Does not: compare (job.ts).
 *
 * P1  Every run of a kind has the same arguments, seed, input and files, so everything that it gives is the same.
 */
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Random } from '../exact/random.js';
import { ticking, wasmOf } from './guests.js';
import { Finding, type Processes } from './processes.js';

export interface Kind {
  readonly name: string;
  /** Path of the program, below the repository's root or in the inputs' folder. */
  readonly program: string;
  readonly args?: readonly string[];
  readonly maxFuel?: number;
  /** Its input, a name in the inputs' folder. */
  readonly stdin?: string;
  /** Guest path of a directory that it is given and changes. */
  readonly dir?: string;
  /** A trap's fuel is that of the last stop before it (README). */
  readonly anyFuel?: true;
}

export const KINDS: readonly Kind[] = [
  { name: 'raytracer', program: 'assembly/programs/raytracer.ts', args: ['320', '180', '2'] },
  {
    name: 'raytracer-file',
    program: 'assembly/programs/raytracer.ts',
    args: ['-o', '/data/picture.png', '320', '180', '2'],
    dir: '/data',
  },
  { name: 'perft', program: 'assembly/programs/perft.ts', args: ['4', 'kiwipete'] },
  { name: 'perft-start', program: 'assembly/programs/perft.ts', args: ['4', 'start'] },
  { name: 'wordcount', program: 'assembly/programs/wordcount.ts', stdin: 'text' },
  { name: 'nbody', program: 'assembly/programs/nbody.ts', args: ['6000000', '20000'] },
  { name: 'sat', program: 'assembly/programs/sat.ts', args: ['--random', '150', '640', '3'] },
  { name: 'gc', program: 'assembly/programs/gc.ts', args: ['40000', '8000'] },
  { name: 'simd', program: 'assembly/programs/simd.ts', args: ['320', '600'] },
  {
    name: 'wc_sort',
    program: 'test/fixtures/wc_sort.wasm',
    args: ['/data'],
    stdin: 'text',
    dir: '/data',
  },
  { name: 'forth', program: 'test/fixtures/forth.wasm', stdin: 'forth' },
  { name: 'ticks', program: 'ticks.wasm' },
  { name: 'sleeps', program: 'sleeps.wasm' },
  { name: 'drips', program: 'drips.wasm' },
  { name: 'flood', program: 'flood.wasm' },
  { name: 'trap', program: 'trap.wasm', anyFuel: true },
  { name: 'quota', program: 'ticks.wasm', maxFuel: 60_000_000 },
];

const GUESTS = {
  ticks: ticking({ lines: 3_000, turns: 200_000, kib: 1_024, sleepMs: 0, end: 7 }),
  sleeps: ticking({ lines: 120, turns: 2_000, kib: 64, sleepMs: 150, end: 0 }),
  drips: ticking({ lines: 400, turns: 50_000, kib: 512, sleepMs: 40, end: 5 }),
  flood: ticking({ lines: 150_000, turns: 20, kib: 0, sleepMs: 0, end: 3 }),
  trap: ticking({ lines: 200, turns: 1_000_000, kib: 256, sleepMs: 0, end: 'trap' }),
};

/** Prints one Fibonacci number after the other. */
const FORTH = `: fib dup 2 < if else dup 1 - recurse swap 2 - recurse + then ;
${Array.from({ length: 25 }, (_, n) => `${n} fib . cr`).join('\n')}\n`;

const SEED = '00112233445566778899aabbccddeeff';

export interface Straight {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly reason: string;
  readonly code: number;
  readonly fuelUsed: bigint;
  /** Path → content, of the directory that it was given. */
  readonly files: ReadonlyMap<string, Buffer>;
}

interface Status {
  readonly reason: string;
  readonly code: number;
  readonly figures: { readonly fuelUsed: string } | null;
}

export class Programs {
  readonly #known = new Map<string, Promise<Straight>>();

  private constructor(
    private readonly processes: Processes,
    private readonly inputs: string,
  ) {}

  /** Makes the inputs. */
  static async make(processes: Processes, folder: string): Promise<Programs> {
    const inputs = join(folder, 'inputs');
    mkdirSync(inputs, { recursive: true });
    for (const [name, text] of Object.entries(GUESTS))
      writeFileSync(join(inputs, `${name}.wasm`), await wasmOf(text));
    writeFileSync(join(inputs, 'text'), textOf(200_000));
    writeFileSync(join(inputs, 'forth'), FORTH);
    writeFileSync(join(inputs, 'empty'), '');
    return new Programs(processes, inputs);
  }

  /** What follows `run` or `submit`. `folder`: where its directory is made. */
  argsOf(kind: Kind, folder: string): string[] {
    const { program, args = [], maxFuel, stdin = 'empty' } = kind;
    const given = ['--seed', SEED, '--stdin', join(this.inputs, stdin)];
    if (maxFuel !== undefined) given.push('--max-fuel', String(maxFuel));
    if (kind.dir !== undefined) {
      mkdirSync(folder, { recursive: true });
      copyFileSync(join(this.inputs, 'forth'), join(folder, 'was-there'));
      given.push('--dir', `${kind.dir}=${folder}`);
    }
    return [...given, this.#pathOf(program), ...args];
  }

  #pathOf(program: string): string {
    return join(program.includes('/') ? this.processes.root : this.inputs, program);
  }

  /** What it gives when nothing happens to it. */
  straight(kind: Kind): Promise<Straight> {
    const known = this.#known.get(kind.name) ?? this.#run(kind);
    this.#known.set(kind.name, known);
    return known;
  }

  async #run(kind: Kind): Promise<Straight> {
    return kind.dir === undefined ? this.#runHere(kind) : this.#runAlone(kind);
  }

  /** In a thread of this process: quick. */
  async #runHere({ program, args = [], stdin = 'empty', maxFuel }: Kind): Promise<Straight> {
    const library = (await import(
      pathToFileURL(join(this.processes.root, 'dist/index.js')).href
    )) as typeof import('../../host/index.js');
    const path = this.#pathOf(program);
    const shard = await library.start(await library.compile(path), {
      name: basename(path),
      args,
      seed: SEED,
      stdin: readFileSync(join(this.inputs, stdin)),
      ...(maxFuel === undefined ? {} : { maxFuel: BigInt(maxFuel) }),
    });
    const parts = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
    for await (const { stream, bytes } of shard.output) parts[stream].push(bytes);
    const { reason, code, fuelUsed } = await shard.result;
    const [stdout, stderr] = [Buffer.concat(parts.stdout), Buffer.concat(parts.stderr)];
    return { stdout, stderr, reason, code, fuelUsed, files: new Map() };
  }

  /** By `sherd run`, which brings its files home. */
  async #runAlone(kind: Kind): Promise<Straight> {
    const folder = join(this.inputs, '..', `straight-${kind.name}`);
    const status = join(this.inputs, `${kind.name}.status`);
    const args = ['run', '--quiet', '--status', status, ...this.argsOf(kind, folder)];
    const { stdout, stderr } = await this.processes.verb(args);
    const { reason, code, figures } = JSON.parse(readFileSync(status, 'utf8')) as Status;
    if (figures === null || reason !== 'exit')
      throw new Finding(`${kind.name} alone: ${reason} ${code}: ${stderr}`);
    const fuelUsed = BigInt(figures.fuelUsed);
    const files = filesIn(folder);
    return { stdout, stderr: Buffer.from(stderr), reason, code, fuelUsed, files };
  }
}

/** So many words, the short ones often, in lines. */
function textOf(words: number): string {
  const random = new Random(7);
  const parts: string[] = [];
  for (let i = 0; i < words; i++) {
    const letters = Array.from({ length: 1 + random.below(1 + random.below(9)) }, () =>
      String.fromCharCode(97 + random.below(1 + random.below(26))),
    );
    parts.push(letters.join(''), random.chance(0.1) ? '.\n' : ' ');
  }
  return parts.join('');
}

/** Path → content of all files below. */
export function filesIn(folder: string, below = ''): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const name of readdirSync(join(folder, below)).sort()) {
    const path = join(below, name);
    if (statSync(join(folder, path)).isDirectory()) {
      for (const [key, content] of filesIn(folder, path)) files.set(key, content);
    } else files.set(path, readFileSync(join(folder, path)));
  }
  return files;
}
