/**
 * Whether sherd deals with a hostile capsule as it should: decoder, runtime, bundle reader.
 *
 * Does: make real capsules of several programs (files and descriptors, waits, references, tables, exceptions, deep stacks);
 * judge one mutant. Does not: make mutants (mutants.ts) or count (mutate.ts).
 *
 * J1  Refused means a SherdError, never SHERD_INTERNAL; a damaged capsule is refused with its section's name.
 * J2  Accepted by the decoder means canonical: encoded again it gives the same bytes, unless a unit that equals the base is
 *     stored, which only the base can tell: then what is encoded again is a fixed point, has fewer units and differs in
 *     nothing else.
 * J3  Taken up by the runtime means harmless: it runs to an end, a stop or a trap of the guest, can be captured again, and
 *     its memory is within the limit that its spec declares.
 * J4  A delta is taken up through its chain, and the one full capsule of that chain has the same state.
 */
import { readFileSync } from 'node:fs';
import { bareHost } from '../../benchmarks/lib/bare-host.js';
import { BUNDLE, decodeBundle, encodeBundle, requireComplete } from '../../host/capsule/bundle.js';
import { type DecodedCapsule, decodeCapsule, encodeCapsule } from '../../host/capsule/capsule.js';
import {
  type Chain,
  compactChain,
  imageOfChain,
  readChain,
  stateOfChain,
} from '../../host/capsule/chain.js';
import { readEnvelope } from '../../host/capsule/envelope.js';
import { unpackBytes } from '../../host/capsule/packed.js';
import { compileProgram } from '../../host/compile/index.js';
import { nodePlatform } from '../../host/node/platform.js';
import {
  checkLimit,
  createGuestHost,
  decodeSpec,
  encodeSpec,
  Instance,
  LoadedModule,
  restoreGuestHost,
} from '../../host/runtime/index.js';
import { SherdError } from '../../host/types/errors.js';
import type { DirectoryTree, GuestHost } from '../../host/types/host.js';
import type { Hash } from '../../host/types/platform.js';
import type { MemoryBase, ShardState } from '../../host/types/state.js';
import { settingsOf } from '../exact/corpus.js';
import { Journey, type Subject } from '../exact/drive.js';
import { virtualPlatform } from '../exact/facts.mjs';
import { generateModule } from '../exact/generate.js';
import { argsOf, assemble, load, subjectOf } from '../exact/modules.js';
import { programSpec } from '../exact/programs.js';

/** Memory that a capsule's spec declares, in 64 KiB pages. */
export const LIMIT_PAGES = 64;
/** What a packed mutant may stand for. */
const PACKED_LIMIT_BYTES = 16 << 20;
const BUDGET = 3_000;
const STOPS = 3;
const SECTION =
  /damaged in section (envelope|header|frames|globals|host|memory|capsule|module|spec|blob|run|number \d+):/;

export interface Prey {
  readonly subject: Subject;
  readonly blobs: ReadonlyMap<Hash, Uint8Array>;
  readonly capsule: Uint8Array;
  /** A bundle of it; undefined for a module without a spec. */
  readonly bundle: Uint8Array | undefined;
  /** The capsules that it is based on, oldest first. */
  readonly below?: readonly Uint8Array[];
}

/** Every so many units of fuel a capsule, `count` in all; a program that waits gives one at its first wait, too. */
function capsulesOf(subject: Subject, count: number): Prey[] {
  const total = lengthOf(subject);
  const journey = Journey.begin(subject);
  const prey: Prey[] = [];
  for (let i = 0; i < count; i++) {
    if (!journey.runTo(1n + (total * BigInt(i)) / BigInt(count))) break;
    const { bytes } = journey.pack();
    const { spec, loaded } = subject;
    const bundle =
      spec === undefined
        ? undefined
        : encodeBundle(
            {
              capsule: bytes,
              module: loaded.module.bytes,
              spec: encodeSpec(spec),
              blobs: journey.allBlobs,
              ...(i % 2 === 0 ? { ranMs: 12.5 } : {}),
            },
            nodePlatform,
          );
    prey.push({ subject, blobs: new Map(journey.allBlobs), capsule: bytes, bundle });
  }
  return prey;
}

/** The same positions as a chain: a full capsule, then deltas; the deltas of it. */
function deltasOf(subject: Subject, count: number): Prey[] {
  const image = subject.loaded.baseImage();
  const links: Uint8Array[] = [];
  const names: Hash[] = [];
  const prey: Prey[] = [];
  let base: MemoryBase = image;
  for (const full of capsulesOf(subject, count)) {
    const { header, state: stateOn } = decodeCapsule(full.capsule, nodePlatform);
    const state = stateOn(image);
    if (state.memory === null) throw new Error(`${subject.name} has no memory`);
    const { shardId, epoch, specHash, references, unknown } = header;
    const facts = { shardId, epoch, specHash, references, unknown };
    const { bytes, hash } = encodeCapsule({ ...facts, state, base }, nodePlatform);
    if (links.length > 0) prey.push({ ...full, capsule: bytes, below: [...links] });
    const { pages, bytes: memory } = state.memory;
    base = { capsule: hash, below: names.toReversed(), pages, bytes: memory };
    links.push(bytes);
    names.push(hash);
  }
  return prey;
}

function lengthOf(subject: Subject): bigint {
  const journey = Journey.begin(subject);
  journey.finish();
  return journey.fuel;
}

function wasiSubject(file: string, args: readonly string[], stdin = ''): Subject {
  const wasm = new Uint8Array(readFileSync(new URL(`../fixtures/${file}`, FIXTURES)));
  const shard = compileProgram(wasm, nodePlatform);
  const blobs = new Map<Hash, Uint8Array>();
  const put = (text: string) => {
    const bytes = new TextEncoder().encode(text);
    const hash = nodePlatform.sha256(bytes);
    blobs.set(hash, bytes);
    return { bytes: bytes.length, chunks: [{ hash, bytes: bytes.length }] };
  };
  const entry = (name: string, text: string) =>
    [name, { kind: 'file', mtimeNs: 5n, executable: false, ...put(text) }] as const;
  const dirs: DirectoryTree[] = [
    {
      guestPath: '/data',
      readOnly: false,
      root: { kind: 'dir', mtimeNs: 7n, entries: [entry('in.txt', 'first\nsecond\n')] },
    },
    {
      guestPath: '/ro',
      readOnly: true,
      root: { kind: 'dir', mtimeNs: 7n, entries: [entry('file', 'untouched\n')] },
    },
  ];
  const own = { programName: file, args: [file, ...args], env: ['GREETING=hello'] };
  const input = stdin === '' ? [] : put(stdin).chunks;
  const spec = {
    ...programSpec(shard, { ...own, stdin: input, dirs }),
    maxMemoryPages: LIMIT_PAGES,
  };
  return {
    name: file,
    loaded: LoadedModule.load(shard, nodePlatform),
    entry: '_start',
    entryArgs: new Uint8Array(0),
    spec,
    blobs,
    limitPages: LIMIT_PAGES,
  };
}

let FIXTURES = import.meta.url;

/** The capsules that mutants are made of. `fixtures`: where the fixtures are seen from, when this is compiled elsewhere. */
export function allPrey(fixtures: string = import.meta.url): Prey[] {
  FIXTURES = fixtures;
  const forth = ': fib dup 2 < if else dup 1 - recurse swap 2 - recurse + then ; 9 fib .';
  const prey = [
    ...capsulesOf(wasiSubject('wasi/files.wasm', ['last argument'], ' two\nwords'), 12),
    ...capsulesOf(wasiSubject('wc_sort.wasm', ['/data'], 'to be or not to be\n'), 4),
    ...capsulesOf(wasiSubject('forth.wasm', [], `${forth}\n`), 3),
    ...waiting(wasiSubject('wasi/clock.wasm', [])),
    ...deltasOf(wasiSubject('wc_sort.wasm', ['/data'], 'that is the question\n'), 4),
    ...deltasOf(wasiSubject('forth.wasm', [], `${forth}\n`), 3),
  ];
  for (const seed of [1, 2, 3, 6, 7, 11]) {
    const loaded = load(assemble(generateModule(seed, settingsOf(seed))));
    prey.push(
      ...capsulesOf({ ...subjectOf(`seed ${seed}`, loaded, argsOf(seed)), limitPages: 3 }, 3),
    );
  }
  return prey;
}

/** A program that sleeps: stopped in each of its waits. */
function waiting(subject: Subject): Prey[] {
  const platform = virtualPlatform(nodePlatform);
  const { spec, loaded, blobs } = subject;
  if (spec === undefined) return [];
  const host = createGuestHost(spec, blobs, platform);
  const instance = Instance.start(loaded, host, { ...subject, limitPages: LIMIT_PAGES });
  const prey: Prey[] = [];
  for (
    let result = instance.run(10 ** 6);
    result.kind === 'waiting';
    result = instance.run(10 ** 6)
  ) {
    const specHash = nodePlatform.sha256(encodeSpec(spec));
    const { bytes } = encodeCapsule(
      {
        state: instance.capture(),
        base: loaded.baseImage(),
        specHash,
        epoch: 1,
        shardId: 's-exact',
        references: host.references(),
      },
      platform,
    );
    prey.push({ subject, blobs, capsule: bytes, bundle: undefined });
    if (result.wait.kind === 'until') {
      host.resumeClock();
      platform.clock.ns += result.wait.monotonicNs - host.guestMonotonicNs();
      host.suspendClock();
    }
  }
  return prey;
}

export type Verdict = 'refused by the decoder' | 'refused by the runtime' | 'ran' | 'accepted';

function refusal(error: unknown, mustName: boolean): void {
  if (!(error instanceof SherdError)) throw error;
  if (error.code === 'SHERD_INTERNAL') throw error;
  if (mustName && error.code === 'SHERD_CAPSULE_DAMAGED' && !SECTION.test(error.message))
    throw new Error(`no section is named: ${error.message}`);
}

/** Judges a mutant of a capsule (J1–J3); throws what is wrong. */
export function judgeCapsule(prey: Prey, bytes: Uint8Array): Verdict {
  let decoded: DecodedCapsule;
  try {
    decoded = decodeCapsule(bytes, nodePlatform);
  } catch (error) {
    refusal(error, true);
    return 'refused by the decoder';
  }
  const { loaded } = prey.subject;
  if (decoded.header.moduleHash !== loaded.module.moduleHash) return 'accepted';
  try {
    if (!withinLimits(prey, decoded)) return 'accepted';
    const image = loaded.baseImage();
    return takeUp(prey, decoded, decoded.state(image), image);
  } catch (error) {
    refusal(error, false);
    return 'refused by the runtime';
  }
}

/** Judges a mutant of a chain, oldest link first (J1–J4). */
export async function judgeChain(prey: Prey, links: readonly Uint8Array[]): Promise<Verdict> {
  const { loaded } = prey.subject;
  const image = loaded.baseImage();
  const stored = new Map(links.map((bytes) => [nodePlatform.sha256(bytes), bytes]));
  let chain: Chain;
  try {
    // A link whose name fits is not hashed again by the chain: hashes in it that are wrong are found here.
    for (const bytes of links) decodeCapsule(bytes, nodePlatform);
    const newest = nodePlatform.sha256(links[links.length - 1]!);
    const options = { moduleHash: loaded.module.moduleHash, maxMemoryPages: LIMIT_PAGES };
    chain = await readChain(newest, async (hash) => stored.get(hash), nodePlatform, options);
  } catch (error) {
    refusal(error, true);
    return 'refused by the decoder';
  }
  try {
    const [newest, ...rest] = chain.links;
    if (newest === undefined || !withinLimits(prey, newest)) return 'accepted';
    const state = stateOfChain(chain, image);
    demandSameCompacted(chain, state, loaded);
    const below = rest[0] && imageOfChain({ links: rest, hash: rest[0].hash }, image);
    return takeUp(prey, newest, state, below ?? image);
  } catch (error) {
    refusal(error, false);
    return 'refused by the runtime';
  }
}

/** J4. */
function demandSameCompacted(chain: Chain, state: ShardState, loaded: LoadedModule): void {
  const image = loaded.baseImage();
  const { bytes } = compactChain(chain, image, nodePlatform);
  const full = decodeCapsule(bytes, nodePlatform);
  const { memory } = full.state(image);
  const same = Buffer.compare(memory?.bytes ?? bytes, state.memory?.bytes ?? bytes) === 0;
  if (!same || full.header.base !== null) throw new Error('its full capsule has another state');
}

function withinLimits({ subject }: Prey, { header }: DecodedCapsule): boolean {
  const { loaded, spec } = subject;
  if (spec === undefined) return (header.memory?.pages ?? 0) <= LIMIT_PAGES;
  checkLimit(header.memory, spec, loaded.module);
  return true;
}

function takeUp(prey: Prey, decoded: DecodedCapsule, state: ShardState, base: MemoryBase): Verdict {
  const { loaded, spec, functions } = prey.subject;
  const platform = virtualPlatform(nodePlatform);
  demandCanonical(decoded, state, base);
  const host: GuestHost =
    spec === undefined
      ? bareHost(
          functions === undefined ? undefined : (control) => functions(control, () => undefined),
        )
      : restoreGuestHost(spec, state.host, prey.blobs, platform);
  const instance = Instance.resume(loaded, host, state);
  for (let stop = 0; stop < STOPS; stop++) {
    const result = instance.run(BUDGET);
    if (
      result.kind === 'trap' &&
      /[A-Z]\w*Error|not a function|undefined|Cannot/.test(result.trap.message)
    )
      throw new Error(`not a trap of the guest: ${result.trap.message}`);
    if (instance.memoryBytes > LIMIT_PAGES * 65_536) throw new Error('beyond its memory limit');
    host.drainOutput();
    if (result.kind !== 'quantum') break;
  }
  if (instance.finished) {
    host.trees();
    return 'ran';
  }
  captureAgain(instance, host, loaded);
  return 'ran';
}

function captureAgain(instance: Instance, host: GuestHost, loaded: LoadedModule): void {
  const { bytes } = encodeCapsule(
    {
      state: instance.capture(),
      base: loaded.baseImage(),
      specHash: '0'.repeat(64),
      epoch: 1,
      shardId: 's',
      references: host.references(),
    },
    nodePlatform,
  );
  decodeCapsule(bytes, nodePlatform);
}

/** Encodes what was decoded (J2). */
function demandCanonical(decoded: DecodedCapsule, state: ShardState, base: MemoryBase): void {
  const again = encodedAgain(decoded, state, base);
  const known = decoded.sections.every(({ id, required }) => id <= 5 && required);
  if (!known || Buffer.compare(again, decoded.bytes) === 0) return;
  const next = decodeCapsule(again, nodePlatform);
  const fixed = encodedAgain(next, next.state(base), base);
  const [was, is] = [decoded.sizes, next.sizes];
  const isFewer =
    is.storedBytes < was.storedBytes ||
    (is.storedBytes === was.storedBytes && is.zeroedBytes < was.zeroedBytes);
  const others = ({ sections }: DecodedCapsule): string =>
    sections.map(({ id, hash }) => (id === 5 ? '' : hash)).join();
  if (Buffer.compare(again, fixed) !== 0 || !isFewer || others(next) !== others(decoded))
    throw new Error('accepted, but encodes to other bytes');
}

function encodedAgain(decoded: DecodedCapsule, state: ShardState, base: MemoryBase): Uint8Array {
  const { shardId, epoch, specHash, references, deadBytes, unknown } = decoded.header;
  const facts = { shardId, epoch, specHash, references, deadBytes, unknown };
  return encodeCapsule({ ...facts, state, base }, nodePlatform).bytes;
}

/** Judges a mutant of a bundle: as the command line reads one. */
export function judgeBundle(bytes: Uint8Array): Verdict {
  try {
    const bundle = decodeBundle(bytes, nodePlatform);
    const decoded = decodeCapsule(bundle.capsule, nodePlatform);
    requireComplete(bundle, decoded);
    if (bundle.spec !== undefined) decodeSpec(bundle.spec);
    const again = encodeBundle(bundle, nodePlatform);
    const known = readEnvelope(BUNDLE, bytes, nodePlatform).every(({ id }) => id <= 5);
    if (known && Buffer.compare(again, bytes) !== 0)
      throw new Error('accepted, but encodes to other bytes');
    return 'accepted';
  } catch (error) {
    refusal(error, true);
    return 'refused by the decoder';
  }
}

/** Judges a mutant of a packed bundle. */
export function judgePacked(bytes: Uint8Array): Verdict {
  let bundle: Uint8Array;
  try {
    bundle = unpackBytes(bytes, nodePlatform, PACKED_LIMIT_BYTES);
  } catch (error) {
    refusal(error, true);
    return 'refused by the decoder';
  }
  return judgeBundle(bundle);
}
