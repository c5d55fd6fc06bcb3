import { describe, expect, it } from 'vitest';
import { refuseNonText } from '../../host/cli/raw-arguments.js';

const line = (...args: (string | Uint8Array)[]): Uint8Array =>
  Buffer.concat(args.flatMap((each) => [Buffer.from(each), Buffer.of(0)]));

describe('a command line', () => {
  it('of text passes, a real U+FFFD included', () => {
    refuseNonText(['run', 'ü'], () => line('node', 'run', 'ü'));
    refuseNonText(['run', '\ufffd'], () => line('node', 'run', '\ufffd', ''));
  });

  it('with an argument that is not UTF-8 is refused, and the argument named', () => {
    const raw = () => line('node', 'run', Uint8Array.of(0x61, 0xff));
    expect(() => refuseNonText(['run', 'a\ufffd'], raw)).toThrow(/'a\ufffd' is not UTF-8/);
  });

  it('passes where nothing can be told', () => {
    refuseNonText(['a\ufffd'], () => undefined);
  });
});
