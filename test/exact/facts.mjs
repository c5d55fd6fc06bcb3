/**
 * What two runs are compared by, once they have ended, and what they run on. Plain JavaScript: the tests and their child processes share it.
 *
 * Does: read results, memory, globals, tables and files of a finished instance as strings and numbers; play clock and host.
 * Does not: compare.
 *
 * F1  The fuel of a trap is left out: a trapping call gives no fuel back, so that the number stays at the last stop.
 */

/** Plays the part of time: constant, except that a wait moves it on. */
export function virtualPlatform(platform) {
  const clock = { ns: 1_000_000_000n };
  return { ...platform, clock, monotonicNs: () => clock.ns, wallMs: () => 1_700_000_000_000 };
}

/** A host without state that offers the functions under one module's name. */
export function statelessHost(module, functions) {
  return {
    functions: () => new Map([[module, new Map(Object.entries(functions))]]),
    snapshot: () => null,
    drainOutput: () => [],
    newBlobs: () => new Map(),
    markDurable: () => undefined,
    references: () => [],
    suspendClock: () => undefined,
    resumeClock: () => undefined,
    guestMonotonicNs: () => 0n,
    trees: () => [],
  };
}

/** Moves the time on to the end of a wait. */
export function endWait(platform, host, wait) {
  if (wait.kind !== 'until') return;
  host.resumeClock();
  const left = wait.monotonicNs - host.guestMonotonicNs();
  host.suspendClock();
  if (left > 0n) platform.clock.ns += left;
}

const hex = (bytes) => Buffer.from(bytes).toString('hex');

/** The facts of an ended run. `encodeTrees` is undefined for a host without files. */
export function endFacts(result, instance, host, platform, encodeTrees) {
  const memory = instance.memorySnapshot();
  const { tables = [], droppedElements = [], droppedSegments } = instance.remains();
  return {
    kind: result.kind,
    code: result.kind === 'exit' ? result.code : null,
    trap: result.kind === 'trap' ? result.trap.trapKind : null,
    stack: result.kind === 'trap' ? result.trap.guestStack.join(' < ') : '',
    results: result.kind === 'done' ? hex(result.results) : '',
    fuel: result.kind === 'trap' ? null : result.fuelUsed,
    memoryPages: memory.length / 65_536,
    memory: platform.sha256(memory),
    globals: hex(instance.globalsSnapshot()),
    tables: JSON.stringify({ tables, droppedElements, droppedSegments }),
    files: encodeTrees === undefined ? '' : platform.sha256(encodeTrees(host.trees())),
  };
}
