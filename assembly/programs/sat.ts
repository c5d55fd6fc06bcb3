/**
 * SAT solver: conflict-driven clause learning.
 *
 * Usage: sat [FILE]                       DIMACS CNF from FILE or stdin
 *        sat --random VARS CLAUSES SEED   a random 3-SAT instance
 *        sat --pigeons N                  N + 1 pigeons in N holes (unsatisfiable, hard)
 *
 * Two watched literals, first unique implication point, activities with decay, saved phases, Luby restarts, removal of
 * learnt clauses by size. Prints `s SATISFIABLE` with a checked model (`v` line) or `s UNSATISFIABLE`, and counts.
 * Exit code 10 satisfiable, 20 unsatisfiable, as solvers do.
 */
import { args, exit, fail, lastError, openInput, println, stdin } from "sherd/guest";

// A literal is 2 * variable + (1 if negated); variables count from 0.
const UNSET: u8 = 2;

class Clause {
  constructor(public literals: StaticArray<i32>, public learnt: bool) {}
  dead: bool = false;
}

class Watch {
  constructor(public clause: Clause, public other: i32) {}
}

class Solver {
  clauses: Clause[] = [];
  learnts: Clause[] = [];
  watches: Array<Watch>[] = [];
  values: StaticArray<u8>; // of variables: 0 true, 1 false, UNSET
  phases: StaticArray<u8>;
  levels: StaticArray<i32>;
  reasons: StaticArray<Clause | null>;
  trail: StaticArray<i32>;
  trailUsed: i32 = 0;
  head: i32 = 0;
  limits: i32[] = [];
  seen: StaticArray<bool>;
  conflicts: u64 = 0;
  decisions: u64 = 0;
  propagations: u64 = 0;
  restarts: u64 = 0;
  contradiction: bool = false;
  private heap: Heap;

  constructor(public variables: i32) {
    this.values = new StaticArray<u8>(variables);
    this.phases = new StaticArray<u8>(variables);
    this.levels = new StaticArray<i32>(variables);
    this.reasons = new StaticArray<Clause | null>(variables);
    this.trail = new StaticArray<i32>(variables);
    this.seen = new StaticArray<bool>(variables);
    this.heap = new Heap(variables);
    for (let v = 0; v < variables; v++) {
      this.values[v] = UNSET;
      this.phases[v] = 1;
    }
    for (let l = 0; l < variables * 2; l++) this.watches.push([]);
  }

  /** 0 true, 1 false, 2 or 3 unset. */
  // @ts-ignore: decorator
  @inline
  value(literal: i32): u8 {
    const v = unchecked(this.values[literal >> 1]);
    return v == UNSET ? UNSET : v ^ ((literal & 1) as u8);
  }

  add(given: i32[]): void {
    const literals: i32[] = [];
    for (let i = 0; i < given.length; i++) {
      if (literals.includes(given[i] ^ 1)) return; // always true
      if (!literals.includes(given[i])) literals.push(given[i]);
    }
    if (literals.length == 0) this.contradiction = true;
    else if (literals.length == 1) {
      const value = this.value(literals[0]);
      if (value == 1) this.contradiction = true;
      else if (value != 0) this.assign(literals[0], null);
    } else this.attach(new Clause(StaticArray.fromArray<i32>(literals), false));
  }

  private attach(clause: Clause): void {
    (clause.learnt ? this.learnts : this.clauses).push(clause);
    this.watches[clause.literals[0] ^ 1].push(new Watch(clause, clause.literals[1]));
    this.watches[clause.literals[1] ^ 1].push(new Watch(clause, clause.literals[0]));
  }

  private assign(literal: i32, reason: Clause | null): void {
    const v = literal >> 1;
    this.values[v] = (literal & 1) as u8;
    this.levels[v] = this.limits.length;
    this.reasons[v] = reason;
    this.trail[this.trailUsed++] = literal;
  }

  /** Follows all consequences; gives the clause that became false, or null. */
  private propagate(): Clause | null {
    while (this.head < this.trailUsed) {
      const literal = this.trail[this.head++];
      this.propagations++;
      const list = this.watches[literal];
      let kept = 0;
      let conflict: Clause | null = null;
      for (let i = 0; i < list.length; i++) {
        const watch = unchecked(list[i]);
        if (watch.clause.dead) continue;
        if (conflict !== null || this.value(watch.other) == 0 || !this.moveWatch(watch, literal ^ 1)) {
          unchecked((list[kept++] = watch));
          if (conflict !== null || this.value(watch.other) == 0) continue;
          const first = unchecked(watch.clause.literals[0]);
          const value = this.value(first);
          if (value == 1) conflict = watch.clause;
          else if (value != 0) this.assign(first, watch.clause);
        }
      }
      list.length = kept;
      if (conflict !== null) return conflict;
    }
    return null;
  }

  /** Looks for another literal to watch instead of `lost`. False: the clause is unit, true or false by literals[0]. */
  private moveWatch(watch: Watch, lost: i32): bool {
    const literals = watch.clause.literals;
    if (unchecked(literals[0]) == lost) {
      unchecked((literals[0] = literals[1]));
      unchecked((literals[1] = lost));
    }
    const first = unchecked(literals[0]);
    watch.other = first;
    if (this.value(first) == 0) return false;
    for (let k = 2; k < literals.length; k++) {
      const candidate = unchecked(literals[k]);
      if (this.value(candidate) == 1) continue;
      unchecked((literals[1] = candidate));
      unchecked((literals[k] = lost));
      this.watches[candidate ^ 1].push(watch);
      return true;
    }
    return false;
  }

  /** The learnt clause (asserting literal first, then one of the level to go back to). */
  private analyse(conflict: Clause): i32[] {
    const learnt: i32[] = [0];
    const level = this.limits.length;
    let open = 0;
    let at = this.trailUsed;
    let literal = -1;
    let clause = conflict;
    do {
      for (let i = 0; i < clause.literals.length; i++) {
        const other = clause.literals[i];
        const v = other >> 1;
        if (other == literal || this.seen[v] || this.levels[v] == 0) continue;
        this.seen[v] = true;
        this.heap.bump(v);
        if (this.levels[v] == level) open++;
        else learnt.push(other);
      }
      do literal = this.trail[--at]; while (!this.seen[literal >> 1]);
      this.seen[literal >> 1] = false;
      open--;
      if (open > 0) clause = this.reasons[literal >> 1]!;
    } while (open > 0);
    learnt[0] = literal ^ 1;
    for (let i = 1; i < learnt.length; i++) this.seen[learnt[i] >> 1] = false;
    for (let i = 2; i < learnt.length; i++) {
      if (this.levels[learnt[i] >> 1] <= this.levels[learnt[1] >> 1]) continue;
      const swap = learnt[1];
      learnt[1] = learnt[i];
      learnt[i] = swap;
    }
    return learnt;
  }

  private backTo(level: i32): void {
    if (this.limits.length <= level) return;
    const to = this.limits[level];
    while (this.trailUsed > to) {
      const v = this.trail[--this.trailUsed] >> 1;
      this.phases[v] = this.values[v];
      this.values[v] = UNSET;
      this.reasons[v] = null;
      this.heap.put(v);
    }
    this.head = to;
    this.limits.length = level;
  }

  private learn(literals: i32[]): void {
    this.backTo(literals.length == 1 ? 0 : this.levels[literals[1] >> 1]);
    if (literals.length == 1) {
      this.assign(literals[0], null);
      return;
    }
    const clause = new Clause(StaticArray.fromArray<i32>(literals), true);
    this.attach(clause);
    this.assign(literals[0], clause);
  }

  /** Forgets the longer half of the learnt clauses that are not in use. */
  private reduce(): void {
    this.learnts.sort((a, b) => a.literals.length - b.literals.length);
    const kept: Clause[] = [];
    for (let i = 0; i < this.learnts.length; i++) {
      const clause = this.learnts[i];
      const inUse = this.reasons[clause.literals[0] >> 1] === clause;
      if (i * 2 < this.learnts.length || clause.literals.length <= 3 || inUse) kept.push(clause);
      else clause.dead = true;
    }
    this.learnts = kept;
  }

  private decide(): bool {
    while (true) {
      const v = this.heap.take();
      if (v < 0) return false;
      if (this.values[v] != UNSET) continue;
      this.decisions++;
      this.limits.push(this.trailUsed);
      this.assign(v * 2 + this.phases[v], null);
      return true;
    }
  }

  solve(): bool {
    if (this.contradiction || this.propagate() !== null) return false;
    let learntMost = 2000;
    while (true) {
      let budget = luby(++this.restarts) * 64;
      while (true) {
        const conflict = this.propagate();
        if (conflict !== null) {
          this.conflicts++;
          budget--;
          if (this.limits.length == 0) return false;
          this.learn(this.analyse(conflict));
          this.heap.decay();
          continue;
        }
        if (budget <= 0) break;
        if (this.learnts.length > learntMost) {
          this.reduce();
          learntMost += 200;
        }
        if (!this.decide()) return true;
      }
      this.backTo(0);
    }
  }

  /** True when the assignment satisfies every clause. */
  holds(): bool {
    for (let i = 0; i < this.clauses.length; i++) {
      const literals = this.clauses[i].literals;
      let satisfied = false;
      for (let k = 0; k < literals.length; k++) if (this.value(literals[k]) == 0) satisfied = true;
      if (!satisfied) return false;
    }
    return true;
  }
}

/** Variables by activity: a binary heap; ties by number, so that runs repeat exactly. */
class Heap {
  private activity: StaticArray<f64>;
  private places: StaticArray<i32>;
  private items: StaticArray<i32>;
  private used: i32 = 0;
  private step: f64 = 1;

  constructor(count: i32) {
    this.activity = new StaticArray<f64>(count);
    this.places = new StaticArray<i32>(count);
    this.items = new StaticArray<i32>(count);
    for (let v = 0; v < count; v++) {
      this.places[v] = -1;
      this.put(v);
    }
  }

  private before(a: i32, b: i32): bool {
    const x = this.activity[a], y = this.activity[b];
    return x > y || (x == y && a < b);
  }

  private place(at: i32, v: i32): void {
    this.items[at] = v;
    this.places[v] = at;
  }

  private up(from: i32): void {
    const v = this.items[from];
    let at = from;
    while (at > 0 && this.before(v, this.items[(at - 1) >> 1])) {
      this.place(at, this.items[(at - 1) >> 1]);
      at = (at - 1) >> 1;
    }
    this.place(at, v);
  }

  private down(from: i32): void {
    const v = this.items[from];
    let at = from;
    while (at * 2 + 1 < this.used) {
      let child = at * 2 + 1;
      if (child + 1 < this.used && this.before(this.items[child + 1], this.items[child])) child++;
      if (!this.before(this.items[child], v)) break;
      this.place(at, this.items[child]);
      at = child;
    }
    this.place(at, v);
  }

  put(v: i32): void {
    if (this.places[v] >= 0) return;
    this.place(this.used++, v);
    this.up(this.used - 1);
  }

  take(): i32 {
    if (this.used == 0) return -1;
    const v = this.items[0];
    this.places[v] = -1;
    const last = this.items[--this.used];
    if (this.used > 0) {
      this.place(0, last);
      this.down(0);
    }
    return v;
  }

  bump(v: i32): void {
    this.activity[v] += this.step;
    if (this.activity[v] > 1e100) {
      for (let i = 0; i < this.activity.length; i++) this.activity[i] *= 1e-100;
      this.step *= 1e-100;
    }
    if (this.places[v] >= 0) this.up(this.places[v]);
  }

  decay(): void {
    this.step *= 1 / 0.95;
  }
}

/** 1 1 2 1 1 2 4 … counted from 1. */
function luby(index: u64): i32 {
  let i = index;
  while (true) {
    let k = 1;
    while (((1 as u64) << k) - 1 < i) k++;
    if (((1 as u64) << k) - 1 == i) return 1 << (k - 1);
    i -= ((1 as u64) << (k - 1)) - 1;
  }
}

function literalOf(number: i32): i32 {
  return number > 0 ? (number - 1) * 2 : (-number - 1) * 2 + 1;
}

function readDimacs(text: string): Solver {
  const lines = text.split("\n");
  let solver: Solver | null = null;
  let clause: i32[] = [];
  for (let i = 0; i < lines.length; i++) {
    const words = lines[i].replaceAll("\t", " ").trim().split(" ").filter((word) => word.length > 0);
    if (words.length == 0 || words[0] == "c") continue;
    if (words[0] == "%") break;
    if (words[0] == "p") {
      const variables = words.length > 2 ? parseInt(words[2]) : NaN;
      if (!(variables >= 0 && variables <= 1e7)) fail("sat: bad header in line " + (i + 1).toString(), 2);
      solver = new Solver(variables as i32);
      continue;
    }
    if (solver === null) fail("sat: no `p cnf` header before line " + (i + 1).toString(), 2);
    for (let k = 0; k < words.length; k++) {
      const value = parseInt(words[k]);
      if (!(abs(value) <= (solver!.variables as f64))) fail("sat: bad literal in line " + (i + 1).toString(), 2);
      if (value == 0) {
        solver!.add(clause);
        clause = [];
      } else clause.push(literalOf(value as i32));
    }
  }
  if (solver === null) fail("sat: no `p cnf` header", 2);
  return solver!;
}

function randomInstance(variables: i32, clauses: i32, seed: u32): Solver {
  const solver = new Solver(variables);
  let state: u64 = (seed as u64) * 0x9e3779b97f4a7c15 + 1;
  for (let c = 0; c < clauses; c++) {
    const literals: i32[] = [];
    while (literals.length < 3) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      const literal = ((state >> 16) % ((variables * 2) as u64)) as i32;
      if (!literals.includes(literal) && !literals.includes(literal ^ 1)) literals.push(literal);
    }
    solver.add(literals);
  }
  return solver;
}

function pigeons(holes: i32): Solver {
  const solver = new Solver((holes + 1) * holes);
  for (let p = 0; p <= holes; p++) {
    const somewhere: i32[] = [];
    for (let h = 0; h < holes; h++) somewhere.push((p * holes + h) * 2);
    solver.add(somewhere);
  }
  for (let h = 0; h < holes; h++) {
    for (let p = 0; p <= holes; p++) {
      for (let q = 0; q < p; q++) solver.add([(p * holes + h) * 2 + 1, (q * holes + h) * 2 + 1]);
    }
  }
  return solver;
}

function argument(given: string[], at: i32, least: f64, most: f64): i32 {
  const value = at < given.length ? parseInt(given[at]) : NaN;
  if (!(value >= least && value <= most)) fail("usage: sat [FILE] | --random VARS CLAUSES SEED | --pigeons N", 2);
  return value as i32;
}

function load(given: string[]): Solver {
  if (given.length > 0 && given[0] == "--random") {
    return randomInstance(argument(given, 1, 3, 1e6), argument(given, 2, 1, 1e7), argument(given, 3, 0, 2147483647));
  }
  if (given.length > 0 && given[0] == "--pigeons") return pigeons(argument(given, 1, 1, 100));
  if (given.length == 0) return readDimacs(stdin.readText());
  const input = openInput(given[0]);
  if (input === null) fail("sat: cannot open " + given[0] + ": " + lastError(), 2);
  return readDimacs(input!.readText());
}

function main(): void {
  const solver = load(args());
  const satisfiable = solver.solve();
  println(
    "c conflicts " + solver.conflicts.toString() + " decisions " + solver.decisions.toString() + " propagations "
      + solver.propagations.toString() + " restarts " + solver.restarts.toString(),
  );
  if (!satisfiable) {
    println("s UNSATISFIABLE");
    exit(20);
  }
  if (!solver.holds()) throw new Error("the model is wrong");
  println("s SATISFIABLE");
  const model: string[] = ["v"];
  for (let v = 0; v < solver.variables; v++) model.push((solver.values[v] == 1 ? "-" : "") + (v + 1).toString());
  model.push("0");
  println(model.join(" "));
  exit(10);
}

main();
