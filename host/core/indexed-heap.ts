/**
 * A binary heap whose items can be found, moved and removed by identity.
 *
 * Does: `first` O(1); `set` (add or re-sort) and `delete` O(log n); `ordered` lists in order without changing the heap.
 * Does not: notice by itself that an item's key changed (call `set`), nor keep equal items in insertion order.
 *
 *            0            items[i] is not after its children items[2i + 1], items[2i + 2];
 *         1     2         place.get(items[i]) = i
 *        3 4   5 6
 */
export class IndexedHeap<T> {
  readonly #compare: (a: T, b: T) => number;
  readonly #items: T[] = [];
  readonly #place = new Map<T, number>();
  /** Comparisons made so far: the measure of work in tests. */
  compares = 0;

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare;
  }

  get size(): number {
    return this.#items.length;
  }

  has(item: T): boolean {
    return this.#place.has(item);
  }

  first(): T | undefined {
    return this.#items[0];
  }

  /** Adds the item, or moves it to where its changed key belongs. */
  set(item: T): void {
    let at = this.#place.get(item);
    if (at === undefined) {
      at = this.#items.length;
      this.#items.push(item);
      this.#place.set(item, at);
    }
    this.#down(this.#up(at));
  }

  delete(item: T): boolean {
    const at = this.#place.get(item);
    if (at === undefined) return false;
    const last = this.#items.pop() as T;
    this.#place.delete(item);
    if (at < this.#items.length) {
      this.#items[at] = last;
      this.#place.set(last, at);
      this.#down(this.#up(at));
    }
    return true;
  }

  /** The items in order, lazily: taking k of them costs O(k²), for small k. Do not change the heap meanwhile. */
  *ordered(): Generator<T> {
    if (this.#items.length === 0) return;
    const front = [0];
    while (front.length > 0) {
      let best = 0;
      for (let i = 1; i < front.length; i++) {
        if (this.#before(front[i] as number, front[best] as number)) best = i;
      }
      const at = front[best] as number;
      front.splice(best, 1);
      yield this.#items[at] as T;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < this.#items.length) front.push(child);
    }
  }

  #up(from: number): number {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(at, parent)) break;
      this.#swap(at, parent);
      at = parent;
    }
    return at;
  }

  #down(from: number): void {
    let at = from;
    for (;;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#items.length && this.#before(child, least)) least = child;
      }
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #before(a: number, b: number): boolean {
    this.compares += 1;
    return this.#compare(this.#items[a] as T, this.#items[b] as T) < 0;
  }

  #swap(a: number, b: number): void {
    const itemA = this.#items[a] as T;
    const itemB = this.#items[b] as T;
    this.#items[a] = itemB;
    this.#items[b] = itemA;
    this.#place.set(itemB, a);
    this.#place.set(itemA, b);
  }
}
