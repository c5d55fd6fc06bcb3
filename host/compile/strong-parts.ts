/**
 * The strongly connected parts of a graph, sources last: whatever a part leads to comes before it (Tarjan, iterative).
 *
 * Does: number the parts, list their nodes. Does not: know what a node is.
 */

export interface StrongParts {
  /** Per node: its part. */
  readonly partOf: Int32Array;
  /** Nodes of each part; every edge leads into the same part or an earlier one. */
  readonly parts: readonly (readonly number[])[];
}

export function strongParts(
  nodes: number,
  successors: (node: number) => ArrayLike<number>,
): StrongParts {
  const partOf = new Int32Array(nodes).fill(-1);
  const order = new Int32Array(nodes);
  const low = new Int32Array(nodes);
  const waiting: number[] = [];
  const path: { readonly node: number; readonly next: ArrayLike<number>; at: number }[] = [];
  const parts: number[][] = [];
  let count = 0;
  const enter = (node: number): void => {
    order[node] = low[node] = ++count;
    waiting.push(node);
    path.push({ node, next: successors(node), at: 0 });
  };
  const close = (node: number): void => {
    const part: number[] = [];
    for (let member = -1; member !== node; ) {
      member = waiting.pop()!;
      partOf[member] = parts.length;
      part.push(member);
    }
    parts.push(part);
  };
  for (let root = 0; root < nodes; root++) {
    if (order[root] !== 0) continue;
    enter(root);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const { node } = top;
      if (top.at < top.next.length) {
        const to = top.next[top.at++]!;
        if (order[to] === 0) enter(to);
        else if (partOf[to]! < 0 && order[to]! < low[node]!) low[node] = order[to]!;
        continue;
      }
      path.pop();
      if (low[node] === order[node]) close(node);
      const below = path.at(-1);
      if (below !== undefined && low[node]! < low[below.node]!) low[below.node] = low[node]!;
    }
  }
  return { partOf, parts };
}
