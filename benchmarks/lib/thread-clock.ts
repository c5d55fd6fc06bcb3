/**
 * CPU time of the calling thread alone.
 *
 * Does: ask the operating system, by way of WASI's thread clock: Node.js itself tells it from version 24 on only. About 1.4 µs a
 * question. Does not: count what the engine's helper threads do meanwhile (`process.cpuUsage` does).
 *
 * K1  The clock never goes backwards, else it throws.
 */
/** WASI's CLOCK_THREAD_CPUTIME_ID. */
const THREAD_CPUTIME = 3;

/** (module (memory (export "memory") 1) (func (export "_initialize"))): where the answer is written. */
const MODULE = Uint8Array.of(
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...[0x01, 0x04, 0x01, 0x60, 0x00, 0x00, 0x03, 0x02, 0x01, 0x00, 0x05, 0x03, 0x01, 0x00, 0x01],
  ...[0x07, 0x18, 0x02, 0x06, ...Buffer.from('memory'), 0x02, 0x00],
  ...[0x0b, ...Buffer.from('_initialize'), 0x00, 0x00],
  ...[0x0a, 0x04, 0x01, 0x02, 0x00, 0x0b],
);

type ClockTimeGet = (clock: number, precision: bigint, at: number) => number;

interface Clock {
  readonly ask: ClockTimeGet;
  readonly answer: DataView;
}

let clock: Clock | undefined;
let lastNs = 0;

function open(): Clock {
  // Imported when it is used: Node.js warns about it.
  const { WASI } = process.getBuiltinModule('node:wasi');
  const wasi = new WASI({ version: 'preview1' });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(MODULE));
  wasi.initialize({ exports });
  const { buffer } = exports['memory'] as WebAssembly.Memory;
  return {
    ask: wasi.wasiImport['clock_time_get'] as ClockTimeGet,
    answer: new DataView(buffer),
  };
}

/** ns of CPU time (user and system) that this thread has used. Throws where there is no such clock. */
export function threadCpuNs(): number {
  clock ??= open();
  const errno = clock.ask(THREAD_CPUTIME, 0n, 0);
  const nowNs = Number(clock.answer.getBigUint64(0, true));
  if (errno !== 0 || nowNs < lastNs) throw new Error(`no CPU clock of threads here (${errno})`);
  lastNs = nowNs;
  return nowNs;
}
