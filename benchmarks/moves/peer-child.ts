/**
 * The other process of peers.ts: puts the memory that it gets into memory that it used before, and says so.
 */
import { gunzipSync } from 'node:zlib';

let memory = new Uint8Array(0);

process.on('message', ({ memory: plain, packed }: { memory?: Uint8Array; packed?: Uint8Array }) => {
  const bytes = plain ?? gunzipSync(packed as Uint8Array);
  if (memory.length !== bytes.length) memory = new Uint8Array(bytes.length);
  memory.set(bytes);
  process.send?.('there');
});
process.once('disconnect', () => process.exit(0));
