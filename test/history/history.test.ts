import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { actorOf, chain, erased, NO_KEY, type Version, type VersionFacts } from "../../src/core/version.ts";
import type { HistoryEntry, HistoryQuery, Memory } from "../../src/open.ts";
import { openState } from "../../src/state/state.ts";
import { codeOf, freshRoots } from "../memory/root.ts";

const { fresh, make, open } = freshRoots();

/** A clock that stands still until it is moved. */
function stillClock() {
  let now = Date.parse("2026-04-13T18:00:00Z");
  return { now: () => now, sleep: async () => undefined, later: (minutes: number) => (now += minutes * 60_000) };
}

const onClock = async () => {
  const clock = stillClock();
  return { clock, ...(await fresh({ clock })) };
};

const counts = (entries: readonly HistoryEntry[]) => entries.map(({ count }) => count);
const all = async (memory: Memory, query: HistoryQuery = {}) => (await memory.history({ limit: 1000, ...query })).entries;

describe("entries", () => {
  test("what one actor saved in one go is one entry, newest first, that opens on request", async () => {
    const { memory, clock } = await onClock();
    const who = { chat_name: "A", session_id: "s", model: "m", tool: "t", origin: "agent" as const };
    const first = await memory.append("Meta/a.md", "one\ntwo\n", { ...who, tags: ["x"], reason: "notes" });
    clock.later(9);
    await memory.append("Meta/b.md", "b\n", { ...who, tags: ["y"], reason: "notes" });
    clock.later(9);
    const last = await memory.replace("Meta/a.md", "one\nTWO\nthree\n", who);
    const { entries, next } = await memory.history();
    expect(next).toBeNull();
    expect(entries).toEqual([
      expect.objectContaining({
        ...who,
        first: first.version,
        last: last.version,
        count: 3,
        from: first.timestamp,
        until: last.timestamp,
        ops: { append: 2, replace: 1 },
        files: ["Meta/a.md", "Meta/b.md"],
        context_tags: ["y", "x"],
        reasons: ["notes"],
        added: 4,
        removed: 0,
        bytes: 16,
        alarms: [],
        held: [],
        pinned: [],
        erased: 0,
      }),
    ]);
    expect(entries[0]).not.toHaveProperty("versions");
    const [opened] = (await memory.history({ open: true })).entries;
    expect(opened?.versions?.map(({ op, file, added, removed }) => [op, file, added, removed])).toEqual([
      ["replace", "Meta/a.md", 2, 1],
      ["append", "Meta/b.md", 1, 0],
      ["append", "Meta/a.md", 2, 0],
    ]);
  });

  test("another actor, a longer pause, a restore and a decision begin an entry of their own", async () => {
    const { memory, clock } = await onClock();
    await memory.append("a.md", "1\n", { chat_name: "A" });
    const [session_id, model, tool] = ["s", "m", "t"];
    await memory.append("a.md", "2\n", { chat_name: "A", session_id });
    await memory.append("a.md", "3\n", { chat_name: "A", session_id, model });
    await memory.append("a.md", "4\n", { chat_name: "A", session_id, model, tool });
    await memory.append("a.md", "5\n", { chat_name: "A", session_id, model, tool, origin: "human" });
    await memory.append("a.md", "6\n", { chat_name: "B", session_id, model, tool, origin: "human" });
    await memory.append("a.md", "6\n", { chat_name: "B" });
    clock.later(10);
    await memory.append("a.md", "7\n", { chat_name: "B" });
    clock.later(11);
    const { version } = await memory.append("a.md", "8\n", { chat_name: "B" });
    await memory.restore({ file: "a.md", version: "-1" }, { chat_name: "B" });
    await memory.pin(version, { chat_name: "B" });
    const entries = await all(memory);
    expect(counts(entries)).toEqual([1, 1, 1, 2, 1, 1, 1, 1, 1, 1]);
    expect(entries.map(({ ops }) => Object.keys(ops).join()).slice(0, 3)).toEqual(["pin", "restore", "append"]);
    expect(entries[0]?.about).toEqual([version]);
    expect(entries[2]?.pinned).toEqual([version]);
    expect(counts(await all(memory, { grouped: false }))).toEqual(Array.from({ length: 11 }, () => 1));
  });

  test("an entry is what it changed, whatever others did in between", async () => {
    const { memory } = await onClock();
    await memory.append("a.md", "one\n", { chat_name: "A" });
    await memory.append("a.md", "1\n2\n3\n4\n5\n", { chat_name: "B" });
    await memory.append("a.md", "two\n", { chat_name: "A" });
    const [entry] = await all(memory, { chat: "A" });
    expect(entry).toMatchObject({ count: 2, added: 2, removed: 0, bytes: 8 });
  });

  test("lines are not counted where there are none, or where the content is gone", async () => {
    const { memory, root } = await onClock();
    await memory.append("image.png", Uint8Array.of(0, 1, 2));
    expect((await all(memory))[0]).toMatchObject({ added: null, removed: null, bytes: 3 });
    await memory.append("b.md", "one\ntwo\n", { chat_name: "A" });
    const { archived_as } = await memory.replace("b.md", "three\n", { chat_name: "B" });
    expect((await all(memory, { chat: "B" }))[0]).toMatchObject({ added: 1, removed: 2 });
    rmSync(join(root, "Data", archived_as ?? ""));
    expect((await all(memory, { chat: "B" }))[0]).toMatchObject({ added: null, removed: null, bytes: -2 });
    await memory.archive("b.md", { chat_name: "C" });
    expect((await all(memory, { chat: "C" }))[0]).toMatchObject({ ops: { archive: 1 }, added: 0, removed: 1, bytes: -6 });
  });

  test("of an append, what both contents begin with is not counted; the end of the last line is nothing", async () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "\n"), maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(text, text, async (before, after) => {
        fc.pre(before !== "" && after !== "");
        const { memory } = await onClock();
        await memory.append("grown.md", before, { chat_name: "A" });
        await memory.append("grown.md", after, { chat_name: "B" });
        const [old, now] = [before, before + after].map((content) => content.replace(/\n$/, "").split("\n")) as [
          string[],
          string[],
        ];
        let same = 0;
        while (same < old.length && old[same] === now[same]) same++;
        const [entry] = await all(memory, { chat: "B" });
        expect(entry).toMatchObject({ added: now.length - same, removed: old.length - same });
        await memory.close();
      }),
      { numRuns: 40 },
    );
  });
});

describe("which entries", () => {
  test("filters, times, folders; nothing of that kind is an empty list, an unknown file an error", async () => {
    const { memory, clock } = await onClock();
    const tagged = { chat_name: "A", tags: ["x", "y"], model: "m", session_id: "s", origin: "agent" as const };
    const first = await memory.append("Meta/a.md", "1\n", tagged);
    clock.later(60);
    await memory.append("Core/b.md", "1\n", { chat_name: "B", origin: "human" });
    const filesOf = async (query: HistoryQuery) => (await all(memory, query)).flatMap(({ files }) => files);
    for (const query of [
      { key: "Meta/a.md" },
      { key: "Data/Meta/a.md" },
      { prefix: "Meta/" },
      { chat: "A" },
      { tag: "y" },
      { model: "m" },
      { session: "s" },
      { origin: "agent" as const },
      { until: first.timestamp },
      { until: new Date(first.timestamp), chat: "A", tag: "x" },
    ])
      expect([query, await filesOf(query)]).toEqual([query, ["Meta/a.md"]]);
    expect(await filesOf({ since: new Date(clock.now()) })).toEqual(["Core/b.md"]);
    expect(await filesOf({ chat: "A", origin: "human" })).toEqual([]);
    expect(await filesOf({ key: "Meta/a.md", chat: "B" })).toEqual([]);
    expect(await codeOf(memory.history({ key: "Meta/c.md" }))).toBe("E_NOT_FOUND");
    expect(await codeOf(memory.history({ limit: 0 }))).toBe("E_USAGE");
    expect(await codeOf(memory.history({ since: "some day" }))).toBe("E_USAGE");
    expect(await codeOf(memory.history({ before: "ZZZZZZ" }))).toBe("E_VERSION");
  });

  test("pages show every version once, and the burst of a version is found from any of its versions", async () => {
    const step = fc.record({
      chat: fc.constantFrom("A", "B"),
      file: fc.constantFrom("a.md", "b.md"),
      pause: fc.constantFrom(0, 1, 11),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), fc.integer({ min: 1, max: 3 }), async (steps, limit) => {
        const { memory, clock } = await onClock();
        const made: string[] = [];
        for (const [n, { chat, file, pause }] of steps.entries()) {
          clock.later(pause);
          made.unshift((await memory.append(file, `${n}\n`, { chat_name: chat })).version);
        }
        const whole = await all(memory, { open: true });
        expect(whole.flatMap(({ versions = [] }) => versions.map(({ version }) => version))).toEqual(made);
        const paged: HistoryEntry[] = [];
        for (let before: string | undefined; ;) {
          const { entries, next } = await memory.history({ limit, before, open: true });
          paged.push(...entries);
          if (next === null) break;
          before = next;
        }
        expect(paged).toEqual(whole);
        for (const entry of whole)
          for (const { version } of entry.versions ?? [])
            expect((await memory.history({ open: version.slice(-10) })).entries).toEqual([entry]);
      }),
      { numRuns: 15 },
    );
  });
});

describe("where it stands", () => {
  test("pending, then verified; older content in its archive copy; newer content does not stand for it", async () => {
    const { memory } = await onClock();
    const standing = async (chat: string) => (await all(memory, { chat }))[0]?.targets;
    await memory.append("a.md", "one\n", { chat_name: "A" });
    expect(await standing("A")).toEqual({ drive: "pending" });
    await memory.append("a.md", "two\n", { chat_name: "B" });
    await memory.flush();
    expect([await standing("A"), await standing("B")]).toEqual([{ drive: "verified" }, { drive: "verified" }]);
    await memory.append("a.md", "three\n", { chat_name: "C" });
    expect([await standing("B"), await standing("C")]).toEqual([{ drive: "verified" }, { drive: "pending" }]);
    await memory.replace("a.md", "other\n", { chat_name: "D" });
    expect(await standing("A")).toEqual({ drive: "verified" });
    expect([await standing("C"), await standing("D")]).toEqual([{ drive: "pending" }, { drive: "pending" }]);
    await memory.flush();
    expect(await standing("C")).toEqual({ drive: "verified" });
    await memory.archive("a.md", { chat_name: "E" });
    expect(await standing("E")).toEqual({ drive: "pending" });
    await memory.flush();
    expect([await standing("D"), await standing("E")]).toEqual([{ drive: "verified" }, { drive: "verified" }]);
  });

  test("an entry stands as its worst content does", async () => {
    const { memory } = await onClock();
    await memory.append("a.md", "one\n", { chat_name: "A" });
    await memory.flush();
    await memory.replace("a.md", "two\n", { chat_name: "B" });
    await memory.replace("a.md", "three\n", { chat_name: "B" });
    await memory.settle(await memory.append("b.md", "b\n", { chat_name: "B" }));
    expect((await all(memory, { chat: "B" }))[0]?.targets).toEqual({ drive: "pending" });
    await memory.flush();
    expect((await all(memory, { chat: "B" }))[0]?.targets).toEqual({ drive: "verified" });
  });

  test("an older content that is nowhere is not passed over", async () => {
    const root = make({ targets: {} });
    const alone = await open(root);
    for (const content of ["one\n", "two\n"]) await alone.replace("a.md", content, { chat_name: "A" });
    await alone.close();
    writeFileSync(
      join(root, "paths.json"),
      JSON.stringify({ targets: { drive: { type: "folder", enabled: true, path: "mirror" } } }),
    );
    const memory = await open(root);
    await memory.replace("a.md", "three\n", { chat_name: "A" });
    await memory.flush();
    const [entry] = await all(memory, { open: true });
    expect(entry?.versions?.map(({ targets }) => targets["drive"])).toEqual(["verified", "verified", "absent"]);
    expect(entry?.targets).toEqual({ drive: "absent" });
  });

  test("without a target there is nothing to say", async () => {
    const memory = await open(make({ targets: {} }));
    await memory.append("a.md", "one\n");
    expect((await all(memory))[0]?.targets).toEqual({});
  });
});

describe("lines that others decide about", () => {
  /** A root whose changelog has these lines. */
  async function rootOf(lines: readonly (Partial<VersionFacts> & Pick<VersionFacts, "op">)[], gone: readonly number[] = []) {
    const root = make();
    const state = await openState(join(root, ".aftersave"), stillClock());
    await state.restore.begin(null);
    let prev: Version | undefined;
    const versions = lines.map((line, n): Version => {
      const facts = {
        ...actorOf(),
        version: `01K${String(n).padStart(23, "0")}`,
        file: "a.md" as Key,
        sha256: null,
        size: null,
        prev_sha256: null,
        archived_as: null,
        timestamp: "2026-04-13T18:00:00.000Z",
        details: null,
        ...line,
      };
      prev = chain(facts, n + 1, prev?.sum ?? null, "00".repeat(16));
      return gone.includes(n) ? erased(prev) : prev;
    });
    await state.restore.lines(versions.map((version) => ({ version, base: version.version })));
    await state.restore.end({ changes: versions.length, archives: 0 });
    await state.close();
    return { memory: await open(root), ids: versions.map(({ version }) => version) };
  }

  const alarm = { rule: "shrink" as const, says: "keeps 17 % of the bytes" };

  test("what is held is listed until it is settled, with what the guard said", async () => {
    const { memory, ids } = await rootOf([
      { op: "append", sha256: "11", size: 5 },
      { op: "hold", sha256: "22", size: 1, details: { applies: "replace", alarms: [alarm] } },
      { op: "hold", file: "b.md" as Key, sha256: "33", size: 1, details: { applies: "replace", alarms: [alarm] } },
      { op: "reject", file: "b.md" as Key, details: { settles: `01K${"2".padStart(23, "0")}` } },
    ]);
    const held = await all(memory, { held: true });
    expect(held).toEqual([
      expect.objectContaining({
        last: ids[1],
        ops: { hold: 1 },
        held: [ids[1]],
        alarms: [{ ...alarm, version: ids[1] }],
        targets: { drive: "held" },
      }),
    ]);
    expect(await all(memory, { held: true, key: "b.md" })).toEqual([]);
    const [settled] = (await memory.history({ key: "b.md", open: ids[2] ?? "" })).entries;
    expect(settled?.versions?.[0]).toMatchObject({ held: "rejected", targets: { drive: "absent" } });
  });

  test("an erased line is shown as that, and says nothing", async () => {
    const { memory, ids } = await rootOf(
      [
        { op: "append", sha256: "11", size: 5, chat_name: "secret chat" },
        { op: "append", sha256: "22", size: 9, chat_name: "A" },
        { op: "erase", file: NO_KEY, details: { about: [`01K${"0".padStart(23, "0")}`] } },
      ],
      [0],
    );
    const entries = await all(memory, { open: true });
    expect(JSON.stringify(entries)).not.toContain("secret");
    expect(entries.at(-1)).toMatchObject({ last: ids[0], files: [], erased: 1, redacted: 0, targets: {} });
    expect(entries.at(-1)?.versions?.[0]).toMatchObject({ erased: true, redacted: false, file: null, chat_name: "UNKNOWN" });
    expect(entries[0]).toMatchObject({ ops: { erase: 1 }, about: [ids[0]], targets: {} });
  });
});
