/**
 * Spheres and triangles in a bounding volume hierarchy.
 *
 * Does: hold the primitives, build the tree (surface area heuristic over 12 bins), find the nearest hit, and measure
 * how much light passes along a shadow ray. Does not: know colours beyond a material's tint for shadows.
 *
 * B1  Traversal allocates nothing: numbers travel in globals, so that the collector stays out of the hot path.
 * B2  Nodes lie in depth-first order: the left child of node n is n + 1.
 *
 *   node n:  bounds[6n .. 6n+6) = min xyz, max xyz     link[2n] = first primitive or right child
 *                                                     link[2n+1] = number of primitives, 0 = inner node
 */

const EPSILON: f64 = 1e-6;
const LEAF_MAX: i32 = 3;
const BINS: i32 = 12;

// A sphere is centre, radius; a triangle is corner, edge, edge. 9 numbers either way.
const shapes: f64[] = [];
const kinds: u8[] = []; // 0 sphere, 1 triangle
const materials: i32[] = [];

let order: StaticArray<i32> = new StaticArray<i32>(0);
let bounds: StaticArray<f64> = new StaticArray<f64>(0);
let link: StaticArray<i32> = new StaticArray<i32>(0);
let data: StaticArray<f64> = new StaticArray<f64>(0);
let slotMaterials: StaticArray<i32> = new StaticArray<i32>(0); // material * 2 + kind
let nodes: i32 = 0;
const stack = new StaticArray<i32>(64);

/** Nearest hit of the last `intersect`: distance, geometric normal (outward), material. */
export let hitDistance: f64 = 0;
export let hitX: f64 = 0;
export let hitY: f64 = 0;
export let hitZ: f64 = 0;
export let hitMaterial: i32 = 0;

/** How much of each colour the last `transmit` let through. */
export let passR: f64 = 0;
export let passG: f64 = 0;
export let passB: f64 = 0;

/** Tint of a material in a shadow ray, 3 numbers each; all 0 = opaque. Set by the scene. */
export const tints: f64[] = [];

export function addSphere(x: f64, y: f64, z: f64, radius: f64, material: i32): void {
  const s: f64[] = [x, y, z, radius, 0, 0, 0, 0, 0];
  for (let i = 0; i < 9; i++) shapes.push(s[i]);
  kinds.push(0);
  materials.push(material);
}

export function addTriangle(
  ax: f64, ay: f64, az: f64, bx: f64, by: f64, bz: f64, cx: f64, cy: f64, cz: f64, material: i32,
): void {
  const s: f64[] = [ax, ay, az, bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az];
  for (let i = 0; i < 9; i++) shapes.push(s[i]);
  kinds.push(1);
  materials.push(material);
}

export function primitiveCount(): i32 {
  return kinds.length;
}

// ---- building

function low(p: i32, axis: i32): f64 {
  const s = p * 9;
  if (kinds[p] == 0) return shapes[s + axis] - shapes[s + 3];
  const a = shapes[s + axis];
  return min(a, min(a + shapes[s + 3 + axis], a + shapes[s + 6 + axis]));
}

function high(p: i32, axis: i32): f64 {
  const s = p * 9;
  if (kinds[p] == 0) return shapes[s + axis] + shapes[s + 3];
  const a = shapes[s + axis];
  return max(a, max(a + shapes[s + 3 + axis], a + shapes[s + 6 + axis]));
}

function middle(p: i32, axis: i32): f64 {
  return 0.5 * (low(p, axis) + high(p, axis));
}

class Box {
  l: StaticArray<f64> = new StaticArray<f64>(3);
  h: StaticArray<f64> = new StaticArray<f64>(3);
  constructor() {
    for (let a = 0; a < 3; a++) {
      this.l[a] = Infinity;
      this.h[a] = -Infinity;
    }
  }
  add(p: i32): void {
    for (let a = 0; a < 3; a++) {
      this.l[a] = min(this.l[a], low(p, a));
      this.h[a] = max(this.h[a], high(p, a));
    }
  }
  merge(other: Box): void {
    for (let a = 0; a < 3; a++) {
      this.l[a] = min(this.l[a], other.l[a]);
      this.h[a] = max(this.h[a], other.h[a]);
    }
  }
  area(): f64 {
    const x = this.h[0] - this.l[0];
    const y = this.h[1] - this.l[1];
    const z = this.h[2] - this.l[2];
    return x < 0 ? 0 : x * y + y * z + z * x;
  }
}

let splitAxis: i32 = -1;
let splitAt: f64 = 0;

/** Cheapest of the bin borders on the three axes; splitAxis -1 = a leaf is cheaper. */
function chooseSplit(from: i32, to: i32, box: Box): void {
  splitAxis = -1;
  let best = ((to - from) as f64) * box.area();
  if (to - from <= LEAF_MAX) best -= box.area() * 0.5;
  for (let axis = 0; axis < 3; axis++) {
    let l: f64 = Infinity;
    let h: f64 = -Infinity;
    for (let i = from; i < to; i++) {
      const m = middle(order[i], axis);
      l = min(l, m);
      h = max(h, m);
    }
    if (h - l < 1e-9) continue;
    const boxes: Box[] = [];
    const counts: i32[] = [];
    for (let b = 0; b < BINS; b++) {
      boxes.push(new Box());
      counts.push(0);
    }
    const scale = (BINS as f64) / (h - l);
    for (let i = from; i < to; i++) {
      const b = min<i32>(BINS - 1, ((middle(order[i], axis) - l) * scale) as i32);
      boxes[b].add(order[i]);
      counts[b]++;
    }
    for (let border = 1; border < BINS; border++) {
      const left = new Box();
      const right = new Box();
      let n = 0;
      for (let b = 0; b < border; b++) {
        left.merge(boxes[b]);
        n += counts[b];
      }
      for (let b = border; b < BINS; b++) right.merge(boxes[b]);
      const cost = (n as f64) * left.area() + ((to - from - n) as f64) * right.area() + box.area() * 0.6;
      if (n > 0 && n < to - from && cost < best) {
        best = cost;
        splitAxis = axis;
        splitAt = l + (border as f64) / scale;
      }
    }
  }
}

function buildNode(from: i32, to: i32): void {
  const node = nodes++;
  const box = new Box();
  for (let i = from; i < to; i++) box.add(order[i]);
  for (let a = 0; a < 3; a++) {
    bounds[node * 6 + a] = box.l[a] - EPSILON;
    bounds[node * 6 + 3 + a] = box.h[a] + EPSILON;
  }
  chooseSplit(from, to, box);
  const axis = splitAxis;
  const at = splitAt;
  let border = from;
  if (axis >= 0) {
    for (let i = from; i < to; i++) {
      const p = order[i];
      if (middle(p, axis) >= at) continue;
      order[i] = order[border];
      order[border++] = p;
    }
  }
  if (border == from || border == to) {
    link[node * 2] = from;
    link[node * 2 + 1] = to - from;
    return;
  }
  link[node * 2 + 1] = 0;
  buildNode(from, border);
  link[node * 2] = nodes;
  buildNode(border, to);
}

/** Call once, after the last primitive and before the first ray. */
export function build(): void {
  const count = kinds.length;
  order = new StaticArray<i32>(count);
  for (let i = 0; i < count; i++) order[i] = i;
  bounds = new StaticArray<f64>(count * 12);
  link = new StaticArray<i32>(count * 4);
  nodes = 0;
  buildNode(0, count);
  data = new StaticArray<f64>(count * 9);
  slotMaterials = new StaticArray<i32>(count);
  for (let i = 0; i < count; i++) {
    slotMaterials[i] = materials[order[i]] * 2 + kinds[order[i]];
    for (let k = 0; k < 9; k++) data[i * 9 + k] = shapes[order[i] * 9 + k];
  }
}

// ---- rays

let rayX: f64 = 0;
let rayY: f64 = 0;
let rayZ: f64 = 0;
let dirX: f64 = 0;
let dirY: f64 = 0;
let dirZ: f64 = 0;
let invX: f64 = 0;
let invY: f64 = 0;
let invZ: f64 = 0;
// Byte offset of the box side that the ray meets first: 0 = minimum, 24 = maximum.
let nearX: usize = 0;
let nearY: usize = 0;
let nearZ: usize = 0;

function setRay(ox: f64, oy: f64, oz: f64, dx: f64, dy: f64, dz: f64): void {
  rayX = ox;
  rayY = oy;
  rayZ = oz;
  dirX = dx;
  dirY = dy;
  dirZ = dz;
  invX = 1 / dx;
  invY = 1 / dy;
  invZ = 1 / dz;
  nearX = invX < 0 ? 24 : 0;
  nearY = invY < 0 ? 24 : 0;
  nearZ = invZ < 0 ? 24 : 0;
}

/** Distance at which the ray enters the node's box, or Infinity. */
// @ts-ignore: decorator
@inline
function enter(node: i32, limit: f64): f64 {
  const b = changetype<usize>(bounds) + ((node * 48) as usize);
  // Comparisons, not min/max: those are slow in Wasm because of NaN and -0.
  let near = (load<f64>(b + nearX) - rayX) * invX;
  let far = (load<f64>(b + (24 - nearX)) - rayX) * invX;
  const nearest = (load<f64>(b + nearY, 8) - rayY) * invY;
  const farthest = (load<f64>(b + (24 - nearY), 8) - rayY) * invY;
  near = near > nearest ? near : nearest;
  far = far < farthest ? far : farthest;
  const nearestZ = (load<f64>(b + nearZ, 16) - rayZ) * invZ;
  const farthestZ = (load<f64>(b + (24 - nearZ), 16) - rayZ) * invZ;
  near = near > nearestZ ? near : nearestZ;
  far = far < farthestZ ? far : farthestZ;
  return far >= near && far >= 0 && near < limit ? near : Infinity;
}

/** Distance to the primitive in slot i, or Infinity. */
function distance(i: i32, triangle: bool): f64 {
  const s = changetype<usize>(data) + ((i * 72) as usize);
  const x = rayX - load<f64>(s);
  const y = rayY - load<f64>(s, 8);
  const z = rayZ - load<f64>(s, 16);
  if (!triangle) {
    const radius = load<f64>(s, 24);
    const b = x * dirX + y * dirY + z * dirZ;
    const discriminant = b * b - (x * x + y * y + z * z - radius * radius);
    if (discriminant < 0) return Infinity;
    const root = sqrt(discriminant);
    if (-b - root > EPSILON) return -b - root;
    return -b + root > EPSILON ? -b + root : Infinity;
  }
  const ux = load<f64>(s, 24), uy = load<f64>(s, 32), uz = load<f64>(s, 40);
  const vx = load<f64>(s, 48), vy = load<f64>(s, 56), vz = load<f64>(s, 64);
  const px = dirY * vz - dirZ * vy, py = dirZ * vx - dirX * vz, pz = dirX * vy - dirY * vx;
  const determinant = ux * px + uy * py + uz * pz;
  if (abs(determinant) < 1e-14) return Infinity;
  const inverse = 1 / determinant;
  const u = (x * px + y * py + z * pz) * inverse;
  if (u < 0 || u > 1) return Infinity;
  const qx = y * uz - z * uy, qy = z * ux - x * uz, qz = x * uy - y * ux;
  const v = (dirX * qx + dirY * qy + dirZ * qz) * inverse;
  if (v < 0 || u + v > 1) return Infinity;
  const t = (vx * qx + vy * qy + vz * qz) * inverse;
  return t > EPSILON ? t : Infinity;
}

/** Nearest hit closer than `limit`; true when there is one. */
export function intersect(ox: f64, oy: f64, oz: f64, dx: f64, dy: f64, dz: f64, limit: f64): bool {
  setRay(ox, oy, oz, dx, dy, dz);
  let found = -1;
  let nearest = limit;
  let top = 0;
  let node = 0;
  if (enter(0, nearest) == Infinity) return false;
  while (true) {
    const count = unchecked(link[node * 2 + 1]);
    const first = unchecked(link[node * 2]);
    if (count == 0) {
      const a = enter(node + 1, nearest);
      const b = enter(first, nearest);
      const nearIsLeft = a <= b;
      if (min(a, b) != Infinity) {
        if (max(a, b) != Infinity) unchecked((stack[top++] = nearIsLeft ? first : node + 1));
        node = nearIsLeft ? node + 1 : first;
        continue;
      }
    } else {
      for (let i = first; i < first + count; i++) {
        const t = distance(i, (unchecked(slotMaterials[i]) & 1) == 1);
        if (t < nearest) {
          nearest = t;
          found = i;
        }
      }
    }
    if (top == 0) break;
    node = unchecked(stack[--top]);
  }
  if (found < 0) return false;
  hitDistance = nearest;
  setNormal(found);
  return true;
}

function setNormal(i: i32): void {
  const s = changetype<usize>(data) + ((i * 72) as usize);
  let x: f64, y: f64, z: f64;
  if ((unchecked(slotMaterials[i]) & 1) == 0) {
    x = rayX + dirX * hitDistance - load<f64>(s);
    y = rayY + dirY * hitDistance - load<f64>(s, 8);
    z = rayZ + dirZ * hitDistance - load<f64>(s, 16);
  } else {
    const ux = load<f64>(s, 24), uy = load<f64>(s, 32), uz = load<f64>(s, 40);
    const vx = load<f64>(s, 48), vy = load<f64>(s, 56), vz = load<f64>(s, 64);
    x = uy * vz - uz * vy;
    y = uz * vx - ux * vz;
    z = ux * vy - uy * vx;
  }
  const scale = 1 / sqrt(x * x + y * y + z * z);
  hitX = x * scale;
  hitY = y * scale;
  hitZ = z * scale;
  hitMaterial = unchecked(slotMaterials[i]) >> 1;
}

/** Follows a shadow ray to infinity: clear materials tint it, others stop it. True when anything passes. */
export function transmit(ox: f64, oy: f64, oz: f64, dx: f64, dy: f64, dz: f64): bool {
  setRay(ox, oy, oz, dx, dy, dz);
  passR = passG = passB = 1;
  let top = 1;
  unchecked((stack[0] = 0));
  while (top > 0) {
    const node = unchecked(stack[--top]);
    if (enter(node, Infinity) == Infinity) continue;
    const count = unchecked(link[node * 2 + 1]);
    const first = unchecked(link[node * 2]);
    if (count == 0) {
      unchecked((stack[top++] = first));
      unchecked((stack[top++] = node + 1));
      continue;
    }
    for (let i = first; i < first + count; i++) {
      const kind = unchecked(slotMaterials[i]);
      if (distance(i, (kind & 1) == 1) == Infinity) continue;
      const tint = (kind >> 1) * 3;
      passR *= unchecked(tints[tint]);
      passG *= unchecked(tints[tint + 1]);
      passB *= unchecked(tints[tint + 2]);
      if (passR + passG + passB < 0.01) return false;
    }
  }
  return true;
}
