// Text with a garbage collector: words are joined, numbered, put into a map and an array, and forgotten again.
const WORDS: StaticArray<string> = ['shard', 'capsule', 'fuel', 'node', 'epoch', 'record', 'Grüße', '状态'];

class Line {
  constructor(
    public text: string,
    public count: i32,
  ) {}
}

function sentence(seed: i32): string {
  let text = '';
  for (let i = 0, state = seed; i < 6; i++) {
    state = state * 1103515245 + 12345;
    if (i > 0) text += ' ';
    text += WORDS[(state >>> 16) & 7] + (state & 1024 ? '' : (state & 63).toString());
  }
  return text;
}

function hash(text: string): i32 {
  let h = 0;
  for (let i = 0; i < text.length; i++) h = h * 31 + text.charCodeAt(i);
  return h;
}

export function run(lines: i32): i32 {
  const seen = new Map<string, Line>();
  let order: Line[] = [];
  let h = 0;
  for (let i = 0; i < lines; i++) {
    const text = sentence(i % 700);
    if (seen.has(text)) {
      seen.get(text).count += 1;
    } else {
      const line = new Line(text, 1);
      seen.set(text, line);
      order.push(line);
    }
    if (order.length == 500) {
      for (let k = 0; k < order.length; k++) h = h * 7 + hash(order[k].text) + order[k].count;
      h += hash(order.map<string>((line) => line.text.toUpperCase()).join(','));
      order = [];
      seen.clear();
    }
  }
  return h + seen.size;
}
