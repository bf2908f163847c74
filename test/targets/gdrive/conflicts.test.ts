/** What people do in Drive, seen through the whole engine: nothing of theirs is lost, nothing of ours either, and it is told. */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { addFaults, flushAll, held, makeDriveRoot, problemsOn } from "../../../scripts/campaign/drive.ts";
import { logLines, removeRoot, sha256 } from "../../../scripts/campaign/root.ts";
import { openMemory, type Memory } from "../../../src/open.ts";
import { type DriveEmulator, type DriveEmulatorOptions, startDriveEmulator } from "../../../src/testing/drive-emulator.ts";
import { anySeed, seededRandom } from "../../../src/testing/random.ts";

const KEY = "Meta/notes.txt";
const AT = `MemoryVDB/${KEY}`;
const BIG = "Big/model.bin";
const big = (mark: string) => Buffer.alloc(6 * 2 ** 20, mark);

const undo: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const back of undo.splice(0).toReversed()) await back();
});

interface Place {
  readonly drive: DriveEmulator;
  readonly root: string;
  readonly memory: Memory;
  readonly content: (path: string) => string;
  /** What lies in the archive folder there. */
  readonly kept: () => string[];
}

async function place(options: DriveEmulatorOptions = {}): Promise<Place> {
  const drive = await startDriveEmulator(options);
  undo.push(() => drive.close());
  const root = makeDriveRoot(drive);
  undo.push(async () => removeRoot(root));
  const memory = await openMemory({ root, retryBaseMs: 1 });
  undo.push(() => memory.close());
  const content = (path: string) => drive.account.content(path).toString();
  const isKept = ({ path, folder, trashed }: { path: string; folder: boolean; trashed: boolean }) =>
    path.startsWith("MemoryVDB/Archive/") && !folder && !trashed;
  return {
    drive,
    root,
    memory,
    content,
    kept: () =>
      drive.account
        .tree()
        .filter(isKept)
        .map(({ id }) => content(id)),
  };
}

const here = (drive: DriveEmulator, path: string) => drive.account.find(path).filter(({ trashed }) => !trashed);

describe("another machine of the same memory saves a file", () => {
  /** A second machine, which has the folder but not the state. */
  async function second(root: string): Promise<Memory> {
    const copy = `${root}-second`;
    cpSync(root, copy, { recursive: true });
    undo.push(async () => removeRoot(copy));
    rmSync(join(copy, ".aftersave"), { recursive: true });
    const memory = await openMemory({ root: copy, retryBaseMs: 1 });
    undo.push(() => memory.close());
    return memory;
  }

  it("and has not told its history yet: it is named, not taken for a stranger; told, it is no conflict any more", async () => {
    const { drive, root, memory, content, kept } = await place();
    await memory.append(KEY, "both\n");
    await memory.flush();
    const other = await second(root);
    await other.append(KEY, "the other\n");
    await other.flush(); // so that it is known there

    const { version } = await memory.append(KEY, "the one\n");
    await memory.upload(KEY); // the data, not yet the history
    await other.append(KEY, "the other again\n");
    const result = await other.upload(KEY);
    expect(result).toMatchObject({ status: "success", code: "E_CONFLICT" });
    const whose = `another machine of yours (${JSON.stringify(hostname())})`;
    expect(result.notes).toContain(`${whose} had saved another version (${version}) meanwhile; it is kept as `);
    expect(result.notes).toContain("compare it with yours, and save here what should stay");
    expect(result.notes).not.toContain("someone else");
    expect(content(AT)).toBe("both\nthe other\nthe other again\n");
    expect(kept()).toContain("both\nthe one\n");
    expect((await other.status()).conflict_list).toMatchObject([{ file: KEY, whose }]);
    const messages = (await other.doctor()).map(({ message }) => message).filter((message) => message.includes("had saved of"));
    expect(messages).toEqual([expect.stringContaining(`what ${whose} had saved of ${KEY} was on drive`)]);

    await memory.flush();
    await other.append("Meta/more.txt", "x");
    await other.flush();
    expect((await other.status()).conflicts).toBe(0);
    expect(here(drive, AT)).toHaveLength(1);
  });

  it("and has told it: no conflict, its version is kept, and the way on is said", async () => {
    const { root, memory, kept } = await place();
    await memory.append(KEY, "both\n");
    await memory.flush();
    const other = await second(root);
    await memory.append(KEY, "the one\n");
    await memory.flush();
    await other.append(KEY, "the other\n");
    const result = await other.upload(KEY);
    expect(result).toMatchObject({ status: "success", notes: expect.stringContaining("another machine of yours (") });
    expect(result).not.toHaveProperty("code");
    expect(kept()).toEqual(["both\nthe one\n"]);
    expect((await other.status()).conflicts).toBe(0);
  });

  it("what our own history has is no conflict, though the other machine put it there and the state knows nothing", async () => {
    const { root, memory, content, kept } = await place();
    await memory.append(KEY, "one\n");
    await memory.append(KEY, "two\n");
    await memory.upload(KEY);
    const other = await second(root); // it has both versions in its changelog
    await other.append(KEY, "three\n");
    const result = await other.upload(KEY);
    expect(result).toMatchObject({ status: "success", notes: "an older version of ours was there" });
    expect(result).not.toHaveProperty("code");
    expect(content(AT)).toBe("one\ntwo\nthree\n");
    expect(kept()).toEqual([]);
  });

  it("and someone edits that by hand: this is a stranger's, whatever the stamp says", async () => {
    const { drive, root, memory } = await place();
    await memory.append(KEY, "both\n");
    await memory.flush();
    const other = await second(root);
    await memory.append(KEY, "the one\n");
    await memory.upload(KEY);
    drive.account.edit(here(drive, AT)[0]?.id ?? "", "by hand");
    await other.append(KEY, "the other\n");
    const result = await other.upload(KEY);
    expect(result).toMatchObject({ code: "E_CONFLICT", notes: expect.stringContaining("someone else's content was there") });
    expect((await other.status()).conflict_list).toMatchObject([{ file: KEY, whose: null }]);
  });
});

describe("someone edits a file", () => {
  it("between our last look and our write: theirs is kept in the archive folder, told, and ours is written", async () => {
    const { drive, root, memory, content, kept } = await place();
    await memory.append(KEY, "one\n");
    await memory.flush();
    drive.faults.add({ when: { api: "v2.files.update", nth: 1 }, do: { kind: "foreign-edit", text: "by hand" } });
    await memory.append(KEY, "two\n");
    const result = await memory.upload(KEY);
    expect(result).toMatchObject({
      status: "success",
      code: "E_CONFLICT",
      notes: expect.stringContaining("someone else's content"),
    });
    expect(here(drive, AT)).toHaveLength(1);
    expect(content(AT)).toBe("one\ntwo\n");
    expect(kept()).toEqual(["by hand"]);
    const status = await memory.status();
    expect(status).toMatchObject({ conflicts: 1, pending: 0, failed: 0 });
    expect(memory.check(status)).toBe(5);
    await memory.close();
    const told = logLines(root, "upload_log").filter((line) => line["status"] === "conflict");
    expect(told).toMatchObject([
      { file: KEY, sha256: sha256("one\ntwo\n"), notes: expect.stringContaining("MemoryVDB/Archive/Meta/notes_") },
    ]);
    expect(readFileSync(join(root, "Data", KEY), "utf8")).toBe("one\ntwo\n");
  });

  it("again and again, at any moment, while Drive loses answers, refuses and fails: each of their edits is kept", async () => {
    const seed = anySeed();
    const random = seededRandom(seed);
    const { drive, root, memory, content, kept } = await place({ seed });
    const theirs: string[] = [];
    await memory.append(KEY, "begin\n");
    await memory.flush();
    const id = here(drive, AT)[0]?.id ?? "";
    addFaults(drive);
    let mayEdit = false;
    const edit = () => {
      if (!mayEdit || random() < 0.5) return;
      mayEdit = false; // what they replace themselves before we look is only a revision
      const text = `theirs ${theirs.length}`;
      theirs.push(text);
      drive.account.edit(id, text);
    };
    drive.faults.add({
      when: ({ api, fileId }) => (api === "v2.files.update" || api === "v2.files.get") && fileId === id && (edit(), false),
      do: { kind: "reply-lost" },
    });
    for (let save = 1; save <= 12; save++) {
      mayEdit = true;
      await memory.append(KEY, `ours ${save}\n`);
      await flushAll(memory);
    }
    drive.faults.clear();
    await memory.append(KEY, "end\n");
    await flushAll(memory);
    expect(content(AT), `seed ${seed}`).toBe(readFileSync(join(root, "Data", KEY), "utf8"));
    expect(theirs.length, `seed ${seed}`).toBeGreaterThan(0);
    expect(new Set(kept()), `seed ${seed}`).toEqual(new Set(theirs)); // twice, where each answer to a copy was lost
    expect((await memory.status()).conflicts, `seed ${seed}`).toBe(theirs.length);
  });

  it("while a big one is sent: the revisions before ours are kept for ever, and told", async () => {
    const { drive, root, memory } = await place();
    await memory.replace(BIG, big("a"));
    await memory.flush();
    const file = here(drive, `MemoryVDB/${BIG}`)[0];
    expect(file).toBeDefined();
    drive.faults.add({
      when: { api: "upload.chunk", nth: 1 },
      do: {
        kind: "foreign-edit",
        edit: () => ["first of theirs", "theirs"].forEach((text) => drive.account.edit(file?.id ?? "", text)),
      },
    });
    await memory.replace(BIG, big("b"));
    const result = await memory.upload(BIG);
    expect(result).toMatchObject({ status: "success", code: "E_CONFLICT", notes: expect.stringContaining("kept for ever") });
    const [now, ...others] = here(drive, `MemoryVDB/${BIG}`);
    expect(others).toEqual([]);
    expect(now).toMatchObject({ id: file?.id, sha256: sha256(big("b")) });
    const pinned = now?.revisions.filter(({ keepForever }) => keepForever) ?? [];
    expect(pinned.map(({ id }) => drive.account.content(file?.id ?? "", id).toString())).toEqual(["first of theirs", "theirs"]);
    await memory.flush();
    expect(await memory.status()).toMatchObject({ conflicts: 1, pending: 0 });
    await memory.close();
    const told = logLines(root, "upload_log").filter((line) => line["status"] === "conflict");
    expect(told).toMatchObject([{ file: BIG, notes: expect.stringContaining(pinned.at(-1)?.id ?? "none") }]);
  });

  it("while a big one is sent, and we do not live to see its end: kept and told by who comes next", async () => {
    const { drive, root, memory } = await place();
    await memory.replace(BIG, big("a"));
    await memory.flush();
    const path = `MemoryVDB/${BIG}`;
    drive.faults.add({ when: { api: "upload.chunk", nth: 1 }, do: { kind: "foreign-edit", target: path, text: "theirs" } });
    const heal = drive.faults.add({ when: { api: "revisions.list" }, do: { kind: "5xx-before" } });
    await memory.append(BIG, "b");
    expect(await memory.upload(BIG)).toMatchObject({ status: "fail" });
    await memory.close();
    expect(here(drive, path)).toMatchObject([{ size: 6 * 2 ** 20 + 1 }]);
    heal();
    const next = await openMemory({ root, retryBaseMs: 1 });
    undo.push(() => next.close());
    await next.flush();
    const [now] = here(drive, path);
    const pinned = now?.revisions.filter(({ keepForever }) => keepForever) ?? [];
    expect(pinned.map(({ id }) => drive.account.content(now?.id ?? "", id).toString())).toEqual(["theirs"]);
    expect(await next.status()).toMatchObject({ conflicts: 1, pending: 0, failed: 0 });
    await next.append(BIG, "c");
    expect(await next.upload(BIG)).toMatchObject({ status: "success", notes: "" });
  });

  it("before a big one is sent: theirs is kept in the archive folder", async () => {
    const { drive, memory, kept } = await place();
    await memory.replace(BIG, big("a"));
    await memory.flush();
    drive.account.edit(`MemoryVDB/${BIG}`, "theirs");
    await memory.append(BIG, "b");
    expect(await memory.upload(BIG)).toMatchObject({ status: "success", code: "E_CONFLICT" });
    expect(kept()).toEqual(["theirs"]);
    expect(here(drive, `MemoryVDB/${BIG}`)).toMatchObject([{ sha256: sha256(Buffer.concat([big("a"), Buffer.from("b")])) }]);
  });

  it("only what surrounds the content, a star or a comment: that is no conflict", async () => {
    const { drive, memory, content } = await place({ settleMs: 1 });
    for (let save = 0; save < 6; save++) {
      await memory.append(KEY, `${save}\n`);
      expect(await memory.upload(KEY)).toMatchObject({ status: "success" });
      drive.account.touch(AT);
    }
    expect(content(AT)).toBe("0\n1\n2\n3\n4\n5\n");
    expect(await memory.status()).toMatchObject({ conflicts: 0 });
  });
});

describe("someone takes away", () => {
  it.each([
    ["the file, into the trash", (drive: DriveEmulator) => void drive.account.trash(AT)],
    ["the file, for good", (drive: DriveEmulator) => drive.account.delete(AT)],
    ["its folder, into the trash", (drive: DriveEmulator) => void drive.account.trash("MemoryVDB/Meta")],
    ["its folder, for good", (drive: DriveEmulator) => drive.account.delete("MemoryVDB/Meta")],
    ["all of it, into the trash", (drive: DriveEmulator) => void drive.account.trash("MemoryVDB")],
    ["all of it, for good", (drive: DriveEmulator) => drive.account.delete("MemoryVDB")],
  ])("%s: the next save makes a new one, and the old stays where they put it", async (what, takeAway) => {
    const { drive, memory, content } = await place();
    await memory.append(KEY, "one\n");
    await memory.append("Meta/still.txt", "nobody saves it again\n");
    await memory.append("Other/still.txt", "nobody saves it again\n");
    await memory.flush();
    const [before] = here(drive, AT);
    takeAway(drive);
    await memory.append(KEY, "two\n");
    await memory.append("Meta/new.txt", "new\n");
    await flushAll(memory);
    expect(here(drive, AT)).toHaveLength(1);
    if (!what.startsWith("the file")) expect(here(drive, "MemoryVDB/Meta/still.txt")).toHaveLength(1);
    expect(here(drive, "MemoryVDB/Other/still.txt")).toHaveLength(1);
    expect(here(drive, "MemoryVDB/.aftersave/root.json")).toHaveLength(1);
    expect(historyOn(drive)).toEqual([1, 2, 3, 4, 5]);
    expect(here(drive, "MemoryVDB/Meta")).toHaveLength(1);
    expect(here(drive, "MemoryVDB/Meta/new.txt")).toHaveLength(1);
    expect(content(AT)).toBe("one\ntwo\n");
    expect(here(drive, AT)[0]?.id).not.toBe(before?.id);
    const old = drive.account.tree().find(({ id }) => id === before?.id);
    expect([undefined, true]).toContain(old?.trashed);
    expect(await memory.status()).toMatchObject({ conflicts: 0, pending: 0, failed: 0 });
  });

  it("the folder, in the very moment in which a file is made in it", async () => {
    const { drive, memory, content } = await place();
    await memory.append("Meta/a.txt", "a\n");
    await memory.flush();
    drive.faults.add({
      when: { api: "v2.files.insert", nth: 1 },
      do: { kind: "foreign-edit", edit: () => void drive.account.trash("MemoryVDB/Meta") },
    });
    await memory.append(KEY, "one\n");
    await flushAll(memory);
    expect(here(drive, AT)).toHaveLength(1);
    expect(content(AT)).toBe("one\n");
  });

  it("the file, in the very moment in which it is written", async () => {
    const { drive, memory, content } = await place();
    await memory.append(KEY, "one\n");
    await memory.flush();
    drive.faults.add({
      when: { api: "v2.files.update", nth: 1 },
      do: { kind: "foreign-edit", edit: () => void drive.account.trash(AT) },
    });
    await memory.append(KEY, "two\n");
    await flushAll(memory);
    expect(here(drive, AT)).toHaveLength(1);
    expect(content(AT)).toBe("one\ntwo\n");
  });
});

/** Places of the changelog that the segments on Drive hold, each once, in order. */
function historyOn(drive: DriveEmulator): number[] {
  const segments = drive.account.tree().filter(({ path, trashed }) => !trashed && /\/history\/.*jsonl$/.test(path));
  const lines = segments.flatMap(({ id }) => drive.account.content(id).toString().trim().split("\n"));
  return [...new Set(lines.map((line) => (JSON.parse(line) as { place: number }).place))].toSorted((a, b) => a - b);
}

describe("someone takes a folder away and nothing in it is saved again", () => {
  it("doctor tells it, and --fix has everything sent again", async () => {
    const { drive, memory } = await place();
    await memory.append(KEY, "one\n");
    await memory.append("Other/still.txt", "one\n");
    await memory.flush();
    drive.account.delete("MemoryVDB/Other");
    const found = await memory.doctor();
    expect(found.filter(({ level }) => level !== "ok").map(({ message }) => message)).toEqual([
      expect.stringContaining("MemoryVDB/Other"),
    ]);
    await memory.doctor({ fix: true });
    expect((await memory.status()).pending).toBe(1);
    await memory.flush();
    expect(here(drive, "MemoryVDB/Other/still.txt")).toHaveLength(1);
  });
});

describe("paths.json names another place", () => {
  it.each([{ root: "Drive/Elsewhere/" }, { shared_drive: "team" }])("%j: everything is sent there", async (change) => {
    const { drive, root, memory } = await place();
    await memory.append(KEY, "one\n");
    await memory.append("Meta/still.txt", "one\n");
    await memory.flush();
    const team = drive.account.addSharedDrive("Team");
    const paths = JSON.parse(readFileSync(join(root, "paths.json"), "utf8")) as { targets: Record<string, object> };
    const [[name, target] = ["", {}]] = Object.entries(paths.targets);
    const moved = { ...target, ...change, ...("shared_drive" in change && { shared_drive: team.id }) };
    writeFileSync(join(root, "paths.json"), JSON.stringify({ ...paths, targets: { [name]: moved } }));
    await memory.close();
    const again = await openMemory({ root, retryBaseMs: 1 });
    expect((await again.status()).pending).toBe(2);
    await flushAll(again);
    const there = "root" in change ? "Elsewhere" : "//Team/MemoryVDB";
    expect(here(drive, `${there}/Meta/still.txt`)).toHaveLength(1);
    expect(here(drive, `${there}/.aftersave/root.json`)).toHaveLength(1);
    expect(here(drive, "MemoryVDB/Meta/still.txt")).toHaveLength(1);
    await again.close();
  });
});

describe("someone tidies up", () => {
  it("a file that was moved or renamed goes back to its place and name with the next save", async () => {
    const { drive, memory, content } = await place();
    await memory.append(KEY, "one\n");
    await memory.append("Meta/other.txt", "one\n");
    await memory.flush();
    drive.account.addFolder("Elsewhere", { byUser: true });
    const [moved] = here(drive, AT);
    const [renamed] = here(drive, "MemoryVDB/Meta/other.txt");
    drive.account.move(AT, "Elsewhere");
    drive.account.rename("MemoryVDB/Meta/other.txt", "mine.txt");
    await memory.append(KEY, "two\n");
    await memory.append("Meta/other.txt", "two\n");
    await memory.flush();
    expect(here(drive, "Elsewhere/notes.txt")).toEqual([]);
    expect(here(drive, AT)).toMatchObject([{ id: moved?.id }]);
    expect(content(moved?.id ?? "")).toBe("one\ntwo\n");
    expect(here(drive, "MemoryVDB/Meta/other.txt")).toMatchObject([{ id: renamed?.id }]);
    expect(content(renamed?.id ?? "")).toBe("one\ntwo\n");
    expect(drive.account.tree().filter(({ folder, path }) => !folder && !path.includes(".aftersave/"))).toHaveLength(2);
    expect(await memory.status()).toMatchObject({ conflicts: 0, pending: 0 });
  });

  it("a renamed or moved folder is followed by its id", async () => {
    const { drive, memory } = await place();
    await memory.append(KEY, "one\n");
    await memory.flush();
    drive.account.addFolder("Elsewhere", { byUser: true });
    drive.account.rename("MemoryVDB/Meta", "Old meta");
    drive.account.move("MemoryVDB/Old meta", "Elsewhere");
    await memory.append("Meta/new.txt", "new\n");
    await memory.flush();
    expect(here(drive, "Elsewhere/Old meta/new.txt")).toHaveLength(1);
    expect(here(drive, "MemoryVDB/Meta")).toEqual([]);
  });

  it("what was made by hand is not seen under scope drive.file, and left alone", async () => {
    const { drive, root, memory } = await place();
    const hand = drive.account.addFile(AT, "by hand", { byUser: true });
    const [theirs] = here(drive, "MemoryVDB");
    await memory.append(KEY, "ours\n");
    await memory.flush();
    expect(drive.account.content(hand.id).toString()).toBe("by hand");
    expect(here(drive, "MemoryVDB")).toHaveLength(2);
    expect(await memory.status()).toMatchObject({ conflicts: 0, pending: 0 });
    drive.account.delete(theirs?.id ?? "");
    expect(problemsOn(drive, held(root))).toEqual([]);
  });

  it("puts files of their own beside ours: they stay, and are nobody's twins", async () => {
    const { drive, root, memory } = await place();
    await memory.append(KEY, "ours\n");
    await memory.flush();
    const slash = drive.account.addFile("MemoryVDB/Meta/x", "slash", {});
    drive.account.rename(slash.id, "a/b.txt");
    await memory.append(KEY, "more\n");
    await memory.append("Meta/a/b.txt", "a real folder\n");
    await memory.flush();
    expect(drive.account.content(slash.id).toString()).toBe("slash");
    drive.account.delete(slash.id);
    expect(problemsOn(drive, held(root))).toEqual([]);
  });
});
