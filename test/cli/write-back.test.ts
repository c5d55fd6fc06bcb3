/** Write-back: only what changed, only inside, nothing of the host's lost, and whole after a crash at any step. */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  finishInterrupted,
  redoWriteBack,
  type WriteBackReport,
  writeBack,
} from '../../host/cli/write-back.js';
import { snapshotDirectory } from '../../host/node/directories.js';
import { CHUNK_BYTES, type DirectoryTree } from '../../host/types/host.js';
import { dirOf, FakeBlobs, noise, type Shape, shapeOf } from '../runtime/wasi/guest.js';

let base: string;
let root: string;
let blobs: FakeBlobs;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'sherd-write-back-'));
  root = join(base, 'dir');
  mkdirSync(root);
  blobs = new FakeBlobs();
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** Makes the host directory what the shape says. */
function plant(shape: Shape, path = root): void {
  for (const [name, value] of Object.entries(shape)) {
    const at = join(path, name);
    if (typeof value === 'string' || value instanceof Uint8Array) writeFileSync(at, value);
    else if (typeof value.link === 'string') symlinkSync(value.link, at);
    else {
      mkdirSync(at);
      plant(value as Shape, at);
    }
  }
}

/** What the host directory is, staging included. */
function look(path = root): unknown {
  const entries = readdirSync(path).map((name): [string, unknown] => {
    const at = join(path, name);
    const stats = lstatSync(at);
    if (stats.isSymbolicLink()) return [name, { link: readlinkSync(at) }];
    return [name, stats.isDirectory() ? look(at) : readFileSync(at, 'latin1')];
  });
  return Object.fromEntries(entries);
}

function tree(shape: Shape): DirectoryTree {
  return { guestPath: '/d', readOnly: false, root: dirOf(blobs, shape) };
}

const getBlob = async (hash: string): Promise<Uint8Array> => {
  const bytes = blobs.store.get(hash);
  if (bytes === undefined) throw new Error(`no blob ${hash}`);
  return bytes;
};

function back(
  before: Shape,
  after: Shape,
  step?: (what: string) => void | Promise<void>,
): Promise<WriteBackReport> {
  const request = { hostPath: root, submitted: tree(before), final: tree(after), getBlob };
  return writeBack(step === undefined ? request : { ...request, step });
}

const before: Shape = {
  same: 'same',
  edited: 'old',
  gone: 'gone',
  old: { x: 'x', deep: { y: 'y' } },
  link: { link: 'same' },
  fileToDir: 'file',
  dirToFile: { z: 'z' },
  linkToFile: { link: 'same' },
};
const after: Shape = {
  same: 'same',
  edited: 'new',
  added: 'added',
  fresh: { a: { b: 'b' } },
  link: { link: 'edited' },
  fileToDir: { inside: 'i' },
  dirToFile: 'now a file',
  linkToFile: 'now a file, too',
};

describe('write-back', () => {
  it('brings every kind of change and leaves the rest alone', async () => {
    plant(before);
    utimesSync(join(root, 'same'), 5, 5);
    chmodSync(join(root, 'edited'), 0o640);
    const report = await back(before, after);
    expect(look()).toEqual(after);
    expect(statSync(join(root, 'same')).mtimeMs).toBe(5000);
    expect(statSync(join(root, 'edited')).mode & 0o777).toBe(0o640);
    expect(report.exitCode).toBe(0);
    expect(report.conflicts).toEqual([]);
    expect([...report.written].sort()).toEqual([
      'added',
      'dirToFile',
      'edited',
      'fileToDir',
      'fileToDir/inside',
      'fresh',
      'fresh/a',
      'fresh/a/b',
      'link',
      'linkToFile',
    ]);
    expect([...report.deleted].sort()).toEqual([
      'dirToFile',
      'dirToFile/z',
      'fileToDir',
      'gone',
      'old',
      'old/deep',
      'old/deep/y',
      'old/x',
    ]);
  });

  it('touches nothing when nothing changed, or the directory is read-only', async () => {
    const trees = { submitted: tree(before), final: tree(before) };
    const touched = { ...tree(before).root, mtimeNs: 77n };
    const report = await writeBack({
      hostPath: join(base, 'does not exist'),
      submitted: trees.submitted,
      final: { ...trees.final, root: touched },
      getBlob,
    });
    expect(report).toEqual({ written: [], deleted: [], conflicts: [], exitCode: 0 });
    plant(before);
    const readOnly = { ...trees.submitted, readOnly: true };
    await writeBack({ hostPath: root, submitted: readOnly, final: tree(after), getBlob });
    expect(look()).toEqual(before);
  });

  it('writes big files chunk by chunk, and executable ones', async () => {
    const big = noise(CHUNK_BYTES * 2 + 5);
    const final = tree({ big, script: 'x' });
    const entries = final.root.entries.map(([name, node]) => {
      return [
        name,
        node.kind === 'file' ? { ...node, executable: name === 'script' } : node,
      ] as const;
    });
    await writeBack({
      hostPath: root,
      submitted: tree({}),
      final: { ...final, root: { ...final.root, entries } },
      getBlob,
    });
    expect(Buffer.compare(readFileSync(join(root, 'big')), big)).toBe(0);
    expect(statSync(join(root, 'script')).mode & 0o100).toBe(0o100);
    expect(statSync(join(root, 'big')).mode & 0o100).toBe(0);
  });

  it('takes back what snapshotDirectory gave', async () => {
    plant(before);
    const put = async (hash: string, bytes: Uint8Array): Promise<void> => {
      blobs.store.set(hash, bytes);
    };
    const submitted = await snapshotDirectory(root, '/d', false, put);
    const report = await writeBack({ hostPath: root, submitted, final: tree(after), getBlob });
    expect(report.conflicts).toEqual([]);
    expect(shapeOf((await snapshotDirectory(root, '/d', false, put)).root, blobs.store)).toEqual(
      after,
    );
  });
});

describe('a host that changed meanwhile', () => {
  it('keeps its files, with ours beside them', async () => {
    plant(before);
    writeFileSync(join(root, 'edited'), 'the user wrote this');
    writeFileSync(join(root, 'edited.sherd-new'), 'and has this');
    writeFileSync(join(root, 'gone'), 'still needed');
    writeFileSync(join(root, 'added'), 'mine');
    writeFileSync(join(root, 'old/extra'), 'mine');
    rmSync(join(root, 'link'));
    symlinkSync('gone', join(root, 'link'));
    const report = await back(before, after);
    expect(report.exitCode).toBe(1);
    expect(look()).toEqual({
      ...after,
      edited: 'the user wrote this',
      'edited.sherd-new': 'and has this',
      'edited.sherd-new-2': 'new',
      gone: 'still needed',
      added: 'mine',
      'added.sherd-new': 'added',
      old: { extra: 'mine' },
      link: { link: 'gone' },
      'link.sherd-new': { link: 'edited' },
    });
    expect(report.conflicts.map(({ path, ours }) => [path, ours]).sort()).toEqual([
      ['added', 'added.sherd-new'],
      ['edited', 'edited.sherd-new-2'],
      ['gone', null],
      ['link', 'link.sherd-new'],
      ['old', null],
    ]);
  });

  it('is no conflict when it has what we would write, or lost what we changed', async () => {
    plant(before);
    writeFileSync(join(root, 'edited'), 'new');
    rmSync(join(root, 'gone'));
    rmSync(join(root, 'old'), { recursive: true });
    rmSync(join(root, 'link'));
    const report = await back(before, after);
    expect(report.conflicts).toEqual([]);
    expect(look()).toEqual(after);
  });

  it('gets directories beside files that are in the way', async () => {
    plant(before);
    writeFileSync(join(root, 'fresh'), 'a file of the user');
    writeFileSync(join(root, 'fileToDir'), 'changed');
    rmSync(join(root, 'dirToFile/z'));
    writeFileSync(join(root, 'dirToFile/new'), 'n');
    const report = await back(before, after);
    expect(look()).toEqual({
      ...after,
      fresh: 'a file of the user',
      'fresh.sherd-new': { a: { b: 'b' } },
      fileToDir: 'changed',
      'fileToDir.sherd-new': { inside: 'i' },
      dirToFile: { new: 'n' },
      'dirToFile.sherd-new': 'now a file',
    });
    expect(report.exitCode).toBe(1);
    expect(report.conflicts).toContainEqual({
      path: 'fresh/a/b',
      ours: 'fresh.sherd-new/a/b',
      reason: 'changed on the host',
    });
  });

  it('never gets anything written through a symlink', async () => {
    const outside = join(base, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'x'), 'x');
    writeFileSync(join(outside, 'target'), 'untouched');
    plant(before);
    rmSync(join(root, 'old'), { recursive: true });
    symlinkSync('../outside', join(root, 'old'));
    rmSync(join(root, 'edited'));
    symlinkSync('../outside/target', join(root, 'edited'));
    symlinkSync('../outside', join(root, 'fresh'));
    await back(before, after);
    expect(look(outside)).toEqual({ x: 'x', target: 'untouched' });
    expect(look()).toMatchObject({
      old: { link: '../outside' },
      fresh: { link: '../outside' },
      'fresh.sherd-new': { a: { b: 'b' } },
      'edited.sherd-new': 'new',
    });
  });

  it('never gets an absolute way out of a program’s symlink', async () => {
    const outside = join(base, 'outside');
    mkdirSync(outside);
    plant({ d: {} });
    // The program replaced a directory by a symlink; a later write-back of files below it must not follow.
    await back({ d: {} }, { d: { link: '../outside' } });
    await back({ d: {} }, { d: { file: 'x' } });
    expect(look(outside)).toEqual({});
    expect(look()).toEqual({ d: { link: '../outside' }, 'd.sherd-new': { file: 'x' } });
  });
});

/** Runs up to a step and stays there for ever, as a killed process does. Returns false when it ran to its end. */
async function killAt(
  count: number,
  run: (step: () => Promise<void>) => Promise<unknown>,
): Promise<boolean> {
  let steps = 0;
  return new Promise((resolve, reject) => {
    const step = (): Promise<void> => {
      steps += 1;
      if (steps <= count) return Promise.resolve();
      resolve(true);
      return new Promise(() => {});
    };
    run(step).then(() => resolve(false), reject);
  });
}

const dead = { isAlive: () => false };

describe('a crash at any step', () => {
  it('leaves the host as it was, or is redone to the end', async () => {
    let killed = true;
    let count = 0;
    const seen = { before: 0, redone: 0 };
    for (; killed; count++) {
      rmSync(root, { recursive: true, force: true });
      mkdirSync(root);
      plant(before);
      killed = await killAt(count, (step) => back(before, after, step));
      const report = await redoWriteBack(root, dead);
      if (report === null && killed && readFileSync(join(root, 'edited'), 'utf8') === 'old') {
        expect(look()).toEqual(before);
        seen.before += 1;
      } else {
        expect(look(), `killed at step ${count}`).toEqual(after);
        expect(report?.conflicts ?? []).toEqual([]);
        seen.redone += 1;
      }
      expect(await redoWriteBack(root, dead)).toBeNull();
    }
    expect(seen.before).toBeGreaterThan(5);
    expect(seen.redone).toBeGreaterThan(20);
  });

  it('keeps changed host files, and says so again, also when the redo is killed', async () => {
    const changed = { ...before, edited: 'user', added: 'mine', gone: 'kept' };
    for (let first = 0, killed = true; killed; first++) {
      for (let second = 0, again = true; again; second += 7) {
        rmSync(root, { recursive: true, force: true });
        mkdirSync(root);
        plant(changed);
        killed = await killAt(first, (step) => back(before, after, step));
        again = await killAt(second, (step) => redoWriteBack(root, { ...dead, step }));
        const report = await redoWriteBack(root, dead);
        if (report === null && !existsSync(join(root, 'edited.sherd-new'))) {
          expect(look()).toEqual(changed);
          break;
        }
        expect(look(), `killed at ${first} and ${second}`).toEqual({
          ...after,
          edited: 'user',
          'edited.sherd-new': 'new',
          added: 'mine',
          'added.sherd-new': 'added',
          gone: 'kept',
        });
        if (report !== null) {
          expect(report.exitCode).toBe(1);
          const paths = report.conflicts.map((conflict) => [conflict.path, conflict.ours]);
          expect(paths.sort()).toEqual([
            ['added', 'added.sherd-new'],
            ['edited', 'edited.sherd-new'],
            ['gone', null],
          ]);
        }
      }
    }
  });

  it('is redone by the next write-back', async () => {
    plant(before);
    await killAt(14, (step) => back(before, after, step));
    const request = {
      hostPath: root,
      submitted: tree(after),
      final: tree({ ...after, more: 'm' }),
    };
    await writeBack({ ...request, getBlob, ...dead });
    expect(look()).toEqual({ ...after, more: 'm' });
  });

  it('is redone before the directory is read again, and said', async () => {
    plant({ ...before, edited: 'user' });
    await killAt(14, (step) => back(before, after, step));
    const lines: string[] = [];
    const say = (line: string): void => void lines.push(line);
    await expect(finishInterrupted(root, say)).rejects.toMatchObject({ exitCode: 2 });
    await finishInterrupted(root, say, dead);
    expect(lines).toEqual([
      `${root}: finished an interrupted write-back`,
      `${root}/edited is kept: changed on the host; the program's version is ${root}/edited.sherd-new`,
    ]);
    await finishInterrupted(root, say);
    expect(lines).toHaveLength(2);
  });

  it('is random trees, too', async () => {
    const name = fc.constantFrom('a', 'b', 'c');
    const { dir } = fc.letrec<{ dir: Shape; node: Shape[string] }>((tie) => ({
      dir: fc.dictionary(name, tie('node'), { noNullPrototype: true, maxKeys: 3 }),
      node: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom('1', '2', '3'),
        fc.constantFrom('a', 'b').map((link) => ({ link })),
        tie('dir'),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(dir, dir, fc.nat(30), async (old, now, count) => {
        rmSync(root, { recursive: true, force: true });
        mkdirSync(root);
        plant(old);
        await killAt(count, (step) => back(old, now, step));
        await redoWriteBack(root, dead);
        const report = await writeBack({
          hostPath: root,
          submitted: tree(old),
          final: tree(now),
          getBlob,
        });
        expect(report.conflicts).toEqual([]);
        expect(look()).toEqual(now);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the lock', () => {
  it('keeps a second write-back out while the first one runs', async () => {
    plant(before);
    await killAt(3, (step) => back(before, after, step));
    await expect(back(before, after)).rejects.toMatchObject({ code: 'SHERD_FILE' });
    await expect(redoWriteBack(root)).rejects.toMatchObject({ code: 'SHERD_FILE' });
  });
});

describe('failures', () => {
  it('while staging change nothing', async () => {
    plant(before);
    blobs.store.clear();
    const final = tree(after);
    blobs.store.clear();
    const request = { hostPath: root, submitted: tree(before), final, getBlob };
    blobs.store.clear();
    await expect(writeBack(request)).rejects.toThrow(/no blob/);
    expect(look()).toEqual(before);
  });

  it('refuse a damaged or hostile journal', async () => {
    const stage = join(root, '.sherd-write-back');
    const file = { expect: 'absent', ours: 'file x', staged: 0, executable: false };
    const hostile = [
      '{',
      JSON.stringify({ v: 2, operations: [] }),
      JSON.stringify({ v: 1, operations: [{ op: 'mkdir', path: ['..', 'x'] }] }),
      JSON.stringify({ v: 1, operations: [{ op: 'mkdir', path: [] }] }),
      JSON.stringify({ v: 1, operations: [{ op: 'put', path: ['/etc/x'], ...file }] }),
      JSON.stringify({ v: 1, operations: [{ op: 'put', path: ['a'], ...file, staged: '../x' }] }),
    ];
    for (const journal of hostile) {
      mkdirSync(stage, { recursive: true });
      writeFileSync(join(stage, 'journal'), journal);
      await expect(redoWriteBack(root)).rejects.toMatchObject({ code: 'SHERD_FILE', at: stage });
    }
    expect(readdirSync(base)).toEqual(['dir']);
  });

  it('report reserved names instead of writing them', async () => {
    const report = await back({}, { '.sherd-write-back': { journal: 'x' }, ok: 'ok' });
    expect(look()).toEqual({ ok: 'ok' });
    expect(report.exitCode).toBe(1);
    expect(report.conflicts[0]).toMatchObject({ path: '.sherd-write-back', ours: null });
  });

  it('name the missing directory', async () => {
    rmSync(root, { recursive: true });
    await expect(back({}, after)).rejects.toMatchObject({ code: 'SHERD_FILE', at: root });
  });
});
