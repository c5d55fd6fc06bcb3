/** Signals: once is gentle, twice is at once. */
import { describe, expect, it } from 'vitest';
import { Interrupts, type SignalSource, type StopSignal } from '../../host/cli/interrupt.js';

class FakeProcess implements SignalSource {
  readonly listeners = new Map<StopSignal, Set<() => void>>();
  readonly exits: number[] = [];
  on(signal: StopSignal, handler: () => void): void {
    const set = this.listeners.get(signal) ?? new Set();
    this.listeners.set(signal, set.add(handler));
  }
  removeListener(signal: StopSignal, handler: () => void): void {
    this.listeners.get(signal)?.delete(handler);
  }
  exit(code: number): void {
    this.exits.push(code);
  }
  send(signal: StopSignal): void {
    for (const listener of [...(this.listeners.get(signal) ?? [])]) listener();
  }
  get count(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }
}

function make(nohup = false): { source: FakeProcess; interrupts: Interrupts; log: string[] } {
  const source = new FakeProcess();
  const log: string[] = [];
  const interrupts = new Interrupts(
    {
      gently: (signal) => log.push(`gently ${signal}`),
      atOnce: (signal) => log.push(`at once ${signal}`),
    },
    source,
    nohup,
  );
  return { source, interrupts, log };
}

describe('Interrupts', () => {
  it('first gently, then at once with the code of the signal that insisted', () => {
    const { source, interrupts, log } = make();
    source.send('SIGINT');
    expect([log, source.exits, interrupts.signal]).toEqual([['gently SIGINT'], [], 'SIGINT']);
    source.send('SIGTERM');
    expect([log, source.exits]).toEqual([['gently SIGINT', 'at once SIGTERM'], [143]]);
    source.send('SIGINT');
    expect(source.exits).toEqual([143]);
  });

  it.each<[StopSignal, number]>([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ])('%s twice', (signal, code) => {
    const { source } = make();
    source.send(signal);
    source.send(signal);
    expect(source.exits).toEqual([code]);
  });

  it('does nothing at SIGHUP under nohup', () => {
    const { source, log } = make(true);
    source.send('SIGHUP');
    source.send('SIGHUP');
    expect([log, source.exits]).toEqual([[], []]);
    source.send('SIGTERM');
    expect(log).toEqual(['gently SIGTERM']);
  });

  it('gives signals back', () => {
    const { source, interrupts } = make();
    expect(source.count).toBe(3);
    interrupts.dispose();
    expect(source.count).toBe(0);
  });
});
