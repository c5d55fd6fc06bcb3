/**
 * What `sherd events -f --json` shows, as it comes, for tests that wait for a step.
 *
 * Does: read its lines, wait for one or for several in order, say what came instead. Does not: start or judge the cluster.
 *
 * L1  Patience is counted in turns of this process's own timer, not on the clock: a machine that stands still, or has no time for
 *     anybody, is no failure.
 * L2  A wait looks at everything that was shown so far: what came before it was asked for is there.
 */
import type { TraceEvent } from '../../host/types/brain.js';
import type { Running } from './sherd.js';

const TURN_MS = 100;
const TURNS_MAX = 900;
/** Lines that are shown of what came instead. */
const SHOWN = 40;

type Test = (event: TraceEvent) => boolean;

export class EventLog {
  readonly events: TraceEvent[] = [];
  readonly #running: Running;
  #rest = '';
  #ended = '';
  #wake: (() => void)[] = [];

  constructor(running: Running) {
    this.#running = running;
    running.child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (this.#rest + chunk.toString()).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.events.push(JSON.parse(line) as TraceEvent);
      this.#notify();
    });
    void running.ended.then(({ code, stderr }) => {
      this.#ended = `sherd events has ended (${code}): ${stderr}`;
      this.#notify();
    });
  }

  /** The first event that the test is true for. */
  async until(what: string, test: Test): Promise<TraceEvent> {
    const [event] = await this.sequence(what, [test]);
    return event as TraceEvent;
  }

  /** The first events, each after the one before it, that these tests are true for. */
  async sequence(what: string, tests: readonly Test[]): Promise<TraceEvent[]> {
    for (let turns = 0; ; ) {
      const found = this.#inOrder(tests);
      if (found.length === tests.length) return found;
      if (this.#ended !== '' || turns >= TURNS_MAX)
        throw new Error(this.#complaint(what, found, tests.length));
      if (!(await this.#change())) turns += 1;
    }
  }

  close(): void {
    this.#running.child.kill('SIGTERM');
  }

  #inOrder(tests: readonly Test[]): TraceEvent[] {
    const found: TraceEvent[] = [];
    let from = 0;
    for (const test of tests) {
      const at = this.events.findIndex((event, index) => index >= from && test(event));
      if (at < 0) break;
      found.push(this.events[at] as TraceEvent);
      from = at + 1;
    }
    return found;
  }

  /** True when something was shown, false when a turn has passed without. */
  #change(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), TURN_MS);
      this.#wake.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  #notify(): void {
    const woken = this.#wake;
    this.#wake = [];
    for (const wake of woken) wake();
  }

  #complaint(what: string, found: readonly TraceEvent[], wanted: number): string {
    const lines = this.events.slice(-SHOWN).map(textOf);
    return [
      `waited for: ${what}; of ${wanted} event(s) in order came ${found.length}`,
      ...found.map((event) => `  came: ${textOf(event)}`),
      this.#ended,
      `the last ${lines.length} of ${this.events.length} events were:`,
      ...lines.map((line) => `  ${line}`),
    ].join('\n');
  }
}

function textOf({ seq, step, what, shardId, nodeId, detail }: TraceEvent): string {
  return `#${seq} ${step} ${what} ${shardId ?? '-'} ${nodeId ?? '-'} ${detail}`;
}
