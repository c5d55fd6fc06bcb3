/** Signals that come at the worst moment of a run in a cluster that is not its own. */
import { expect, it } from 'vitest';
import { parseRunSettings } from '../../host/cli/run-options.js';
import { type Job, runJob } from '../../host/cli/runner.js';
import type { Session } from '../../host/cli/session.js';
import type { ControlClient } from '../../host/control/client.js';
import { noShard } from '../../host/types/api.js';

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

/** What became of a run that a SIGINT reaches while its shard is made; `killed` is what it did about that shard. */
async function interruptedSubmit(kill: (id: string) => Promise<void>): Promise<number> {
  const client = { kill } as unknown as ControlClient;
  const session: Session = {
    client,
    directory: '/data',
    isPrivate: false,
    end: async () => undefined,
    keep: async () => '/data',
    endNow: () => undefined,
  };
  const job: Job = {
    at: 'x.wasm',
    prepare: async (context) => () =>
      context.submit(async () => {
        process.emit('SIGINT');
        await turn(); // the control makes the record, its answer is on its way
        return 's-made';
      }),
    finish: async () => undefined,
  };
  return runJob(job, parseRunSettings({}), async () => session);
}

it('a Ctrl-C while the shard is submitted ends the shard that comes of it', async () => {
  const killed: string[] = [];
  const code = await interruptedSubmit(async (id) => void killed.push(id));
  expect([code, killed]).toEqual([130, ['s-made']]);
});

it('the same when somebody was faster', async () => {
  const code = await interruptedSubmit((id) => Promise.reject(noShard(id)));
  expect(code).toBe(130);
});
