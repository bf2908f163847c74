/**
 * Who wrote each line of some content, carried over from one content to the next. Works on bytes, and looks only at what
 * differs: content of which a few lines were changed costs no more than being compared once. The same contents always
 * give the same answer: no time limit decides.
 * @module
 */

/** Content with the author of each line; authors are numbers that the caller gives out. */
export interface Attributed {
  /** Ends in a line end: one was put behind content that has none. */
  readonly bytes: Uint8Array;
  /** Where each line begins, and behind them where the last one ends. */
  readonly starts: Int32Array;
  readonly authors: Int32Array;
  /** 1: the line stood elsewhere in the file when it was written. */
  readonly moved: Uint8Array;
}

const NEWLINE = 0x0a;
const RETURN = 0x0d;

export const NOTHING: Attributed = {
  bytes: new Uint8Array(),
  starts: Int32Array.of(0),
  authors: new Int32Array(),
  moved: new Uint8Array(),
};

/** The same memory as a buffer, whose searches are the machine's own. */
const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);

/** Where the lines of `bytes`, which end in a line end, begin; and where the last one ends. Lines before `from` are those of `known`. */
export function startsOf(bytes: Uint8Array, known: Int32Array = Int32Array.of(0)): Int32Array {
  const buffer = asBuffer(bytes);
  const from = known.at(-1) ?? 0;
  let starts = new Int32Array(Math.max(known.length * 2, 1024));
  starts.set(known);
  let n = known.length;
  for (let at = buffer.indexOf(NEWLINE, from); at >= 0; at = buffer.indexOf(NEWLINE, at + 1)) {
    if (n === starts.length) {
      const longer = new Int32Array(n * 2);
      longer.set(starts);
      starts = longer;
    }
    starts[n++] = at + 1;
  }
  return starts.subarray(0, n);
}

/** The index of the last of the ascending `starts`, from `low` to `high`, that is at most `most`. `starts[low]` must be. */
export function lastUpTo(starts: Int32Array, most: number, low = 0, high = starts.length - 1): number {
  let [a, b] = [low, high];
  while (a < b) {
    const middle = (a + b + 1) >> 1;
    if ((starts[middle] as number) <= most) a = middle;
    else b = middle - 1;
  }
  return a;
}

/** The greatest `n` up to `most` for which `alike(from, to)` holds from 0 to `n`; looks at little more than that. */
function longest(most: number, alike: (from: number, to: number) => boolean): number {
  let [low, high, step] = [0, most, 256];
  let bounded = false; // a difference was seen before `high`
  while (low < high) {
    const to = Math.min(low + step, high);
    if (alike(low, to)) {
      low = to;
      step = bounded ? Math.max(1, (high - low) >> 1) : step * 4;
    } else {
      if (to - low === 1) return low;
      high = to;
      bounded = true;
      step = (to - low) >> 1;
    }
  }
  return low;
}

/** How many bytes of `a` from `i` on are those of `b` from `j` on. */
export const commonStart = (a: Buffer, i: number, aEnd: number, b: Buffer, j: number, bEnd: number): number => {
  if (a[i] !== b[j]) return 0;
  return longest(Math.min(aEnd - i, bEnd - j), (from, to) => a.compare(b, j + from, j + to, i + from, i + to) === 0);
};

const commonEnd = (a: Buffer, aFrom: number, b: Buffer, bFrom: number): number =>
  longest(
    Math.min(a.length - aFrom, b.length - bFrom),
    (from, to) => a.compare(b, b.length - to, b.length - from, a.length - to, a.length - from) === 0,
  );

/** `count` lines that stay: those of the old content from line `old` on are bytes [at, end) of the new one. */
interface Run {
  readonly old: number;
  readonly at: number;
  readonly end: number;
  readonly count: number;
}

/** So many lines that went and came at one place are looked for in every combination. */
const MOST_EDITS = 8;
/** So many lines in a row that are alike are taken for the same ones, or all that are left. */
const ENOUGH = 3;

/** Where to go on after a difference: at that line of the old content and that byte of the new one. */
interface Resumed {
  readonly line: number;
  readonly at: number;
}

/** Lines that stay between lines [first, last) of the old content and bytes [from, to) of the new one, both ends not alike. */
function stayingBetween(old: Attributed, bytes: Buffer, first: number, last: number, from: number, to: number): Run[] {
  const { starts } = old;
  const before = asBuffer(old.bytes);
  const startOf = (line: number) => starts[line] as number;
  const nextLine = (at: number) => bytes.indexOf(NEWLINE, at) + 1;
  const alikeFrom = (line: number, at: number): number => {
    if (line === last || at === to) return 0;
    const same = commonStart(before, startOf(line), startOf(last), bytes, at, to);
    return same === 0 ? 0 : lastUpTo(starts, startOf(line) + same, line, last) - line;
  };
  const goesOn = (line: number, at: number): boolean => {
    const count = alikeFrom(line, at);
    return count >= ENOUGH || (line + count === last && at + startOf(last) - startOf(line) === to);
  };

  /** A few lines that went, came or were changed. */
  const near = ({ line, at }: Resumed): Resumed | undefined => {
    const after = [at]; // where the new content goes on when so many lines came
    for (let edits = 1; edits <= MOST_EDITS; edits++) {
      const latest = after.at(-1) as number;
      if (latest < to) after.push(nextLine(latest));
      for (const [came, then] of after.entries()) {
        const went = edits - came;
        if (went >= 0 && line + went <= last && goesOn(line + went, then)) return { line: line + went, at: then };
      }
    }
    return undefined;
  };

  /** A block that came, or one that went: whichever is shorter. */
  const far = ({ line, at }: Resumed): Resumed | undefined => {
    const sought = before.subarray(startOf(line), startOf(Math.min(line + ENOUGH, last)));
    const came = foundIn(bytes, sought, at, to);
    let end = at;
    for (let n = 0; n < ENOUGH && end < to; n++) end = nextLine(end);
    const went = foundIn(before, bytes.subarray(at, end), startOf(line), startOf(last));
    if (came === undefined && went === undefined) return undefined;
    if (came !== undefined && (went === undefined || came - at <= went - startOf(line))) return { line, at: came };
    return { line: lastUpTo(starts, went ?? 0, line, last), at };
  };

  const runs: Run[] = [];
  let here: Resumed = { line: first, at: from };
  while (here.line < last && here.at < to) {
    const resumed = near(here) ?? far(here);
    if (!resumed) return runs;
    const { line, at } = resumed;
    const count = alikeFrom(line, at);
    const end = at + startOf(line + count) - startOf(line);
    runs.push({ old: line, at, end, count });
    here = { line: line + count, at: end };
  }
  return runs;
}

/** Where lines that are alike begin in `bytes`, within [from, to). */
function foundIn(bytes: Buffer, lines: Uint8Array, from: number, to: number): number | undefined {
  for (let at = bytes.indexOf(lines, from); at >= 0 && at + lines.length <= to; at = bytes.indexOf(lines, at + 1))
    if (at === from || bytes[at - 1] === NEWLINE) return at;
  return undefined;
}

/** Positions, one in each list. */
type Pair = readonly [number, number];

/** How often a list is taken apart between lines that both have once. */
const MOST_LEVELS = 50;

/** Lines that stay, by lines that each side has once (patience): good where much was changed, and never slow. */
function byUnique(a: readonly string[], b: readonly string[]): Pair[] {
  const pairs: Pair[] = [];
  const between = (a0: number, a1: number, b0: number, b1: number, level: number): void => {
    let [i, iEnd, j, jEnd] = [a0, a1, b0, b1];
    while (i < iEnd && j < jEnd && a[i] === b[j]) pairs.push([i++, j++]);
    const tail: Pair[] = [];
    while (i < iEnd && j < jEnd && a[iEnd - 1] === b[jEnd - 1]) tail.push([--iEnd, --jEnd]);
    const anchors = level < MOST_LEVELS ? inOrder(uniquePairs(a, i, iEnd, b, j, jEnd)) : [];
    for (const [x, y] of anchors) {
      if (x < i || y < j) continue; // the run before it reached it
      between(i, x, j, y, level + 1);
      pairs.push([x, y]);
      [i, j] = [x + 1, y + 1];
    }
    if (anchors.length > 0) between(i, iEnd, j, jEnd, level + 1);
    for (const pair of tail.toReversed()) pairs.push(pair);
  };
  between(0, a.length, 0, b.length, 0);
  return pairs;
}

/** Lines that both parts have just once, in the order of the first. */
function uniquePairs(a: readonly string[], i: number, iEnd: number, b: readonly string[], j: number, jEnd: number): Pair[] {
  const onceIn = (list: readonly string[], from: number, to: number) => {
    const at = new Map<string, number>();
    for (let n = from; n < to; n++) {
      const text = list[n] as string;
      at.set(text, at.has(text) ? -1 : n);
    }
    return at;
  };
  const inB = onceIn(b, j, jEnd);
  const pairs: Pair[] = [];
  for (const [text, x] of onceIn(a, i, iEnd)) {
    const y = inB.get(text);
    if (x >= 0 && y !== undefined && y >= 0) pairs.push([x, y]);
  }
  return pairs;
}

/** The most of `pairs`, ascending by their first, that ascend by their second too. */
function inOrder(pairs: readonly Pair[]): Pair[] {
  const ends: number[] = []; // for each length, the pair with the smallest second that ends such a row
  const before = new Int32Array(pairs.length).fill(-1);
  for (const [n, [, y]] of pairs.entries()) {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((pairs[ends[middle] as number] as Pair)[1] < y) low = middle + 1;
      else high = middle;
    }
    if (low > 0) before[n] = ends[low - 1] as number;
    ends[low] = n;
  }
  const row: Pair[] = [];
  for (let n = ends.at(-1) ?? -1; n >= 0; n = before[n] as number) row.push(pairs[n] as Pair);
  return row.toReversed();
}

/** A line's text, one character for each byte, without its end. */
function textAt(bytes: Buffer, start: number, next: number): string {
  const end = next - 1;
  return bytes.toString("latin1", start, end > start && bytes[end - 1] === RETURN ? end - 1 : end);
}

const textsOf = (bytes: Buffer, starts: Int32Array, first: number, last: number): string[] =>
  Array.from({ length: last - first }, (_, n) => textAt(bytes, starts[first + n] as number, starts[first + n + 1] as number));

function runsByUnique(old: Attributed, bytes: Buffer, first: number, last: number, from: number, to: number): Run[] {
  const starts = startsOf(bytes.subarray(0, to), Int32Array.of(from));
  const pairs = byUnique(textsOf(asBuffer(old.bytes), old.starts, first, last), textsOf(bytes, starts, 0, starts.length - 1));
  return pairs.map(([x, y]) => ({ old: first + x, at: starts[y] as number, end: starts[y + 1] as number, count: 1 }));
}

/** The lines of the old content that stay in the new one, in order. */
function staying(old: Attributed, bytes: Buffer): Run[] {
  const before = asBuffer(old.bytes);
  const lines = old.authors.length;
  const head = lastUpTo(old.starts, commonStart(before, 0, before.length, bytes, 0, bytes.length));
  const from = old.starts[head] as number;
  const shared = commonEnd(before, from, bytes, from);
  const shift = bytes.length - before.length;
  let tail = lastUpTo(old.starts, before.length - shared);
  if ((old.starts[tail] as number) < before.length - shared) tail++;
  const beginsLine = (at: number) => at === from || bytes[at - 1] === NEWLINE;
  if (!beginsLine((old.starts[tail] as number) + shift)) tail++;
  const to = (old.starts[tail] as number) + shift;
  const middle = head === tail || from === to ? [] : stayingBetween(old, bytes, head, tail, from, to);
  const runs = [{ old: 0, at: 0, end: from, count: head }, ...middle];
  return [...runs, { old: tail, at: to, end: bytes.length, count: lines - tail }].flatMap((run, n) => {
    const prior = runs[n - 1];
    const first = prior ? prior.old + prior.count : 0;
    const isGap = prior !== undefined && run.old > first && run.at > prior.end;
    return isGap ? [...runsByUnique(old, bytes, first, run.old, prior.end, run.at), run] : [run];
  });
}

/** A line that went or came. */
interface Loose {
  readonly line: number;
  readonly text: string;
}

/** Letters and digits; without some, a line is too common to be known again elsewhere. */
const tellsEnough = (text: string) => (text.match(/[0-9A-Za-z\u{80}-\u{ff}]/gu)?.length ?? 0) >= 4;

/** Lines that went at one place and came at another, once each, and their neighbours with them: [came, went] by index. */
function movedPairs(went: readonly Loose[], came: readonly Loose[]): Pair[] {
  const pairs = new Map<number, number>();
  const taken = new Set<number>();
  const take = (x: number, y: number): boolean => {
    const [a, b] = [went[x], came[y]];
    if (!a || !b || taken.has(x) || pairs.has(y) || a.text !== b.text) return false;
    taken.add(x);
    pairs.set(y, x);
    return true;
  };
  const next = (list: readonly Loose[], n: number, step: number) => list[n + step]?.line === (list[n]?.line ?? 0) + step;
  const texts = (list: readonly Loose[]) => list.map(({ text }) => text);
  for (const [x, y] of uniquePairs(texts(went), 0, went.length, texts(came), 0, came.length)) {
    if (!tellsEnough(came[y]?.text ?? "") || !take(x, y)) continue;
    for (const step of [1, -1])
      for (let n = step; next(went, x + n - step, step) && next(came, y + n - step, step) && take(x + n, y + n); n += step);
  }
  return [...pairs];
}

/** Lines [first, last) of a content, whose starts are given. */
interface Part {
  readonly starts: Int32Array;
  readonly first: number;
  readonly last: number;
}

const looseOf = (bytes: Buffer, parts: readonly Part[]): Loose[] =>
  parts.flatMap(({ starts, first, last }) => textsOf(bytes, starts, first, last).map((text, n) => ({ line: first + n, text })));

/**
 * The authors of `bytes`, which end in a line end, after they took the place of `old`: lines that stay or were moved keep
 * theirs, the others are `author`'s.
 */
export function replaced(old: Attributed, bytes: Uint8Array, author: number): Attributed {
  if (old.authors.length === 0) return whole(bytes, author);
  const buffer = asBuffer(bytes);
  const runs = staying(old, buffer).filter(({ count }) => count > 0);
  const rest = { old: old.authors.length, at: bytes.length, end: bytes.length, count: 0 };

  const pieces: { readonly run: Run; readonly fresh: Int32Array }[] = [];
  let [at, lines] = [0, 0];
  for (const run of [...runs, rest]) {
    const fresh = run.at > at ? startsOf(bytes.subarray(0, run.at), Int32Array.of(at)) : Int32Array.of(at);
    pieces.push({ run, fresh });
    lines += fresh.length - 1 + run.count;
    at = run.end;
  }

  const next = {
    bytes,
    starts: new Int32Array(lines + 1),
    authors: new Int32Array(lines).fill(author),
    moved: new Uint8Array(lines),
  };
  const [went, came]: [Part[], Part[]] = [[], []];
  let [line, oldLine] = [0, 0];
  for (const { run, fresh } of pieces) {
    next.starts.set(fresh.subarray(0, -1), line);
    if (run.old > oldLine) went.push({ starts: old.starts, first: oldLine, last: run.old });
    if (fresh.length > 1) came.push({ starts: next.starts, first: line, last: line + fresh.length - 1 });
    line += fresh.length - 1;
    const end = run.old + run.count;
    next.starts.set(old.starts.subarray(run.old, end), line);
    const shift = run.at - (old.starts[run.old] as number);
    if (shift !== 0) for (let n = line; n < line + run.count; n++) next.starts[n] = (next.starts[n] as number) + shift;
    next.authors.set(old.authors.subarray(run.old, end), line);
    next.moved.set(old.moved.subarray(run.old, end), line);
    line += run.count;
    oldLine = end;
  }
  next.starts[lines] = bytes.length;
  if (went.length > 0 && came.length > 0) carryMoved(old, next, went, came);
  return next;
}

function carryMoved(old: Attributed, next: Attributed, went: readonly Part[], came: readonly Part[]): void {
  const [before, after] = [looseOf(asBuffer(old.bytes), went), looseOf(asBuffer(next.bytes), came)];
  for (const [y, x] of movedPairs(before, after)) {
    const [from, to] = [before[x] as Loose, after[y] as Loose];
    next.authors[to.line] = old.authors[from.line] as number;
    next.moved[to.line] = 1;
  }
}

/** Content of which `author` wrote every line. */
function whole(bytes: Uint8Array, author: number): Attributed {
  const starts = startsOf(bytes);
  const lines = starts.length - 1;
  return { bytes, starts, authors: new Int32Array(lines).fill(author), moved: new Uint8Array(lines) };
}
