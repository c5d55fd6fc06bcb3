/**
 * Where a command's shard runs: a private cluster in a temporary directory, or a running one.
 *
 * S1  A private cluster's processes and its directory are gone after `end` and after `endNow`.
 */
import type { ControlClient } from '../control/client.js';

export interface Session {
  readonly client: ControlClient;
  readonly directory: string;
  readonly isPrivate: boolean;
  /** Ends what is ours; a cluster that is not is left alone. */
  end(): Promise<void>;
  /** The same, synchronously, in the last moment of the process. */
  endNow(): void;
}
