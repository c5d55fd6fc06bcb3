import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { httpCall } from '../../host/control/http-call.js';

describe('httpCall', () => {
  let server: Server | undefined;

  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  const serve = (answer: RequestListener): Promise<string> =>
    new Promise((resolve) => {
      const made = createServer(answer);
      server = made.listen(0, '127.0.0.1', () => {
        resolve(`http://127.0.0.1:${(made.address() as AddressInfo).port}`);
      });
    });

  it('sends bytes and gives bytes back, over one connection', async () => {
    const ports = new Set<number | undefined>();
    const url = await serve((request, response) => {
      ports.add(request.socket.remotePort);
      response.writeHead(request.headers.authorization === 'x' ? 200 : 401);
      request.pipe(response);
    });
    const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7);
    for (let i = 0; i < 3; i++) {
      const call = { method: 'POST', headers: { authorization: 'x' }, body: bytes };
      const answer = await httpCall(`${url}/a`, call);
      expect([answer.status, answer.ok]).toEqual([200, true]);
      expect(Buffer.from(await answer.bytes()).equals(bytes)).toBe(true);
    }
    const refused = await httpCall(url, { method: 'GET', headers: {} });
    expect([refused.status, refused.ok, await refused.text()]).toEqual([401, false, '']);
    expect(ports.size).toBe(1);
  });

  it('rejects when nobody listens, when the answer breaks off, and when it is aborted', async () => {
    const url = await serve((request, response) => {
      response.write('half');
      if (request.url === '/cut') setTimeout(() => response.destroy(), 20);
    });
    const get = { method: 'GET', headers: {} };
    const cut = await httpCall(`${url}/cut`, get);
    await expect(cut.text()).rejects.toThrow();
    const stop = new AbortController();
    const endless = await httpCall(url, { ...get, signal: stop.signal });
    const reading = endless.text();
    stop.abort();
    await expect(reading).rejects.toThrow();
    await expect(httpCall(url, { ...get, signal: stop.signal })).rejects.toThrow();
    await expect(httpCall('http://127.0.0.1:1/', get)).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
  });
});
