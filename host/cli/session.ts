/**
 * Where a command's shard runs: a private cluster in a temporary directory, or a running one.
 *
 * S1  A private cluster's processes and its directory are gone after `end` and after `endNow`; after `keep` its
 *     processes are, and its data directory has another place where nobody sweeps it.
 */
import type { ControlClient } from '../control/client.js';

export interface Session {
  readonly client: ControlClient;
  readonly directory: string;
  readonly isPrivate: boolean;
  /** Ends what is ours; a cluster that is not is left alone. */
  end(): Promise<void>;
  /** Ends it but keeps its data directory, where `sherd up` can open it; resolves with its path. */
  keep(): Promise<string>;
  /** `end`, synchronously, in the last moment of the process. */
  endNow(): void;
}
