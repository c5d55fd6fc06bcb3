/** Real programs: wasi-libc, uninstrumented, driven through the host functions (test/fixtures/wasi, source beside). */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createGuestHost } from '../../../host/runtime/guest-host.js';
import { GuestRandom } from '../../../host/runtime/wasi/random.js';
import type { DirectoryTree, GuestHost, HostControl, ShardSpec } from '../../../host/types/host.js';
import type { Wait } from '../../../host/types/state.js';
import { dirOf, FakeBlobs, FakePlatform, type Shape, shapeOf, specOf } from './guest.js';

class Exit extends Error {
  constructor(readonly code: number) {
    super(`exit ${code}`);
  }
}

/** Runs a module to its end; a suspended call is re-invoked at once when its wait is over. */
class Program implements HostControl {
  readonly host: GuestHost;
  readonly waits: Wait[] = [];
  readonly platform = new FakePlatform();
  resumed: Wait | undefined;
  #wait: Wait | undefined;
  #memory: WebAssembly.Memory | undefined;

  constructor(
    readonly file: string,
    spec: ShardSpec,
    readonly blobs: FakeBlobs,
  ) {
    this.host = createGuestHost(spec, blobs, this.platform);
  }

  memory(): Uint8Array {
    return new Uint8Array(this.#memory!.buffer);
  }
  suspend(wait: Wait): void {
    this.#wait = wait;
  }
  exit(code: number): void {
    throw new Exit(code);
  }
  trap(_kind: string, message: string): void {
    throw new Error(message);
  }

  /** Exit code, or the message of the trap. */
  run(): number | string {
    const module = new WebAssembly.Module(
      readFileSync(new URL(`../../fixtures/wasi/${this.file}`, import.meta.url)),
    );
    const imports: WebAssembly.ModuleImports = {};
    for (const [name, call] of this.host.functions(this).get('wasi_snapshot_preview1')!) {
      imports[name] = (...args: (number | bigint)[]) => this.#call(() => call(...args));
    }
    const instance = new WebAssembly.Instance(module, { wasi_snapshot_preview1: imports });
    this.#memory = instance.exports.memory as WebAssembly.Memory;
    try {
      (instance.exports._start as () => void)();
      return 0;
    } catch (error) {
      if (error instanceof Exit) return error.code;
      return error instanceof Error ? error.message : String(error);
    }
  }

  #call(call: () => unknown): unknown {
    this.resumed = undefined;
    for (;;) {
      this.#wait = undefined;
      const result = call();
      const wait = this.#taken();
      if (wait === undefined) return result;
      this.waits.push(wait);
      if (wait.kind === 'blob') this.blobs.present.add(wait.hash);
      if (wait.kind === 'until') {
        this.platform.nowNs += wait.monotonicNs - this.host.guestMonotonicNs();
      }
      this.resumed = wait;
    }
  }

  #taken(): Wait | undefined {
    return this.#wait;
  }

  output(stream: 'stdout' | 'stderr'): string {
    const pieces = this.host.drainOutput().filter((piece) => piece.stream === stream);
    return Buffer.concat(pieces.map((piece) => piece.bytes)).toString();
  }
}

function dir(blobs: FakeBlobs, guestPath: string, readOnly: boolean, shape: Shape): DirectoryTree {
  return { guestPath, readOnly, root: dirOf(blobs, shape) };
}

const EXPECTED = `args 2 last argument env hello
stdin two
stdin words
/data/in.txt = first second
line 12345 is 12345
tell 120000
stat: ok
size 120009 regular 1
truncate: ok
/data/out.txt = 00000 00001
mkdir: ok
mkdir again: File exists
rename: ok
link: ok
symlink: ok
readlink dir/moved.txt
/data/soft = 00000 00001
lstat: ok
list /data: . .. dir escape in.txt soft
list /data/dir: . .. link.txt moved.txt
rmdir full: Directory not empty
unlink: ok
unlink open: ok
pwrite: ok
pread 0XY00
dangling: No such file or directory
rmdir: ok
read-only open: Read-only file system
read-only create: Read-only file system
read-only mkdir: Read-only file system
/ro/file = untouched
outside: Operation not permitted
nowhere: Capabilities insufficient
escape: Operation not permitted
write to O_RDONLY: Bad file descriptor
O_EXCL: File exists
chdir: ok
new.txt = made by C
terminal 0
`;

describe('wasi-libc', () => {
  it.each([false, true])(
    'reads and writes files as on any system (blobs at hand later: %s)',
    (lazy) => {
      const blobs = new FakeBlobs();
      const data = { 'in.txt': 'first\nsecond\n', escape: { link: '../../etc/passwd' } };
      const spec = specOf({
        args: ['files', 'last argument'],
        env: ['GREETING=hello'],
        stdin: blobs.chunks(Buffer.from(' two\nwords')),
        dirs: [dir(blobs, '/data', false, data), dir(blobs, '/ro', true, { file: 'untouched\n' })],
      });
      blobs.lazy = lazy;
      const program = new Program('files.wasm', spec, blobs);
      expect(program.run()).toBe(7);
      const pieces = program.host.drainOutput();
      const text = (stream: string): string =>
        Buffer.concat(
          pieces.filter((piece) => piece.stream === stream).map((p) => p.bytes),
        ).toString();
      expect(text('stdout')).toBe(EXPECTED);
      expect(text('stderr')).toBe('bye\n');
      expect(program.waits.length).toBe(lazy ? 3 : 0);
      const [tree] = program.host.trees();
      expect(shapeOf(tree!.root, new Map([...blobs.store, ...program.host.newBlobs()]))).toEqual({
        ...data,
        soft: { link: 'dir/moved.txt' },
        ro: '',
        'new.txt': 'made by C\n',
      });
    },
  );

  it('sleeps by suspending, and reads the clocks and the seeded generator', () => {
    const entropy = new Uint8Array(8);
    new GuestRandom(specOf().seed).fill(entropy);
    const program = new Program('clock.wasm', specOf(), new FakeBlobs());
    expect(program.run()).toContain('unreachable');
    expect(program.output('stdout')).toBe(
      [
        'nanosleep 0',
        'slept 2000000500',
        'usleep 0',
        'slept 2001000500',
        'poll 1 1',
        'yield 0',
        'time 1700000000',
        `entropy 0 ${Buffer.from(entropy).toString('hex')}`,
        '',
      ].join('\n'),
    );
    expect(program.waits.map((wait) => wait.kind)).toEqual(['until', 'until', 'yield']);
  });
});
