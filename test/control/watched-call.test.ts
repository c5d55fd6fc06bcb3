/** A control that is stopped, hangs, or only takes its time. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ControlClient } from '../../host/control/client.js';
import { ndjson } from '../../host/control/http.js';
import { isStopped } from '../../host/fabric/stopped.js';
import { SherdError } from '../../host/types/errors.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections();
});

/** A client of a server that answers like this. */
async function clientOf(
  answer: (path: string, response: ServerResponse) => void,
  probeMs: number,
  directory?: string,
): Promise<ControlClient> {
  const server = createServer((request, response) => answer(request.url ?? '', response));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return new ControlClient(async () => ({ url, token: 't', pid: 4711 }), {
    quiet: { afterMs: 10, probeMs },
    ...(directory === undefined ? {} : { directory }),
  });
}

describe('the control file', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'sherd-control-file-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('that names no cluster is refused with its path, whatever is in it', async () => {
    const file = join(directory, 'control.json');
    for (const text of ['', 'garbage', 'null', '[]', '7', '{"url":1,"token":"x"}', '{"url":"x"}']) {
      await writeFile(file, text);
      const client = ControlClient.forDirectory(directory, { patienceMs: 0 });
      await expect(client.shards()).rejects.toMatchObject({
        code: 'SHERD_NO_CLUSTER',
        at: file,
        message: expect.stringMatching(/^it does not name a cluster \((?!.*properties of null)/),
        next: expect.stringContaining('sherd up'),
      });
    }
  });

  it('that leads to another server is no defect of ours', async () => {
    for (const status of [200, 404, 500]) {
      const client = await clientOf((_path, response) => {
        response.writeHead(status).end('<html>hello');
      }, 60_000);
      const foreign = {
        code: 'SHERD_NO_CLUSTER',
        message: 'what answers there is no control process of sherd',
        at: expect.stringMatching(/^http:/),
      };
      await expect(client.shards()).rejects.toMatchObject(foreign);
      await expect(client.shutdown()).rejects.toMatchObject(foreign);
    }
  });
});

describe('events', () => {
  it('are given once each, across broken connections and a new control', async () => {
    const line = (value: object): string => `${JSON.stringify(value)}\n`;
    const events = (...seqs: number[]): string =>
      seqs.map((seq) => line({ kind: 'event', event: { seq } })).join('');
    // By what is asked, for a client may lose the end of an answer that breaks off, and asks again.
    const answers = new Map([
      ['from=0&follow=1', line({ kind: 'trace', id: 'a' }) + events(1, 2)],
      ['from=3&trace=a&follow=1', line({ kind: 'trace', id: 'a' }) + events(3)],
      ['from=4&trace=a&follow=1', line({ kind: 'trace', id: 'b' }) + events(1, 2)],
    ]);
    const client = await clientOf((path, response) => {
      const answer = answers.get(path.split('?')[1] ?? '');
      if (answer === undefined) return void response.end('{}');
      const isLast = path.includes('from=4');
      response.write(answer, () => (isLast ? undefined : response.socket?.end()));
    }, 60_000);
    const seen: number[] = [];
    for await (const { seq } of client.events({ follow: true })) {
      seen.push(seq);
      if (seen.length === 5) break;
    }
    expect(seen).toEqual([1, 2, 3, 1, 2]);
  });
});

describe('a stream', () => {
  it('that can never be given whole says why, and is not asked for again and again', async () => {
    const lost = async function* (): AsyncGenerator<object> {
      yield { kind: 'piece', stream: 'stdout', offset: 0, base64: 'NwAK' };
      throw new SherdError('SHERD_BLOB_MISSING', 'a piece of the output is not in the store');
    };
    const text = await ndjson(lost).text();
    const asked: string[] = [];
    const client = await clientOf((path, response) => {
      if (path !== '/v1/status') asked.push(path);
      response.end(text);
    }, 60_000);
    const output = client.output('s-1');
    expect((await output.next()).value).toMatchObject({ offset: 0 });
    const why = {
      code: 'SHERD_BLOB_MISSING',
      message: expect.stringContaining('not in the store'),
    };
    await expect(output.next()).rejects.toMatchObject(why);
    expect(asked).toHaveLength(1);
  });

  it('that fails for the moment breaks off', async () => {
    const hiccup = async function* (): AsyncGenerator<object> {
      yield { kind: 'beat' };
      throw new SherdError('SHERD_FABRIC', 'the store is closed');
    };
    await expect(ndjson(hiccup).text()).rejects.toThrow('the store is closed');
  });
});

describe('a control process', () => {
  it('that answers nobody is named, for requests of every kind', async () => {
    const client = await clientOf(() => undefined, 20);
    const message = expect.stringMatching(/^the control process 4711 does not answer/);
    const silence = { code: 'SHERD_TIMEOUT', message };
    await expect(client.shards()).rejects.toMatchObject(silence);
    await expect(client.kill('s-1')).rejects.toMatchObject(silence);
    await expect(client.shutdown()).rejects.toMatchObject(silence);
    await expect(client.output('s-1').next()).rejects.toMatchObject(silence);
  });

  it('that is held up by a stopped node of its cluster: the node is named', async () => {
    const args = ['-e', 'setInterval(() => 0, 999); console.log(1)', '--', 'embedded:/data/held'];
    const node = spawn(process.execPath, [...args, '--name', 'n2']);
    try {
      await once(node.stdout, 'data');
      node.kill('SIGSTOP');
      while (!isStopped(node.pid ?? 0)) await new Promise((resolve) => setTimeout(resolve, 5));
      const client = await clientOf(() => undefined, 20, '/data/held');
      await expect(client.shards()).rejects.toMatchObject({
        code: 'SHERD_TIMEOUT',
        message: `the control process 4711 does not answer while the node n2 (pid ${node.pid}) is stopped in this cluster`,
        next: expect.stringContaining(`kill -CONT ${node.pid},`),
      });
    } finally {
      node.kill('SIGKILL');
    }
  });

  it('that takes its time over one request is waited for while it answers others', async () => {
    let asked = 0;
    let late: ServerResponse | undefined;
    const client = await clientOf((path, response) => {
      if (path === '/v1/gc') {
        late = response;
        return;
      }
      response.end('{}');
      asked += 1;
      if (asked === 4) late?.end('{"blobs":1}');
    }, 60_000);
    expect(await client.gc()).toEqual({ blobs: 1 });
    expect(asked).toBe(4);
  });

  it('that refuses to be asked is not taken for a silent one', async () => {
    let late: ServerResponse | undefined;
    let asked = 0;
    const client = await clientOf((path, response) => {
      if (path === '/v1/gc') {
        late = response;
        return;
      }
      response.socket?.destroy();
      asked += 1;
      if (asked === 3) late?.end('{"blobs":2}');
    }, 60_000);
    expect(await client.gc()).toEqual({ blobs: 2 });
  });
});
