/**
 * WASI preview 1, bound to an instance.
 *
 * Does: turn the call tables into host functions: arguments, memory, errno, suspension.
 * Does not: hold state (context.ts) or take it down (../guest-host.ts).
 *
 * V1  No host function throws for anything that the guest does: an errno comes back (types/host.ts H4).
 * V2  A call that needs a missing blob suspends before it has changed anything, and is exact when re-invoked.
 */
import type { HostControl, HostFunction } from '../../types/host.js';
import type { ValType } from '../../types/state.js';
import { GuestMemory } from './abi.js';
import { FD_CALLS } from './calls-fd.js';
import { PATH_CALLS } from './calls-path.js';
import { POLL_CALLS } from './calls-poll.js';
import { PROCESS_CALLS } from './calls-process.js';
import {
  CallArgs,
  type CallContext,
  type CallTable,
  type WasiCall,
  type WasiState,
} from './context.js';
import { ERRNO, NeedBlob, WasiError } from './errno.js';

/** The module name under which programs import it. */
export const WASI_MODULE = 'wasi_snapshot_preview1';

const CALLS: CallTable = { ...FD_CALLS, ...PATH_CALLS, ...POLL_CALLS, ...PROCESS_CALLS };

export interface WasiSignature {
  readonly params: readonly ValType[];
  readonly results: readonly ValType[];
}

/** Every function that is offered, with its Wasm type. */
export function wasiSignatures(): ReadonlyMap<string, WasiSignature> {
  const types = (letters: string): ValType[] =>
    [...letters].map((c) => (c === 'I' ? 'i64' : 'i32'));
  return new Map(
    Object.entries(CALLS).map(([name, [signature]]) => {
      const [params = '', results = ''] = signature.split(':');
      return [name, { params: types(params), results: types(results) }];
    }),
  );
}

/** The functions, bound to one instance. */
export function bindWasi(
  state: WasiState,
  control: HostControl,
): ReadonlyMap<string, HostFunction> {
  const functions = new Map<string, HostFunction>();
  const binding = new Binding(state, control);
  for (const [name, [signature, call]] of Object.entries(CALLS)) {
    const bound: HostFunction = (...raw) => binding.invoke(call, raw);
    const noResult: HostFunction = (...raw) => {
      binding.invoke(call, raw);
    };
    functions.set(name, signature.endsWith(':') ? noResult : bound);
  }
  return functions;
}

/** What the calls of one instance share: one context, whose memory is renewed when the guest's has changed. */
class Binding {
  readonly #context: CallContext & { memory: GuestMemory };

  constructor(state: WasiState, control: HostControl) {
    this.#context = { ...state, control, memory: new GuestMemory(new Uint8Array(0)) };
  }

  invoke(call: WasiCall, raw: readonly (number | bigint)[]): number {
    const context = this.#context;
    const { store } = context.inodes;
    const bytes = context.control.memory();
    if (!context.memory.shows(bytes)) context.memory = new GuestMemory(bytes);
    try {
      call(context, new CallArgs(raw));
    } catch (error) {
      if (error instanceof NeedBlob) {
        context.control.suspend({ kind: 'blob', hash: error.hash });
        return ERRNO.success;
      }
      store.settle();
      if (error instanceof WasiError) return error.errno;
      throw error;
    }
    store.settle();
    return ERRNO.success;
  }
}
