/**
 * Every change of a record is a legal one: epochs grow by one, done is final, counters never go back (protocol/check-transition).
 */
import { checkTransition } from '../../protocol/check-transition.js';
import type { Checker } from './checker.js';

export const transitions = (): Checker => ({
  name: 'transitions',
  onChange: (before, after) => checkTransition(before, after),
  atEnd: () => [],
});
