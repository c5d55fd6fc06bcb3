/** Least recently used first out, within the weight, against a plain model. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Kept } from '../../host/core/kept.js';

const step = fc.oneof(
  fc.record({ set: fc.nat(7), bytes: fc.nat(12) }),
  fc.record({ get: fc.nat(7) }),
);

describe('kept things', () => {
  it('are those that were used last, up to the limit, the newest in any case', () => {
    fc.assert(
      fc.property(fc.nat(30), fc.array(step, { maxLength: 60 }), (limit, steps) => {
        const kept = new Kept<number>(limit);
        let model: { key: string; value: number; bytes: number }[] = [];
        const sum = (): number => model.reduce((all, { bytes }) => all + bytes, 0);
        steps.forEach((each, at) => {
          const key = String('set' in each ? each.set : each.get);
          const known = model.find((entry) => entry.key === key);
          model = model.filter((entry) => entry !== known);
          if ('set' in each) {
            kept.set(key, at, each.bytes);
            model.push({ key, value: at, bytes: each.bytes });
            while (sum() > limit && model.length > 1) model.shift();
          } else {
            expect(kept.get(key)).toBe(known?.value);
            if (known !== undefined) model.push(known);
          }
          expect(kept.size).toBe(model.length);
          expect(kept.bytes).toBe(sum());
          for (const entry of model) expect(kept.has(entry.key)).toBe(true);
        });
      }),
    );
  });
});
