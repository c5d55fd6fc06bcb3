/**
 * N-body: the Sun and the four giant planets, integrated with a symplectic leapfrog (the Computer Language
 * Benchmarks Game's problem).
 *
 * Usage: nbody [steps [report]]       default 1000000 steps of 0.01 days; `report` prints the energy every so many steps
 *
 * Prints the energy before and after with all digits that a 64-bit float has.
 */
import { args, fail, println } from "sherd/guest";

const SOLAR_MASS: f64 = 4 * Math.PI * Math.PI;
const DAYS: f64 = 365.24;

class Body {
  constructor(
    public x: f64, public y: f64, public z: f64,
    public vx: f64, public vy: f64, public vz: f64,
    public mass: f64,
  ) {}
}

function planet(x: f64, y: f64, z: f64, vx: f64, vy: f64, vz: f64, mass: f64): Body {
  return new Body(x, y, z, vx * DAYS, vy * DAYS, vz * DAYS, mass * SOLAR_MASS);
}

function solarSystem(): StaticArray<Body> {
  const bodies: StaticArray<Body> = [
    new Body(0, 0, 0, 0, 0, 0, SOLAR_MASS),
    planet( // Jupiter
      4.84143144246472090e0, -1.16032004402742839e0, -1.03622044471123109e-1,
      1.66007664274403694e-3, 7.69901118419740425e-3, -6.90460016972063023e-5, 9.54791938424326609e-4,
    ),
    planet( // Saturn
      8.34336671824457987e0, 4.12479856412430479e0, -4.03523417114321381e-1,
      -2.76742510726411902e-3, 4.99852801234917238e-3, 2.30417297573763929e-5, 2.85885980666130812e-4,
    ),
    planet( // Uranus
      1.28943695621391310e1, -1.51111514016986312e1, -2.23307578892655734e-1,
      2.96460137564761618e-3, 2.37847173959480950e-3, -2.96589568540237556e-5, 4.36624404335156298e-5,
    ),
    planet( // Neptune
      1.53796971148509165e1, -2.59193146099879641e1, 1.79258772950371181e-1,
      2.68067772490389322e-3, 1.62824170038242295e-3, -9.51592254519715870e-5, 5.15138902046611451e-5,
    ),
  ];
  let px = 0.0, py = 0.0, pz = 0.0;
  for (let i = 0; i < bodies.length; i++) {
    const b = bodies[i];
    px += b.vx * b.mass;
    py += b.vy * b.mass;
    pz += b.vz * b.mass;
  }
  const sun = bodies[0]; // takes the opposite momentum, so that the centre of mass rests
  sun.vx = -px / SOLAR_MASS;
  sun.vy = -py / SOLAR_MASS;
  sun.vz = -pz / SOLAR_MASS;
  return bodies;
}

function energy(bodies: StaticArray<Body>): f64 {
  let sum = 0.0;
  for (let i = 0; i < bodies.length; i++) {
    const b = bodies[i];
    sum += 0.5 * b.mass * (b.vx * b.vx + b.vy * b.vy + b.vz * b.vz);
    for (let j = i + 1; j < bodies.length; j++) {
      const o = bodies[j];
      const dx = b.x - o.x, dy = b.y - o.y, dz = b.z - o.z;
      sum -= (b.mass * o.mass) / sqrt(dx * dx + dy * dy + dz * dz);
    }
  }
  return sum;
}

/** One step: all velocities first, then all positions, as in the benchmark. */
function advance(bodies: StaticArray<Body>, dt: f64): void {
  const count = bodies.length;
  for (let i = 0; i < count; i++) {
    const b = unchecked(bodies[i]);
    for (let j = i + 1; j < count; j++) {
      const o = unchecked(bodies[j]);
      const dx = b.x - o.x, dy = b.y - o.y, dz = b.z - o.z;
      const squared = dx * dx + dy * dy + dz * dz;
      const pull = dt / (squared * sqrt(squared));
      b.vx -= dx * o.mass * pull;
      b.vy -= dy * o.mass * pull;
      b.vz -= dz * o.mass * pull;
      o.vx += dx * b.mass * pull;
      o.vy += dy * b.mass * pull;
      o.vz += dz * b.mass * pull;
    }
  }
  for (let i = 0; i < count; i++) {
    const b = unchecked(bodies[i]);
    b.x += dt * b.vx;
    b.y += dt * b.vy;
    b.z += dt * b.vz;
  }
}

function main(): void {
  const given = args();
  const steps = given.length > 0 ? parseInt(given[0]) : 1_000_000;
  const report = given.length > 1 ? parseInt(given[1]) : 0;
  if (!(steps >= 0) || !(report >= 0)) fail("usage: nbody [steps [report]]", 2);
  const every = report as i64;
  const last = steps as i64;
  const bodies = solarSystem();
  println("energy at step 0: " + energy(bodies).toString());
  for (let i: i64 = 1; i <= last; i++) {
    advance(bodies, 0.01);
    if (every > 0 && i % every == 0 && i < last) println("energy at step " + i.toString() + ": " + energy(bodies).toString());
  }
  println("energy at step " + last.toString() + ": " + energy(bodies).toString());
}

main();
