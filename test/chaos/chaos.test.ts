/** A short chaos round: one of each kind of harm, then everything as if nothing had happened. `npm run chaos` plays long ones. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Processes } from './processes.js';
import { KINDS, Programs } from './programs.js';
import { playRound } from './round.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FAULTS = [
  'kill-node',
  'storm',
  'kill-control',
  'gc-beside-moves',
  'kill-start',
  'travel',
  'kill-client',
  'kill-everything-up-at-once',
];
/** They need no compiler of AssemblyScript. */
const PROGRAMS = ['drips', 'flood', 'wc_sort', 'forth'];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sherd-chaos-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('whatever is killed, programs end as they do alone', { timeout: 900_000 }, async () => {
  const programs = await Programs.make(new Processes(ROOT, folder), folder);
  const round = await playRound({
    root: ROOT,
    folder: join(folder, 'round'),
    seed: 1,
    faults: FAULTS,
    nodes: 2,
    workers: 1,
    jobs: 2,
    kinds: KINDS.filter(({ name }) => PROGRAMS.includes(name)),
    programs,
  });
  expect(round.finding).toBe(null);
  expect(round.faults).toEqual(FAULTS);
});
