/**
 * The scene: a cluster of coloured crystals on polished tiles at dusk, with spheres of chrome, gold, glass and
 * lacquer, and pebbles strewn around by a fixed random sequence.
 *
 * Does: define materials, place primitives, colour the sky. Does not: trace rays.
 */
import { addSphere, addTriangle, build, tints } from "./bvh";

export const LACQUER: i32 = 0;
export const METAL: i32 = 1;
export const GLASS: i32 = 2;

export class Material {
  constructor(
    public kind: i32,
    public r: f64,
    public g: f64,
    public b: f64,
    /** METAL: blur of the reflection. GLASS: how strongly colour is taken away by a unit of depth. */
    public strength: f64 = 0,
  ) {}
}

export const materials: Material[] = [];

/** Direction to the sun, and its colour. */
export let sunX: f64 = -0.78;
export let sunY: f64 = 0.42;
export let sunZ: f64 = 0.5;

export let skyR: f64 = 0;
export let skyG: f64 = 0;
export let skyB: f64 = 0;

let seed: u32 = 20240229;
function random(): f64 {
  seed = seed * 1664525 + 1013904223;
  return (seed >> 8) as f64 / 16777216.0;
}

function material(kind: i32, r: f64, g: f64, b: f64, strength: f64 = 0): i32 {
  materials.push(new Material(kind, r, g, b, strength));
  const clear = kind == GLASS;
  tints.push(clear ? 0.55 + 0.42 * r : 0);
  tints.push(clear ? 0.55 + 0.42 * g : 0);
  tints.push(clear ? 0.55 + 0.42 * b : 0);
  return materials.length - 1;
}

/** Sets skyR, skyG, skyB for a direction. The sun's disc only when asked (diffuse light counts it on its own). */
export function sky(x: f64, y: f64, z: f64, withSun: bool): void {
  const up = y > 0 ? y : 0;
  const towards = x * sunX + y * sunY + z * sunZ;
  const glow = towards > 0 ? towards : 0;
  const u2 = (1 - up) * (1 - up);
  const u4 = u2 * u2;
  const low = u4 * u4;
  const side = 0.5 + 0.5 * towards;
  const warm = low * side * side;
  const wide = glow * glow * glow * glow;
  skyR = 0.045 + 0.09 * u4 + 0.2 * low + 1.15 * warm + 0.3 * wide;
  skyG = 0.1 + 0.13 * u4 + 0.07 * low + 0.42 * warm + 0.16 * wide;
  skyB = 0.24 + 0.27 * u4 - 0.02 * low - 0.04 * warm + 0.05 * wide;
  if (!withSun) return;
  const g8 = wide * wide;
  const g32 = g8 * g8 * g8 * g8;
  const halo = g32 * g32 * g32 * g32;
  skyR += 1.2 * g32 + 5 * halo;
  skyG += 0.8 * g32 + 3.8 * halo;
  skyB += 0.4 * g32 + 2.4 * halo;
  if (towards > 0.9985) {
    skyR += 24;
    skyG += 19;
    skyB += 13;
  }
}

/** A six-sided prism with a pointed top, tilted: foot (x, z), direction of the axis, radius, height. */
function crystal(x: f64, z: f64, tiltX: f64, tiltZ: f64, radius: f64, height: f64, twist: f64, m: i32): void {
  const length = sqrt(1 + tiltX * tiltX + tiltZ * tiltZ);
  const ax = tiltX / length, ay = 1 / length, az = tiltZ / length;
  let ux = ay, uy = -ax, uz = 0.0; // across the axis
  const ul = sqrt(ux * ux + uy * uy);
  ux /= ul;
  uy /= ul;
  const vx = ay * uz - az * uy, vy = az * ux - ax * uz, vz = ax * uy - ay * ux;
  const ring: f64[] = [];
  for (let i = 0; i < 6; i++) {
    const angle = twist + (i as f64) * (Math.PI / 3);
    const wobble = radius * (1 + 0.16 * Math.sin(angle * 2 + twist * 5));
    const c = Math.cos(angle) * wobble, s = Math.sin(angle) * wobble;
    ring.push(ux * c + vx * s);
    ring.push(uy * c + vy * s);
    ring.push(uz * c + vz * s);
  }
  const foot = -0.35;
  const shoulder = height * 0.72;
  const bx = x + ax * foot, by = ay * foot, bz = z + az * foot;
  const sx = x + ax * shoulder, sy = ay * shoulder, sz = z + az * shoulder;
  const tx = x + ax * height, ty = ay * height, tz = z + az * height;
  for (let i = 0; i < 6; i++) {
    const p = i * 3, q = ((i + 1) % 6) * 3;
    const px = ring[p], py = ring[p + 1], pz = ring[p + 2];
    const qx = ring[q], qy = ring[q + 1], qz = ring[q + 2];
    const k = 1.06; // the shoulder is a little wider than the foot
    addTriangle(bx + px, by + py, bz + pz, sx + qx * k, sy + qy * k, sz + qz * k, bx + qx, by + qy, bz + qz, m);
    addTriangle(
      bx + px, by + py, bz + pz, sx + px * k, sy + py * k, sz + pz * k, sx + qx * k, sy + qy * k, sz + qz * k, m,
    );
    addTriangle(sx + px * k, sy + py * k, sz + pz * k, tx, ty, tz, sx + qx * k, sy + qy * k, sz + qz * k, m);
    addTriangle(bx + qx, by + qy, bz + qz, bx, by, bz, bx + px, by + py, bz + pz, m);
  }
}

function pebbles(count: i32, colours: i32[]): void {
  for (let i = 0; i < count; i++) {
    const angle = random() * Math.PI * 2;
    const away = 2.1 + 4.6 * sqrt(random());
    const radius = 0.05 + 0.13 * random() * random();
    const x = Math.cos(angle) * away, z = Math.sin(angle) * away;
    const m = colours[(random() * (colours.length as f64)) as i32];
    const nearBig = (x - 2.75) * (x - 2.75) + (z - 0.5) * (z - 0.5) < 1.6
      || (x + 2.45) * (x + 2.45) + (z + 1.1) * (z + 1.1) < 0.9
      || (x - 1.35) * (x - 1.35) + (z + 2.25) * (z + 2.25) < 0.5;
    if (!nearBig) addSphere(x, radius, z, radius, m);
  }
}

export function makeScene(): void {
  const length = sqrt(sunX * sunX + sunY * sunY + sunZ * sunZ);
  sunX /= length;
  sunY /= length;
  sunZ /= length;

  const teal = material(GLASS, 0.42, 0.93, 0.88, 0.55);
  const violet = material(GLASS, 0.74, 0.56, 0.98, 0.6);
  const amber = material(GLASS, 1.0, 0.78, 0.42, 0.6);
  const clear = material(GLASS, 0.97, 0.99, 0.98, 0.25);
  const chrome = material(METAL, 0.93, 0.94, 0.96, 0);
  const gold = material(METAL, 1.0, 0.72, 0.32, 0.06);
  const coral = material(LACQUER, 0.88, 0.2, 0.14);
  const ivory = material(LACQUER, 0.86, 0.82, 0.72);
  const sea = material(LACQUER, 0.05, 0.34, 0.46);

  crystal(0.0, 0.1, 0.05, 0.06, 0.52, 3.4, 0.2, teal);
  crystal(-0.62, 0.35, -0.3, 0.16, 0.4, 2.9, 0.9, violet);
  crystal(0.66, 0.3, 0.34, 0.1, 0.38, 2.6, 0.5, teal);
  crystal(0.38, -0.5, 0.24, -0.3, 0.3, 1.95, 0.1, amber);
  crystal(-0.48, -0.45, -0.34, -0.32, 0.31, 2.0, 1.3, teal);
  crystal(1.02, -0.14, 0.75, -0.2, 0.23, 1.5, 0.7, violet);
  crystal(-1.05, -0.05, -0.8, -0.08, 0.24, 1.6, 0.4, amber);
  crystal(-0.05, -0.85, 0.02, -0.62, 0.22, 1.25, 0.8, violet);
  crystal(0.1, 0.85, 0.08, 0.5, 0.36, 2.3, 0.3, violet);
  crystal(-0.85, 0.85, -0.55, 0.5, 0.25, 1.7, 1.0, teal);
  crystal(0.95, 0.85, 0.62, 0.5, 0.26, 1.8, 0.6, amber);

  addSphere(2.75, 1.0, 0.5, 1.0, chrome);
  addSphere(-2.45, 0.68, -1.1, 0.68, clear);
  addSphere(1.35, 0.44, -2.25, 0.44, gold);
  addSphere(-1.15, 0.3, -2.35, 0.3, coral);
  addSphere(-3.75, 0.9, 1.9, 0.9, sea);
  addSphere(2.55, 0.28, -1.75, 0.28, ivory);
  addSphere(4.35, 0.62, 2.6, 0.62, coral);
  pebbles(150, [coral, ivory, sea, gold, ivory, chrome]);
  build();
}
