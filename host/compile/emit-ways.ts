/**
 * Which instructions the emitter (emit.ts) copies, and which it writes anew.
 *
 * Does: say so by opcode. Does not: write.
 */
import { OP } from './opcodes.js';

/** How an instruction is written, besides its saves: by opcode key. */
export const Way = { copy: 0, local: 1, index: 2, frame: 3, rewrite: 4 } as const;
export const WAY = new Uint8Array(0x10000);
for (const op of [OP.localGet, OP.localSet, OP.localTee]) WAY[op] = Way.local;
for (const op of [OP.br, OP.brIf, OP.globalGet, OP.globalSet, OP.call]) WAY[op] = Way.index;
for (const op of [OP.block, OP.if, OP.else, OP.end]) WAY[op] = Way.frame;
for (const op of [OP.nop, OP.loop, OP.brTable, OP.return, OP.callIndirect]) WAY[op] = Way.rewrite;
for (const op of [OP.memoryGrow, OP.memoryInit, OP.dataDrop]) WAY[op] = Way.rewrite;
for (const op of [OP.memoryFill, OP.memoryCopy]) WAY[op] = Way.rewrite;
for (const op of [OP.refFunc, OP.tableInit, OP.elemDrop]) WAY[op] = Way.rewrite;
for (const op of [OP.returnCall, OP.returnCallIndirect]) WAY[op] = Way.rewrite;
for (const op of [OP.try, OP.tryTable, OP.catch, OP.catchAll, OP.delegate]) WAY[op] = Way.rewrite;
for (const op of [OP.throw, OP.rethrow]) WAY[op] = Way.rewrite;
