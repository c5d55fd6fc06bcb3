/**
 * Ray tracer: renders a scene of crystals, metal, glass and polished tiles into a PNG.
 *
 * Usage: raytracer [-o FILE] [width height samples]          default 960 540 6
 *
 * The picture goes to FILE (in a directory given to the program) or to stdout. `samples` rays a pixel, with depth of
 * field and soft shadows; bounding volume hierarchy, Fresnel glass, filmic tone curve. The same arguments give the same
 * bytes anywhere.
 */
import { args, fail, log, writeBytes, writeFile } from "sherd/guest";
import { primitiveCount } from "./raytracer/bvh";
import { encodePng } from "./raytracer/png";
import { makeScene } from "./raytracer/scene";
import { beginSample, blue, green, red, spread, trace } from "./raytracer/shade";

class Camera {
  // right, up, forward; the eye; half the width of the picture at distance 1
  ux: f64 = 0; uy: f64 = 0; uz: f64 = 0;
  vx: f64 = 0; vy: f64 = 0; vz: f64 = 0;
  wx: f64 = 0; wy: f64 = 0; wz: f64 = 0;
  half: f64 = 0;

  constructor(
    public x: f64, public y: f64, public z: f64, atX: f64, atY: f64, atZ: f64, degrees: f64,
    public lens: f64, public focus: f64,
  ) {
    let x1 = atX - x, y1 = atY - y, z1 = atZ - z;
    const length = sqrt(x1 * x1 + y1 * y1 + z1 * z1);
    this.wx = x1 / length;
    this.wy = y1 / length;
    this.wz = z1 / length;
    const flat = sqrt(this.wx * this.wx + this.wz * this.wz);
    this.ux = this.wz / flat;
    this.uz = -this.wx / flat;
    this.vx = this.wy * this.uz;
    this.vy = this.wz * this.ux - this.wx * this.uz;
    this.vz = -this.wy * this.ux;
    if (this.vy < 0) {
      this.vx = -this.vx;
      this.vy = -this.vy;
      this.vz = -this.vz;
    }
    this.half = Math.tan((degrees * Math.PI) / 360);
  }

  /** Traces the ray through (sx, sy), -1..1 across the width, from a point on the lens. */
  shoot(sx: f64, sy: f64, lensAngle: f64, lensRadius: f64): void {
    const a = sx * this.half * this.focus, b = sy * this.half * this.focus;
    const c = Math.cos(lensAngle) * lensRadius * this.lens, d = Math.sin(lensAngle) * lensRadius * this.lens;
    const px = this.ux * c + this.vx * d, py = this.uy * c + this.vy * d, pz = this.uz * c + this.vz * d;
    const dx = this.ux * a + this.vx * b + this.wx * this.focus - px;
    const dy = this.uy * a + this.vy * b + this.wy * this.focus - py;
    const dz = this.uz * a + this.vz * b + this.wz * this.focus - pz;
    const scale = 1 / sqrt(dx * dx + dy * dy + dz * dz);
    trace(this.x + px, this.y + py, this.z + pz, dx * scale, dy * scale, dz * scale, 0);
  }
}

/** Filmic curve (ACES, fitted by Narkowicz), then sRGB. */
function tone(linear: f64): u8 {
  const x = linear * 0.82;
  const filmed = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14);
  const clamped = max<f64>(0, min<f64>(1, filmed));
  const encoded = clamped <= 0.0031308 ? 12.92 * clamped : 1.055 * Math.pow(clamped, 1 / 2.4) - 0.055;
  return (encoded * 255 + 0.5) as u8;
}

function renderPixel(camera: Camera, x: i32, y: i32, width: i32, height: i32, samples: i32, rgb: Uint8Array): void {
  let r = 0.0, g = 0.0, b = 0.0;
  const number = (y * width + x) as u32;
  for (let s = 0; s < samples; s++) {
    beginSample(number, s);
    const sx = (2 * ((x as f64) + spread(0)) - (width as f64)) / (width as f64);
    const sy = ((height as f64) - 2 * ((y as f64) + spread(1))) / (width as f64);
    camera.shoot(sx, sy, 6.283185307179586 * spread(4), sqrt(spread(2)));
    r += min<f64>(red, 12); // one bright speck must not outshine a whole pixel
    g += min<f64>(green, 12);
    b += min<f64>(blue, 12);
  }
  const share = 1 / (samples as f64);
  rgb[number * 3] = tone(r * share);
  rgb[number * 3 + 1] = tone(g * share);
  rgb[number * 3 + 2] = tone(b * share);
}

function number(text: string, name: string, most: i32): i32 {
  const value = parseInt(text);
  if (!(value >= 1 && value <= (most as f64))) fail("raytracer: " + name + " must be 1.." + most.toString(), 2);
  return value as i32;
}

function main(): void {
  const given = args();
  let path = "";
  const at = given.indexOf("-o");
  if (at >= 0) {
    if (at + 1 >= given.length) fail("raytracer: -o needs a file", 2);
    path = given[at + 1];
    given.splice(at, 2);
  }
  if (given.length > 3) fail("usage: raytracer [-o FILE] [width height samples]", 2);
  const width = given.length > 0 ? number(given[0], "width", 8192) : 960;
  const height = given.length > 1 ? number(given[1], "height", 8192) : 540;
  const samples = given.length > 2 ? number(given[2], "samples", 4096) : 6;

  makeScene();
  const camera = new Camera(-1.0, 2.7, -11.6, 0.15, 1.3, 0, 38, 0.05, 10.8);
  const rgb = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) renderPixel(camera, x, y, width, height, samples, rgb);
  }
  const png = encodePng(rgb, width, height);
  if (path.length > 0) writeFile(path, png);
  else writeBytes(png);
  log(
    "raytracer: " + width.toString() + "x" + height.toString() + ", " + samples.toString() + " samples a pixel, "
      + primitiveCount().toString() + " primitives, " + png.length.toString() + " bytes",
  );
}

main();
