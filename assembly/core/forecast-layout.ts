/**
 * Where the forecaster's numbers lie in the memory of its own instance of core.wasm. All of it is plain memory, so that a
 * copy of the first `forecastSavedBytes()` bytes and of the states is the whole state of the forecaster.
 *
 *     0        HEAD     settings, random state, pooled scales, cross-section, tables, pooled offsets     4 KiB
 *     4096     MODEL    means and spreads of features, three linear quantile models, trees
 *              POOL     POOL_ROWS past windows: features, outcome, weight, origin
 *     SCRATCH           training only: codes, standardised rows, predictions, histograms, the normal matrix
 *     STATES            one of STATE_BYTES a series
 *
 * Does: name offsets. Does not: read or write anything.
 */

/** Quantile levels that are modelled; P50, P90 and P99 are three of them (indices below). */
export const LEVELS: i32 = 8;
export const P50: i32 = 2;
export const P90: i32 = 5;
export const P99: i32 = 7;

export const FEATURES: i32 = 59;
/** Features of a row in memory: whole vectors of four. */
export const ROW: i32 = 60;
/** The same with the constant 1 in front. */
export const DESIGN: i32 = 60;

// --- head -----------------------------------------------------------------------------------------------------

/** i32: steps of the horizon; a window begins to be kept every so many steps; rows in the pool; trees of the model. */
export const H_HORIZON: usize = 0;
export const H_STRIDE: usize = 4;
export const H_ROWS: usize = 8;
export const H_TREES: usize = 12;
/** u32 state of the generator; i32: steps a day, 0 = no day is known; 1 when there is a model. */
export const H_RANDOM: usize = 16;
export const H_PERIOD: usize = 20;
export const H_READY: usize = 24;
/** i32: rows that the pool keeps at most, a power of two up to POOL_ROWS. */
export const H_POOL: usize = 28;
/** f64: rows ever offered, of history and live. */
export const H_OFFERED: usize = 32;
export const H_OFFERED_LIVE: usize = 40;
/** f64: medians over the series of |level| and of scale. */
export const H_LEVEL: usize = 48;
export const H_SCALE: usize = 56;
/** f64 × 4: how all series moved together lately (forecast.ts); and the number of series in it. */
export const H_CROSS: usize = 64;
export const H_CROSS_COUNT: usize = 96;
/** i32: samples are history of other series, or live. */
export const H_LIVE: usize = 104;
/** i32: 1 when some value of the stream was "at least": the highest value says nothing of the highest demand. */
export const H_TOP_CENSORED: usize = 108;
/** f64: the highest value that any series of the stream has had. */
export const H_TOP: usize = 112;
/** f64: scale over level of the series of the stream before, 0 = none. */
export const H_RATIO: usize = 120;
/** f32 × LEVELS each: levels, their normal scores, pooled offsets, bandwidths of training. */
export const H_TAU: usize = 128;
export const H_NORMAL: usize = 160;
export const H_OFFSET: usize = 192;
export const H_BAND: usize = 224;
/** f32 × 64: differences of a series to its newest value, while features are made. */
export const H_DIFFERENCES: usize = 256;
/** f32 × ROW: the features made last; f32 × DESIGN: the same standardised. */
export const H_FEATURES: usize = 512;
export const H_STANDARD: usize = 768;
/** f32 × LEVELS: quantiles made last, in units of the scale. */
export const H_QUANTILES: usize = 1024;
/** The same before they were put into order. */
export const H_UNORDERED: usize = 1056;
/** i32: 1 when quantiles end near H_TOP (F7 of forecast.ts). */
export const H_ENDS_AT_TOP: usize = 1088;

// --- model ----------------------------------------------------------------------------------------------------

export const M_MEAN: usize = 4096;
export const M_SPREAD: usize = M_MEAN + (<usize>ROW << 2);
/** Three rows of DESIGN coefficients: P50, P90, P99; then f32 × 3: how far P95 and P99 lie beyond P90, and the
 * power of the distance from P50 to P90 that this is multiplied by (forecast-linear.ts). */
export const M_LINEAR: usize = M_SPREAD + (<usize>ROW << 2);
export const M_TAILS: usize = M_LINEAR + 3 * (<usize>DESIGN << 2);
export const M_TREES: usize = M_TAILS + 16;
export const TREES_MAX: i32 = 100;
export const DEPTH: i32 = 5;
export const LEAVES: i32 = 1 << DEPTH;
/** A tree: i32 feature × 8, f32 threshold × 8, f32 × LEVELS a leaf. */
export const T_THRESHOLD: usize = 32;
export const T_LEAVES: usize = 64;
export const TREE_BYTES: usize = T_LEAVES + ((<usize>LEAVES * <usize>LEVELS) << 2);

// --- pool -----------------------------------------------------------------------------------------------------

export const POOL_ROWS: i32 = 65536;
const ROWS: usize = <usize>POOL_ROWS;
export const L_X: usize = (M_TREES + <usize>TREES_MAX * TREE_BYTES + 63) & ~63;
export const L_Y: usize = L_X + ROWS * (<usize>ROW << 2);
export const L_W: usize = L_Y + (ROWS << 2);
/** u8: bit 0 = live, bit 1 = the outcome is "at least" (censored). */
export const L_LIVE: usize = L_W + (ROWS << 2);

// --- scratch of training --------------------------------------------------------------------------------------

/** u8, feature-major. */
export const S_CODES: usize = L_LIVE + ROWS;
export const S_DESIGN: usize = S_CODES + ROWS * <usize>ROW;
/** f32 × LEVELS a row: the model's quantiles so far. */
export const S_FIT: usize = S_DESIGN + ROWS * (<usize>DESIGN << 2);
export const S_WEIGHT: usize = S_FIT + ROWS * (<usize>LEVELS << 2);
export const S_LEAF: usize = S_WEIGHT + (ROWS << 2);
/** Of the rows that a tree looks at: number, gradient, weight, leaf. */
export const S_PICKED: usize = S_LEAF + ROWS;
export const S_GRADIENT: usize = S_PICKED + (ROWS << 2);
export const S_PICKED_WEIGHT: usize = S_GRADIENT + (ROWS << 2);
export const S_PICKED_LEAF: usize = S_PICKED_WEIGHT + (ROWS << 2);
/** BINS − 1 thresholds a feature, i32 count of them. */
export const BINS: i32 = 32;
export const S_EDGES: usize = S_PICKED_LEAF + ROWS;
export const S_EDGE_COUNT: usize = S_EDGES + <usize>ROW * (<usize>BINS << 2);
export const S_SORT: usize = S_EDGE_COUNT + (<usize>ROW << 2);
export const SORT_MAX: i32 = 8192;
/** f32 gradient and weight of each bin of each leaf. */
export const S_HISTOGRAM: usize = S_SORT + (<usize>SORT_MAX << 2);
export const S_GAIN: usize = S_HISTOGRAM + ((<usize>LEAVES * <usize>BINS) << 3);
export const S_ORDER: usize = S_GAIN + (<usize>BINS << 2);
/** f32 × LEVELS a leaf, twice: gradient, density. */
export const S_LEAF_SUMS: usize = S_ORDER + 64;
/** Normal equations: a block in f32, the sum in f64, right-hand side, solution. */
export const S_BLOCK: usize = S_LEAF_SUMS + 2 * ((<usize>LEAVES * <usize>LEVELS) << 2);
export const S_MATRIX: usize = S_BLOCK + ((<usize>DESIGN * <usize>DESIGN) << 2);
export const S_RIGHT: usize = S_MATRIX + ((<usize>DESIGN * <usize>DESIGN) << 3);
export const S_SOLUTION: usize = S_RIGHT + (<usize>DESIGN << 3);

export const STATES: usize = (S_SOLUTION + (<usize>DESIGN << 3) + 4095) & ~4095;

// --- state of a series ----------------------------------------------------------------------------------------

export const RING: i32 = 64;
export const SEASON: i32 = 144;
/**
 * f64 × RING: newest values; f32 × SEASON each: the highest of each piece of yesterday, and of the days so far with fading
 * weight; less the anchor.
 */
export const A_RING: usize = 0;
export const A_SEASON: usize = <usize>RING << 3;
export const A_PROFILE: usize = A_SEASON + (<usize>SEASON << 2);
/** f64 each. */
export const A_ANCHOR: usize = A_PROFILE + (<usize>SEASON << 2);
export const A_SLOW: usize = A_ANCHOR + 8;
export const A_VARIANCE: usize = A_ANCHOR + 16;
export const A_STEP: usize = A_ANCHOR + 24;
export const A_FAST: usize = A_ANCHOR + 32;
export const A_HIGH: usize = A_ANCHOR + 40;
export const A_LOW: usize = A_ANCHOR + 48;
export const A_EXCESS: usize = A_ANCHOR + 56;
export const A_EXCESS_P90: usize = A_ANCHOR + 64;
export const A_SCALE: usize = A_ANCHOR + 72;
export const A_LONG: usize = A_ANCHOR + 80;
/** f64: the highest value of the piece of the day that is going on, less the anchor. */
export const A_PIECE: usize = A_ANCHOR + 88;
/** i32 each: samples so far (missing ones between included), missing ones in a row, past windows, 0 = no series. */
export const A_COUNT: usize = A_ANCHOR + 96;
export const A_GAP: usize = A_ANCHOR + 100;
export const A_WINDOWS: usize = A_ANCHOR + 104;
/** f32 × LEVELS: what is added to the model's quantiles, in units of the scale. */
export const A_OFFSETS: usize = A_ANCHOR + 112;
/**
 * What comes in: f64 value, i32 1 = it has a step now, i32 1 = the value is "at least". What goes out: f64 P50, P90, P99,
 * probability; at A_LEVELS f32 × LEVELS, all quantiles.
 */
export const A_INPUT: usize = A_OFFSETS + 32;
export const A_PRESENT: usize = A_INPUT + 8;
export const A_CENSORED: usize = A_INPUT + 12;
export const A_OUTPUT: usize = A_INPUT + 16;
/** Windows that are open: their end is not known yet. */
export const SLOTS: i32 = 6;
export const A_SLOTS: usize = A_OUTPUT + 32;
/**
 * i32 steps left (0 = free), i32 values seen; f64 value at the start, f64 maximum; f32 scale, weight, quantiles, features;
 * i32 1 = a value in it was "at least".
 */
export const W_LEFT: usize = 0;
export const W_SEEN: usize = 4;
export const W_START: usize = 8;
export const W_PEAK: usize = 16;
export const W_SCALE: usize = 24;
export const W_WEIGHT: usize = 28;
export const W_QUANTILES: usize = 32;
export const W_FEATURES: usize = 64;
export const W_CENSORED: usize = W_FEATURES + (<usize>ROW << 2);
export const SLOT_BYTES: usize = W_CENSORED + 8;
export const A_LEVELS: usize = A_SLOTS + <usize>SLOTS * SLOT_BYTES;
export const STATE_BYTES: usize = (A_LEVELS + (<usize>LEVELS << 2) + 63) & ~63;
