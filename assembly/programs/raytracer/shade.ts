/**
 * Light: what a ray sees.
 *
 * Does: Whitted ray tracing with soft shadows, sky light, Fresnel reflection, refraction with coloured absorption,
 * blurred metal and polished floor tiles. Does not: bounce diffuse light more than once.
 *
 * L1  The answer of `trace` is in `red`, `green`, `blue`; a caller that traces twice saves them in between.
 * L2  All randomness comes from (pixel, sample, dimension): the picture does not depend on the order of rendering.
 */
import { hitDistance, hitMaterial, hitX, hitY, hitZ, intersect, passB, passG, passR, transmit } from "./bvh";
import { GLASS, LACQUER, materials, METAL, sky, skyB, skyG, skyR, sunX, sunY, sunZ } from "./scene";

const DEPTH_MAX: i32 = 9;
const OFFSET: f64 = 1e-4;
const GLASS_INDEX: f64 = 1.52;

export let red: f64 = 0;
export let green: f64 = 0;
export let blue: f64 = 0;

let pixel: u32 = 0;
let sample: u32 = 0;
let state: u32 = 0;

function hash(value: u32): u32 {
  let x = value * 747796405 + 2891336453;
  x = ((x >> ((x >> 28) + 4)) ^ x) * 277803737;
  return (x >> 22) ^ x;
}

/** Chooses the random numbers of one camera ray. */
export function beginSample(pixelNumber: u32, sampleNumber: u32): void {
  pixel = pixelNumber;
  sample = sampleNumber;
  state = hash(pixelNumber * 9781 + sampleNumber * 6271 + 1);
}

function random(): f64 {
  state = state * 747796405 + 2891336453;
  return (hash(state) >> 8) as f64 / 16777216.0;
}

/** Number in [0, 1) for one of six dimensions: a low-discrepancy sequence over the samples, shifted per pixel. */
export function spread(dimension: i32): f64 {
  let step: f64 = 0.8986537126286993;
  for (let i = 0; i < dimension; i++) step *= 0.8986537126286993; // powers of the root of x^7 = x + 1
  const shift = hash(pixel * 31 + (dimension as u32) * 0x9e3779b9) as f64 / 4294967296.0;
  const value = shift + (sample as f64) * step;
  return value - floor(value);
}

function setSky(x: f64, y: f64, z: f64, withSun: bool): void {
  sky(x, y, z, withSun);
  red = skyR;
  green = skyG;
  blue = skyB;
}

/** Colour that arrives along a ray. */
export function trace(ox: f64, oy: f64, oz: f64, dx: f64, dy: f64, dz: f64, depth: i32): void {
  const floorDistance = dy < -1e-6 ? -oy / dy : Infinity;
  const solid = intersect(ox, oy, oz, dx, dy, dz, floorDistance);
  if (!solid && floorDistance == Infinity) {
    setSky(dx, dy, dz, true);
    return;
  }
  if (!solid) {
    shadeFloor(ox + dx * floorDistance, oz + dz * floorDistance, dx, dy, dz, floorDistance, depth);
    return;
  }
  const t = hitDistance;
  const material = unchecked(materials[hitMaterial]);
  const px = ox + dx * t, py = oy + dy * t, pz = oz + dz * t;
  const nx = hitX, ny = hitY, nz = hitZ;
  if (material.kind == GLASS) {
    shadeGlass(px, py, pz, nx, ny, nz, dx, dy, dz, t, depth, material.r, material.g, material.b, material.strength);
  } else if (material.kind == METAL) {
    shadeMetal(px, py, pz, nx, ny, nz, dx, dy, dz, depth, material.r, material.g, material.b, material.strength);
  } else {
    shadeLacquer(px, py, pz, nx, ny, nz, dx, dy, dz, depth, material.r, material.g, material.b, 0.04);
  }
}

/** Diffuse light at a point: sun through a soft shadow, and the sky along one random direction. */
function diffuse(px: f64, py: f64, pz: f64, nx: f64, ny: f64, nz: f64, depth: i32): void {
  const first = depth == 0;
  let r = 0.0, g = 0.0, b = 0.0;
  const angle = 6.283185307179586 * (first ? spread(2) : random());
  const away = 0.045 * sqrt(first ? spread(3) : random());
  const c = Math.cos(angle) * away, s = Math.sin(angle) * away;
  let lx = sunX + c, ly = sunY + s, lz = sunZ - c * (sunX / sunZ) * 0.5 + s * 0.3;
  const scale = 1 / sqrt(lx * lx + ly * ly + lz * lz);
  lx *= scale;
  ly *= scale;
  lz *= scale;
  const facing = nx * lx + ny * ly + nz * lz;
  if (facing > 0 && transmit(px, py, pz, lx, ly, lz)) {
    r += 3.3 * facing * passR;
    g += 2.55 * facing * passG;
    b += 1.7 * facing * passB;
  }
  // A direction by the cosine law: a point on the unit sphere around the normal's tip.
  const h = 2 * (first ? spread(4) : random()) - 1;
  const turn = 6.283185307179586 * (first ? spread(5) : random());
  const ring = sqrt(1 - h * h);
  let wx = nx + ring * Math.cos(turn), wy = ny + h, wz = nz + ring * Math.sin(turn);
  const length = sqrt(wx * wx + wy * wy + wz * wz);
  if (length > 1e-6) {
    wx /= length;
    wy /= length;
    wz /= length;
    if (wy < 0) {
      r += 0.16; // light from the floor
      g += 0.14;
      b += 0.13;
    } else if (depth > 2) {
      sky(wx, wy, wz, false);
      r += 0.6 * skyR; // deep down, an average instead of a ray
      g += 0.6 * skyG;
      b += 0.6 * skyB;
    } else if (transmit(px, py, pz, wx, wy, wz)) {
      sky(wx, wy, wz, false);
      r += skyR * passR;
      g += skyG * passG;
      b += skyB * passB;
    }
    r += 0.05;
    g += 0.05;
    b += 0.06;
  }
  red = r;
  green = g;
  blue = b;
}

function schlick(cosine: f64, base: f64): f64 {
  const x = 1 - cosine;
  const x2 = x * x;
  return base + (1 - base) * x2 * x2 * x;
}

function shadeLacquer(
  px: f64, py: f64, pz: f64, nx: f64, ny: f64, nz: f64, dx: f64, dy: f64, dz: f64, depth: i32,
  r: f64, g: f64, b: f64, base: f64,
): void {
  const ox = px + nx * OFFSET, oy = py + ny * OFFSET, oz = pz + nz * OFFSET;
  diffuse(ox, oy, oz, nx, ny, nz, depth);
  const cosine = -(dx * nx + dy * ny + dz * nz);
  const share = schlick(cosine < 0 ? 0 : cosine, base);
  const dr = red * r * (1 - share), dg = green * g * (1 - share), db = blue * b * (1 - share);
  // Deep reflections are followed by chance, with a weight that keeps the mean.
  const chance = depth == 0 ? 1 : min<f64>(1, share * 3);
  if (depth >= 4 || (depth > 0 && random() >= chance)) {
    red = dr;
    green = dg;
    blue = db;
    return;
  }
  const weight = share / chance;
  const twice = 2 * cosine;
  trace(ox, oy, oz, dx + twice * nx, dy + twice * ny, dz + twice * nz, depth + 1);
  red = dr + weight * red;
  green = dg + weight * green;
  blue = db + weight * blue;
}

function shadeMetal(
  px: f64, py: f64, pz: f64, nx: f64, ny: f64, nz: f64, dx: f64, dy: f64, dz: f64, depth: i32,
  r: f64, g: f64, b: f64, blur: f64,
): void {
  if (depth >= DEPTH_MAX) {
    setSky(nx, ny, nz, false);
    return;
  }
  const twice = -2 * (dx * nx + dy * ny + dz * nz);
  let rx = dx + twice * nx, ry = dy + twice * ny, rz = dz + twice * nz;
  if (blur > 0) {
    rx += blur * (random() - 0.5);
    ry += blur * (random() - 0.5);
    rz += blur * (random() - 0.5);
    const scale = 1 / sqrt(rx * rx + ry * ry + rz * rz);
    rx *= scale;
    ry *= scale;
    rz *= scale;
  }
  trace(px + nx * OFFSET, py + ny * OFFSET, pz + nz * OFFSET, rx, ry, rz, depth + 1);
  const edge = schlick(twice * 0.5, 0);
  red *= r + (1 - r) * edge;
  green *= g + (1 - g) * edge;
  blue *= b + (1 - b) * edge;
}

function shadeGlass(
  px: f64, py: f64, pz: f64, gx: f64, gy: f64, gz: f64, dx: f64, dy: f64, dz: f64, t: f64, depth: i32,
  r: f64, g: f64, b: f64, strength: f64,
): void {
  const inside = dx * gx + dy * gy + dz * gz > 0;
  const flip: f64 = inside ? -1 : 1;
  const nx = gx * flip, ny = gy * flip, nz = gz * flip;
  let ar = 1.0, ag = 1.0, ab = 1.0;
  if (inside) {
    const depthInside = -strength * t;
    ar = Math.exp(depthInside * (1 - r));
    ag = Math.exp(depthInside * (1 - g));
    ab = Math.exp(depthInside * (1 - b));
  }
  if (depth >= DEPTH_MAX) {
    setSky(dx, abs(dy), dz, false);
    red *= ar * r;
    green *= ag * g;
    blue *= ab * b;
    return;
  }
  const ratio = inside ? GLASS_INDEX : 1 / GLASS_INDEX;
  const cosine = -(dx * nx + dy * ny + dz * nz);
  const k = 1 - ratio * ratio * (1 - cosine * cosine);
  const reflected = k <= 0 ? 1 : fresnel(cosine, sqrt(k), ratio);
  const twice = 2 * cosine;
  const mx = dx + twice * nx, my = dy + twice * ny, mz = dz + twice * nz;
  const ox = nx * OFFSET, oy = ny * OFFSET, oz = nz * OFFSET;
  const split = depth == 0 && reflected < 0.999;
  if (split || random() < reflected) {
    trace(px + ox, py + oy, pz + oz, mx, my, mz, depth + 1);
    if (!split) {
      red *= ar;
      green *= ag;
      blue *= ab;
      return;
    }
  }
  const rr = red * reflected, rg = green * reflected, rb = blue * reflected;
  const bend = ratio * cosine - sqrt(k < 0 ? 0 : k);
  trace(px - ox, py - oy, pz - oz, dx * ratio + nx * bend, dy * ratio + ny * bend, dz * ratio + nz * bend, depth + 1);
  const through = split ? 1 - reflected : 1;
  red = ar * ((split ? rr : 0) + through * red);
  green = ag * ((split ? rg : 0) + through * green);
  blue = ab * ((split ? rb : 0) + through * blue);
}

/** Reflected share of unpolarised light at a border, from the cosines on both sides. */
function fresnel(cosine: f64, cosineBeyond: f64, ratio: f64): f64 {
  const s = (ratio * cosine - cosineBeyond) / (ratio * cosine + cosineBeyond);
  const p = (ratio * cosineBeyond - cosine) / (ratio * cosineBeyond + cosine);
  return 0.5 * (s * s + p * p);
}

/** Polished tiles that fade into the haze. */
function shadeFloor(x: f64, z: f64, dx: f64, dy: f64, dz: f64, t: f64, depth: i32): void {
  const haze = 1 - Math.exp(-0.0004 * t * t);
  if (haze > 0.995) {
    setSky(dx, 0, dz, true);
    return;
  }
  const u = x * 0.72 + 0.25, v = z * 0.72 + 0.25;
  const tileX = floor(u), tileZ = floor(v);
  const edge = min(min(u - tileX, tileX + 1 - u), min(v - tileZ, tileZ + 1 - v));
  const dark = (((tileX + tileZ) as i32) & 1) == 0;
  const tone = 0.9 + 0.2 * ((hash((tileX as i32) * 7919 + (tileZ as i32) * 104729) & 255) as f64 / 255.0);
  let r = (dark ? 0.035 : 0.36) * tone, g = (dark ? 0.045 : 0.35) * tone, b = (dark ? 0.065 : 0.34) * tone;
  if (edge < 0.012) r = g = b = 0.02;
  shadeLacquer(x, 0, z, 0, 1, 0, dx, dy, dz, depth, r, g, b, dark ? 0.12 : 0.07);
  if (haze < 0.002) return;
  const fr = red, fg = green, fb = blue;
  setSky(dx, 0, dz, false);
  red = fr + (red - fr) * haze;
  green = fg + (green - fg) * haze;
  blue = fb + (blue - fb) * haze;
}
