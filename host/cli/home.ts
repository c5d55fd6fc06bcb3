/**
 * Brings a program's files home: its final trees into the host directories that were given for them.
 *
 * Does: read spec and artifacts of an ended shard, write back what changed, say what was kept apart.
 * Does not: write files itself (write-back.ts) or run anything.
 *
 * H1  Nothing is written back after a kill: a killed program's files are whatever they were.
 * H2  What the program changed and nobody claimed is kept in a directory of its own, never dropped silently.
 */
import { readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { ControlClient } from '../control/client.js';
import { makeDirectory } from '../fabric/embedded-directory.js';
import { codeOf } from '../node/directories.js';
import { decodeSpec, decodeTrees } from '../runtime/spec.js';
import type { ShardView } from '../types/api.js';
import { EXIT, SherdError, usageError } from '../types/errors.js';
import type { DirectoryTree, ShardSpec } from '../types/host.js';
import type { ShardId } from '../types/records.js';
import { partOf } from './part.js';
import type { DirectoryOption } from './run-options.js';
import { type WriteBackReport, writeBack } from './write-back.js';
import { planWriteBack } from './write-back-plan.js';

type Remark = (text: string) => void;
/** Whether the directories are those that the program's files were read from. */
type Place = 'same' | 'elsewhere';

interface Trees {
  readonly submitted: ReadonlyMap<string, DirectoryTree>;
  readonly final: readonly DirectoryTree[];
}

/** The trees of an ended shard; undefined when there is nothing to bring home. */
async function treesOf(client: ControlClient, view: ShardView): Promise<Trees | undefined> {
  if (view.artifacts === null || view.exit?.reason === 'killed') return undefined;
  const spec = decodeSpec(await partOf(client, view.id, 'its spec', view.spec));
  const final = decodeTrees(await partOf(client, view.id, 'the list of its files', view.artifacts));
  return { submitted: new Map(spec.dirs.map((tree) => [tree.guestPath, tree])), final };
}

/** Refuses a --dir of something that the program never had, before anything is printed or written. */
export function requireKnown(dirs: readonly DirectoryOption[], spec: ShardSpec): void {
  const known = spec.dirs.map((tree) => tree.guestPath);
  for (const { guestPath } of dirs) {
    if (known.includes(guestPath)) continue;
    throw usageError(
      `--dir ${guestPath}: the program has no such directory`,
      known.length === 0 ? 'it was given none' : `it has ${known.join(', ')}`,
    );
  }
}

/** The same of a place that is there and takes no files. */
export async function requireFreePlaces(dirs: readonly DirectoryOption[]): Promise<void> {
  for (const { hostPath } of dirs) {
    const facts = await stat(hostPath).catch(() => undefined);
    if (facts === undefined || facts.isDirectory()) continue;
    throw new SherdError('SHERD_FILE', '--dir: not a directory', {
      at: hostPath,
      next: 'name a directory, or a place where one can be made',
      exitCode: EXIT.refused,
    });
  }
}

/**
 * Writes the program's changes into the directories of `--dir`. Returns exit code 1 when a host file had changed
 * meanwhile (it is kept, the program's lies beside it), else undefined. `elsewhere`: an empty directory gets all of the
 * program's files. In the `same` directory that was read, what is missing was deleted meanwhile, and stays so.
 */
export async function bringHome(
  client: ControlClient,
  view: ShardView,
  dirs: readonly DirectoryOption[],
  remark: Remark,
  place: Place,
): Promise<number | undefined> {
  const wanted = dirs.filter((dir) => !dir.readOnly);
  if (wanted.length === 0) return undefined;
  const trees = await treesOf(client, view);
  if (trees === undefined) return undefined;
  let code: number | undefined;
  for (const dir of wanted) {
    const final = trees.final.find((tree) => tree.guestPath === dir.guestPath);
    if (final === undefined) continue;
    const known = trees.submitted.get(dir.guestPath);
    const whole = known === undefined || (place === 'elsewhere' && (await isEmpty(dir.hostPath)));
    const submitted = whole ? emptyLike(final) : known;
    const report = await write(client, view.id, dir.hostPath, submitted, final);
    if (tell(dir.hostPath, report, remark)) code = EXIT.failedLater;
  }
  return code;
}

/** Keeps what the program changed in directories that no `--dir` claimed, under `place`/GUEST-PATH. */
export async function keepUnclaimed(
  client: ControlClient,
  view: ShardView,
  dirs: readonly DirectoryOption[],
  place: string,
  remark: Remark,
): Promise<void> {
  const trees = await treesOf(client, view);
  if (trees === undefined) return;
  const claimed = new Set(dirs.map((dir) => dir.guestPath));
  for (const final of trees.final) {
    if (final.readOnly || claimed.has(final.guestPath)) continue;
    const submitted = trees.submitted.get(final.guestPath) ?? emptyLike(final);
    if (planWriteBack(submitted.root, final.root).operations.length === 0) continue;
    const hostPath = join(place, relative('/', join('/', final.guestPath)) || 'root');
    const report = await write(client, view.id, hostPath, emptyLike(final), final);
    tell(hostPath, report, remark);
    remark(`${final.guestPath} was changed and not claimed by --dir: kept in ${hostPath}`);
  }
}

async function write(
  client: ControlClient,
  id: ShardId,
  hostPath: string,
  submitted: DirectoryTree,
  final: DirectoryTree,
): Promise<WriteBackReport> {
  makeDirectory(hostPath);
  return writeBack({
    hostPath,
    submitted,
    final,
    getBlob: (hash) => partOf(client, id, 'one of its files', hash),
  });
}

/** Says what was kept apart. True when something was. */
function tell(hostPath: string, report: WriteBackReport, remark: Remark): boolean {
  for (const { path, ours, reason } of report.conflicts) {
    const where = ours === null ? '' : `; the program's version is ${join(hostPath, ours)}`;
    remark(`${join(hostPath, path)} is kept: ${reason}${where}`);
  }
  return report.conflicts.length > 0;
}

function emptyLike(tree: DirectoryTree): DirectoryTree {
  return { ...tree, readOnly: false, root: { kind: 'dir', mtimeNs: 0n, entries: [] } };
}

async function isEmpty(path: string): Promise<boolean> {
  try {
    return (await readdir(path)).length === 0;
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return true;
    throw cause;
  }
}
