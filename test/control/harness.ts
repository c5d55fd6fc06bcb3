/**
 * A cluster inside the test's process: control, nodes with real worker threads, a fabric of the test's choice.
 *
 * Does: compile small programs, submit them, know what they must print. Does not: assert.
 */

import wabt from 'wabt';
import { compileProgram } from '../../host/compile/index.js';
import { ControlClient } from '../../host/control/client.js';
import { ControlServer } from '../../host/control/server.js';
import { type NodeOptions, NodeProcess } from '../../host/node/node.js';
import { nodePlatform } from '../../host/node/platform.js';
import { encodeSpec } from '../../host/runtime/index.js';
import type { ShardView } from '../../host/types/api.js';
import type { Fabric } from '../../host/types/fabric.js';
import type { ShardSpec } from '../../host/types/host.js';
import type { ShardModule } from '../../host/types/module.js';
import type { ShardId } from '../../host/types/records.js';
import { fillMemory, PRINT } from '../setup/print.js';

export const WORKER_ENTRY = new URL('../../dist/node/worker.js', import.meta.url);
export const CODE = new URL('../../dist/', import.meta.url);

const IMPORTS = `
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))`;

/** Prints a running sum `lines` times, each after `turns` turns of a loop; fills `kib` of memory; exits with 7. */
export function sums(lines: number, turns: number, kib = 0): string {
  const pages = 2 + Math.ceil(kib / 64);
  return `(module ${IMPORTS} (memory (export "memory") ${pages}) ${PRINT}
    (func (export "_start") (local $i i32) (local $j i32) (local $sum i32)
      ${fillMemory(kib)}
      (loop $outer
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $j (i32.const ${turns}))
        (loop $inner
          (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (local.get $j)))
          (local.set $j (i32.sub (local.get $j) (i32.const 1)))
          (br_if $inner (local.get $j)))
        (call $print (local.get $sum))
        (br_if $outer (i32.lt_u (local.get $i) (i32.const ${lines}))))
      (call $exit (i32.const 7))))`;
}

/** As many lines as there is time for. */
export const ENDLESS = 0x7fff_ffff;

/** Pauses an endless `sums`, reads all that it has printed, and compares it with as many lines of a straight run. */
export async function pausedSums(
  client: ControlClient,
  id: ShardId,
  turns: number,
  kib = 0,
): Promise<string> {
  await client.pause(id);
  await client.untilStatus(id, ['paused']);
  let text = '';
  for await (const { offset, bytes } of client.output(id)) {
    if (offset !== text.length) throw new Error(`output at ${offset}, expected at ${text.length}`);
    text += Buffer.from(bytes).toString('latin1');
  }
  const lines = text.split('\n').length - 1;
  if (lines === 0) throw new Error('nothing was printed');
  const expected = sumsOutput(lines, turns, kib);
  if (text !== expected) throw new Error(`${lines} lines differ from a straight run`);
  return text;
}

const outputs = new Map<string, string>();

/** What `sums` prints. */
export function sumsOutput(lines: number, turns: number, kib = 0): string {
  const key = `${lines} ${turns} ${kib}`;
  const known = outputs.get(key) ?? computeSums(lines, turns, kib);
  outputs.set(key, known);
  return known;
}

function computeSums(lines: number, turns: number, kib: number): string {
  let sum = 0;
  for (let j = kib * 1024; j > 0; j -= 4) sum = (Math.imul(sum, 1664525) + 1013904223) | 0;
  let text = '';
  for (let i = 0; i < lines; i++) {
    for (let j = turns; j > 0; j--) sum = (Math.imul(sum, 31) + j) | 0;
    text += `${sum >>> 0}\n`;
  }
  return text;
}

/** It has passed a safepoint, as far as its node has told. */
export const hasRun = ({ progress }: ShardView): boolean =>
  progress !== null && progress.fuelUsed !== '0';

export const SPIN = `(module (memory (export "memory") 1) (global $n (mut i64) (i64.const 0))
  (func $turn (loop $l (global.set $n (i64.add (global.get $n) (i64.const 1))) (br $l)))
  (func (export "_start") (call $turn)))`;

/** Prints 1, sleeps as many ms, prints 2. */
export function sleeps(ms: number): string {
  return `(module ${IMPORTS} (memory (export "memory") 2) ${PRINT}
    (func (export "_start")
      (call $print (i32.const 1))
      (i32.store (i32.const 2064) (i32.const 1))
      (i64.store (i32.const 2072) (i64.const ${ms * 1_000_000}))
      (drop (call $poll (i32.const 2048) (i32.const 4096) (i32.const 1) (i32.const 8192)))
      (call $print (i32.const 2))))`;
}

export const TRAP = `(module ${IMPORTS} (memory (export "memory") 2) ${PRINT}
  (func $divide (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "_start") (call $print (i32.const 1)) (call $print (call $divide (i32.const 1) (i32.const 0)))))`;

const modules = new Map<string, ShardModule>();

export async function compiled(text: string): Promise<ShardModule> {
  const known = modules.get(text);
  if (known !== undefined) return known;
  const parsed = (await wabt()).parseWat('test.wat', text);
  const binary = parsed.toBinary({ write_debug_names: true }).buffer;
  parsed.destroy();
  const module = compileProgram(Uint8Array.from(binary), nodePlatform);
  modules.set(text, module);
  return module;
}

export interface SubmitOptions
  extends Partial<Pick<ShardSpec, 'maxFuel' | 'maxTimeMs' | 'priority' | 'stdin'>> {
  readonly pauseAtFuel?: bigint;
}

/** Puts what a program needs, and submits it. */
export async function submit(
  client: ControlClient,
  text: string,
  options: SubmitOptions = {},
): Promise<ShardId> {
  const module = await compiled(text);
  const { pauseAtFuel, ...limits } = options;
  const spec = encodeSpec({
    v: 1,
    programName: 'test',
    moduleHash: module.moduleHash,
    entry: '_start',
    entryArgs: new Uint8Array(0),
    args: ['test'],
    env: [],
    stdin: [],
    dirs: [],
    seed: '00'.repeat(16),
    maxMemoryPages: 0,
    maxFuel: 0n,
    maxTimeMs: 0,
    priority: 0,
    ...limits,
  });
  const specHash = nodePlatform.sha256(spec);
  await client.ensureBlob(specHash, spec);
  await client.ensureBlob(module.moduleHash, module.bytes);
  return client.submit({
    name: 'test',
    spec: specHash,
    moduleHash: module.moduleHash,
    priority: options.priority ?? 0,
    ...(pauseAtFuel === undefined ? {} : { pauseAtFuel: String(pauseAtFuel) }),
  });
}

/** All of a shard's output, to its end; pieces must follow one another without gap or overlap. */
export async function followed(client: ControlClient, id: ShardId): Promise<string> {
  let text = '';
  for await (const { offset, bytes } of client.output(id, 0, { follow: true })) {
    if (offset !== text.length) throw new Error(`output at ${offset}, expected at ${text.length}`);
    text += Buffer.from(bytes).toString('latin1');
  }
  return text;
}

/** Waits until the view satisfies the condition. */
export async function until(
  client: ControlClient,
  id: ShardId,
  holds: (view: ShardView) => boolean,
): Promise<ShardView> {
  for await (const view of client.watch(id)) {
    if (holds(view)) return view;
    if (view.status === 'done') throw new Error(`shard is done: ${JSON.stringify(view.exit)}`);
  }
  throw new Error('shard is gone');
}

export class TestCluster {
  readonly nodes: NodeProcess[] = [];
  control: ControlServer | undefined;
  /** What nodes log; a test may listen. */
  log = (node: string, what: string, shardId: string | null, detail: string): void => {
    if (process.env.TEST_LOG) console.log(node, what, shardId, detail);
  };
  #closed = false;
  readonly client = new ControlClient(async () => {
    if (this.control === undefined) throw new Error('no control');
    return this.control.info;
  });

  constructor(readonly connect: (name: string) => Fabric | Promise<Fabric>) {}

  async startControl(
    options: Partial<Parameters<typeof ControlServer.start>[0]> = {},
  ): Promise<ControlServer> {
    this.control = await ControlServer.start({
      fabric: await this.connect('control'),
      platform: nodePlatform,
      directory: null,
      ...options,
    });
    return this.control;
  }

  /** What a supervisor does when a control has lost its lease: another one, until one stays. */
  async replaceControl(): Promise<void> {
    const old = this.control;
    this.control = undefined;
    await old?.crash();
    const lost = (): void => void this.replaceControl();
    while (!this.#closed && this.control === undefined) {
      await this.startControl({ lost }).catch(() => undefined);
    }
  }

  async startNode(
    name: string,
    workers = 1,
    options: Pick<NodeOptions, 'preCopy' | 'stageFromBytes'> = {},
  ): Promise<NodeProcess> {
    const fabric = await this.connect(name);
    const node = await NodeProcess.start({
      fabric,
      name,
      workers,
      workerEntry: WORKER_ENTRY,
      ...options,
      log: (what, shardId, detail) => this.log(name, what, shardId, detail),
    });
    this.nodes.push(node);
    return node;
  }

  nodeOf(id: string | null): NodeProcess {
    const found = this.nodes.find((node) => node.id === id);
    if (found === undefined) throw new Error(`no node ${id}`);
    return found;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const node of this.nodes) await node.close();
    await this.control?.close();
  }
}
