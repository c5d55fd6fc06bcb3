/** Reading what the user named: nothing that waits for somebody else holds the process up. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { bounded, openSource, readSource } from '../../host/node/source.js';

const root = mkdtempSync(join(tmpdir(), 'sherd-source-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function fifo(name: string): string {
  const path = join(root, name);
  execFileSync('mkfifo', [path]);
  return path;
}

async function write(path: string, pieces: readonly string[]): Promise<void> {
  const file = await open(path, 'w');
  for (const piece of pieces) await file.write(piece);
  await file.close();
}

describe('files', () => {
  it('are read whole', async () => {
    const path = join(root, 'file');
    const content = Buffer.alloc(300_000, 'sherd ');
    writeFileSync(path, content);
    expect(Buffer.compare(await readSource(path), content)).toBe(0);
    const parts: Buffer[] = [];
    for await (const piece of (await openSource(path)).pieces()) parts.push(Buffer.from(piece));
    expect(Buffer.compare(Buffer.concat(parts), content)).toBe(0);
  });

  it('may lie in /proc, where none has a size', async () => {
    expect((await readSource('/proc/self/status')).length).toBeGreaterThan(100);
  });

  it('are not directories', async () => {
    await expect(readSource(root)).rejects.toMatchObject({ code: 'EISDIR' });
    await expect(openSource(join(root, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('pipes', () => {
  it('are waited for until somebody has written', async () => {
    const path = fifo('late');
    const reading = readSource(path);
    const early = await Promise.race([
      reading,
      new Promise((resolve) => setTimeout(() => resolve('waits'), 100)),
    ]);
    expect(early).toBe('waits');
    await write(path, ['one ', 'two']);
    expect(Buffer.from(await reading).toString()).toBe('one two');
  });

  it('that nobody writes into do not keep a process from ending', async () => {
    const path = fifo('never');
    const source = new URL('../../dist/node/source.js', import.meta.url).href;
    const script = `import { readSource, openSource } from ${JSON.stringify(source)};
      void readSource(${JSON.stringify(path)});
      void (await openSource(${JSON.stringify(path)})).pieces()[Symbol.asyncIterator]().next();
      setTimeout(() => { process.stdout.write('ends'); process.exit(3); }, 50);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    child.stdout.setEncoding('utf8');
    const [said] = await once(child.stdout, 'data');
    expect(said).toBe('ends');
    expect((await once(child, 'exit'))[0]).toBe(3);
  });
});

describe('what has no end', () => {
  it('is refused beyond the limit', async () => {
    await expect(readSource('/dev/zero', 1_000_000)).rejects.toMatchObject({
      code: 'SHERD_LIMIT',
      exitCode: 2,
      at: '/dev/zero',
    });
  });

  it('is taken up to exactly the limit', async () => {
    const give = async function* () {
      yield new Uint8Array(6);
      yield new Uint8Array(4);
    };
    let bytes = 0;
    for await (const piece of bounded(give(), 'x', 10, 'less')) bytes += piece.length;
    expect(bytes).toBe(10);
    const read = (async () => {
      for await (const _ of bounded(give(), 'x', 9, 'less'));
    })();
    await expect(read).rejects.toMatchObject({ next: 'less' });
  });
});
