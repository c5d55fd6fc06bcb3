/**
 * Patience that is measured in progress: a slow machine is waited for, a cluster that stands still is not.
 *
 *   each tick     1 − (time that the cluster's threads waited for a core) / (time that went by)     at least 0
 *   progress      begins the count anew
 *
 * Does: wait. Does not: know what is waited for.
 *
 * P1  A second in which one of the watched threads was ready to run, and none of the cores was for it, is no second of
 *     standing still (Linux; elsewhere every second counts).
 * P2  Watched are all processes whose working directory lies in the folder.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const LOOK_MS = 50;
const TICK_MS = 1_000;
/** So long nothing may change on a machine with a core to spare. */
export const STILL_S_MAX = 60;

export class Stalled extends Error {}

export class Patience {
  readonly #waitedNs = new Map<string, number>();

  constructor(private readonly folder: string) {}

  /**
   * Waits until `look` says that it is so. `look` gives a text that changes with every progress, or undefined when it is
   * done. Throws Stalled with the last such text when nothing has changed for too long.
   */
  async untilDone(
    what: string,
    look: () => Promise<string | undefined> | string | undefined,
    stillSMax = STILL_S_MAX,
  ): Promise<void> {
    let last: string | undefined;
    let still = 0;
    for (;;) {
      this.#starvedMs();
      const beganMs = performance.now();
      while (performance.now() - beganMs < TICK_MS) {
        const now = await look();
        if (now === undefined) return;
        if (now !== last) still = 0;
        last = now;
        await sleep(LOOK_MS);
      }
      const wentByMs = performance.now() - beganMs;
      still += Math.max(0, 1 - this.#starvedMs() / wentByMs);
      if (still >= stillSMax) throw new Stalled(`${what}: no progress; at the end: ${last}`);
    }
  }

  /** The value, or Stalled when it does not come. */
  async soon<T>(what: string, value: Promise<T>, stillSMax?: number): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    value.then(mark, mark);
    await this.untilDone(what, () => (settled ? undefined : 'waiting'), stillSMax);
    return value;
  }

  /** How long the watched threads have waited for a core since the last call, all together. */
  #starvedMs(): number {
    let sumNs = 0;
    for (const pid of numbersIn('/proc')) {
      if (!linkOf(`/proc/${pid}/cwd`).startsWith(this.folder)) continue;
      for (const thread of numbersIn(`/proc/${pid}/task`)) {
        // schedstat: ns on a core, ns waiting for one, times on a core
        const waitedNs = Number(textOf(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[1] ?? 0);
        const before = this.#waitedNs.get(thread) ?? 0;
        this.#waitedNs.set(thread, waitedNs);
        sumNs += Math.max(0, waitedNs - before);
      }
    }
    return sumNs / 1e6;
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function numbersIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
