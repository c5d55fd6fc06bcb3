/** What is said of a control file that names nobody. */
import * as promises from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { readControlInfo } from '../../host/control/client.js';

vi.mock('node:fs/promises', async (original) => ({ ...(await original<typeof promises>()) }));
afterEach(() => vi.restoreAllMocks());

/** root may read everything, so the system's refusal is played. */
function reading(what: string | NodeJS.ErrnoException): void {
  const read = vi.spyOn(promises, 'readFile');
  if (typeof what === 'string') read.mockResolvedValue(what);
  else read.mockRejectedValue(what);
}

describe('a control file', () => {
  it.each(['EACCES', 'EPERM'])(
    'that may not be read (%s) belongs to somebody else: nobody is told to end that cluster',
    async (code) => {
      reading(Object.assign(new Error(code), { code }));
      await expect(readControlInfo('/data')).rejects.toMatchObject({
        code: 'SHERD_UNAUTHORIZED',
        at: '/data/control.json',
        next: 'ask as the user who started its sherd up',
        exitCode: 1,
      });
    },
  );

  it('that is not there, or says nothing, names no cluster', async () => {
    reading(Object.assign(new Error('gone'), { code: 'ENOENT' }));
    await expect(readControlInfo('/data')).rejects.toMatchObject({
      code: 'SHERD_NO_CLUSTER',
      at: '/data',
    });
    for (const text of ['', '{"url":', 'null', '{"url":"http://127.0.0.1:1"}']) {
      reading(text);
      await expect(readControlInfo('/data')).rejects.toMatchObject({
        code: 'SHERD_NO_CLUSTER',
        message: expect.stringContaining('does not name a cluster'),
      });
    }
  });
});
