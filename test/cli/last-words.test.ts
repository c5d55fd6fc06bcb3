/** Why a child process did not start: one line for each thing that a machine may refuse, whatever the engine writes. */
import { describe, expect, it } from 'vitest';
import { reasonOf } from '../../host/cli/last-words.js';

/** Written by Node.js 20 under the limits named. */
const SAID = {
  'ulimit -n 48': `node:internal/fs/promises:637
  return new FileHandle(await PromisePrototypeThen(
                        ^
Error: EMFILE: too many open files, open '/x/dist/fabric/embedded-hub.js'
    at async open (node:internal/fs/promises:637:25)
    at async ModuleLoader.loadAndTranslate (node:internal/modules/esm/loader:543:45) {
  errno: -24,
}
Node.js v20.20.2`,
  'ulimit -v 2000000':
    '#\n# Fatal process OOM in Failed to reserve virtual memory for CodeRange\n#',
  'ulimit -v 6000000': `node:internal/deps/undici/undici:5971
      return await WebAssembly.instantiate(mod, {
                               ^
RangeError: WebAssembly.instantiate(): Out of memory: Cannot allocate Wasm memory for new instance
    at lazyllhttp (node:internal/deps/undici/undici:5971:32)
Node.js v20.20.2`,
  'ulimit -u 15': `  #  /usr/bin/node[28452]: std::unique_ptr<long unsigned int> node::WorkerThreadsTaskRunner::DelayedTaskScheduler::Start() at ../src/node_platform.cc:68
  #  Assertion failed: (0) == (uv_thread_create(t.get(), start_thread, this))
----- Native stack trace -----
 1: 0xcb5167 node::Assert(node::AssertionInfo const&) [/usr/bin/node]
 8: 0xbb835e _start [/usr/bin/node]`,
  'ulimit -u 25': `Error: EAGAIN
    at new Worker (node:internal/worker:297:19)
    at main (file:///x/dist/node/main.js:32:36)`,
} as const;

const reason = (text: string): ReturnType<typeof reasonOf> =>
  reasonOf(text.split('\n'), 'ended (SIGTRAP)');

describe('the reason of a child that did not start', () => {
  it.each<[keyof typeof SAID, string, string]>([
    ['ulimit -n 48', 'SHERD_LIMIT', 'ulimit -n'],
    ['ulimit -v 2000000', 'SHERD_ENGINE_MEMORY', 'ulimit -v'],
    ['ulimit -v 6000000', 'SHERD_ENGINE_MEMORY', 'ulimit -v'],
    ['ulimit -u 15', 'SHERD_LIMIT', 'ulimit -u'],
    ['ulimit -u 25', 'SHERD_LIMIT', 'ulimit -u'],
  ])('%s is named, with what to raise', (limit, code, next) => {
    const { why, ...rest } = reason(SAID[limit]);
    expect(rest).toEqual({ code, next: expect.stringContaining(next) });
    expect(why).not.toMatch(/[#\n]|\bat /);
  });

  it('is what sherd says itself, also behind what a library writes without a line end', () => {
    const disk =
      'Write error: No space left on device position 49152, size 4096' +
      'sherd: /t/records.mdb: the disk is full; nothing was stored — free some space [SHERD_DISK]';
    expect(reason(`Error: EAGAIN\n${disk}`)).toEqual({
      code: 'SHERD_DISK',
      why: '/t/records.mdb: the disk is full; nothing was stored',
      next: 'free some space',
    });
    expect(reason('sherd: port 80: taken [SHERD_PORT]')).toEqual({
      code: 'SHERD_PORT',
      why: 'port 80: taken',
      next: undefined,
    });
  });

  it('is the line that names the error, never a frame of its stack', () => {
    const stack = 'TypeError: x is not a function\n    at f (file:///y.js:1:2)\n\nNode.js v20.20.2';
    expect(reason(stack).why).toBe('TypeError: x is not a function');
    expect(reason('something\n    at f (y.js:1:2)').why).toBe('something');
    expect(reason('#\n').why).toBe('it gave no reason, ended (SIGTRAP)');
  });
});
