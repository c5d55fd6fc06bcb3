/**
 * The processes of a simulated cluster, and everything bad that happens to them.
 *
 * Does: start and restart nodes and controls, draw faults and user requests from the seed until the faults stop, then let the cluster
 * heal. Does not: judge (checkers).
 *
 *   SIGKILL of a node: at a random time, or just before / just after its n-th action of a kind
 *   the target of a move dies or drains before it took the shard up
 *   lost workers · drain · SIGTERM · partition of a node or of the control, longer and shorter than a lease
 *   control killed, or cut off while its successor runs already · the supervisor notices a death, or does not
 *   the fabric's own: unknown outcomes (applied, lost, late), blind conflicts, stale reads, lagging and resyncing watches,
 *   slow, failing and missing blobs, lost, repeated and reordered messages
 */
import { type MemoryFaults, NO_FAULTS } from '../fabric/memory.js';
import type { LifeAction } from '../protocol/life-types.js';
import type { Platform } from '../types/platform.js';
import type { ShardId } from '../types/records.js';
import { SimClient } from './sim-client.js';
import { SimControl } from './sim-control.js';
import type { SimSpec } from './sim-guest.js';
import { type DeathWish, SimNode } from './sim-node.js';
import type { World } from './world.js';

/** What the fabric does to everybody while faults last. */
export const SIM_FAULTS: Partial<MemoryFaults> = {
  latencyMs: [0.2, 4],
  unknownApplied: 0.03,
  unknownLost: 0.03,
  unknownLate: 0.03,
  lateMs: [1, 400],
  timeoutMs: 100,
  conflictBlind: 0.3,
  staleRead: 0.3,
  staleMs: 300,
  watchDelay: 0.1,
  watchDelayMs: [1, 300],
  watchCoalesce: 0.1,
  watchResync: 0.02,
  blobSlow: 0.1,
  blobSlowMs: [10, 300],
  blobMissing: 0.05,
  blobDamaged: 0.03,
  blobFails: 0.05,
  messageLost: 0.3,
  messageTwice: 0.1,
  messageDelay: 0.2,
  messageDelayMs: [1, 200],
};

export interface ClusterOptions {
  readonly nodes: number;
  readonly shards: number;
  readonly faultMs: number;
  readonly processFaults: boolean;
  /** For the oracle's model; without one its simple forecasters answer. */
  readonly platform?: Platform;
}

/** How often each thing was done to the cluster. */
export type FaultTally = Record<string, number>;

const WISHES: readonly LifeAction['kind'][] = [
  'load',
  'start',
  'resume',
  'go-on',
  'set-stop',
  'capture',
  'store',
  'cas',
  'cas',
  'read',
  'forget',
  'hint',
  'drop',
];

export class SimCluster {
  readonly world: World;
  readonly options: ClusterOptions;
  readonly client: SimClient;
  readonly tally: FaultTally = {};
  readonly nodes: SimNode[] = [];
  readonly controls: SimControl[] = [];
  #names = 0;
  #healing = false;

  constructor(world: World, options: ClusterOptions) {
    this.world = world;
    this.options = options;
    this.client = new SimClient(world, 'client');
  }

  start(): void {
    this.#startControl();
    for (let i = 0; i < this.options.nodes; i++) this.#startNode();
    for (let i = 1; i <= this.options.shards; i++) this.#submitLater(`s-${i}`);
    this.world.time.schedule(this.options.faultMs, () => this.#heal());
    if (this.options.processFaults) this.#nextFault();
    this.#nextRequest();
    this.#watchForDeaths();
  }

  get aliveNodes(): SimNode[] {
    return this.nodes.filter((node) => node.alive);
  }

  /** How often each thing was done to it, and each action that its controls took. */
  get counts(): FaultTally {
    const counts = { ...this.tally };
    for (const control of this.controls) {
      for (const [kind, times] of control.actions)
        counts[`action ${kind}`] = (counts[`action ${kind}`] ?? 0) + times;
    }
    return counts;
  }

  #count(what: string): void {
    this.tally[what] = (this.tally[what] ?? 0) + 1;
  }

  #startNode(): void {
    this.#names += 1;
    const { world } = this;
    const node = new SimNode(world, `n${this.#names}`, 1 + world.pick(2), this.#wish());
    this.nodes.push(node);
    node.start();
  }

  #wish(): DeathWish | null {
    const { dice } = this.world;
    if (this.#healing || !this.options.processFaults || !dice.hits(0.4)) return null;
    const kind = this.world.choose(WISHES) ?? 'cas';
    return { kind, nth: 1 + this.world.pick(5), after: dice.hits(0.5) };
  }

  #startControl(): void {
    this.#names += 1;
    const control = new SimControl(this.world, `c${this.#names}`, this.options.platform);
    this.controls.push(control);
    control.start();
  }

  #submitLater(id: ShardId): void {
    const { world } = this;
    const totalFuel = BigInt(2_000 + world.pick(100_000));
    const maxFuel = world.dice.hits(0.1) ? totalFuel / 2n : 0n;
    const spec: SimSpec = {
      totalFuel,
      fuelPerLine: BigInt(150 + world.pick(2_000)),
      maxFuel,
      maxTimeMs: 0,
    };
    const pauseAt = world.dice.hits(0.15) ? totalFuel / 3n : null;
    const priority = world.pick(3);
    const delayMs = world.dice.between([0, this.options.faultMs / 2]);
    world.time.schedule(delayMs, () => {
      this.client
        .submit(id, spec, priority, pauseAt)
        .catch((cause: unknown) => world.note(`submit failed: ${cause}`));
    });
  }

  /** Every death is followed by a restart; half of them are noticed by the supervisor at once. */
  #watchForDeaths(): void {
    const noticed = new Set<SimNode | SimControl>();
    const look = (): void => {
      for (const node of this.nodes) {
        if (node.alive || noticed.has(node)) continue;
        noticed.add(node);
        this.#count('node died');
        if (this.world.dice.hits(0.5)) {
          this.#count('death noticed');
          for (const control of this.controls) control.nodeDied(node.name);
        }
        this.world.time.schedule(this.world.dice.between([50, 3_000]), () => this.#startNode());
      }
      for (const control of this.controls) {
        if (control.alive || noticed.has(control)) continue;
        noticed.add(control);
        this.#count('control died');
        const delayMs = this.world.dice.between([50, 3_000]);
        this.world.time.schedule(delayMs, () => {
          if (!this.controls.some((other) => other.alive)) this.#startControl();
        });
      }
      this.world.time.schedule(20, look);
    };
    look();
  }

  #nextFault(): void {
    this.world.time.schedule(this.world.dice.between([200, 2_500]), () => {
      if (this.#healing) return;
      this.#fault();
      this.#nextFault();
    });
  }

  #fault(): void {
    const node = this.world.choose(this.aliveNodes);
    const control = this.controls.findLast((one) => one.alive);
    switch (this.world.pick(8)) {
      case 0:
      case 1:
        node?.kill('SIGKILL');
        break;
      case 2:
        if (node !== undefined) this.#cutOff(node.name, 'node cut off');
        break;
      case 3:
        if (node !== undefined) node.crashWorker();
        this.#count('worker lost');
        break;
      case 4:
        node?.drain();
        this.#count('drained');
        if (node !== undefined)
          this.world.time.schedule(this.world.dice.between([500, 5_000]), () => node.stop());
        break;
      case 5:
        node?.stop();
        this.#count('stopped');
        break;
      case 6:
        control?.kill('SIGKILL');
        break;
      case 7:
        if (control === undefined) break;
        this.#cutOff(control.name, 'control cut off');
        if (this.world.dice.hits(0.6)) {
          this.#count('two controls');
          this.#startControl();
        }
        break;
    }
  }

  #cutOff(name: string, what: string): void {
    const { world } = this;
    this.#count(what);
    world.note(`${name} cut off`);
    world.fabric.partition(name);
    world.time.schedule(world.dice.between([50, 7_000]), () => {
      world.note(`${name} back`);
      world.fabric.heal(name);
    });
  }

  #nextRequest(): void {
    this.world.time.schedule(this.world.dice.between([100, 1_200]), () => {
      if (this.#healing) return;
      const id = this.world.choose(this.client.submitted);
      if (id !== undefined) void this.#request(id);
      this.#nextRequest();
    });
  }

  async #request(id: ShardId): Promise<void> {
    const { client, world } = this;
    const roll = world.pick(20);
    const node = world.choose(this.aliveNodes);
    if (roll < 5 && node !== undefined) {
      if (this.options.processFaults && world.dice.hits(0.3)) this.#loseTarget(node);
      await this.#asked('move', client.move(id, node.name));
    } else if (roll < 8) this.controls.findLast((one) => one.alive)?.requestMove(id, null);
    else if (roll < 10) await this.#asked('pause', client.pause(id, null));
    else if (roll < 11)
      await this.#asked('pause at fuel', client.pause(id, BigInt(world.pick(40_000))));
    else if (roll < 15) await this.#asked('resume', client.resume(id));
    else if (roll < 16 && world.dice.hits(0.4))
      await this.#asked('kill', client.killShard(id, world.dice.hits(0.3)));
    else await client.read(id);
  }

  /** It dies, or begins to drain, while the move is asked, handed over, or not taken up yet. */
  #loseTarget(node: SimNode): void {
    this.world.time.schedule(this.world.dice.between([0, 120]), () => {
      if (this.#healing || !node.alive) return;
      this.#count('move target lost');
      if (this.world.dice.hits(0.3)) node.stop();
      else node.kill('target of a move');
    });
  }

  async #asked(what: string, done: Promise<void>): Promise<void> {
    this.#count(what);
    await done;
  }

  /** The faults stop: from now on the cluster has to finish everything. */
  #heal(): void {
    this.#healing = true;
    const { world } = this;
    world.note('faults stop');
    world.fabric.setFaults({ ...NO_FAULTS, latencyMs: [0.2, 4], timeoutMs: 100 });
    for (const process of [...this.nodes, ...this.controls, this.client])
      world.fabric.heal(process.name);
    for (const node of this.nodes) node.forgetWish();
    const resumeAll = (): void => {
      for (const id of this.client.submitted) void this.client.resume(id);
      world.time.schedule(1_000, resumeAll);
    };
    resumeAll();
  }
}
