/**
 * What a forecast costs: time in core.wasm for a sample and a forecast of one series, once there is a model, and bytes.
 * The series are made: random walks with noise, so that it can be measured without traces.
 */
import { Forecaster } from '../../host/core/forecast.js';
import { nodePlatform } from '../../host/node/platform.js';
import { median, randomFrom } from '../lib/statistics.js';

const SERIES = 2_000;
const STEPS = 60;

export interface Cost {
  readonly microseconds: number;
  readonly stateBytes: number;
  readonly series: number;
  readonly steps: number;
  readonly fitRows: number;
  readonly fitMs: number;
}

export function costOf(): Cost {
  const random = randomFrom(3);
  const forecaster = new Forecaster(nodePlatform, 6);
  forecaster.begin(SERIES, true, 288);
  const level = new Float64Array(SERIES).fill(10);
  const step = (t: number): number => {
    for (let s = 0; s < SERIES; s++) {
      level[s]! += random() - 0.5;
      forecaster.put(s, level[s]! + 3 * random());
    }
    const startMs = performance.now();
    forecaster.observe();
    forecaster.forecast(t, 20);
    return performance.now() - startMs;
  };
  for (let t = 0; t < 40; t++) step(t);
  const startMs = performance.now();
  forecaster.train(1);
  const fitMs = performance.now() - startMs;
  const times = Array.from({ length: STEPS }, (_, i) => step(40 + i));
  return {
    microseconds: (1_000 * median(times)) / SERIES,
    stateBytes: forecaster.stateBytes,
    series: SERIES,
    steps: STEPS,
    fitRows: forecaster.rows,
    fitMs,
  };
}
