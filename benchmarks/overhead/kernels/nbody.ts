// Gravitation of five bodies, symplectic Euler steps: tiny inner loops over f64 fields.
const BODIES: i32 = 5;
const FIELDS: i32 = 7; // x y z vx vy vz mass

function setBody(
  s: StaticArray<f64>,
  i: i32,
  x: f64,
  y: f64,
  z: f64,
  vx: f64,
  vy: f64,
  vz: f64,
  mass: f64,
): void {
  const at = i * FIELDS;
  unchecked((s[at] = x));
  unchecked((s[at + 1] = y));
  unchecked((s[at + 2] = z));
  unchecked((s[at + 3] = vx));
  unchecked((s[at + 4] = vy));
  unchecked((s[at + 5] = vz));
  unchecked((s[at + 6] = mass));
}

function advance(s: StaticArray<f64>, dt: f64): void {
  for (let i = 0; i < BODIES; i++) {
    const a = i * FIELDS;
    for (let j = i + 1; j < BODIES; j++) {
      const b = j * FIELDS;
      const dx = unchecked(s[a] - s[b]);
      const dy = unchecked(s[a + 1] - s[b + 1]);
      const dz = unchecked(s[a + 2] - s[b + 2]);
      const squared = dx * dx + dy * dy + dz * dz;
      const force = dt / (squared * Math.sqrt(squared));
      const toA = unchecked(s[b + 6]) * force;
      const toB = unchecked(s[a + 6]) * force;
      unchecked((s[a + 3] -= dx * toA));
      unchecked((s[a + 4] -= dy * toA));
      unchecked((s[a + 5] -= dz * toA));
      unchecked((s[b + 3] += dx * toB));
      unchecked((s[b + 4] += dy * toB));
      unchecked((s[b + 5] += dz * toB));
    }
  }
  for (let i = 0; i < BODIES; i++) {
    const a = i * FIELDS;
    unchecked((s[a] += dt * s[a + 3]));
    unchecked((s[a + 1] += dt * s[a + 4]));
    unchecked((s[a + 2] += dt * s[a + 5]));
  }
}

export function run(steps: i32): i32 {
  const s = new StaticArray<f64>(BODIES * FIELDS);
  setBody(s, 0, 0, 0, 0, 0, -0.0004, 0, 39.47);
  setBody(s, 1, 4.84, -1.16, -0.1, 0.606, 2.81, -0.02, 0.0377);
  setBody(s, 2, 8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.0113);
  setBody(s, 3, 12.89, -15.11, -0.22, 1.08, 0.868, -0.01, 0.0017);
  setBody(s, 4, 15.37, -25.9, 0.179, 0.979, 0.594, -0.034, 0.002);
  for (let i = 0; i < steps; i++) advance(s, 0.001);
  let sum: f64 = 0;
  for (let i = 0; i < BODIES * FIELDS; i++) sum += unchecked(s[i]);
  return <i32>(sum * 1e6);
}
