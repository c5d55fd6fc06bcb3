/**
 * Run by platform-process.test.ts with --allow-natives-syntax: asks V8 itself which compiler made each function's code
 * before its first call, on the main thread and in two workers at once. Argument: URL of the built platform.
 */
import { setFlagsFromString } from 'node:v8';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const platformUrl = isMainThread ? process.argv[2] : workerData.platformUrl;
const { nodePlatform, canOptimise } = await import(platformUrl);

/** The platform switches the syntax off after use, in any thread. */
function withNatives(action) {
  for (;;) {
    setFlagsFromString('--allow-natives-syntax');
    try {
      return action();
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
}

const isTurboFan = (f) => withNatives(() => new Function('f', 'return %IsTurboFanFunction(f)')(f));

const leb = (n) => [(n & 127) | 128, ((n >> 7) & 127) | 128, (n >> 14) & 127];

/**
 * (func (export "f") (param i32) (result i32) (local i32)
 *   (loop (local.set 1 (i32.add (local.get 1) (i32.const SALT)))
 *         (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
 *   (local.get 1))
 */
function moduleOf(salt) {
  const body = [
    ...[1, 1, 0x7f, 3, 0x40, 0x20, 1, 0x41, ...leb(salt), 0x6a, 0x21, 1],
    ...[0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x0b],
  ];
  return Uint8Array.of(
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0],
    ...[7, 5, 1, 1, 0x66, 0, 0, 10, body.length + 2, 1, body.length, ...body],
  );
}

/** Ordinary modules are called long enough to tier up in the background meanwhile. */
function check(firstSalt) {
  const found = { can: canOptimise(), optimised: 0, plain: 0, second: 0, right: 0 };
  for (let i = 0; i < 40; i++) {
    for (const optimise of [true, false]) {
      const salt = firstSalt + 2 * i + Number(optimise);
      const module = nodePlatform.compileWasm(moduleOf(salt), { optimise });
      const { f } = nodePlatform.instantiateWasm(module, {}).exports;
      const second = nodePlatform.instantiateWasm(module, {}).exports.f;
      if (isTurboFan(second)) found.second++;
      if (isTurboFan(f)) found[optimise ? 'optimised' : 'plain']++;
      if (f(1_000_000) === Math.imul(1_000_000, salt)) found.right++;
    }
  }
  return found;
}

function inWorker(firstSalt) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { firstSalt, platformUrl } });
    worker.on('message', resolve).on('error', reject);
  });
}

if (isMainThread) {
  const workers = [inWorker(20_000), inWorker(30_000)];
  console.log(JSON.stringify([check(10_000), ...(await Promise.all(workers))]));
} else {
  parentPort.postMessage(check(workerData.firstSalt));
}
