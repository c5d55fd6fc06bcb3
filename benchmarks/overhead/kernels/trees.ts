// Binary trees, allocated and freed one node at a time: recursion and a real allocator (TLSF).
@unmanaged
class Node {
  left: Node | null = null;
  right: Node | null = null;
}

function build(depth: i32): Node {
  const node = new Node();
  if (depth > 0) {
    node.left = build(depth - 1);
    node.right = build(depth - 1);
  }
  return node;
}

function count(node: Node): i32 {
  const left = node.left;
  const right = node.right;
  return 1 + (left !== null ? count(left) : 0) + (right !== null ? count(right) : 0);
}

function release(node: Node): void {
  const left = node.left;
  const right = node.right;
  if (left !== null) release(left);
  if (right !== null) release(right);
  heap.free(changetype<usize>(node));
}

export function run(depth: i32): i32 {
  let total = 0;
  for (let d = 4; d <= depth; d += 2) {
    for (let i = 0; i < 1 << (depth - d); i++) {
      const tree = build(d);
      total += count(tree);
      release(tree);
    }
  }
  return total;
}
