/**
 * WASI calls on the process: arguments, environment, clocks, random, exit, yield, sockets.
 *
 * Does: args_*, environ_*, clock_*, random_get, sched_yield, proc_*, sock_*. Does not: poll (calls-poll.ts).
 *
 * S1  There are no sockets: every descriptor that exists is none (ENOTSOCK).
 */
import { CLOCK, type GuestMemory } from './abi.js';
import type { CallTable, WasiCall } from './context.js';
import { check, fail } from './errno.js';

/** Wall time has the platform's millisecond. */
const WALL_RESOLUTION_NS = 1_000_000n;

/** Writes strings, each with a NUL, and the list of their addresses. */
function writeStrings(
  memory: GuestMemory,
  strings: readonly Uint8Array[],
  list: number,
  buffer: number,
): void {
  const bytes = stringsBytes(strings);
  memory.demand(list, strings.length * 4);
  memory.demand(buffer, bytes);
  let at = buffer;
  for (const [index, text] of strings.entries()) {
    memory.setU32(list + index * 4, at);
    memory.slice(at, text.length).set(text);
    memory.setU8(at + text.length, 0);
    at += text.length + 1;
  }
}

function writeSizes(
  memory: GuestMemory,
  strings: readonly Uint8Array[],
  count: number,
  size: number,
): void {
  memory.demand(count, 4);
  memory.demand(size, 4);
  memory.setU32(count, strings.length);
  memory.setU32(size, stringsBytes(strings));
}

function stringsBytes(strings: readonly Uint8Array[]): number {
  return strings.reduce((sum, text) => sum + text.length + 1, 0);
}

const clockResGet: WasiCall = ({ memory }, args) => {
  const id = args.u32(0);
  check(id <= CLOCK.threadCpu, 'inval');
  memory.setU64(args.u32(1), id === CLOCK.realtime ? WALL_RESOLUTION_NS : 1n);
};

/** CPU time is guest running time: one guest has one thread, and pauses are left out. */
const clockTimeGet: WasiCall = ({ memory, clock }, args) => {
  const id = args.u32(0);
  check(id <= CLOCK.threadCpu, 'inval');
  memory.demand(args.u32(2), 8);
  memory.setU64(args.u32(2), id === CLOCK.realtime ? clock.showWall() : clock.showMonotonic());
};

const randomGet: WasiCall = ({ memory, random }, args) => {
  random.fill(memory.slice(args.u32(0), args.u32(1)));
};

const schedYield: WasiCall = ({ control }) => {
  if (control.resumed === undefined) control.suspend({ kind: 'yield' });
};

const procExit: WasiCall = ({ control }, args) => control.exit(args.u32(0));

const procRaise: WasiCall = ({ control }, args) => {
  control.trap('signal', `the program raised signal ${args.u32(0)}`);
};

const noSocket: WasiCall = ({ descriptors }, args) => {
  descriptors.get(args.u32(0));
  fail('notsock');
};

export const PROCESS_CALLS: CallTable = {
  args_get: ['ii:i', ({ memory, args }, a) => writeStrings(memory, args, a.u32(0), a.u32(1))],
  args_sizes_get: ['ii:i', ({ memory, args }, a) => writeSizes(memory, args, a.u32(0), a.u32(1))],
  environ_get: ['ii:i', ({ memory, env }, a) => writeStrings(memory, env, a.u32(0), a.u32(1))],
  environ_sizes_get: ['ii:i', ({ memory, env }, a) => writeSizes(memory, env, a.u32(0), a.u32(1))],
  clock_res_get: ['ii:i', clockResGet],
  clock_time_get: ['iIi:i', clockTimeGet],
  random_get: ['ii:i', randomGet],
  sched_yield: [':i', schedYield],
  proc_exit: ['i:', procExit],
  proc_raise: ['i:i', procRaise],
  sock_accept: ['iii:i', noSocket],
  sock_recv: ['iiiiii:i', noSocket],
  sock_send: ['iiiii:i', noSocket],
  sock_shutdown: ['ii:i', noSocket],
};
