/** Taking saves back: only what they changed goes, whatever lies on top. */
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Memory } from "../../src/open.ts";
import { clockAt, expectChain, linesOf, makeRoot, sha256, type Root } from "./root.ts";

const START = "2026-04-13T10:00:00.000Z";
const key = "Meta/a.txt";
const lines = (...texts: string[]) => texts.map((text) => `${text}\n`).join("");
const many = (n: number, of = "line") => lines(...Array.from({ length: n }, (_, i) => `${of} ${i}`));

async function setting(): Promise<{ root: Root; memory: Memory; read: (of?: string) => string | null }> {
  const root = makeRoot();
  const memory = await root.open({ clock: clockAt(START) });
  const read = (of = key) => (existsSync(root.at("Data", of)) ? readFileSync(root.at("Data", of), "utf8") : null);
  return { root, memory, read };
}

describe("with nothing on top", () => {
  it("an append, a replace, an archive and a creation are taken back, and each of these again", async () => {
    const { root, memory, read } = await setting();
    const contents: (string | null)[] = [null];
    const versions: string[] = [];
    const note = async (saving: Promise<{ version: string }>) => {
      versions.push((await saving).version);
      contents.push(read());
    };
    await note(memory.append(key, "one\n"));
    await note(memory.append(key, "two\n"));
    await note(memory.replace(key, "whole\n"));
    await note(memory.archive(key));
    for (let back = versions.length - 1; back >= 0; back--) {
      const { receipts, left, plan } = await memory.undo({ versions: [versions[back]!] });
      expect(left).toEqual([]);
      expect(read()).toBe(contents[back]!);
      expect(plan.actions).toMatchObject([{ undoes: [versions[back]], merged: false, newer: expect.any(Array) as unknown }]);
      expect(receipts).toMatchObject([{ op: "restore", file: key, unchanged: false }]);
    }
    expect(read()).toBeNull();
    const log = await linesOf(root.changelog).then(async (found) => (await memory.log("changes"), found));
    expect(log.length).toBeGreaterThan(0);
    await memory.undo(); // the undo of the first save
    expect(read()).toBe("one\n");
    await memory.undo();
    expect(read()).toBeNull();
    await memory.close();
    await expectChain(root.changelog, 10);
    const last = (await linesOf(root.changelog)).slice(-3).map(({ details }) => details);
    expect(last).toMatchObject([{ undoes: [versions[0]], restores: null }, { undoes: [expect.any(String)] }, { restores: null }]);
  });

  it("without a wish it is the last save of all, and a plan changes nothing", async () => {
    const { root, memory, read } = await setting();
    await memory.append(key, "1\n", { chat_name: "first" });
    const last = await memory.replace("Core/b.txt", "2\n", { chat_name: "last", session_id: "s", origin: "agent" });
    const before = [root.files("Data"), (await memory.log("changes")).length];
    const plan = await memory.planUndo();
    expect(plan).toMatchObject({
      does: "undo",
      takes_back: [{ chat_name: "last", session_id: "s", origin: "agent", saves: 1, version: last.version, op: "replace" }],
      actions: [{ file: "Core/b.txt", does: "empty", becomes: null, restores: null, lines: { added: 0, removed: 1 } }],
      files: 1,
      bytes: 0,
      left: [],
    });
    expect([root.files("Data"), (await memory.log("changes")).length]).toEqual(before);
    const { receipts } = await memory.apply(JSON.parse(JSON.stringify(plan)) as typeof plan, { reason: "why" });
    expect([read("Core/b.txt"), read()]).toEqual([null, "1\n"]);
    expect(readFileSync(root.at("Data", receipts[0]?.archived_as ?? ""), "utf8")).toBe("2\n");
    await memory.close();
    expect((await linesOf(root.changelog)).at(-1)).toMatchObject({
      op: "restore",
      reason: "why",
      tool: "aftersave undo",
      session_id: plan.plan,
      details: { restores: null, undoes: [last.version] },
    });
  });

  it("bytes that are no text come back too", async () => {
    const { memory, root } = await setting();
    const old = Buffer.from([0, 255, 10, 0, 128]);
    await memory.replace(key, old);
    await memory.replace(key, Buffer.from([1, 0]));
    await memory.undo();
    expect(readFileSync(root.at("Data", key))).toEqual(old);
  });
});

describe("under newer saves of others", () => {
  it("the overwritten file comes back, and what was appended since stays", async () => {
    const { memory, read } = await setting();
    await memory.append(key, many(100), { session_id: "human" });
    const wreck = await memory.replace(key, many(10, "summary"), { session_id: "agent" });
    await memory.append(key, "a later thought\n", { session_id: "other", chat_name: "Chat" });
    const { plan, left } = await memory.undo({ versions: [wreck.version] });
    expect(read()).toBe(`${many(100)}a later thought\n`);
    expect(left).toEqual([]);
    expect(plan.actions).toMatchObject([
      {
        does: "replace",
        merged: true,
        restores: null,
        newer: [{ session_id: "other", chat_name: "Chat", saves: 1, op: "append" }],
        lines: { added: 100, removed: 10 },
      },
    ]);
    await memory.undo(); // merged or not, an undo is a save like any other
    expect(read()).toBe(`${many(10, "summary")}a later thought\n`);
  });

  it("an edit elsewhere in the file stays, noticed or not", async () => {
    const { root, memory, read } = await setting();
    const [top, middle, bottom] = [many(20, "top"), many(20, "middle"), many(20, "bottom")];
    await memory.replace(key, top + middle + bottom);
    const wreck = await memory.replace(key, top + bottom, { session_id: "agent" });
    writeFileSync(root.at("Data", key), `by an editor\n${top}${bottom}`);
    const plan = await memory.planUndo({ versions: [wreck.version] });
    expect(plan.actions).toMatchObject([{ does: "replace", merged: true, now: { version: null } }]);
    expect((await memory.apply(plan)).left).toEqual([]);
    expect(read()).toBe(`by an editor\n${top}${middle}${bottom}`);
    await memory.close();
    expect((await linesOf(root.changelog)).map(({ op }) => op)).toEqual(["replace", "replace", "external", "restore"]);
  });

  it("where both changed the same lines the newer content stays, and the way to the older one is told", async () => {
    const { memory, read } = await setting();
    const first = await memory.replace(key, "one\ntwo\nthree\n");
    const wreck = await memory.replace(key, "one\n2\nthree\n", { session_id: "agent" });
    await memory.replace(key, "one\nzwei\nthree\n", { session_id: "other" });
    const { receipts, left, plan } = await memory.undo({ versions: [wreck.version] });
    expect(receipts).toEqual([]);
    expect(read()).toBe("one\nzwei\nthree\n");
    expect(plan.actions).toMatchObject([{ does: "conflict", becomes: plan.actions[0]!.now && { size: 15 } }]);
    expect(left).toMatchObject([
      { file: key, code: "E_OVERLAP", hint: expect.stringContaining(`${key}@${first.version}`) as string },
    ]);
    await memory.restore({ file: key, version: first.version });
    expect(read()).toBe("one\ntwo\nthree\n");
  });

  it("what was made and then rewritten by others stays; what was made and removed is gone already", async () => {
    const { memory, read } = await setting();
    const made = await memory.replace(key, "one\ntwo\n");
    await memory.replace(key, "all new\n");
    expect((await memory.undo({ versions: [made.version] })).left).toMatchObject([
      { code: "E_OVERLAP", hint: expect.stringContaining(`aftersave archive ${key}`) as string },
    ]);
    const other = await memory.append("Meta/b c.txt", "x\n");
    await memory.archive("Meta/b c.txt");
    const { plan, left } = await memory.undo({ versions: [other.version] });
    expect([plan.actions[0]!.does, left, read("Meta/b c.txt")]).toEqual(["nothing", [], null]);
  });

  it("an archive under a new beginning: appended lines go behind the old ones, a new text stays", async () => {
    const { memory, read } = await setting();
    await memory.append(key, "old");
    const archived = await memory.archive(key);
    await memory.append(key, "new\n");
    await memory.undo({ versions: [archived.version] });
    expect(read()).toBe("old\nnew\n");
    await memory.replace("b.txt", "old\n");
    const gone = await memory.archive("b.txt");
    await memory.replace("b.txt", "new\n");
    expect((await memory.undo({ versions: [gone.version] })).left).toMatchObject([{ code: "E_OVERLAP" }]);
    expect(read("b.txt")).toBe("new\n");
  });

  it("what is no text and was changed since is left", async () => {
    const { memory } = await setting();
    await memory.replace(key, Buffer.from([0, 1, 2]));
    const { version } = await memory.replace(key, Buffer.from([0, 1, 3]));
    await memory.replace(key, Buffer.from([9, 0, 1]));
    expect((await memory.undo({ versions: [version] })).left).toMatchObject([{ code: "E_OVERLAP" }]);
  });

  it("an editor that truncates the last saved file is undone like a save, noticed or not", async () => {
    const { root, memory, read } = await setting();
    const { version } = await memory.append(key, many(50));
    writeFileSync(root.at("Data", key), "");
    const { plan } = await memory.undo();
    expect(plan.actions).toMatchObject([{ does: "replace", restores: version, undoes: [] }]);
    const stranger = { chat_name: "UNKNOWN", session_id: null, origin: "unattributed", saves: 0, version: null, op: "external" };
    expect(plan.takes_back).toEqual([{ ...stranger, timestamp: expect.stringMatching(/^\d{4}-.*Z$/) as string }]);
    expect(read()).toBe(many(50));
    rmSync(root.at("Data", key));
    expect((await memory.planUndo()).takes_back).toEqual([{ ...stranger, timestamp: null }]);
    await memory.sweep();
    await memory.undo();
    expect(read()).toBe(many(50));
  });
});

describe("of a session or a chat", () => {
  it("two sessions that appended in turn: one goes, every line of the other stays; then the other goes too", async () => {
    const { memory, read } = await setting();
    await memory.append(key, "before\n");
    for (let i = 0; i < 12; i++)
      await memory.append(key, `${i % 2 ? "mine" : "theirs"} ${i}\n`, { session_id: i % 2 ? "mine" : "theirs" });
    const { receipts, plan } = await memory.undo({ session_id: "theirs" });
    expect(receipts).toHaveLength(1);
    expect(plan.actions[0]!.undoes).toHaveLength(6);
    expect(read()).toBe("before\nmine 1\nmine 3\nmine 5\nmine 7\nmine 9\nmine 11\n");
    expect((await memory.undo({ session_id: "theirs" })).plan.actions).toMatchObject([{ does: "nothing" }]);
    expect((await memory.undo({ session_id: "mine" })).left).toEqual([]);
    expect(read()).toBe("before\n");
  });

  it("the same line of both is there twice, and goes twice", async () => {
    const { memory, read } = await setting();
    await memory.append(key, "- item\n", { session_id: "a" });
    await memory.append(key, "- item\n", { session_id: "b" });
    await memory.undo({ session_id: "a" });
    expect(read()).toBe("- item\n");
    await memory.undo({ session_id: "b" });
    expect(read()).toBeNull();
  });

  it("an append that did not end its line does not take the next line with it", async () => {
    const { memory, read } = await setting();
    await memory.append(key, "a ");
    const { version } = await memory.append(key, "theirs\n");
    await memory.append(key, "mine\n");
    await memory.undo({ versions: [version] });
    expect(read()).toBe("a \nmine\n");
  });

  it("all its files come back as one version each, since a time on request, and the undo of it is one session again", async () => {
    const { root, memory } = await setting();
    const keys = Array.from({ length: 23 }, (_, i) => `Core/${i}.txt`);
    for (const of of keys) await memory.append(of, `fact ${of}\n`, { session_id: "a" });
    const before = root.files("Data/Core");
    const early = await memory.append(keys[0]!, "early\n", { session_id: "consolidation", chat_name: "night" });
    const since = await memory.replace("Core/summary.txt", "short\n", { session_id: "consolidation", chat_name: "night" });
    for (const of of keys) await memory.archive(of, { session_id: "consolidation", chat_name: "night" });
    const wrecked = root.files("Data/Core");
    const { receipts, plan } = await memory.undo({ session_id: "consolidation" });
    expect(receipts).toHaveLength(24);
    expect(plan.takes_back).toMatchObject([{ session_id: "consolidation", saves: 25 }]);
    expect(root.files("Data/Core")).toEqual(before);
    await memory.undo({ session_id: plan.plan });
    expect(root.files("Data/Core")).toEqual(wrecked);
    await memory.undo({ chat_name: "night", since: since.timestamp });
    expect(root.files("Data/Core")).toEqual({ ...before, "0.txt": sha256("fact Core/0.txt\nearly\n") });
    expect(early.version < since.version).toBe(true);
  });

  it("right above an undo it brings back what that left", async () => {
    const { memory, read } = await setting();
    await memory.append(key, "one\n");
    await memory.undo();
    await memory.undo();
    expect(read()).toBe("one\n");
    await memory.archive(key, { session_id: "s" });
    await memory.undo({ session_id: "s" });
    expect(read()).toBe("one\n");
  });

  it("an undo that was itself taken back takes nothing back", async () => {
    const { memory, read } = await setting();
    await memory.append(key, "base\n");
    const it = await memory.append(key, "it\n", { session_id: "s" });
    const undone = await memory.undo({ session_id: "s" });
    await memory.append(key, "it\nmore\n", { session_id: "other" }); // the same line, but another's
    expect((await memory.undo({ session_id: "s" })).receipts).toEqual([]);
    expect(read()).toBe("base\nit\nmore\n");
    await memory.undo({ versions: [undone.receipts[0]!.version] });
    expect(read()).toBe("base\nit\nit\nmore\n");
    await memory.undo({ versions: [it.version] });
    expect(read()).toBe("base\nit\nmore\n");
  });
});

describe("what the guard held", () => {
  it("is taken back like any save, and the plan says that it still waits; what was kept aside is no save", async () => {
    const root = makeRoot({ guard: "hold" });
    const memory = await root.open({ clock: clockAt(START) });
    await memory.append(key, many(100));
    writeFileSync(root.at("Data", key), "wrecked\n");
    const { version } = await memory.saved(key, { op: "replace", session_id: "agent" });
    const { plan } = await memory.undo({ session_id: "agent" });
    expect(readFileSync(root.at("Data", key), "utf8")).toBe(many(100));
    expect(plan.held).toEqual([version]);
    await memory.reject(version);
    expect((await memory.planUndo()).held).toEqual([]);
    expect(readFileSync(root.at("Data", key), "utf8")).toBe(many(100));

    await expect(memory.replace(key, "x\n", { session_id: "again" })).rejects.toMatchObject({ code: "E_HELD" });
    const aside = (await memory.log("changes")).findLast(({ op }) => op === "hold");
    await expect(memory.undo({ versions: [String(aside?.["version"])] })).rejects.toMatchObject({ code: "E_USAGE" });
    await expect(memory.restore({ file: key, version: String(aside?.["version"]) })).rejects.toMatchObject({ code: "E_VERSION" });
  });
});

describe("what was erased", () => {
  it("does not come back; the rest of the file does", async () => {
    const { memory, read } = await setting();
    await memory.append(key, "one\n");
    const secret = await memory.append(key, "my password is correct horse\n");
    await memory.append(key, "three\n");
    const { version } = await memory.replace(key, "all gone\n", { session_id: "agent" });
    await memory.erase({ match: "my password is correct horse" });
    await memory.undo({ versions: [version] });
    expect(read()).toBe("one\n[erased]\nthree\n");
    await memory.restore({ file: key, version: secret.version });
    expect(read()).toBe("one\n[erased]\n");
  });
});

describe("what cannot be", () => {
  it("is refused before anything is touched", async () => {
    const { memory } = await setting();
    await expect(memory.undo()).rejects.toMatchObject({ code: "E_NOT_FOUND" });
    const { version } = await memory.append(key, "x");
    await expect(memory.undo({ versions: ["ZZZZ"] })).rejects.toMatchObject({ code: "E_VERSION" });
    await expect(memory.undo({ session_id: "nobody" })).rejects.toMatchObject({ code: "E_NOT_FOUND" });
    await expect(memory.undo({ since: START })).rejects.toMatchObject({ code: "E_USAGE" });
    await expect(memory.undo({ versions: [version], session_id: "s" })).rejects.toMatchObject({ code: "E_USAGE" });
  });

  it("a file that someone changes between plan and apply is left; the others come back", async () => {
    const { root, memory, read } = await setting();
    const other = "Meta/b.txt";
    const third = "Meta/c.txt";
    for (const of of [key, other, third]) await memory.append(of, "good\n");
    for (const of of [key, other, third]) await memory.replace(of, "bad\n", { session_id: "s" });
    const plan = await memory.planUndo({ session_id: "s" });
    await memory.append(key, "newer\n");
    appendFileSync(root.at("Data", other), "by an editor\n");
    const { receipts, left } = await memory.apply(plan);
    expect([read(), read(other), read(third)]).toEqual(["bad\nnewer\n", "bad\nby an editor\n", "good\n"]);
    expect(receipts.map(({ file }) => file)).toEqual([third]);
    expect(left.map(({ file, code }) => [file, code])).toEqual([
      [key, "E_STALE"],
      [other, "E_STALE"],
    ]);
    expect((await memory.undo({ session_id: "s" })).left).toEqual([]); // a new plan takes what is there now
    expect([read(), read(other)]).toEqual(["good\nnewer\n", "good\nby an editor\n"]);
  });

  it("a file whose old content is kept nowhere is left; the others come back", async () => {
    const { root, memory, read } = await setting();
    for (const of of [key, "b.txt"]) await memory.append(of, `good ${of}\n`);
    const bad = await memory.replace(key, "bad\n", { session_id: "s" });
    await memory.replace("b.txt", "bad\n", { session_id: "s" });
    rmSync(root.at("Data", bad.archived_as ?? ""));
    const { left } = await memory.undo({ session_id: "s" });
    expect(left).toMatchObject([{ file: key, code: "E_CONTENT_GONE" }]);
    expect([read(), read("b.txt")]).toEqual(["bad\n", "good b.txt\n"]);
  });
});

describe("a wish that is not understood", () => {
  it.each<[unknown, RegExp, RegExp]>([
    [{ session: "me" }, /an undo has no field "session"/, /^Did you mean session_id\?/],
    [{ sesion_id: "me" }, /no field "sesion_id"/, /^Did you mean session_id\?/],
    [{ version: "x" }, /no field "version"/, /^Did you mean versions\?/],
    [{ chat: "x" }, /no field "chat"/, /^Did you mean chat_name\?/],
    [{ toString: "x" }, /no field "toString"/, /There are versions, session_id, chat_name and since\./],
    ["01M7nonsense", /takes an object/, /versions/],
    [null, /takes an object/, /versions/],
    [["x"], /takes an object/, /versions/],
    [{ versions: "x" }, /versions of an undo is not a list/, /versions/],
    [{ versions: [] }, /not an empty one/, /versions/],
    [{ versions: [1] }, /versions of an undo is not a list/, /versions/],
    [{ session_id: null }, /session_id of an undo is not a text/, /versions/],
    [{ session_id: "me", since: "the other day" }, /since of an undo is not a time/, /versions/],
  ])("%j touches nothing", async (wish, message, hint) => {
    const { root, memory } = await setting();
    await memory.append(key, "of someone else\n");
    const before = root.files("Data");
    for (const asked of [memory.undo(wish as object), memory.planUndo(wish as object)])
      await expect(asked).rejects.toMatchObject({
        code: "E_USAGE",
        message: expect.stringMatching(message) as string,
        hint: expect.stringMatching(hint) as string,
      });
    expect(root.files("Data")).toEqual(before);
    expect(await memory.log("changes")).toHaveLength(1);
  });
});
