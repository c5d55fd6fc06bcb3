/**
 * poll_oneoff: sleeping, and asking whether descriptors are ready.
 *
 * Does: answer at once when anything is ready, else suspend until the first deadline.
 * Does not: wait for input: standard input is all there from the start, files always are.
 *
 * P1  The first call turns every timeout into a deadline and suspends with the earliest; `control.resumed` brings
 *     that deadline back, so a pause or a move in the middle neither shortens nor prolongs a sleep.
 * P2  At least one event is reported.
 */
import { CLOCK, EVENT, type GuestMemory } from './abi.js';
import type { CallArgs, CallContext, CallTable, WasiCall } from './context.js';
import { check, ERRNO } from './errno.js';

const SUBSCRIPTION_BYTES = 48;
const EVENT_BYTES = 32;
const SUBSCRIPTIONS_MAX = 65_536;
const ABSTIME = 1;
/** Wall time goes in milliseconds, so it may lag behind the monotonic deadline. */
const WALL_GRACE_NS = 2_000_000n;
const DEADLINE_MAX = 0x7fff_ffff_ffff_ffffn;

interface Subscription {
  readonly userdata: bigint;
  readonly type: number;
  readonly fd: number;
  readonly clockId: number;
  readonly timeoutNs: bigint;
  readonly absolute: boolean;
}

interface PollEvent {
  readonly userdata: bigint;
  readonly type: number;
  readonly errno: number;
  readonly bytes: bigint;
}

function readSubscription(memory: GuestMemory, at: number): Subscription {
  const type = memory.u8(at + 8);
  check(type <= EVENT.fdWrite, 'inval');
  return {
    userdata: memory.u64(at),
    type,
    fd: memory.u32(at + 16),
    clockId: memory.u32(at + 16),
    timeoutNs: memory.u64(at + 24),
    absolute: (memory.u16(at + 40) & ABSTIME) !== 0,
  };
}

function isClock(subscription: Subscription): boolean {
  return subscription.type === EVENT.clock;
}

/** The event of a descriptor: always there, as an error when the descriptor does not fit. */
function descriptorEvent(context: CallContext, s: Subscription): PollEvent {
  const base = { userdata: s.userdata, type: s.type };
  if (!context.descriptors.has(s.fd)) return { ...base, errno: ERRNO.badf, bytes: 0n };
  const { kind, ino, offset } = context.descriptors.get(s.fd);
  const readable = kind === 'stdin' || kind === 'file';
  const writable = kind === 'stdout' || kind === 'stderr' || kind === 'file';
  const fits = s.type === EVENT.fdRead ? readable : writable;
  if (!fits) return { ...base, errno: ERRNO.badf, bytes: 0n };
  if (s.type === EVENT.fdWrite) return { ...base, errno: 0, bytes: 1n };
  const content = kind === 'stdin' ? context.stdin : context.inodes.file(ino).content;
  return { ...base, errno: 0, bytes: BigInt(Math.max(0, content.bytes - offset)) };
}

function clockEvent(s: Subscription): PollEvent {
  return { userdata: s.userdata, type: s.type, errno: 0, bytes: 0n };
}

/** Time left of a clock subscription when `startNs` is the guest time of the call. */
function timeLeft(context: CallContext, s: Subscription, startNs: bigint): bigint {
  if (!s.absolute) return s.timeoutNs;
  const now = s.clockId === CLOCK.realtime ? context.clock.showWall() : startNs;
  return s.timeoutNs > now ? s.timeoutNs - now : 0n;
}

/** Clock events that are due; none when the call was suspended. */
function clockEvents(context: CallContext, clocks: readonly Subscription[]): PollEvent[] {
  const { control, clock } = context;
  const now = clock.showMonotonic();
  const resumed = control.resumed?.kind === 'until' ? control.resumed.monotonicNs : undefined;
  if (resumed !== undefined) {
    if (now < resumed) context.control.suspend({ kind: 'until', monotonicNs: resumed });
    return now < resumed ? [] : dueEvents(context, clocks, now).map(clockEvent);
  }
  const left = clocks.map((s) => timeLeft(context, s, now));
  const shortest = least(left);
  if (shortest > 0n) {
    const deadline = now + shortest;
    const monotonicNs = deadline < DEADLINE_MAX ? deadline : DEADLINE_MAX;
    control.suspend({ kind: 'until', monotonicNs });
    return [];
  }
  return clocks.filter((_, index) => left[index] === 0n).map(clockEvent);
}

/** Which clocks a sleep that is over was for: absolute ones that have come, else the shortest timeout. */
function dueEvents(
  context: CallContext,
  clocks: readonly Subscription[],
  now: bigint,
): readonly Subscription[] {
  const grace = (s: Subscription): bigint => (s.clockId === CLOCK.realtime ? WALL_GRACE_NS : 0n);
  const come = clocks.filter((s) => s.absolute && timeLeft(context, s, now) <= grace(s));
  if (come.length > 0) return come;
  const relative = clocks.filter((s) => !s.absolute);
  if (relative.length === 0) return clocks.slice(0, 1);
  const shortest = least(relative.map((s) => s.timeoutNs));
  return relative.filter((s) => s.timeoutNs === shortest);
}

function least(values: readonly bigint[]): bigint {
  let smallest = values[0] ?? 0n;
  for (const value of values) if (value < smallest) smallest = value;
  return smallest;
}

function writeEvents(context: CallContext, args: CallArgs, events: readonly PollEvent[]): void {
  const { memory } = context;
  for (const [index, event] of events.entries()) {
    const at = args.u32(1) + index * EVENT_BYTES;
    memory.slice(at, EVENT_BYTES).fill(0);
    memory.setU64(at, event.userdata);
    memory.setU16(at + 8, event.errno);
    memory.setU8(at + 10, event.type);
    memory.setU64(at + 16, event.bytes);
  }
  memory.setU32(args.u32(3), events.length);
}

const pollOneoff: WasiCall = (context, args) => {
  const { memory } = context;
  const count = args.u32(2);
  check(count > 0 && count <= SUBSCRIPTIONS_MAX, 'inval');
  memory.demand(args.u32(0), count * SUBSCRIPTION_BYTES);
  memory.demand(args.u32(1), count * EVENT_BYTES);
  memory.demand(args.u32(3), 4);
  const subscriptions = Array.from({ length: count }, (_, index) =>
    readSubscription(memory, args.u32(0) + index * SUBSCRIPTION_BYTES),
  );
  const bad = subscriptions.filter((s) => isClock(s) && s.clockId > CLOCK.threadCpu);
  const ready: PollEvent[] = subscriptions
    .filter((s) => !isClock(s))
    .map((s) => descriptorEvent(context, s));
  ready.push(...bad.map((s) => ({ ...clockEvent(s), errno: ERRNO.inval })));
  const clocks = subscriptions.filter((s) => isClock(s) && !bad.includes(s));
  if (ready.length > 0) {
    const startNs = clocks.length > 0 ? context.clock.showMonotonic() : 0n;
    ready.push(...clocks.filter((s) => timeLeft(context, s, startNs) === 0n).map(clockEvent));
    writeEvents(context, args, ready);
    return;
  }
  const events = clockEvents(context, clocks);
  if (events.length > 0) writeEvents(context, args, events);
};

export const POLL_CALLS: CallTable = { poll_oneoff: ['iiii:i', pollOneoff] };
