import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DirectoryDoorbells, DoorbellListener } from '../../host/fabric/doorbell.js';

describe('doorbells', () => {
  let directory: string;
  let bells: DirectoryDoorbells;

  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'sherd-bells-'));
    bells = new DirectoryDoorbells(path.join(directory, 'bells'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const listen = (node: string): DoorbellListener =>
    new DoorbellListener(bells.install(node) as string);

  it('tells every ring once and in order, however rings and polls are mixed', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.stringMatching(/^s-[a-z0-9]{6}$/), fc.constant(null)), {
          maxLength: 40,
        }),
        (steps) => {
          const listener = listen('n1');
          let waiting: string[] = [];
          for (const id of [...steps, null]) {
            if (id === null) {
              // More than the file holds: the oldest are lost, as hints may be.
              expect(listener.poll()).toEqual(waiting.slice(-16));
              waiting = [];
            } else {
              bells.ring('n1', id);
              waiting.push(id);
            }
          }
          listener.close();
        },
      ),
      { numRuns: 50 },
    );
  });

  it('tells a thread nothing of what was rung before it listened', () => {
    const file = bells.install('n1') as string;
    bells.ring('n1', 's-before');
    const listener = new DoorbellListener(file);
    expect(listener.poll()).toEqual([]);
    bells.ring('n1', 's-after');
    expect(listener.poll()).toEqual(['s-after']);
  });

  it('rings at every door, and learns that somebody stopped', () => {
    const [one, two] = [listen('n1'), listen('n2')];
    const rung = bells.ringEverywhere('s-1');
    expect([one.poll(), two.poll()]).toEqual([['s-1'], ['s-1']]);
    expect(rung.answered()).toBe(false);
    two.answer();
    expect(rung.answered()).toBe(true);
    expect(bells.ringEverywhere('s-1').answered()).toBe(false);
  });

  it('needs nobody to be there', () => {
    bells.ring('n1', 's-1');
    expect(bells.ringEverywhere('s-1').answered()).toBe(false);
    const listener = listen('n1');
    bells.remove('n1');
    bells.remove('n1');
    expect(readdirSync(path.join(directory, 'bells'))).toEqual([]);
    expect(listener.poll()).toEqual([]);
    expect(new DoorbellListener(path.join(directory, 'nothing')).poll()).toEqual([]);
    expect(new DirectoryDoorbells('/dev/null/x').install('n1')).toBe(undefined);
  });
});
