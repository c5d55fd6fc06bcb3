/**
 * Stands in for AssemblyScript's `~lib/bindings/dom`: `console`, `Date.now`, `performance.now` and
 * `crypto.getRandomValues` of the standard library, over the SDK instead of JavaScript imports.
 * What needs a browser (document, Reflect, JS objects) is left out: using it is a compile error.
 */
import { monotonicNs, wallMs } from "sherd/guest/clock";
import { stderr, stdout } from "sherd/guest/output";
import { randomBytes } from "sherd/guest/random";

const timers = new Map<string, u64>();

function elapsed(label: string): string {
  const ms = timers.has(label) ? ((monotonicNs() - timers.get(label)) as f64) / 1e6 : 0;
  return label + ": " + ms.toString() + " ms";
}

export namespace console {
  export function assert(condition: bool, message: string): void {
    if (!condition) stderr.println("Assertion failed: " + message);
  }
  export function log(text: string): void { stdout.println(text); }
  export function debug(text: string): void { stdout.println(text); }
  export function info(text: string): void { stdout.println(text); }
  export function warn(text: string): void { stderr.println(text); }
  export function error(text: string): void { stderr.println(text); }
  export function time(label: string): void { timers.set(label, monotonicNs()); }
  export function timeLog(label: string): void { stderr.println(elapsed(label)); }
  export function timeEnd(label: string): void {
    stderr.println(elapsed(label));
    timers.delete(label);
  }
}

export namespace Date {
  export function now(): f64 { return wallMs() as f64; }
}

export namespace performance {
  export function now(): f64 { return (monotonicNs() as f64) / 1e6; }
}

export namespace crypto {
  export function getRandomValues(array: Uint8Array): void { array.set(randomBytes(array.length)); }
}

/** JavaScript's Math (`JSMath`) is not there; the language's own `Math` needs no import. */
export namespace Math {}
