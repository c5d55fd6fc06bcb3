/**
 * Write-back: a host directory becomes what the program made of its copy, in steps that survive a crash.
 *
 *   DIR/.sherd-write-back/          exists while a write-back is under way; made by one rename, so it is the lock
 *     owner                         { pid, started }: who holds the lock
 *     0, 1, 2, …                    staged files and symlinks, complete
 *     0.beside, …                   the path under which a staged file goes instead, when the host's was changed
 *     journal                       { v: 1, operations }: from here on the write-back is carried through
 *
 *   stage everything ─▶ journal ─▶ rename file by file ─▶ remove journal ─▶ remove the rest
 *
 * Does: stage, journal, apply, redo. Does not: decide what differs (write-back-plan.ts) or fetch blobs.
 *
 * W1  Before the journal exists nothing outside the staging directory has been touched: a crash leaves the host as
 *     it was. After that, `redoWriteBack` (and the next write-back) finishes the work.
 * W2  Each operation can be repeated: what is done is recognised by its staged file being gone.
 * W3  A host file is replaced or deleted only while its content is the submitted one. Otherwise it is kept, ours goes
 *     beside it as NAME.sherd-new, and the report says so.
 * W4  Nothing is written through a symlink: every directory on the way is a real one. (Another process that swaps
 *     directories for symlinks at this very moment is out of scope: Node has no openat.)
 * W5  Modes of replaced files stay; owners, times and hard links are not carried over.
 */
import { randomBytes } from 'node:crypto';
import {
  chmod,
  cp,
  type FileHandle,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  rmdir,
  symlink,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { asFileError, codeOf, hashFile, WRITE_BACK_NAME } from '../node/directories.js';
import { isName, NAME_BYTES_MAX, utf8Bytes } from '../runtime/wasi/names.js';
import { EXIT, SherdError } from '../types/errors.js';
import type { DirectoryTree, FileNode } from '../types/host.js';
import type { Hash } from '../types/platform.js';
import {
  ABSENT,
  fileIdentity,
  type Identity,
  type Operation,
  planWriteBack,
} from './write-back-plan.js';

/** A host file that was changed (or put there) while the program ran, and is kept. */
export interface WriteBackConflict {
  /** Path within the directory. */
  readonly path: string;
  /** Where the program's version is now; null when the program had deleted it. */
  readonly ours: string | null;
  readonly reason: string;
}

export interface WriteBackReport {
  readonly written: readonly string[];
  readonly deleted: readonly string[];
  readonly conflicts: readonly WriteBackConflict[];
  /** 1 when there are conflicts. */
  readonly exitCode: number;
}

/** Called before each step; for tests that stop there. */
export type StepHook = (step: string) => void | Promise<void>;

export interface WriteBackOptions {
  readonly step?: StepHook;
  /** Whether a process is running; for tests. */
  readonly isAlive?: (pid: number) => boolean;
}

export interface WriteBackRequest extends WriteBackOptions {
  readonly hostPath: string;
  /** What the program was given, and what it left. */
  readonly submitted: DirectoryTree;
  readonly final: DirectoryTree;
  readonly getBlob: (hash: Hash) => Promise<Uint8Array>;
}

/** Brings the program's changes into the host directory. Finishes an earlier write-back first. */
export async function writeBack(request: WriteBackRequest): Promise<WriteBackReport> {
  const { hostPath, submitted, final } = request;
  if (submitted.readOnly) return report(new Outcome());
  const plan = planWriteBack(submitted.root, final.root);
  const outcome = new Outcome();
  for (const path of plan.reserved) {
    outcome.conflicts.push({ path, ours: null, reason: 'the name is reserved; not written' });
  }
  if (plan.operations.length === 0) return report(outcome);
  const root = await realDirectory(hostPath);
  await redoAll(root, request, outcome);
  const stage = await lock(root);
  try {
    await stageContents(root, stage, plan, request);
    await request.step?.('journal');
    await writeJournal(stage, plan.operations);
  } catch (cause) {
    await rm(stage, { recursive: true, force: true });
    throw diskError(cause, hostPath);
  }
  await apply(root, stage, plan.operations, outcome, request.step);
  return report(outcome);
}

/** Finishes what a crash interrupted. Null when there was nothing. */
export async function redoWriteBack(
  hostPath: string,
  options: WriteBackOptions = {},
): Promise<WriteBackReport | null> {
  const outcome = new Outcome();
  const found = await redoAll(await realDirectory(hostPath), options, outcome);
  return found ? report(outcome) : null;
}

/**
 * Before a directory is read: finishes what a crash interrupted there, and says so line by line. A write-back that is
 * under way in another process refuses the directory (exit code 2), for half of it would be seen.
 */
export async function finishInterrupted(
  hostPath: string,
  remark: (line: string) => void,
  options: WriteBackOptions = {},
): Promise<void> {
  let redone: WriteBackReport | null;
  try {
    redone = await redoWriteBack(hostPath, options);
  } catch (cause) {
    if (!(cause instanceof SherdError)) throw asFileError(cause, hostPath);
    const { at, next } = cause;
    throw new SherdError(cause.code, cause.message, { at, next, exitCode: EXIT.refused, cause });
  }
  if (redone === null) return;
  remark(`${hostPath}: finished an interrupted write-back`);
  for (const { path, ours, reason } of redone.conflicts) {
    const where = ours === null ? '' : `; the program's version is ${join(hostPath, ours)}`;
    remark(`${join(hostPath, path)} is kept: ${reason}${where}`);
  }
}

class Outcome {
  readonly written: string[] = [];
  readonly deleted: string[] = [];
  readonly conflicts: WriteBackConflict[] = [];
}

function report(outcome: Outcome): WriteBackReport {
  return { ...outcome, exitCode: outcome.conflicts.length > 0 ? EXIT.failedLater : EXIT.ok };
}

// ── staging ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Takes the directory's lock: a staging directory that is whole from the start. */
async function lock(root: string): Promise<string> {
  const stage = join(root, WRITE_BACK_NAME);
  const fresh = `${stage}.${randomBytes(6).toString('hex')}`;
  try {
    await mkdir(fresh, { mode: 0o700 });
    await writeOwner(fresh);
    await rename(fresh, stage);
  } catch (cause) {
    await rm(fresh, { recursive: true, force: true });
    if (['ENOTEMPTY', 'EEXIST'].includes(codeOf(cause))) throw busy(root);
    throw diskError(cause, root);
  }
  return stage;
}

async function stageContents(
  root: string,
  stage: string,
  plan: ReturnType<typeof planWriteBack>,
  request: WriteBackRequest,
): Promise<void> {
  for (const operation of plan.operations) {
    if (operation.op !== 'put') continue;
    const content = plan.contents[operation.staged];
    if (content === undefined) continue;
    await request.step?.(`stage ${operation.path.join('/')}`);
    const path = join(stage, String(operation.staged));
    if (content.kind === 'symlink') await symlink(content.target, path);
    else {
      await stageFile(path, content, request.getBlob);
      await chmod(path, await modeFor(join(root, ...operation.path), operation.executable));
    }
  }
}

async function stageFile(
  path: string,
  node: FileNode,
  getBlob: WriteBackRequest['getBlob'],
): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    for (const chunk of node.chunks) {
      const bytes = await getBlob(chunk.hash);
      if (bytes.length !== chunk.bytes) {
        throw new SherdError('SHERD_BLOB_DAMAGED', 'a chunk has another length', {
          at: chunk.hash,
          next: 'fetch the result again',
        });
      }
      await writeWhole(handle, bytes);
    }
  } finally {
    await handle.close();
  }
}

async function writeWhole(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await handle.write(bytes, at, bytes.length - at)).bytesWritten;
  }
}

/** The mode of the file that is replaced, else what a new file gets. */
async function modeFor(path: string, executable: boolean): Promise<number> {
  const stats = await lstat(path).catch(() => undefined);
  if (stats?.isFile() === true) return stats.mode & 0o777;
  return (executable ? 0o777 : 0o666) & ~process.umask();
}

async function writeJournal(stage: string, operations: readonly Operation[]): Promise<void> {
  const handle = await open(join(stage, 'journal.new'), 'w', 0o600);
  try {
    await handle.writeFile(JSON.stringify({ v: 1, operations }));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(join(stage, 'journal.new'), join(stage, 'journal'));
}

// ── applying ────────────────────────────────────────────────────────────────────────────────────────────────────

async function apply(
  root: string,
  stage: string,
  operations: readonly Operation[],
  outcome: Outcome,
  step?: StepHook,
): Promise<void> {
  let failure: unknown;
  let failed = 0;
  for (const operation of operations) {
    await step?.(`${operation.op} ${operation.path.join('/')}`);
    try {
      await applyOne({ root, stage, outcome, step }, operation);
    } catch (cause) {
      failure ??= cause;
      failed += 1;
    }
  }
  if (failed > 0) throw unfinished(stage, failed, failure);
  await step?.('finish');
  await unlink(join(stage, 'journal'));
  await step?.('clean');
  await rm(stage, { recursive: true, force: true });
}

interface Applying {
  readonly root: string;
  readonly stage: string;
  readonly outcome: Outcome;
  readonly step: StepHook | undefined;
}

function applyOne(applying: Applying, operation: Operation): Promise<void> {
  switch (operation.op) {
    case 'delete':
      return applyDelete(applying, operation.path, operation.expect, operation.ours);
    case 'rmdir':
      return applyRmdir(applying, operation.path);
    case 'mkdir':
      return applyMkdir(applying, operation.path);
    case 'put':
      return applyPut(applying, operation);
  }
}

async function applyDelete(
  { root, outcome }: Applying,
  path: readonly string[],
  expect: Identity,
  ours: Identity,
): Promise<void> {
  const shown = path.join('/');
  const parent = await realParent(root, path);
  const host = parent === undefined ? ABSENT : await hostIdentity(join(parent, path.at(-1)!));
  if (parent !== undefined && host === expect) await unlink(join(parent, path.at(-1)!));
  if ([expect, ours, ABSENT].includes(host)) outcome.deleted.push(shown);
  else {
    const reason = 'changed on the host; the program had deleted it';
    outcome.conflicts.push({ path: shown, ours: null, reason });
  }
}

async function applyRmdir({ root, outcome }: Applying, path: readonly string[]): Promise<void> {
  const parent = await realParent(root, path);
  if (parent === undefined) return;
  const shown = path.join('/');
  try {
    await rmdir(join(parent, path.at(-1)!));
    outcome.deleted.push(shown);
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(cause))) return;
    if (!['ENOTEMPTY', 'EEXIST', 'EBUSY'].includes(codeOf(cause))) throw cause;
    // What the program itself could not delete has been reported already.
    const known = outcome.conflicts.some((conflict) => conflict.path.startsWith(`${shown}/`));
    const why = codeOf(cause) === 'EBUSY' ? 'is in use' : 'has new files';
    const reason = `${why} on the host; the program had deleted it`;
    if (!known) outcome.conflicts.push({ path: shown, ours: null, reason });
  }
}

async function applyMkdir({ root, outcome }: Applying, path: readonly string[]): Promise<void> {
  const made = await makeDirectory(root, path);
  const shown = path.join('/');
  if (!made.redirected) outcome.written.push(shown);
  else
    outcome.conflicts.push({
      path: shown,
      ours: made.shown,
      reason: 'not a directory on the host',
    });
}

async function applyPut(
  { root, stage, outcome, step }: Applying,
  operation: Operation & { op: 'delete' | 'put' },
): Promise<void> {
  const { path, expect, ours, staged } = operation;
  const source = join(stage, String(staged));
  const shown = path.join('/');
  const conflict = (beside: string): void => {
    outcome.conflicts.push({ path: shown, ours: beside, reason: 'changed on the host' });
  };
  if ((await hostIdentity(source)) === ABSENT) {
    const beside = await readFile(`${source}.beside`, 'utf8').catch(() => undefined);
    if (beside === undefined) outcome.written.push(shown);
    else conflict(beside);
    return;
  }
  const parent = await makeDirectory(root, path.slice(0, -1));
  const name = path.at(-1)!;
  const host = await hostIdentity(join(parent.path, name));
  const free = host === ABSENT || host === expect || host === ours;
  if (free && !parent.redirected) {
    await place(source, parent.path, name);
    outcome.written.push(shown);
    return;
  }
  const besideName = free ? name : await freeName(parent.path, name);
  const beside = parent.shown === '' ? besideName : `${parent.shown}/${besideName}`;
  await writeFile(`${source}.beside`, beside);
  await step?.(`beside ${shown}`);
  await place(source, parent.path, besideName);
  conflict(beside);
}

/** Gives a staged file its name. A directory of another file system (a mount) gets a copy first: W2 holds for it too. */
async function place(source: string, parent: string, name: string): Promise<void> {
  const target = join(parent, name);
  try {
    await rename(source, target);
    return;
  } catch (cause) {
    if (codeOf(cause) !== 'EXDEV') throw cause;
  }
  const copy = join(parent, `${WRITE_BACK_NAME}.${basename(source)}`);
  await rm(copy, { force: true });
  await cp(source, copy, { verbatimSymlinks: true, errorOnExist: true, force: false });
  await rename(copy, target);
  await unlink(source);
}

/** The directory that holds a path's last part; undefined when it is not there, or not a real directory. */
async function realParent(root: string, path: readonly string[]): Promise<string | undefined> {
  let at = root;
  for (const name of path.slice(0, -1)) {
    at = join(at, name);
    if ((await hostIdentity(at)) !== 'dir') return undefined;
  }
  return at;
}

/** Makes a directory and those above it. Where the host has something else: NAME.sherd-new instead. */
async function makeDirectory(
  root: string,
  path: readonly string[],
): Promise<{ path: string; shown: string; redirected: boolean }> {
  let at = root;
  let redirected = false;
  const names: string[] = [];
  for (const name of path) {
    let chosen = name;
    for (let attempt = 1; ; attempt++) {
      const host = await hostIdentity(join(at, chosen));
      if (host === ABSENT) await mkdir(join(at, chosen));
      if (host === ABSENT || host === 'dir') break;
      chosen = besideNameOf(name, attempt);
      redirected = true;
    }
    names.push(chosen);
    at = join(at, chosen);
  }
  return { path: at, shown: names.join('/'), redirected };
}

async function freeName(parent: string, name: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    const candidate = besideNameOf(name, attempt);
    if ((await hostIdentity(join(parent, candidate))) === ABSENT) return candidate;
  }
}

/** `name.sherd-new`, then `name.sherd-new-2`, …; the name is cut when it would be too long. */
function besideNameOf(name: string, attempt: number): string {
  const suffix = attempt === 1 ? '.sherd-new' : `.sherd-new-${attempt}`;
  let stem = [...name];
  while (utf8Bytes(stem.join('')) + suffix.length > NAME_BYTES_MAX) stem = stem.slice(0, -1);
  return stem.join('') + suffix;
}

async function hostIdentity(path: string): Promise<Identity> {
  const stats = await lstat(path).catch((cause: unknown) => {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(cause))) return undefined;
    throw cause;
  });
  if (stats === undefined) return ABSENT;
  if (stats.isDirectory()) return 'dir';
  if (stats.isSymbolicLink()) return `symlink ${await readlink(path)}`;
  const chunks = stats.isFile() ? await hashFile(path) : undefined;
  return chunks === undefined ? 'other' : fileIdentity(chunks);
}

// ── redoing ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Finishes every interrupted write-back of this directory. Refuses when one is under way. */
async function redoAll(
  root: string,
  options: WriteBackOptions,
  outcome: Outcome,
): Promise<boolean> {
  let found = false;
  for (const name of (await readdir(root)).sort()) {
    const inStage = name === WRITE_BACK_NAME || name.startsWith(`${WRITE_BACK_NAME}.`);
    if (!inStage || (await hostIdentity(join(root, name))) !== 'dir') continue;
    const stage = join(root, name);
    if (await isOwned(stage, options.isAlive ?? isRunning)) throw busy(root);
    const operations = await readJournal(stage);
    if (operations === undefined) {
      await rm(stage, { recursive: true, force: true });
      continue;
    }
    found = true;
    await writeOwner(stage);
    await apply(root, stage, operations, outcome, options.step);
  }
  return found;
}

async function readJournal(stage: string): Promise<Operation[] | undefined> {
  let text: string;
  try {
    text = await readFile(join(stage, 'journal'), 'utf8');
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined;
    throw asFileError(cause, stage);
  }
  try {
    const journal = JSON.parse(text) as { v?: unknown; operations?: unknown };
    const { operations } = journal;
    if (journal.v === 1 && Array.isArray(operations) && operations.every(isOperation)) {
      return operations;
    }
  } catch {
    // refused below
  }
  throw new SherdError('SHERD_FILE', 'the journal of an interrupted write-back is damaged', {
    at: stage,
    next: 'look at the files in it, then remove that directory',
  });
}

/** Checks an operation from a file that anybody may have written. */
function isOperation(value: unknown): value is Operation {
  if (typeof value !== 'object' || value === null) return false;
  const { op, path, expect, ours, staged, executable } = value as Record<string, unknown>;
  const names =
    Array.isArray(path) &&
    path.length > 0 &&
    path.every((name) => typeof name === 'string' && isName(name));
  if (!names || (path as string[])[0]?.startsWith(WRITE_BACK_NAME)) return false;
  if (op === 'rmdir' || op === 'mkdir') return true;
  if (op !== 'delete' && op !== 'put') return false;
  const states = typeof expect === 'string' && typeof ours === 'string';
  return states && Number.isSafeInteger(staged) && typeof executable === 'boolean';
}

async function writeOwner(stage: string): Promise<void> {
  const owner = { pid: process.pid, started: await startedAt(process.pid) };
  await writeFile(join(stage, 'owner'), JSON.stringify(owner));
}

/** True when the process that holds this staging directory is still running. */
async function isOwned(stage: string, isAlive: (pid: number) => boolean): Promise<boolean> {
  try {
    const text = await readFile(join(stage, 'owner'), 'utf8');
    const { pid, started } = JSON.parse(text) as { pid?: unknown; started?: unknown };
    if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid <= 0) return false;
    return isAlive(pid) && started === (await startedAt(pid));
  } catch {
    return false;
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return codeOf(cause) === 'EPERM';
  }
}

/** When a process started (Linux), so that a reused process id is not taken for the owner. */
async function startedAt(pid: number): Promise<string | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (text === null) return null;
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}

// ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────

async function realDirectory(hostPath: string): Promise<string> {
  try {
    const path = await realpath(hostPath);
    if ((await lstat(path)).isDirectory()) return path;
  } catch (cause) {
    throw asFileError(cause, hostPath);
  }
  throw new SherdError('SHERD_FILE', 'not a directory', { at: hostPath, next: 'name a directory' });
}

function busy(root: string): SherdError {
  return new SherdError('SHERD_FILE', 'another sherd is writing to this directory', {
    at: root,
    next: 'wait until it is done',
  });
}

function unfinished(stage: string, failed: number, cause: unknown): SherdError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new SherdError('SHERD_DISK', `${failed} file(s) could not be written back: ${why}`, {
    at: stage,
    next: 'they are kept there; mend the cause and start again',
    cause,
  });
}

const DISK_REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EFBIG: 'a file would be larger than this process may write (ulimit -f)',
};

function diskError(cause: unknown, path: string): SherdError {
  if (cause instanceof SherdError) return cause;
  const why = DISK_REASONS[codeOf(cause)];
  if (why === undefined) {
    const error = asFileError(cause, path);
    return new SherdError(error.code, error.message, { at: path, next: error.next, cause });
  }
  const next = 'make room and fetch the result again';
  return new SherdError('SHERD_DISK', `${why}; nothing was changed`, { at: path, next, cause });
}
