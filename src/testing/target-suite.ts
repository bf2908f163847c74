/**
 * The target suite: every promise of the `Target` interface as a case that fails when it is broken. A new driver's
 * test is one call of `targetSuite`.
 * @module
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { digestOf } from "../core/digest.ts";
import { TargetError, type FaultKind } from "../core/errors.ts";
import { type Key, parseKey } from "../core/key.ts";
import type { Entry, Guard, Source, Target } from "../core/target.ts";
import { bytesOf, sourceOf } from "./source.ts";

/** A fresh, empty target for one case. */
export interface Place {
  readonly target: Target;
  /** Lets go of everything, also of what is stored. */
  readonly cleanup: () => Promise<void> | void;
  /** What another program does at the place, past the target: changes the file in place, or makes it. */
  readonly foreignWrite?: ((key: Key, bytes: Uint8Array) => Promise<void> | void) | undefined;
  /** Another target for the same place, as the next process would open it. */
  readonly reopen?: (() => Promise<Target> | Target) | undefined;
}

export interface SuiteOptions {
  /** Entries that are more than one page of a listing; 120 by default. */
  readonly manyEntries?: number | undefined;
  /** Bytes of the biggest body; 5 MiB by default. */
  readonly bigBytes?: number | undefined;
  /** How long something that must end may take before it counts as hanging; 30,000 by default. */
  readonly patienceMs?: number | undefined;
}

export interface SuiteCase {
  readonly group: string;
  readonly name: string;
  readonly run: (place: Place) => Promise<void>;
}

export interface Suite {
  /** The runner's function: `test` of vitest, node:test, mocha … */
  readonly test: (name: string, run: () => Promise<void>) => unknown;
  readonly open: () => Promise<Place> | Place;
  readonly options?: SuiteOptions | undefined;
}

/** Hands every case to `test`, each with a target of its own. */
export function targetSuite({ test, open, options }: Suite): void {
  for (const { group, name, run } of targetCases(options))
    test(`${group}: ${name}`, async () => {
      const place = await open();
      try {
        await run(place);
      } finally {
        await place.cleanup();
      }
    });
}

const text = (content: string) => new TextEncoder().encode(content);
const k = parseKey;
const NOTE = k("Core/Note.txt");

async function fault(kind: FaultKind, work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof TargetError, `expected a TargetError, got ${String(error)}`);
    assert.equal(error.kind, kind, error.message);
    return true;
  });
}

const aborts = (work: Promise<unknown>) => assert.rejects(work, { name: "AbortError" });

async function entriesOf(target: Target, prefix = ""): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const entry of target.list(prefix)) entries.push(entry);
  return entries;
}

/** How often to list before what is shown counts. */
const chances = (target: Target) => (target.traits.listing === "eventual" ? 20 : 1);

/** The keys of a listing, sorted; a listing that may lag gets some more chances to show what is `expected`. */
async function keysOf(target: Target, prefix: string, expected: readonly string[]): Promise<string[]> {
  const sorted = expected.toSorted();
  for (let chance = chances(target); ; chance--) {
    const keys = (await entriesOf(target, prefix)).map(({ key }) => key as string).toSorted();
    if (chance <= 1 || JSON.stringify(keys) === JSON.stringify(sorted)) return keys;
  }
}

async function assertListed(target: Target, prefix: string, expected: readonly string[]): Promise<void> {
  assert.deepEqual(await keysOf(target, prefix, expected), expected.toSorted(), `list(${JSON.stringify(prefix)})`);
}

const readAll = (target: Target, key: Key) => target.read(key, bytesOf);

function assertEntry(target: Target, entry: Entry | undefined, key: Key, bytes: Uint8Array, hashed = true): asserts entry {
  assert.ok(entry, `${key} is not there`);
  assert.equal(entry.key, key);
  assert.equal(entry.size, bytes.length);
  assert.ok(typeof entry.rev === "string" && entry.rev !== "", "rev is empty");
  if (target.traits.hashes.length === 0) assert.equal(entry.hash, undefined);
  else if (hashed) assert.ok(entry.hash, "the answer has no hash");
  if (entry.hash === undefined) return;
  const { algo, hex } = entry.hash;
  assert.ok(target.traits.hashes.includes(algo), `${algo} is not among traits.hashes`);
  const digest = digestOf(algo);
  digest?.update(bytes);
  if (digest) assert.equal(hex, digest.hex(), "the hash is not that of the bytes");
}

/** What is at `key` is exactly `bytes`, and it is there once. */
async function assertHolds(target: Target, key: Key, content: Uint8Array | string): Promise<Entry> {
  const bytes = typeof content === "string" ? text(content) : content;
  const got = await readAll(target, key);
  assert.ok(Buffer.from(bytes).equals(got), `${key} holds other bytes (${got.length} instead of ${bytes.length})`);
  const entry = await target.stat(key, { hash: true });
  assertEntry(target, entry, key, bytes);
  await assertListed(target, key, [key]);
  return entry;
}

async function assertAbsent(target: Target, key: Key): Promise<void> {
  assert.equal(await target.stat(key), undefined);
  await fault("not-found", readAll(target, key));
  await assertListed(target, key, []);
}

/** `work` fails and leaves what `key` holds, and everything else, as it was. */
async function assertChangesNothing(target: Target, key: Key, work: () => Promise<unknown>): Promise<void> {
  const before = await target.stat(key, { hash: true });
  const bytes = before && (await readAll(target, key));
  let keys: string[] = [];
  for (let chance = chances(target); chance > 0; chance--) keys = (await entriesOf(target)).map((entry) => entry.key);
  await work();
  if (bytes === undefined) await assertAbsent(target, key);
  else assert.equal((await assertHolds(target, key, bytes)).size, before?.size);
  await assertListed(target, "", keys);
}

const wins = (results: ReadonlyArray<PromiseSettledResult<unknown>>) =>
  results.flatMap(({ status }, at) => (status === "fulfilled" ? [at] : []));

function assertOthersConflict(results: ReadonlyArray<PromiseSettledResult<unknown>>): void {
  for (const result of results)
    if (result.status === "rejected") {
      assert.ok(result.reason instanceof TargetError, `expected a TargetError, got ${String(result.reason)}`);
      assert.equal(result.reason.kind, "conflict", result.reason.message);
    }
}

/** A body that waits in its middle until it is let on. */
function paused(content: Uint8Array): { source: Source; halfway: Promise<void>; goOn: () => void } {
  let reached = (): void => undefined;
  let goOn = (): void => undefined;
  const halfway = new Promise<void>((resolve) => (reached = resolve));
  const gate = new Promise<void>((resolve) => (goOn = resolve));
  const half = Math.floor(content.length / 2);
  async function* open() {
    yield content.subarray(0, half);
    reached();
    await gate;
    yield content.subarray(half);
  }
  return { source: { ...sourceOf(content), open }, halfway, goOn: () => goOn() };
}

/** The cases by themselves, for a runner that wants more than a name and a function. */
export function targetCases(options: SuiteOptions = {}): readonly SuiteCase[] {
  const { manyEntries = 120, bigBytes = 5 * 1024 * 1024, patienceMs = 30_000 } = options;
  const cases: SuiteCase[] = [];
  let group = "";
  const it = (name: string, run: (target: Target, place: Place) => Promise<void>) =>
    cases.push({ group, name, run: async (place) => run(place.target, place) });

  /** `work`, unless it hangs. */
  async function inTime<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new assert.AssertionError({ message: `hangs for ${patienceMs} ms` })), patienceMs);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  const put = (target: Target, key: Key, content: Uint8Array | string, guard?: Guard) =>
    target.put(key, sourceOf(content), guard);

  group = "round trip";
  const KIB = 1024;
  const edges = [64 * KIB, 256 * KIB].flatMap((edge) => [edge - 1, edge, edge + 1]);
  for (const size of [0, 1, ...edges, bigBytes])
    it(`${size} bytes come back as they went`, async (target) => {
      const bytes = new Uint8Array(randomBytes(size));
      const entry = await target.put(NOTE, sourceOf(bytes), { expect: "absent" });
      assertEntry(target, entry, NOTE, bytes);
      assert.equal((await assertHolds(target, NOTE, bytes)).rev, entry.rev, "stat has another rev than put's answer");
    });
  it("every byte value and what is not UTF-8 come back as they went", async (target) => {
    const bytes = Uint8Array.from({ length: 512 }, (_, at) => (at < 256 ? at : 0xff - (at % 3)));
    await put(target, NOTE, bytes);
    await assertHolds(target, NOTE, bytes);
    const line = text("\uFEFFline\r\nline\n\r\u0000");
    await put(target, NOTE, line);
    await assertHolds(target, NOTE, line);
  });
  it("a body in many small parts, and one that reuses its buffer", async (target) => {
    const bytes = new Uint8Array(randomBytes(3000));
    await target.put(NOTE, sourceOf(bytes, 7));
    await assertHolds(target, NOTE, bytes);
    const buffer = new Uint8Array(1000);
    async function* open() {
      for (let at = 0; at < 3; at++) {
        buffer.set(bytes.subarray(at * 1000, at * 1000 + 1000));
        yield buffer;
      }
    }
    await target.put(k("Core/Reused.bin"), { ...sourceOf(bytes), open });
    await assertHolds(target, k("Core/Reused.bin"), bytes);
  });
  it("a shorter content replaces a longer one whole", async (target) => {
    await put(target, NOTE, "a long content");
    await put(target, NOTE, "short");
    await assertHolds(target, NOTE, "short");
    await put(target, NOTE, "");
    await assertHolds(target, NOTE, "");
  });

  group = "names";
  const names = [
    "plain.txt",
    "no-extension",
    "Meta/Ünïcödé/naïve café.txt",
    "日本語/メモ.md",
    "עברית/हिन्दी.txt",
    "emoji/🧠🦙👩‍👩‍👧.txt",
    "with space/a  b .c.txt",
    "it's/o'clock 'quoted'.txt",
    "percent/100%.txt",
    "percent/100%25.txt",
    "percent/%2e%2e%2fx.txt",
    "plus/a+b.txt",
    "query/a&b=c#d;e,f@g!h~i$j^k(l)[m]{n}`o.txt",
    "sql/a_b.txt",
    "sql/axb.txt",
    "-dash/-rf.txt",
    ".dot/.hidden",
    "..dots/...txt",
    "dots/a.b.c.d",
    "__proto__/constructor",
    ".aftersave/owner.json",
    `long/${"n".repeat(200)}`,
    `long/${"é".repeat(98)}.txt`,
    `long/${"🧠".repeat(49)}.txt`,
    `${Array.from({ length: 20 }, (_, at) => `deep${at}`).join("/")}/leaf.txt`,
  ].map(k);
  it("every name a key can have is kept as it is", async (target) => {
    for (const key of names) await put(target, key, `content of ${key}`, { expect: "absent" });
    for (const key of names) assert.deepEqual(await readAll(target, key), text(`content of ${key}`), key);
    await assertListed(target, "", names);
    for (const key of names) {
      const entry = await target.stat(key);
      assertEntry(target, entry, key, text(`content of ${key}`), false);
      await target.remove(key, { expect: entry });
      assert.equal(await target.stat(key), undefined, key);
    }
    await assertListed(target, "", []);
  });
  it("names that differ only in case are two files, or the second is refused", async (target) => {
    const [upper, lower] = [k("Case/README.txt"), k("Case/readme.txt")];
    await put(target, upper, "upper", { expect: "absent" });
    if (target.traits.caseSensitive) {
      await put(target, lower, "lower", { expect: "absent" });
      await assertHolds(target, lower, "lower");
      await assertListed(target, "Case/", [upper, lower]);
    } else {
      await fault("conflict", put(target, lower, "lower", { expect: "absent" }));
      assert.ok(await target.stat(lower), "the same file under its other spelling");
      await assertListed(target, "Case/", [upper]);
    }
    assert.deepEqual(await readAll(target, upper), text("upper"));
  });
  it("the path is as people read it, and the same at any time", async (target) => {
    const before = names.map((key) => target.pathOf(key));
    for (const [at, key] of names.entries()) assert.ok(before[at]?.endsWith(key), `${before[at]} does not end in ${key}`);
    await put(target, NOTE, "x");
    assert.deepEqual(
      names.map((key) => target.pathOf(key)),
      before,
    );
  });

  group = "list";
  it("an empty place has no entries", (target) => assertListed(target, "", []));
  it("all pages, each entry once, as stat sees it", async (target) => {
    const keys = Array.from({ length: manyEntries }, (_, at) => k(`${at % 2 === 0 ? "Many" : "Many/Nested"}/file ${at}.txt`));
    for (const [at, key] of keys.entries()) await put(target, key, `content ${at}`);
    await put(target, k("Manyfold.txt"), "a sibling");
    await assertListed(target, "Many/", keys);
    await assertListed(target, "Many", [...keys, "Manyfold.txt"]);
    for (const entry of (await entriesOf(target, "Many/")).slice(-5)) {
      const seen = await target.stat(entry.key);
      assert.deepEqual([entry.rev, entry.size, entry.id], [seen?.rev, seen?.size, seen?.id]);
    }
  });
  it("a prefix is a string: siblings are found, and nothing else", async (target) => {
    const keys = [
      "foo",
      "foobar",
      "foo.d/x",
      "foo.d/deep/y",
      "fo",
      "bar/foo",
      "it's/a",
      "it's/b",
      "its/a",
      "a_b",
      "axb",
      "50%",
      "50x",
    ];
    for (const key of keys) await put(target, k(key), key);
    await assertListed(target, "", keys);
    await assertListed(target, "foo", ["foo", "foobar", "foo.d/x", "foo.d/deep/y"]);
    await assertListed(target, "foo.d/", ["foo.d/x", "foo.d/deep/y"]);
    await assertListed(target, "foo.d/de", ["foo.d/deep/y"]);
    await assertListed(target, "foobar", ["foobar"]);
    await assertListed(target, "foo/", []);
    await assertListed(target, "it's", ["it's/a", "it's/b"]);
    await assertListed(target, "a_", ["a_b"]);
    await assertListed(target, "50%", ["50%"]);
    await assertListed(target, "nothing", []);
    await assertListed(target, "../", []);
    await assertListed(target, "/", []);
  });
  it("may be left early", async (target) => {
    for (const at of [1, 2, 3]) await put(target, k(`Early/${at}`), "x");
    for await (const entry of target.list("")) {
      assert.ok(entry);
      break;
    }
    await assertListed(target, "Early/", ["Early/1", "Early/2", "Early/3"]);
  });
  it("lets its reader use the target meanwhile", async (target) => {
    for (const at of [1, 2, 3]) await put(target, k(`Use/${at}`), "x");
    await keysOf(target, "", ["Use/1", "Use/2", "Use/3"]);
    await inTime(
      (async () => {
        for await (const { key } of target.list("Use/")) assert.deepEqual(await readAll(target, key), text("x"));
      })(),
    );
  });
  it("nothing half-written is ever shown", async (target) => {
    if (target.traits.maxConcurrency < 2) return;
    const [fresh, old] = [paused(text("fresh content")), paused(text("newer content"))];
    await put(target, NOTE, "old content");
    const puts = [target.put(k("Core/Fresh.txt"), fresh.source), target.put(NOTE, old.source)];
    await Promise.all([fresh.halfway, old.halfway]);
    await assertListed(target, "", [NOTE]);
    assert.equal(await target.stat(k("Core/Fresh.txt")), undefined);
    if (target.traits.atomicPut) assert.deepEqual(await readAll(target, NOTE), text("old content"));
    fresh.goOn();
    old.goOn();
    await Promise.all(puts);
    await assertListed(target, "", [NOTE, "Core/Fresh.txt"]);
    await assertHolds(target, NOTE, "newer content");
  });

  group = "stat";
  it("what is absent is undefined, also below what does not exist", async (target) => {
    assert.equal(await target.stat(NOTE), undefined);
    assert.equal(await target.stat(k("no/such/folder/file.txt"), { hash: true }), undefined);
    await put(target, k("Core/Note.txt.bak"), "a sibling");
    assert.equal(await target.stat(NOTE), undefined);
  });
  it("the rev stays while nothing happens and moves with every other content", async (target) => {
    const revs = [(await put(target, NOTE, "aaaa")).rev];
    assert.equal((await target.stat(NOTE))?.rev, revs[0]);
    assert.equal((await target.stat(NOTE, { hash: true }))?.rev, revs[0]);
    await readAll(target, NOTE);
    await put(target, k("Core/Other.txt"), "other");
    assert.equal((await target.stat(NOTE))?.rev, revs[0], "it moved without a change");
    for (const content of ["bbbb", "cccc", "dddd"]) revs.push((await put(target, NOTE, content)).rev);
    assert.equal(new Set(revs).size, revs.length, "two contents had one rev");
  });
  it("tells the hash when asked", async (target) => {
    await put(target, NOTE, "one");
    assertEntry(target, await target.stat(NOTE), NOTE, text("one"), false);
    assertEntry(target, await target.stat(NOTE, { hash: true }), NOTE, text("one"));
    await put(target, NOTE, "two");
    assertEntry(target, await target.stat(NOTE, { hash: true }), NOTE, text("two"));
  });
  it("an edit by someone else shows, even one of the same size at once", async (target, { foreignWrite }) => {
    if (foreignWrite === undefined) return;
    const ours = await put(target, NOTE, "ours");
    await foreignWrite(NOTE, text("them"));
    const theirs = await target.stat(NOTE, { hash: true });
    assertEntry(target, theirs, NOTE, text("them"));
    assert.notEqual(theirs.rev, ours.rev);
  });

  group = "read";
  it("what is missing is not-found, and `use` does not run", async (target) => {
    let ran = false;
    const use = () => Promise.resolve(void (ran = true));
    await fault("not-found", target.read(NOTE, use));
    await fault("not-found", target.read(k("no/such/folder.txt"), use));
    assert.equal(ran, false);
  });
  it("answers what `use` answers, as often as asked", async (target) => {
    await put(target, NOTE, "content");
    for (const answer of [1, 2]) assert.equal(await target.read(NOTE, async (bytes) => (await bytesOf(bytes)) && answer), answer);
  });
  it("parts that were handed out are not overwritten later", async (target) => {
    const bytes = new Uint8Array(randomBytes(bigBytes));
    await put(target, NOTE, bytes);
    assert.ok(Buffer.from(await readAll(target, NOTE)).equals(bytes));
  });
  it("`use` may stop early, or not look at all", async (target) => {
    await put(target, NOTE, new Uint8Array(bigBytes));
    const first = async (bytes: AsyncIterable<Uint8Array>) => {
      for await (const part of bytes) return part.length;
      return 0;
    };
    assert.ok((await inTime(target.read(NOTE, first))) > 0);
    assert.equal(await inTime(target.read(NOTE, () => Promise.resolve("unread"))), "unread");
    await put(target, NOTE, "and it can be written again");
  });
  it("an error of `use` comes out as it is", async (target) => {
    await put(target, NOTE, "content");
    const own = Object.assign(new Error("my own"), { code: "ENOENT" });
    await assert.rejects(
      target.read(NOTE, () => Promise.reject(own)),
      (error) => error === own,
    );
  });
  it("bytes that end early never look complete", async (target, { foreignWrite }) => {
    if (foreignWrite === undefined) return;
    const [long, short] = [new Uint8Array(randomBytes(bigBytes)), text("short")];
    await put(target, NOTE, long);
    const parts: Uint8Array[] = [];
    const reading = target.read(NOTE, async (bytes) => {
      parts.length = 0;
      for await (const part of bytes) {
        if (parts.push(part) === 1) await foreignWrite(NOTE, short);
      }
    });
    await reading.then(
      () =>
        assert.ok(
          [long, short].some((whole) => Buffer.concat(parts).equals(whole)),
          "it looked complete",
        ),
      (error: unknown) => assert.ok(error instanceof TargetError && error.kind === "transient", String(error)),
    );
  });

  group = "put";
  it("`absent`: makes what is not there, refuses what is", async (target) => {
    await put(target, NOTE, "first", { expect: "absent" });
    await assertChangesNothing(target, NOTE, () => fault("conflict", put(target, NOTE, "second", { expect: "absent" })));
    await assertHolds(target, NOTE, "first");
  });
  it("without an expectation: whatever is there", async (target) => {
    await put(target, NOTE, "first");
    await put(target, NOTE, "second");
    await assertHolds(target, NOTE, "second");
  });
  it("what was seen is replaced, from whichever answer it was seen in", async (target) => {
    let seen = await put(target, NOTE, "0");
    const id = seen.id;
    seen = await put(target, NOTE, "1", { expect: seen });
    seen = await put(target, NOTE, "2", { expect: { rev: seen.rev, id: seen.id } });
    seen = await put(target, NOTE, "3", { expect: await target.stat(NOTE) });
    seen = await put(target, NOTE, "4", { expect: await target.stat(NOTE, { hash: true }) });
    if (target.traits.listing === "immediate") seen = await put(target, NOTE, "5", { expect: (await entriesOf(target))[0] });
    assert.equal(seen.id, id, "the file is another one now");
    await assertHolds(target, NOTE, seen.rev === (await target.stat(NOTE))?.rev ? await readAll(target, NOTE) : "lost");
    const copied = await target.copy(NOTE, k("Core/Copy.txt"));
    await put(target, k("Core/Copy.txt"), "6", { expect: copied });
    await assertHolds(target, k("Core/Copy.txt"), "6");
  });
  it("what was seen and is another now is refused", async (target) => {
    const seen = await put(target, NOTE, "seen");
    const now = await put(target, NOTE, "then");
    await assertChangesNothing(target, NOTE, () => fault("conflict", put(target, NOTE, "ours", { expect: seen })));
    await assertChangesNothing(target, NOTE, () => fault("conflict", put(target, NOTE, "ours", { expect: { rev: "no such" } })));
    assert.equal((await put(target, NOTE, "ours", { expect: now })).size, 4);
    if (now.id === undefined) return;
    const other = { rev: (await target.stat(NOTE))?.rev ?? "", id: `${now.id}x` };
    await assertChangesNothing(target, NOTE, () => fault("conflict", put(target, NOTE, "more", { expect: other })));
  });
  it("what was seen and is gone is not-found", async (target) => {
    const seen = await put(target, NOTE, "seen");
    await target.remove(NOTE);
    await assertChangesNothing(target, NOTE, () => fault("not-found", put(target, NOTE, "ours", { expect: seen })));
  });
  it("someone else's edit is never overwritten by a guarded put", async (target, { foreignWrite }) => {
    if (foreignWrite === undefined) return;
    const seen = await put(target, NOTE, "ours");
    await foreignWrite(NOTE, text("them"));
    await fault("conflict", put(target, NOTE, "more", { expect: seen }));
    assert.deepEqual(await readAll(target, NOTE), text("them"));
    await foreignWrite(k("Core/New.txt"), text("theirs"));
    await fault("conflict", put(target, k("Core/New.txt"), "ours", { expect: "absent" }));
    assert.deepEqual(await readAll(target, k("Core/New.txt")), text("theirs"));
  });
  it("an edit made while the body is sent is not overwritten by a guarded put", async (target, { foreignWrite }) => {
    if (foreignWrite === undefined) return;
    const seen = await put(target, NOTE, "ours");
    const fresh = paused(text("newer"));
    const sending = target.put(NOTE, fresh.source, { expect: seen });
    await Promise.race([fresh.halfway, sending]);
    await foreignWrite(NOTE, text("them"));
    fresh.goOn();
    await fault("conflict", sending);
    assert.deepEqual(await readAll(target, NOTE), text("them"));
  });
  it("tells progress that only grows and ends at the size", async (target) => {
    const told: number[] = [];
    await target.put(NOTE, sourceOf(new Uint8Array(200 * KIB)), { onProgress: (sent) => told.push(sent), version: "01J" });
    assert.deepEqual(
      told,
      told.toSorted((a, b) => a - b),
    );
    assert.ok(told.length > 0 && told.every((sent) => sent >= 0 && sent <= 200 * KIB), "progress beyond the size, or none");
    assert.equal(told.at(-1), 200 * KIB);
  });

  group = "bodies that lie";
  const content = new Uint8Array(randomBytes(100_000));
  const own = new Error("the disk of the sender failed");
  async function* broken() {
    yield content.subarray(0, 60_000);
    await Promise.resolve();
    throw own;
  }
  const lies: Record<string, readonly [Source, (work: Promise<unknown>) => Promise<void>]> = {
    "a short body": [{ ...sourceOf(content), open: sourceOf(content.subarray(1)).open }, (work) => fault("corrupt", work)],
    "an empty body": [{ ...sourceOf(content), open: sourceOf("").open }, (work) => fault("corrupt", work)],
    "a long body": [{ ...sourceOf(content.subarray(1)), open: sourceOf(content).open }, (work) => fault("corrupt", work)],
    "a body that goes on": [{ ...sourceOf(""), open: sourceOf(content).open }, (work) => fault("corrupt", work)],
    "another body of the same size": [
      { ...sourceOf(content), open: sourceOf(content.toReversed()).open },
      (work) => fault("corrupt", work),
    ],
    "a hash of something else": [{ ...sourceOf(content), sha256: sourceOf("").sha256 }, (work) => fault("corrupt", work)],
    "a body that breaks": [
      { ...sourceOf(content), open: broken },
      (work) =>
        assert.rejects(work, (error) => {
          assert.ok(error === own || (error instanceof TargetError && error.cause === own), `another error: ${String(error)}`);
          return true;
        }),
    ],
  };
  for (const [what, [source, fails]] of Object.entries(lies))
    it(`${what} changes nothing`, async (target) => {
      await assertChangesNothing(target, NOTE, () => fails(target.put(NOTE, source)));
      await assertChangesNothing(target, NOTE, () => fails(target.put(NOTE, source, { expect: "absent" })));
      const seen = await put(target, NOTE, "what was there");
      await assertChangesNothing(target, NOTE, () => fails(target.put(NOTE, source)));
      await assertChangesNothing(target, NOTE, () => fails(target.put(NOTE, source, { expect: seen })));
      const now = await put(target, NOTE, content, { expect: seen });
      assert.equal((await target.stat(NOTE))?.rev, now.rev);
    });

  group = "races";
  const writers = Array.from({ length: 8 }, (_, at) => `writer ${at} was here`);
  it("of many who make one file, one wins", async (target) => {
    const results = await Promise.allSettled(writers.map((by) => put(target, NOTE, by, { expect: "absent" })));
    assertOthersConflict(results);
    assert.equal(wins(results).length, 1, `${wins(results).length} writers won`);
    await assertHolds(target, NOTE, writers[wins(results)[0] ?? -1] ?? "");
  });
  it("of many who replace what they saw, one wins", async (target) => {
    const expect = await put(target, NOTE, "seen");
    const results = await Promise.allSettled(writers.map((by) => put(target, NOTE, by, { expect })));
    assertOthersConflict(results);
    if (target.traits.guardedPut) assert.equal(wins(results).length, 1, `${wins(results).length} writers won`);
    assert.ok(wins(results).length > 0, "nobody won");
    const now = Buffer.from(await readAll(target, NOTE)).toString();
    assert.ok(
      wins(results).some((at) => writers[at] === now),
      `it holds ${now}`,
    );
    await assertListed(target, "", [NOTE]);
  });
  it("many who write one file anyhow leave one whole file", async (target) => {
    await Promise.all(writers.map((by) => put(target, NOTE, by)));
    assert.ok(writers.includes(Buffer.from(await readAll(target, NOTE)).toString()));
    await assertListed(target, "", [NOTE]);
  });
  it("many new files in one new folder all arrive", async (target) => {
    const keys = writers.map((_, at) => k(`New/Folder/${at}.txt`));
    await Promise.all(keys.map((key) => put(target, key, key, { expect: "absent" })));
    await assertListed(target, "", keys);
    for (const key of keys) await assertHolds(target, key, key);
  });
  it("of many copies to one name, one wins", async (target) => {
    const sources = writers.slice(0, 4).map((_, at) => k(`From/${at}.txt`));
    for (const key of sources) await put(target, key, `from ${key}`);
    const results = await Promise.allSettled(sources.map((key) => target.copy(key, NOTE)));
    assertOthersConflict(results);
    assert.equal(wins(results).length, 1, `${wins(results).length} copies won`);
    await assertHolds(target, NOTE, `from ${sources[wins(results)[0] ?? -1]}`);
  });
  it("a reader sees the old or the new, never half", async (target) => {
    if (!target.traits.atomicPut) return;
    const contents = [1, 2].map((fill) => new Uint8Array(300_000).fill(fill));
    await put(target, NOTE, contents[0] ?? "");
    let writing = true;
    const writer = (async () => {
      for (let at = 1; at <= 12; at++) await put(target, NOTE, contents[at % 2] ?? "");
    })().finally(() => {
      writing = false;
    });
    const reader = (async () => {
      while (writing) {
        const seen = await readAll(target, NOTE);
        assert.ok(
          contents.some((whole) => Buffer.from(whole).equals(seen)),
          "a mixture was read",
        );
      }
    })();
    await Promise.all([writer, reader]);
  });

  group = "copy";
  const COPY = k("Archive/Core/Note_2026-11-20T21-07-00Z.txt");
  it("is the same bytes under another name, and leaves the first as it was", async (target) => {
    const bytes = new Uint8Array(randomBytes(bigBytes));
    const first = await put(target, NOTE, bytes);
    const copied = await target.copy(NOTE, COPY, { expect: first });
    assertEntry(target, copied, COPY, bytes);
    assert.equal((await assertHolds(target, COPY, bytes)).rev, copied.rev);
    assert.equal((await assertHolds(target, NOTE, bytes)).rev, first.rev);
    if (copied.id !== undefined) assert.notEqual(copied.id, first.id);
  });
  it("goes its own way afterwards", async (target, { foreignWrite }) => {
    await put(target, NOTE, "one");
    await target.copy(NOTE, COPY);
    await put(target, NOTE, "two");
    await assertHolds(target, COPY, "one");
    await foreignWrite?.(NOTE, text("six"));
    await target.remove(NOTE);
    await assertHolds(target, COPY, "one");
  });
  it("does not overwrite", async (target) => {
    const seen = await put(target, NOTE, "from");
    await put(target, COPY, "to");
    await assertChangesNothing(target, COPY, () => fault("conflict", target.copy(NOTE, COPY)));
    await assertChangesNothing(target, COPY, () => fault("conflict", target.copy(NOTE, COPY, { expect: seen })));
    await assertHolds(target, NOTE, "from");
  });
  it("of what is missing is not-found", async (target) => {
    await assertChangesNothing(target, COPY, () => fault("not-found", target.copy(NOTE, COPY)));
    await assertChangesNothing(target, COPY, () => fault("not-found", target.copy(NOTE, COPY, { expect: { rev: "x" } })));
  });
  it("of what is another by now is refused", async (target) => {
    const seen = await put(target, NOTE, "seen");
    await put(target, NOTE, "then");
    await assertChangesNothing(target, COPY, () => fault("conflict", target.copy(NOTE, COPY, { expect: seen })));
    await assertHolds(target, NOTE, "then");
  });

  group = "remove";
  it("takes away that file and no other", async (target) => {
    for (const key of ["foo", "foobar", "foo.d/x"]) await put(target, k(key), key);
    await target.remove(k("foo"));
    await assertAbsent(target, k("foo.txt"));
    assert.equal(await target.stat(k("foo")), undefined);
    await assertListed(target, "", ["foobar", "foo.d/x"]);
    await put(target, k("foo"), "again", { expect: "absent" });
    await assertHolds(target, k("foobar"), "foobar");
  });
  it("of what is absent succeeds", async (target) => {
    await target.remove(NOTE);
    await target.remove(k("no/such/folder/file.txt"));
    const seen = await put(target, NOTE, "x");
    await target.remove(NOTE, { expect: seen });
    await target.remove(NOTE, { expect: seen });
    await assertAbsent(target, NOTE);
  });
  it("of what is another by now is refused", async (target, { foreignWrite }) => {
    const seen = await put(target, NOTE, "seen");
    const now = await put(target, NOTE, "then");
    await assertChangesNothing(target, NOTE, () => fault("conflict", target.remove(NOTE, { expect: seen })));
    await assertChangesNothing(target, NOTE, () => fault("conflict", target.remove(NOTE, { expect: "absent" })));
    if (foreignWrite === undefined) return target.remove(NOTE, { expect: (await target.stat(NOTE)) ?? now });
    await foreignWrite(NOTE, text("them"));
    await fault("conflict", target.remove(NOTE, { expect: now }));
    assert.deepEqual(await readAll(target, NOTE), text("them"));
  });

  group = "abort";
  it("a signal that has aborted stops every verb before it changes anything", async (target) => {
    await put(target, NOTE, "content");
    const signal = AbortSignal.abort();
    await assertChangesNothing(target, NOTE, async () => {
      await inTime(aborts(target.stat(NOTE, { signal })));
      await inTime(aborts(target.read(NOTE, bytesOf, { signal })));
      await inTime(aborts(put(target, NOTE, "more", { signal })));
      await inTime(aborts(put(target, k("Core/New.txt"), "more", { signal, expect: "absent" })));
      await inTime(aborts(target.copy(NOTE, COPY, { signal })));
      await inTime(aborts(target.remove(NOTE, { signal })));
      await inTime(
        aborts(
          (async () => {
            for await (const entry of target.list("", { signal })) assert.fail(`listed ${entry.key}`);
          })(),
        ),
      );
    });
  });
  it("a put that is aborted while its body is sent changes nothing", async (target) => {
    await put(target, NOTE, "content");
    await assertChangesNothing(target, NOTE, async () => {
      const stop = new AbortController();
      const body = paused(text("never complete"));
      const sending = target.put(NOTE, body.source, { signal: stop.signal });
      await body.halfway;
      stop.abort();
      await inTime(aborts(sending));
    });
    await put(target, NOTE, "later");
    await assertHolds(target, NOTE, "later");
  });
  it("a read that is aborted while its bytes arrive ends", async (target) => {
    await put(target, NOTE, new Uint8Array(bigBytes));
    const stop = new AbortController();
    const reading = target.read(
      NOTE,
      async (bytes) => {
        let parts = 0;
        for await (const part of bytes) if (part.length > 0 && ++parts === 1) stop.abort();
        return parts;
      },
      { signal: stop.signal },
    );
    await inTime(aborts(reading));
  });

  group = "repeats";
  it("a put that is repeated because its answer was lost makes no second file", async (target) => {
    for (const expect of ["absent", await put(target, k("Core/Seen.txt"), "seen")] as const) {
      const key = expect === "absent" ? NOTE : k("Core/Seen.txt");
      await put(target, key, "ours", { expect });
      await put(target, key, "ours", { expect }).then(
        (entry) => assertEntry(target, entry, key, text("ours")),
        (error: unknown) => assert.ok(error instanceof TargetError && error.kind === "conflict", String(error)),
      );
      await assertHolds(target, key, "ours");
    }
    await assertListed(target, "", [NOTE, "Core/Seen.txt"]);
  });
  it("a body that failed may be sent again", async (target) => {
    let openings = 0;
    const body: Source = { ...sourceOf(content), open: () => (++openings === 1 ? broken() : sourceOf(content).open()) };
    // A wrap that tries again by itself may already have opened the body twice.
    const done = await target.put(NOTE, body, { expect: "absent" }).catch((error: unknown) => assert.equal(error, own));
    if (done === undefined) await target.put(NOTE, body, { expect: "absent" });
    await assertHolds(target, NOTE, content);
  });

  group = "forgetting";
  it("what is removed for good is gone, may be put again, and takes nothing else along", async (target) => {
    if (!target.purge) return;
    await put(target, k("For/Good.txt"), "one");
    await target.put(k("For/Good.txt"), sourceOf("two"));
    await put(target, k("For/Other.txt"), "other");
    assert.ok(Array.isArray(await target.purge(k("For/Good.txt"))));
    assert.equal(await target.stat(k("For/Good.txt")), undefined);
    await target.purge(k("For/Good.txt"));
    await target.purge(k("Never/There.txt"));
    await assertHolds(target, k("For/Other.txt"), "other");
    await put(target, k("For/Good.txt"), "three", { expect: "absent" });
    await assertHolds(target, k("For/Good.txt"), "three");
  });

  group = "batches";
  it("a batch that is announced and audited is what its puts made it, and announcing alone makes no file", async (target) => {
    await put(target, k("Batch/Old.txt"), "old");
    const keys = ["Batch/Old.txt", "Batch/1.txt", "Batch/2.txt", "Batch/Deep/3.txt", "Never.txt"].map(k);
    await target.prepare?.(keys);
    await assertListed(target, "", ["Batch/Old.txt"]);
    await fault("conflict", put(target, k("Batch/Old.txt"), "other", { expect: "absent" }));
    for (const key of keys.slice(1, 4)) await put(target, key, key, { expect: "absent" });
    assert.deepEqual((await target.audit?.()) ?? [], []);
    await assertListed(target, "", ["Batch/Old.txt", "Batch/1.txt", "Batch/2.txt", "Batch/Deep/3.txt"]);
    await assertHolds(target, k("Batch/1.txt"), "Batch/1.txt");
  });

  group = "life";
  it("traits are complete", (target) => {
    const { atomicPut, guardedPut, identity, listing, caseSensitive, hashes, maxConcurrency } = target.traits;
    assert.ok(["path", "id"].includes(identity));
    assert.deepEqual([typeof atomicPut, typeof guardedPut, typeof caseSensitive], ["boolean", "boolean", "boolean"]);
    assert.ok(["immediate", "eventual"].includes(listing) && Array.isArray(hashes), "listing or hashes");
    assert.ok(Number.isInteger(maxConcurrency) && maxConcurrency >= 1, "maxConcurrency");
    assert.notEqual(target.kind, "");
    return Promise.resolve();
  });
  it("closes twice", async (target) => {
    await put(target, NOTE, "x");
    await target.close();
    await target.close();
  });
  it("what was written is there for the next one who opens the place", async (target, { reopen }) => {
    if (reopen === undefined) return;
    const entry = await put(target, NOTE, "kept");
    await target.close();
    const again = await reopen();
    assert.equal((await assertHolds(again, NOTE, "kept")).rev, entry.rev);
    await again.put(NOTE, sourceOf("more"), { expect: entry });
    await assertHolds(again, NOTE, "more");
    await again.close();
  });

  return cases;
}
