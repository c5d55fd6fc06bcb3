/** The progress line beside output: what the program prints is never written into it, nor wiped away by it. */
import { openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { FdWriter } from '../../host/cli/output.js';
import { Progress } from '../../host/cli/progress.js';

/** A terminal that takes its time for cursor control; what it shows goes into the log. */
class SlowTerminal extends FdWriter {
  readonly log: string[];
  #last: Promise<void> = Promise.resolve();
  constructor(log: string[]) {
    super(openSync('/dev/null', 'w'));
    this.log = log;
  }
  override writeControl(text: string): Promise<void> {
    this.#last = this.#last.then(async () => {
      await sleep(20);
      this.log.push(text === '\r\x1b[2K' ? 'cleared' : 'drawn');
    });
    return this.#last;
  }
}

class Printed extends FdWriter {
  readonly log: string[];
  constructor(log: string[]) {
    super(openSync('/dev/null', 'w'));
    this.log = log;
  }
  override async write(content: Uint8Array | string): Promise<void> {
    this.log.push(String(content));
  }
}

async function drawn(log: readonly string[]): Promise<void> {
  while (log.at(-1) !== 'drawn') await sleep(5);
}

describe('the progress line', () => {
  it('is gone before output comes, on whichever stream', async () => {
    const log: string[] = [];
    const progress = new Progress({ quiet: false, terminal: true, writer: new SlowTerminal(log) });
    progress.note('compiling');
    await drawn(log);
    await progress.output(new Printed(log), Buffer.from('out'));
    expect(log.slice(log.indexOf('out') - 1)).toEqual(['cleared', expect.any(String)]);
    await drawn(log);
    await progress.end();
    expect(log.at(-1)).toBe('cleared');
    const { length } = log;
    await sleep(300);
    expect(log.length).toBe(length);
  });

  it('can tell whether output is still on its way', async () => {
    const writer = new FdWriter(openSync('/dev/null', 'w'));
    expect(writer.idle).toBe(true);
    const first = writer.write('one\n');
    const second = writer.writeControl('two');
    expect(writer.idle).toBe(false);
    await Promise.all([first, second]);
    expect(writer.idle).toBe(true);
    const broken = new FdWriter(openSync('/dev/full', 'w'));
    await broken.write('three').catch(() => undefined);
    expect(broken.idle).toBe(true);
  });
});
