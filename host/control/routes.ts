/**
 * The routes of the HTTP API (types/api): input checked, verbs called, answers written.
 *
 * R1  Every request has been authorized before it comes here.
 * R2  Input is checked field by field before anything is done.
 */
import { Hono } from 'hono';
import {
  type EventLine,
  FORK_COPIES_MAX,
  type ForkReply,
  type OracleScoreReply,
  type OutputLine,
  type WatchLine,
} from '../types/api.js';
import { SherdError } from '../types/errors.js';
import type { ShardId } from '../types/records.js';
import {
  checkHash,
  errorResponse,
  type Fields,
  jsonBody,
  ndjson,
  parseIndex,
  replyOf,
  usage,
  Waker,
} from './http.js';
import { oracleBlobs } from './oracle-keeper.js';
import { OutputReader } from './output.js';
import { diskUse } from './reach.js';
import type { ControlServer } from './server.js';

const WATCH_PAUSE_MS = 20;
const INSPECT_MS = 2_000;
const INSPECT_MAX_MS = 60_000;
const FORK_MS = 10_000;
const FORK_MAX_MS = 600_000;

export function makeRoutes(
  control: ControlServer,
): (request: Request) => Response | Promise<Response> {
  const app = new Hono();
  addBlobs(app, control);
  addShards(app, control);
  addVerbs(app, control);
  addStreams(app, control);
  addCluster(app, control);
  app.notFound((c) => errorResponse(usage(`no such request: ${c.req.method} ${c.req.path}`)));
  app.onError((cause) => errorResponse(cause));
  return (request) => app.fetch(request);
}

function addBlobs(app: Hono, { fabric }: ControlServer): void {
  app.post('/v1/blobs/:hash', async (c) => {
    const hash = checkHash(c.req.param('hash'), 'hash');
    const body = c.req.raw.body;
    await fabric.blobs.put(hash, body === null ? new Uint8Array(0) : chunksOf(body));
    return c.json({});
  });
  app.on(['GET', 'HEAD'], '/v1/blobs/:hash', async (c) => {
    const hash = checkHash(c.req.param('hash'), 'hash');
    if (c.req.method === 'HEAD') {
      return new Response(null, { status: (await fabric.blobs.has(hash)) ? 200 : 404 });
    }
    return bytesResponse(await fabric.blobs.get(hash), hash);
  });
}

function addShards(app: Hono, { shards, moves, cluster, fabric }: ControlServer): void {
  app.get('/v1/shards', (c) => c.json({ shards: shards.list() }));
  app.get('/v1/shards/:id', async (c) => c.json(await shards.get(c.req.param('id'))));
  app.delete('/v1/shards/:id', async (c) => {
    await shards.remove(c.req.param('id'), c.req.query('force') === '1');
    return c.json({});
  });
  app.post('/v1/shards', async (c) => {
    const fields = await jsonBody(c.req.raw);
    const pauseAtFuel = fields.optionalCount('pauseAtFuel');
    const pause = pauseAtFuel === undefined ? {} : { pauseAtFuel };
    return c.json({ id: await shards.submit({ ...newShard(fields), ...pause }) });
  });
  app.post('/v1/shards/import', async (c) => {
    const fields = await jsonBody(c.req.raw);
    const from = {
      capsule: fields.hash('capsule'),
      capsuleBytes: fields.integer('capsuleBytes'),
      fuelUsed: fields.count('fuelUsed'),
      memoryBytes: fields.integer('memoryBytes'),
      ranMs: fields.number('ranMs', 0),
    };
    const pauseAtFuel = fields.optionalCount('pauseAtFuel');
    const pause = pauseAtFuel === undefined ? {} : { pauseAtFuel };
    const paused = fields.flag('paused');
    return c.json({ id: await shards.submit({ ...newShard(fields), ...pause, from, paused }) });
  });
  app.get('/v1/shards/:id/moves', async (c) => {
    const { record } = await cluster.find(c.req.param('id'));
    return c.json({ moves: moves.of(record.id), pause: moves.pauseOf(record.id) });
  });
  app.get('/v1/shards/:id/capsule', async (c) => {
    const { record } = await cluster.find(c.req.param('id'));
    if (record.capsule === null) {
      throw new SherdError('SHERD_STATE', 'it has no capsule', { at: record.id });
    }
    return bytesResponse(await fabric.blobs.get(record.capsule), record.capsule);
  });
  app.get('/v1/shards/:id/inspect', async (c) => {
    const asked = parseIndex(c.req.query('timeoutMs') ?? String(INSPECT_MS), 'timeoutMs');
    return c.json(await shards.inspect(c.req.param('id'), Math.min(asked, INSPECT_MAX_MS)));
  });
}

function addVerbs(app: Hono, { shards }: ControlServer): void {
  app.post('/v1/shards/:id/pause', async (c) => {
    const atFuel = (await jsonBody(c.req.raw)).optionalCount('atFuel');
    return c.json(await shards.pause(c.req.param('id'), atFuel));
  });
  app.post('/v1/shards/:id/resume', async (c) => c.json(await shards.resume(c.req.param('id'))));
  app.post('/v1/shards/:id/kill', async (c) => {
    const force = (await jsonBody(c.req.raw)).flag('force');
    return c.json(await shards.kill(c.req.param('id'), force));
  });
  app.post('/v1/shards/:id/move', async (c) => {
    const target = (await jsonBody(c.req.raw)).optionalText('target');
    return c.json(await shards.move(c.req.param('id'), target));
  });
  app.post('/v1/shards/:id/fork', async (c) => {
    const fields = await jsonBody(c.req.raw);
    const copies = fields.integer('copies', 1);
    if (copies < 1 || copies > FORK_COPIES_MAX)
      throw usage(`copies must be 1 to ${FORK_COPIES_MAX}`);
    const timeoutMs = Math.max(0, Math.min(FORK_MAX_MS, fields.number('timeoutMs', FORK_MS)));
    const order = {
      copies,
      name: fields.optionalText('name'),
      paused: fields.flag('paused'),
      timeoutMs,
    };
    const { record, copies: made, failure } = await shards.fork(c.req.param('id'), order);
    const reply: ForkReply = {
      shard: record.id,
      fuelUsed: record.fuelUsed.toString(),
      copies: made,
      error: failure === undefined ? null : replyOf(failure).error,
    };
    return c.json(reply);
  });
}

function addStreams(app: Hono, control: ControlServer): void {
  const follows = (value: string | undefined): boolean => value === '1' || value === 'true';
  app.get('/v1/shards/:id/output', async (c) => {
    const { record } = await control.cluster.find(c.req.param('id'));
    const from = parseIndex(c.req.query('from'), 'from');
    const follow = follows(c.req.query('follow'));
    return ndjson((signal) => outputLines(control, record.id, from, follow, signal));
  });
  app.get('/v1/shards/:id/watch', async (c) => {
    const { record } = await control.cluster.find(c.req.param('id'));
    return ndjson((signal) => watchLines(control, record.id, signal));
  });
  app.get('/v1/events', (c) => {
    const from = parseIndex(c.req.query('from'), 'from');
    const follow = follows(c.req.query('follow'));
    // Numbers of another trace say nothing here: begin with what there is.
    const isOurs = (c.req.query('trace') ?? control.trace.id) === control.trace.id;
    return ndjson((signal) => eventLines(control, isOurs ? from : 0, follow, signal));
  });
}

function addCluster(app: Hono, control: ControlServer): void {
  const { shards, cluster, fabric } = control;
  app.get('/v1/nodes', (c) => c.json({ nodes: shards.nodes() }));
  app.post('/v1/nodes/:id/drain', (c) => c.json(shards.drainNode(c.req.param('id'))));
  app.get('/v1/status', (c) => c.json(control.status()));
  app.get('/v1/oracle/score', (c) => {
    const scores = control.brain.scores.map(({ score, ...rest }) => ({ ...rest, ...score }));
    return c.json({ scores } satisfies OracleScoreReply);
  });
  app.post('/v1/gc', async (c) => {
    const fields = await jsonBody(c.req.raw);
    const graceMs = fields.number('graceMs', -1);
    return c.json(await shards.collectGarbage(graceMs < 0 ? undefined : graceMs));
  });
  app.get('/v1/du', async (c) => {
    const records = [...cluster.shards.values()].map((seen) => seen.record);
    const others = await oracleBlobs(fabric);
    return c.json(await diskUse(records, fabric, control.platform, others));
  });
  app.post('/v1/shutdown', async (c) => c.json({ paused: await control.shutDown() }));
}

async function* outputLines(
  { cluster, fabric }: ControlServer,
  id: ShardId,
  from: number,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<OutputLine> {
  const reader = new OutputReader(fabric, id, from);
  const waker = new Waker(signal);
  const unlisten = cluster.onChange(id, waker.wake);
  try {
    while (!signal.aborted) {
      const seen = cluster.shards.get(id);
      if (seen === undefined) return;
      const { output, status } = seen.record;
      yield* reader.until(output);
      if (!follow || status === 'done') {
        yield { kind: 'end', offset: reader.offset, status };
        return;
      }
      await waker.wait();
    }
  } finally {
    unlisten();
  }
}

async function* watchLines(
  { cluster, shards }: ControlServer,
  id: ShardId,
  signal: AbortSignal,
): AsyncGenerator<WatchLine> {
  const waker = new Waker(signal);
  const unlisten = cluster.onChange(id, waker.wake);
  let revision = 0;
  try {
    while (!signal.aborted) {
      const seen = cluster.shards.get(id);
      if (seen === undefined) {
        yield { kind: 'gone' };
        return;
      }
      const changed = seen.revision !== revision;
      revision = seen.revision;
      yield { kind: 'shard', shard: shards.view(seen) };
      if (seen.record.status === 'done') return;
      await waker.wait();
      // Progress alone is not worth a line each; a changed record is shown at once.
      const unchanged = cluster.shards.get(id)?.revision === revision;
      if (unchanged && !changed)
        await new Promise((resolve) => setTimeout(resolve, WATCH_PAUSE_MS));
    }
  } finally {
    unlisten();
  }
}

async function* eventLines(
  { trace }: ControlServer,
  from: number,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<EventLine> {
  const waker = new Waker(signal);
  const unfollow = trace.follow(waker.wake);
  let next = from;
  yield { kind: 'trace', id: trace.id };
  try {
    while (!signal.aborted) {
      // Asked for the future: begin with what there is.
      if (next > trace.next) next = trace.first;
      if (next > 0 && next < trace.first) yield { kind: 'lost', from: trace.first };
      for (const event of trace.from(next)) {
        next = event.seq + 1;
        yield { kind: 'event', event };
      }
      if (!follow) {
        yield { kind: 'end' };
        return;
      }
      await waker.wait();
    }
  } finally {
    unfollow();
  }
}

function newShard(fields: Fields): {
  name: string;
  spec: string;
  moduleHash: string;
  priority: number;
} {
  return {
    name: fields.text('name'),
    spec: fields.hash('spec'),
    moduleHash: fields.hash('moduleHash'),
    priority: fields.number('priority', 0),
  };
}

function bytesResponse(bytes: Uint8Array | undefined, hash: string): Response {
  if (bytes === undefined) {
    throw new SherdError('SHERD_BLOB_MISSING', 'no such blob', { at: hash });
  }
  return new Response(bytes as Uint8Array<ArrayBuffer>, {
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(bytes.length) },
  });
}

async function* chunksOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}
