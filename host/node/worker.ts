/**
 * Entry of a worker thread: runs guests in turns and obeys the main thread between two quanta.
 *
 * Does: the loop (turn, look at the control word, drain commands), and hand commands to the rotation.
 * Does not: touch the fabric, decide, or ever wait for an answer.
 *
 * T1  After every slice of a quantum (quantum.ts) the control word is read (Atomics, no call into the event loop): when it has
 *     changed, the quantum is over and messages are fetched, synchronously.
 *     After every quantum, and every LISTEN_MS within one, the node's doorbell is asked, a read of four bytes: who was rung
 *     for stands still at once.
 * T2  With nothing to run the thread sleeps on the control word: a command wakes it at once.
 * T3  The event loop gets a turn every EVENT_LOOP_MS, so that the engine's own tasks are done.
 * T4  A command that fails hits its own run, never the thread.
 * T5  On Linux the thread runs at a lower priority than the threads that carry requests (fabric/background): on a machine
 *     whose cores are all busy a request then passes a hop in 0.7 / 1.2 / 2.7 ms (p50 / p90 / p99) instead of 0.6 / 4.0 /
 *     7.0.
 * T6  Copies of memories (copying.ts) are made between two turns, when no guest runs.
 * T7  When nothing has been to do for QUIET_MS, an instance is made for a guest like the one that has left last (guests.ts).
 * T8  And the memories of those that have left are given back, once they are COLLECT_BYTES: else the engine does that, 20 to 30 ms
 *     long, when the next guest comes.
 */
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { giveWay } from '../fabric/background.js';
import { DoorbellListener } from '../fabric/doorbell.js';
import { SherdError } from '../types/errors.js';
import { Copying } from './copying.js';
import { CoreShare } from './core-share.js';
import { Guests, type LoadedGuest, stagedBase } from './guests.js';
import { nodePlatform } from './platform.js';
import { Rotation, workerError } from './rotation.js';
import type { Run, TakeUp, WorkerCommand, WorkerReport, WorkerSetup } from './worker-messages.js';

const EVENT_LOOP_MS = 50;
/** Asking the bell costs some 2 µs. */
const LISTEN_MS = 0.2;
const LONGEST_SLEEP_MS = 1_000;
const QUIET_MS = 20;
/** The engine collects by itself when 64 MiB have been allocated since the last time. */
const COLLECT_BYTES = 32 << 20;

const { setup, port } = workerData as { setup: WorkerSetup; port: MessagePort };
const word = new Int32Array(setup.control);
const platform = nodePlatform;
const guests = new Guests(platform);
const coreShare = new CoreShare();
const rotation = new Rotation(
  {
    nowNs: () => process.hrtime.bigint(),
    isCalled,
    coreShare: (nowNs) => coreShare.at(nowNs),
    report,
    hasBlob: (hash) => guests.blobs.has(hash),
  },
  setup.quantumUs,
);

const copying = new Copying(platform, report);
const running = new Map<Run, LoadedGuest>();

const bell = setup.bell === undefined ? undefined : new DoorbellListener(setup.bell);

let open = true;
let seen = 0;
/** Memory of guests that have gone since the last collection. */
let leftBytes = 0;
/** Shards that somebody rang for since the rotation was told, and when the bell was asked last. */
const rungFor: string[] = [];
let listenedMs = 0;

function report(message: WorkerReport, transfer: readonly ArrayBuffer[] = []): void {
  if (message.kind === 'ended' || message.kind === 'crashed') {
    forget(message.run);
    copying.end(message.run);
  }
  port.postMessage(message, [...transfer]);
}

function obeyAll(): void {
  seen = Atomics.load(word, 0);
  for (;;) {
    const next = receiveMessageOnPort(port) as { message: WorkerCommand } | undefined;
    if (next === undefined) return;
    obey(next.message);
  }
}

function obey(command: WorkerCommand): void {
  switch (command.kind) {
    case 'prepare':
      prepare(command.moduleHash, command.bytes);
      break;
    case 'spare':
      guests.spare(command.moduleHash, command.memoryBytes);
      break;
    case 'load':
      load(command.takeUp);
      break;
    case 'run':
      rotation.go(command.run, command.stopAtFuel);
      break;
    case 'set-stop':
      rotation.setStop(command.run, command.stopAtFuel);
      break;
    case 'capture':
      capture(command);
      break;
    case 'copy':
      copy(command);
      break;
    case 'next-round':
      nextRound(command);
      break;
    case 'sent':
      copying.giveBack(command.run, command.id, command.buffer);
      break;
    case 'end-copy':
      copying.end(command.run);
      rotation.goOn(command.run);
      break;
    case 'arrive':
      guests.arrive(command.shardId, command.moduleHash, command.batch);
      break;
    case 'forget-arrival':
      guests.forgetArrival(command.shardId);
      break;
    case 'end':
      rotation.end(command.run, command.exit);
      break;
    case 'drop':
      drop(command.run);
      break;
    case 'blob':
      if (command.bytes !== null) guests.blobs.set(command.hash, command.bytes);
      rotation.blobCame(command.hash, command.bytes !== null);
      break;
    case 'take-output':
      rotation.takeOutput(command.run);
      break;
    case 'durable':
      rotation.durable(command.run, command.hashes);
      break;
    case 'recycle':
      guests.shelf.put(command.buffer);
      break;
    case 'inspect':
      rotation.inspect(command.run, command.askId);
      break;
    case 'close':
      open = false;
  }
}

function prepare(moduleHash: string, bytes: Uint8Array): void {
  try {
    guests.prepare(moduleHash, bytes);
    report({ kind: 'prepared', moduleHash, error: null });
  } catch (cause) {
    report({ kind: 'prepared', moduleHash, error: workerError(cause) });
  }
}

function load(takeUp: TakeUp): void {
  const { run } = takeUp;
  const before = process.hrtime.bigint();
  try {
    const guest = guests.load(takeUp);
    running.set(run, guest);
    rotation.add(run, guest, takeUp);
    const { maxFuel, maxTimeMs } = guest;
    const restoreUs = Number(process.hrtime.bigint() - before) / 1_000;
    report({ kind: 'loaded', run, maxFuel, maxTimeMs, restoreUs });
  } catch (cause) {
    report({ kind: 'load-failed', run, error: workerError(cause) });
  }
}

function forget(run: Run): void {
  leftBytes += running.get(run)?.memoryBytes ?? 0;
  running.delete(run);
}

function drop(run: Run): void {
  const guest = running.get(run);
  if (guest !== undefined) guests.left(guest);
  copying.end(run);
  forget(run);
  rotation.drop(run);
  report({ kind: 'dropped', run });
}

/** A copy that is not there any more is no reason not to capture: then all of the memory is taken. */
function capture(command: Extract<WorkerCommand, { kind: 'capture' }>): void {
  const { run, id, hold, epoch, staged } = command;
  const copy =
    staged === null ? undefined : copying.complete(run, staged.id, rotation.hasStood(run), !hold);
  if (staged === null || copy === undefined) {
    if (staged !== null) report({ kind: 'copy-failed', run, id: staged.id });
    rotation.capture(run, id, hold, epoch);
    return;
  }
  rotation.capture(run, id, hold, epoch, {
    ...stagedBase(staged, copy.shadow),
    unchanged: copy.unchanged,
  });
}

function copy(command: Extract<WorkerCommand, { kind: 'copy' }>): void {
  const { run, id, shadow, buffers } = command;
  const guest = running.get(run);
  if (guest !== undefined) copying.begin(run, id, guest, new Uint8Array(shadow), buffers);
}

/** In the last one the guest stands still until the capture that should follow; without that it goes on. */
function nextRound(command: Extract<WorkerCommand, { kind: 'next-round' }>): void {
  const { run, id, lastBatchBytes } = command;
  if (!copying.nextRound(run, id, lastBatchBytes)) report({ kind: 'copy-failed', run, id });
  else if (lastBatchBytes !== null) rotation.stand(run);
}

function hasStood(run: number): boolean {
  return rotation.hasStood(run);
}

/** Who was rung for stands still. */
function hearBell(): void {
  listen();
  for (const shardId of rungFor.splice(0)) if (rotation.halt(shardId)) bell?.answer();
}

function listen(): void {
  if (bell === undefined) return;
  rungFor.push(...bell.poll());
  listenedMs = performance.now();
}

/** An order waits: a command, or a ring. */
function isCalled(): boolean {
  if (isCommanded()) return true;
  if (performance.now() - listenedMs >= LISTEN_MS) listen();
  return rungFor.length > 0;
}

function isCommanded(): boolean {
  return Atomics.load(word, 0) !== seen;
}

/** T2, T7, T8. */
function sleep(ms: number): void {
  const collects = leftBytes >= COLLECT_BYTES && globalThis.gc !== undefined;
  const quietMs = guests.wishes || collects ? Math.min(ms, QUIET_MS) : ms;
  const woken = Atomics.wait(word, 0, seen, quietMs);
  if (woken !== 'timed-out' || quietMs === ms) return;
  guests.grant(isCalled);
  if (!collects || isCalled()) return;
  leftBytes = 0;
  globalThis.gc?.();
}

/** One stretch of turns, until the event loop is due or there is nothing to do. */
function stretch(): void {
  const until = performance.now() + EVENT_LOOP_MS;
  while (open) {
    if (isCommanded()) obeyAll();
    hearBell();
    const waitMs = rotation.turn();
    const idle = waitMs === null || waitMs > 0;
    copying.turn(idle, isCalled, hasStood);
    if (idle && !copying.hasWork) sleep(Math.min(waitMs ?? LONGEST_SLEEP_MS, LONGEST_SLEEP_MS));
    if (performance.now() >= until) break;
  }
  if (open) setImmediate(guarded);
  else port.close();
}

/** A defect ends the thread with its reason; the main thread recovers its shards. */
function guarded(): void {
  try {
    stretch();
  } catch (cause) {
    throw cause instanceof SherdError
      ? cause
      : new SherdError('SHERD_INTERNAL', 'a worker thread failed', { cause });
  }
}

giveWay();
report({ kind: 'ready' });
guarded();
