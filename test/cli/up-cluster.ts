/**
 * One cluster of `sherd up` for all tests of a file: two node processes, a directory of programs, and what tests ask of it.
 *
 * Does: start it before the tests, stop it after them, run verbs in its directory. Does not: assert, but that a verb which must
 * succeed did.
 */
import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, expect } from 'vitest';
import type { ShardView } from '../../host/types/api.js';
import { programDirectory, type TEXT } from './programs.js';
import { type Ended, type Running, sherd, startSherd } from './sherd.js';

export const SLOW = 120_000;
const env = { SHERD_FABRIC: 'embedded:data' };

export class UpCluster {
  cwd = '';
  up!: Running;

  async open(programs: readonly (keyof typeof TEXT)[]): Promise<void> {
    this.cwd = await programDirectory(programs);
    await this.startUp();
  }

  readonly startUp = async (): Promise<void> => {
    this.up = this.start('up', '--nodes', '2');
    await this.up.until('stop ');
  };

  async close(): Promise<void> {
    this.up.child.kill('SIGTERM');
    await this.up.ended;
    await rm(this.cwd, { recursive: true, force: true });
  }

  readonly start = (...args: readonly string[]): Running =>
    startSherd(args, { cwd: this.cwd, env });

  readonly run = (...args: readonly string[]): Promise<Ended> =>
    sherd(args, { cwd: this.cwd, env });

  /** Runs a verb that must succeed; gives its JSON. */
  readonly json = async <T>(...args: readonly string[]): Promise<T> => {
    const ended = await this.run(...args, '--json');
    expect([args, ended.code, ended.stderr]).toEqual([args, 0, '']);
    return JSON.parse(ended.text) as T;
  };

  readonly submit = async (...args: readonly string[]): Promise<string> => {
    const ended = await this.run('submit', ...args);
    expect([ended.code, ended.stderr]).toEqual([0, '']);
    return ended.text.trim();
  };

  readonly shards = (): Promise<ShardView[]> => this.json<ShardView[]>('ps');

  readonly view = async (id: string): Promise<ShardView> => {
    const found = (await this.shards()).find((shard) => shard.id === id);
    if (found === undefined) throw new Error(`${id} is not listed`);
    return found;
  };

  readonly untilView = async (
    id: string,
    wanted: (shard: ShardView) => boolean,
  ): Promise<ShardView> => {
    for (;;) {
      const found = await this.view(id);
      if (wanted(found)) return found;
    }
  };
}

/** To be called where the tests of a file are declared. */
export function upCluster(programs: readonly (keyof typeof TEXT)[]): UpCluster {
  const cluster = new UpCluster();
  beforeAll(() => cluster.open(programs), SLOW);
  afterAll(() => cluster.close(), SLOW);
  return cluster;
}
