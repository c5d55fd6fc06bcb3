/**
 * Garbage: persistent balanced trees of strings, versions of which live and die while the collector runs.
 *
 * Usage: gc [rounds [keys]]               default 200000 20000
 *
 * Each round inserts, replaces or removes one key of a persistent AVL map (the path to the key is copied, the rest is
 * shared) and keeps the new version in a ring of 64; an old version is checked now and then. Everything is allocated on
 * the collected heap. Prints a checksum over contents and shapes that does not depend on when the collector ran.
 */
import { args, fail, println } from "sherd/guest";

class Node {
  constructor(
    public key: string,
    public value: string,
    public left: Node | null,
    public right: Node | null,
    public height: i32,
    public size: i32,
  ) {}
}

function heightOf(node: Node | null): i32 {
  return node === null ? 0 : node.height;
}

function sizeOf(node: Node | null): i32 {
  return node === null ? 0 : node.size;
}

function make(key: string, value: string, left: Node | null, right: Node | null): Node {
  const height = max(heightOf(left), heightOf(right)) + 1;
  return new Node(key, value, left, right, height, sizeOf(left) + sizeOf(right) + 1);
}

/** A node over two trees whose heights differ by at most 2. */
function balance(key: string, value: string, left: Node | null, right: Node | null): Node {
  const lean = heightOf(left) - heightOf(right);
  if (lean > 1) {
    const l = left!;
    if (heightOf(l.left) >= heightOf(l.right)) return make(l.key, l.value, l.left, make(key, value, l.right, right));
    const lr = l.right!;
    return make(lr.key, lr.value, make(l.key, l.value, l.left, lr.left), make(key, value, lr.right, right));
  }
  if (lean < -1) {
    const r = right!;
    if (heightOf(r.right) >= heightOf(r.left)) return make(r.key, r.value, make(key, value, left, r.left), r.right);
    const rl = r.left!;
    return make(rl.key, rl.value, make(key, value, left, rl.left), make(r.key, r.value, rl.right, r.right));
  }
  return make(key, value, left, right);
}

function insert(node: Node | null, key: string, value: string): Node {
  if (node === null) return make(key, value, null, null);
  if (key < node.key) return balance(node.key, node.value, insert(node.left, key, value), node.right);
  if (key > node.key) return balance(node.key, node.value, node.left, insert(node.right, key, value));
  return make(key, value, node.left, node.right);
}

function first(node: Node): Node {
  let at = node;
  while (at.left !== null) at = at.left!;
  return at;
}

function removeFirst(node: Node): Node | null {
  if (node.left === null) return node.right;
  return balance(node.key, node.value, removeFirst(node.left!), node.right);
}

function remove(node: Node | null, key: string): Node | null {
  if (node === null) return null;
  if (key < node.key) return balance(node.key, node.value, remove(node.left, key), node.right);
  if (key > node.key) return balance(node.key, node.value, node.left, remove(node.right, key));
  if (node.left === null) return node.right;
  if (node.right === null) return node.left;
  const next = first(node.right!);
  return balance(next.key, next.value, node.left, removeFirst(node.right!));
}

let checksum: u64 = 14695981039346656037;

function mix(value: u64): void {
  checksum = (checksum ^ value) * 1099511628211;
}

function mixText(text: string): void {
  for (let i = 0; i < text.length; i++) mix(text.charCodeAt(i));
}

/** Walks a version in order, checks its order and balance, and mixes it into the checksum. */
function check(node: Node | null, after: string): string {
  if (node === null) return after;
  const left = check(node.left, after);
  if (left >= node.key || abs(heightOf(node.left) - heightOf(node.right)) > 1) throw new Error("tree is broken");
  mixText(node.key);
  mixText(node.value);
  mix(node.height);
  return check(node.right, node.key);
}

let state: u64 = 88172645463325252;

function random(limit: i32): i32 {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return ((state >> 11) % (limit as u64)) as i32;
}

function main(): void {
  const given = args();
  const rounds = given.length > 0 ? parseInt(given[0]) : 200_000;
  const keys = given.length > 1 ? parseInt(given[1]) : 20_000;
  if (!(rounds >= 0 && keys >= 1 && keys <= 1e7)) fail("usage: gc [rounds [keys]]", 2);

  const ring = new Array<Node | null>(64);
  for (let i = 0; i < 64; i++) ring[i] = null;
  const counts = new Map<string, i32>();
  let tree: Node | null = null;
  for (let round = 0; round < (rounds as i32); round++) {
    const key = "key-" + random(keys as i32).toString();
    if (random(4) == 0) tree = remove(tree, key);
    else tree = insert(tree, key, key + "@" + round.toString());
    ring[round & 63] = tree;
    const group = key.substring(0, 6);
    counts.set(group, (counts.has(group) ? counts.get(group) : 0) + 1);
    if (round % 5000 == 4999) check(ring[random(64)], "");
  }
  check(tree, "");
  const groups = counts.keys().sort();
  for (let i = 0; i < groups.length; i++) {
    mixText(groups[i]);
    mix(counts.get(groups[i]));
  }
  println("entries " + sizeOf(tree).toString());
  println("height " + heightOf(tree).toString());
  println("checksum " + checksum.toString(16).padStart(16, "0"));
}

main();
