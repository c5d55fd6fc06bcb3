/**
 * Tables of functions that a program changes at run time: as data, and back.
 *
 *   initial   f3  f5  -   -          now   f3  f9  -   -   f5  -        changes   1 10  4 6      size 6
 *
 * Does: compare with the module's initial tables; grow and write the tables of a new instance.
 * Does not: look at tables that no instruction can change (compile/instrument.ts marks the others).
 *
 * B1  Canonical: a table that equals the initial one is not in the state; slots ascend; null beyond the initial size is not
 *     named.
 * B2  A capsule is untrusted: sizes, slots and functions are checked before anything is written.
 */
import { EXPORT } from '../compile/abi.js';
import type { ShardState, TableState } from '../types/state.js';
import {
  exportedFunction,
  exportedGlobal,
  exportedTable,
  type Linked,
  type LoadedModule,
  readTable,
} from './loaded.js';
import { mismatch } from './values.js';

type TablesState = Pick<ShardState, 'tables' | 'droppedElements'>;

/** What differs from the module's initial tables and element segments; no field where nothing does. */
export function captureTables(loaded: LoadedModule, linked: Linked): TablesState {
  const droppedElements = loaded.droppableElements.filter(
    (segment) => exportedGlobal(linked.exports, EXPORT.elemDropped(segment)).value !== 0,
  );
  const tables = changedTables(loaded, linked);
  return {
    ...(droppedElements.length > 0 ? { droppedElements } : {}),
    ...(tables.length > 0 ? { tables } : {}),
  };
}

/** The data segments that the program dropped, ascending. */
export function droppedSegments(loaded: LoadedModule, linked: Linked): number[] {
  return loaded.droppable.filter(
    (segment) => exportedGlobal(linked.exports, EXPORT.dropped(segment)).value !== 0,
  );
}

/** Drops the data segments that the program had dropped. */
export function restoreSegments(loaded: LoadedModule, linked: Linked, state: ShardState): void {
  for (const segment of state.droppedSegments) {
    if (!loaded.droppable.includes(segment))
      throw mismatch(`it dropped segment ${segment}, the module never does`);
    exportedFunction(linked.exports, EXPORT.drop(segment))();
  }
}

/** Brings tables and element segments of a fresh instance to their captured state. */
export function restoreTables(loaded: LoadedModule, linked: Linked, state: TablesState): void {
  for (const segment of state.droppedElements ?? []) {
    if (!loaded.droppableElements.includes(segment))
      throw mismatch(`it dropped element segment ${segment}, the module never does`);
    exportedFunction(linked.exports, EXPORT.elemDrop(segment))();
  }
  for (const table of state.tables ?? []) restoreTable(loaded, linked, table);
}

/** The tables that differ from the initial ones, by index. */
function changedTables(loaded: LoadedModule, linked: Linked): TableState[] {
  if (loaded.changingTables.length === 0) return [];
  const base = loaded.baseTables();
  return loaded.changingTables.flatMap((index) => {
    const initial = base.get(index)!;
    const now = readTable(exportedTable(linked.exports, EXPORT.table(index)));
    const changes: number[] = [];
    now.forEach((number, slot) => {
      if (number !== (initial[slot] ?? 0)) changes.push(slot, number);
    });
    const same = now.length === initial.length && changes.length === 0;
    return same ? [] : [{ index, size: now.length, changes }];
  });
}

function restoreTable(
  loaded: LoadedModule,
  linked: Linked,
  { index, size, changes }: TableState,
): void {
  if (!loaded.changingTables.includes(index))
    throw mismatch(`it changed table ${index}, the module never does`);
  const table = exportedTable(linked.exports, EXPORT.table(index));
  if (size < table.length)
    throw mismatch(`its table ${index} has ${size} slots, fewer than at first`);
  checkChanges(index, size, changes);
  if (size > table.length) {
    try {
      table.grow(size - table.length, null);
    } catch {
      throw mismatch(`its table ${index} has ${size} slots, more than the module allows`);
    }
  }
  for (let i = 0; i < changes.length; i += 2)
    table.set(changes[i]!, loaded.reference(linked, changes[i + 1]!));
}

function checkChanges(index: number, size: number, changes: readonly number[]): void {
  let previous = -1;
  for (let i = 0; i < changes.length; i += 2) {
    const slot = changes[i]!;
    if (slot <= previous || slot >= size || changes[i + 1] === undefined)
      throw mismatch(`the changes of its table ${index} are not in order`);
    previous = slot;
  }
}
