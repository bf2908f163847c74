/** What is held is settled by a person, and whatever they decide, nothing of it or of later saves is lost. */
import { existsSync, readFileSync, truncateSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesBelow, logLines, MIRROR } from "../../scripts/campaign/root.ts";
import type { Memory, OpenOptions } from "../../src/open.ts";
import { children } from "../recovery/children.ts";
import { codeOf, freshRoots, sha256 } from "./root.ts";

const roots = freshRoots();
const KEY = "Meta/Notes.md";
const lines = (from: number, to: number, what = "fact") =>
  Array.from({ length: to - from }, (_, n) => `- ${what} ${from + n} is so\n`).join("");
const NOTES = lines(0, 60);

async function holding(options: OpenOptions = {}, root = roots.make({ guard: "hold" })) {
  const memory = await roots.open(root, options);
  const data = (key: string) => join(root, "Data", key);
  return {
    root,
    memory,
    data,
    read: (key = KEY) => readFileSync(data(key), "utf8"),
    there: (key = KEY) => existsSync(data(key)),
  };
}

/** The version under which a save was kept aside. */
const heldBy = async (save: Promise<unknown>): Promise<string> => {
  const error = (await save.then(
    () => undefined,
    (failure: unknown) => failure,
  )) as { code: string; details: { version: string } };
  expect(error).toMatchObject({ code: "E_HELD" });
  return error.details.version;
};

const contentOf = async (memory: Memory, version: string, key = KEY) => {
  const pieces: Uint8Array[] = [];
  for await (const piece of (await memory.show(key, { version })).open()) pieces.push(piece.slice());
  return Buffer.concat(pieces).toString();
};

/** Kept copies that doctor can make nothing of. */
const orphans = async (memory: Memory) => (await memory.doctor()).filter(({ message }) => message.includes("belongs to no file"));

describe("accept of what was kept aside", () => {
  it("makes it the content, archives what was there, and can be said again", async () => {
    const { memory, read, root } = await holding();
    const before = await memory.replace(KEY, NOTES);
    const version = await heldBy(memory.replace(KEY, "short\n"));
    expect(read()).toBe(NOTES);
    const settled = await memory.accept(version.slice(-6), { chat_name: "Mara", reason: "meant so" });
    expect(settled).toMatchObject({ version, file: KEY, decision: "accepted", already: false, merged: false, waiting: [] });
    expect(settled.receipt).toMatchObject({ op: "accept", prev_sha256: before.sha256, sha256: sha256("short\n") });
    expect(read()).toBe("short\n");
    expect(readFileSync(join(root, "Data", settled.receipt?.archived_as ?? ""), "utf8")).toBe(NOTES);
    expect(await memory.held()).toEqual([]);
    expect(memory.check(await memory.status())).not.toBe(5);
    expect(await memory.accept(version)).toMatchObject({ decision: "accepted", already: true, receipt: null });
    expect(await orphans(memory)).toEqual([]);
    await expect(memory.reject(version)).rejects.toMatchObject({
      code: "E_USAGE",
      message: expect.stringContaining("accepted already"),
    });
    await memory.flush();
    expect(readFileSync(join(root, MIRROR, KEY), "utf8")).toBe("short\n");
    await memory.close();
    expect(logLines(root, "memory_changelog").at(-1)).toMatchObject({
      op: "accept",
      chat_name: "Mara",
      reason: "meant so",
      details: { applies: "replace", settles: version },
    });
  });

  it("of a version that removes the file archives it", async () => {
    const { memory, there, root } = await holding();
    for (let n = 0; n < 12; n++) await memory.replace(`Meta/${n}.md`, `file ${n}\n`);
    for (let n = 0; n < 9; n++) await memory.archive(`Meta/${n}.md`);
    const version = await heldBy(memory.archive("Meta/9.md"));
    expect(there("Meta/9.md")).toBe(true);
    expect((await memory.held())[0]).toMatchObject({ op: "archive", sha256: null, size: null });
    const { receipt } = await memory.accept(version);
    expect(there("Meta/9.md")).toBe(false);
    expect(readFileSync(join(root, "Data", receipt?.archived_as ?? ""), "utf8")).toBe("file 9\n");
  });

  it("brings it together with what was saved since, where they touch other lines", async () => {
    const { memory, read } = await holding();
    await memory.replace(KEY, NOTES);
    const version = await heldBy(memory.replace(KEY, lines(0, 10)));
    await memory.replace(KEY, NOTES.replace("- fact 3 is so", "- fact 3 is otherwise"));
    expect(await memory.accept(version)).toMatchObject({ merged: true });
    expect(read()).toBe(lines(0, 10).replace("- fact 3 is so", "- fact 3 is otherwise"));
  });

  it("never overwrites what was saved since unless told to, and archives it then", async () => {
    const { memory, read, root } = await holding();
    await memory.replace(KEY, NOTES);
    const version = await heldBy(memory.replace(KEY, lines(0, 10)));
    const since = await memory.append(KEY, "- news\n");
    await expect(memory.accept(version)).rejects.toMatchObject({
      code: "E_STALE",
      details: { sha256: since.sha256 },
      hint: expect.stringContaining("--anyway"),
    });
    expect(read()).toBe(`${NOTES}- news\n`);
    expect(await memory.held()).toHaveLength(1);
    const { receipt } = await memory.accept(version, {}, { anyway: true });
    expect(read()).toBe(lines(0, 10));
    expect(readFileSync(join(root, "Data", receipt?.archived_as ?? ""), "utf8")).toBe(`${NOTES}- news\n`);
  });
});

it("reject of what was kept aside changes no file, and what it held can be shown for ever", async () => {
  const { memory, read, root } = await holding();
  await memory.replace(KEY, NOTES);
  const version = await heldBy(memory.replace(KEY, "short\n"));
  const files = filesBelow(join(root, "Data"));
  expect(await memory.reject(version)).toMatchObject({ decision: "rejected", receipt: null, already: false });
  expect([read(), filesBelow(join(root, "Data"))]).toEqual([NOTES, files]);
  expect(await memory.reject(version)).toMatchObject({ already: true });
  expect(await contentOf(memory, version)).toBe("short\n");
  expect((await memory.doctor()).filter(({ level }) => level === "error")).toEqual([]);
  expect(await orphans(memory)).toEqual([]);
  expect(await codeOf(memory.accept(version))).toBe("E_USAGE");
});

it("doctor misses the content of what waits", async () => {
  const { memory, root } = await holding();
  await memory.replace(KEY, NOTES);
  const version = await heldBy(memory.replace(KEY, "short\n"));
  unlinkSync(join(root, ".aftersave/heads", version.slice(-1), version));
  expect((await memory.doctor()).filter(({ level }) => level === "error")).toMatchObject([{ code: "E_CONTENT_GONE" }]);
  expect(await codeOf(memory.accept(version))).toBe("E_CONTENT_GONE");
  await memory.reject(version);
  expect((await memory.doctor()).filter(({ level }) => level === "error")).toEqual([]);
});

it("a version that was never held cannot be settled", async () => {
  const { memory } = await holding();
  const { version } = await memory.replace(KEY, NOTES);
  expect(await codeOf(memory.accept(version))).toBe("E_VERSION");
  expect(await codeOf(memory.reject("ZZZZZZZZ"))).toBe("E_VERSION");
});

describe("what stands in the file already", () => {
  const damaged = async () => {
    const place = await holding();
    const before = await place.memory.replace(KEY, NOTES);
    await place.memory.flush();
    truncateSync(place.data(KEY), 40);
    const { version } = await place.memory.saved(KEY);
    return { ...place, before, version, mirrored: (key = KEY) => readFileSync(join(place.root, MIRROR, key), "utf8") };
  };

  it("waits: flush passes it over, sync-file says held and logs it once, everything else flows", async () => {
    const { memory, mirrored, root, version } = await damaged();
    await memory.replace("Core/other.md", "flows\n");
    expect(await memory.flush()).toMatchObject({ failed: 0, pending: 0 });
    expect([mirrored(), mirrored("Core/other.md")]).toEqual([NOTES, "flows\n"]);
    const result = await memory.upload(KEY);
    expect(result).toMatchObject({ status: "fail", code: "E_HELD", attempts: 0, targets: [{ target: "drive", code: "E_HELD" }] });
    expect(await memory.status()).toMatchObject({ held: 1, failed: 0, targets: { drive: { state: "ok" } } });
    expect(memory.check(await memory.status())).toBe(5);
    await memory.flush();
    await memory.close();
    expect(logLines(root, "upload_log").filter(({ status }) => status === "held")).toMatchObject([
      { file: KEY, version, attempts: 0 },
    ]);
  });

  it("goes to the targets once it is accepted", async () => {
    const { memory, mirrored, version } = await damaged();
    expect(await memory.accept(version)).toMatchObject({ decision: "accepted", receipt: null });
    await memory.flush();
    expect(mirrored()).toBe(NOTES.slice(0, 40));
  });

  it("makes way for what was there when it is rejected, and was never on a target as the file's content", async () => {
    const { memory, mirrored, read, version, before } = await damaged();
    const { receipt } = await memory.reject(version, { chat_name: "Mara" });
    expect(receipt).toMatchObject({ op: "reject", sha256: before.sha256 });
    expect(read()).toBe(NOTES);
    expect(await contentOf(memory, version)).toBe(NOTES.slice(0, 40));
    await memory.flush();
    expect(mirrored()).toBe(NOTES);
    await memory.close();
  });

  it("keeps later saves and archive copies of it waiting too", async () => {
    const { memory, mirrored, root, version, data, read } = await damaged();
    await memory.append(KEY, "later\n");
    const { archived_as } = await memory.replace(KEY, `${NOTES}later\n`);
    await memory.flush();
    expect(mirrored()).toBe(NOTES);
    expect(existsSync(join(root, MIRROR, archived_as ?? "?"))).toBe(false);
    await memory.accept(version);
    await memory.flush();
    expect(mirrored()).toBe(read());
    expect(mirrored(archived_as ?? "?")).toBe(`${NOTES.slice(0, 40)}later\n`);
    expect(existsSync(data(KEY))).toBe(true);
  });

  it("is said by the receipt of each later save, and by the age of what waits", async () => {
    const { memory, data, version } = await damaged();
    await memory.flush();
    const receipt = await memory.append(KEY, "- an important line\n");
    expect(receipt).toMatchObject({ alarms: [], uploads: [{ target: "drive", status: "held", code: "E_HELD" }] });
    expect(receipt.uploads[0]?.notes).toContain(version);
    expect(receipt.warnings).toHaveLength(1);
    expect(receipt.warnings[0]).toContain(`aftersave accept ${version}`);
    truncateSync(data(KEY), 0);
    const second = await memory.saved(KEY);
    expect(second.warnings).toHaveLength(2);
    await memory.flush();
    const { oldest_pending_at, held_uploads, pending } = await memory.status();
    expect(pending).toBe(0);
    expect(held_uploads).toBeGreaterThan(0);
    expect(oldest_pending_at).not.toBeNull();
    await memory.accept(version);
    const last = await memory.accept(second.version);
    expect(last.waiting).toEqual([]);
    expect((await memory.append(KEY, "- more\n")).uploads).toMatchObject([{ status: "pending" }]);
    await memory.flush();
    expect(await memory.status()).toMatchObject({ held_uploads: 0, oldest_pending_at: null });
  });

  it("is taken out from under later saves when it is rejected, where that is clear", async () => {
    const { memory, data, read, mirrored } = await damaged();
    const [first] = await memory.held();
    await memory.reject(first?.version ?? "");
    truncateSync(data(KEY), 25 * 16);
    const { version } = await memory.saved(KEY);
    const left = read();
    await memory.replace(KEY, left.replace("- fact 3 is so", "- fact 3 is otherwise"));
    expect(await memory.reject(version)).toMatchObject({ merged: true });
    expect(read()).toBe(NOTES.replace("- fact 3 is so", "- fact 3 is otherwise"));
    await memory.flush();
    expect(mirrored()).toBe(read());
  });

  it("when removed by someone, comes back by reject", async () => {
    const { memory, data, read } = await holding();
    for (let n = 0; n < 10; n++) await memory.replace(`Meta/${n}.md`, `file ${n}\n`);
    for (let n = 0; n < 10; n++) unlinkSync(data(`Meta/${n}.md`));
    const { changed } = await memory.sweep();
    expect(changed.filter(({ alarms }) => alarms.length > 0)).toHaveLength(1);
    const [held] = await memory.held();
    expect(held).toMatchObject({ applied: true, sha256: null });
    await memory.reject(held?.version ?? "");
    expect(read(held?.file)).toMatch(/^file \d\n$/);
  });

  it("several of one key are settled each by itself; the file goes out with the last", async () => {
    const { memory, data, read, mirrored, version } = await damaged();
    truncateSync(data(KEY), 0);
    const second = await memory.saved(KEY);
    expect((await memory.held()).map((held) => held.version)).toEqual([version, second.version]);
    expect(await memory.reject(second.version)).toMatchObject({ waiting: [version] });
    expect(read()).toBe(NOTES.slice(0, 40));
    await memory.flush();
    expect(mirrored()).toBe(NOTES);
    await memory.accept(version);
    await memory.flush();
    expect(mirrored()).toBe(NOTES.slice(0, 40));
  });
});

describe("two writers", () => {
  it("that append both have their lines", async () => {
    const { memory, read } = await holding();
    await memory.replace(KEY, NOTES);
    await Promise.all([memory.append(KEY, "- ours\n"), memory.append(KEY, "- theirs\n")]);
    expect([`${NOTES}- ours\n- theirs\n`, `${NOTES}- theirs\n- ours\n`]).toContain(read());
  });

  it("that replace: the second is refused with the current hash, or merged by line", async () => {
    const { memory, read, root } = await holding();
    const base = await memory.replace(KEY, NOTES);
    const theirs = await memory.replace(KEY, NOTES.replace("- fact 50 is so", "- fact 50: theirs"), { chat_name: "theirs" });
    const ours = NOTES.replace("- fact 5 is so", "- fact 5: ours");
    const stale = { if_sha256: base.sha256 };
    await expect(memory.replace(KEY, ours, {}, stale)).rejects.toMatchObject({
      code: "E_STALE",
      details: { sha256: theirs.sha256 },
    });
    const receipt = await memory.replace(KEY, ours, { chat_name: "ours" }, { ...stale, merge: true });
    expect(read()).toBe(ours.replace("- fact 50 is so", "- fact 50: theirs"));
    expect(receipt.alarms).toMatchObject([{ rule: "stale", says: expect.stringContaining(theirs.version) }]);
    await memory.close();
    expect(logLines(root, "memory_changelog").at(-1)).toMatchObject({
      details: { merges: base.sha256, about: [theirs.version] },
    });
  });

  it("that change the same lines: both are kept, labelled, and a person chooses", async () => {
    const { memory, read } = await holding({}, roots.make({ guard: "off" }));
    const base = await memory.replace(KEY, NOTES);
    const theirs = NOTES.replace("- fact 5 is so", "- fact 5: theirs");
    const ours = NOTES.replace("- fact 5 is so", "- fact 5: ours");
    const current = await memory.replace(KEY, theirs, { chat_name: "Theirs", model: "m2" });
    const stale = { if_sha256: base.sha256, merge: true };
    const version = await heldBy(memory.replace(KEY, ours, { chat_name: "Ours", session_id: "s1" }, stale));
    expect(read()).toBe(theirs);
    const [held] = await memory.held();
    expect(held?.alarms).toMatchObject([{ rule: "merge" }]);
    expect(held?.alarms[0]?.says).toBe(`this save and ${current.version}, which the file holds, changed the same lines`);
    expect(held?.actor).toMatchObject({ chat_name: "Ours", session_id: "s1" });
    expect(await contentOf(memory, version)).toBe(ours);
    await memory.accept(version);
    expect(read()).toBe(ours);
  });

  it("that both begin a file, or give bytes that are no text", async () => {
    const { memory, read } = await holding();
    await memory.replace(KEY, "theirs\n");
    await memory.replace(KEY, "ours\n", {}, { if_sha256: null, merge: true });
    expect(read()).toBe("theirs\nours\n");
    const base = await memory.replace("Meta/bin", Uint8Array.of(0, 1, 2));
    await memory.replace("Meta/bin", Uint8Array.of(0, 1, 3));
    await heldBy(memory.replace("Meta/bin", Uint8Array.of(0, 1, 4), {}, { if_sha256: base.sha256, merge: true }));
  });

  it("merging needs to know what it was computed from", async () => {
    const { memory } = await holding();
    await memory.replace(KEY, NOTES);
    expect(await codeOf(memory.replace(KEY, "x", {}, { merge: true }))).toBe("E_USAGE");
    expect(await codeOf(memory.append(KEY, "x", {}, { merge: true, if_sha256: sha256("x") }))).toBe("E_USAGE");
    expect(await codeOf(memory.replace(KEY, "x", {}, { merge: true, if_sha256: sha256("never") }))).toBe("E_STALE");
  });
});

describe("killed at any step", () => {
  const killed = async (...args: string[]) => {
    const [ended] = await children([["../memory/held.child.ts", ...args]]);
    expect(ended?.signal, ended?.stderr).toBe("SIGKILL");
  };

  it.each(["kept", "held"])("of a hold, %s: the file is as it was, and the save is held or it is not", async (step) => {
    const { memory, root } = await holding();
    await memory.replace(KEY, NOTES);
    await memory.close();
    await killed(root, "hold", "", step);
    const again = await holding({}, root);
    expect(again.read()).toBe(NOTES);
    const held = await again.memory.held();
    expect(held).toHaveLength(step === "held" ? 1 : 0);
    expect(await orphans(again.memory)).toHaveLength(step === "held" ? 0 : 1); // the content came first: doctor names what no line speaks of
    const version = await heldBy(again.memory.replace(KEY, "short\n"));
    expect(await again.memory.held()).toHaveLength(1);
    await again.memory.accept(version);
    expect(again.read()).toBe("short\n");
  });

  it.each(["begun", "archived", "headed", "written", "accepted", "cleaned"])(
    "of an accept or a reject, %s: the old state or the new one, and it can be done again",
    async (step) => {
      const { memory, root, data } = await holding();
      await memory.replace(KEY, NOTES);
      const aside = await heldBy(memory.replace(KEY, "short\n"));
      await memory.replace("Core/a.md", NOTES);
      truncateSync(data("Core/a.md"), 40);
      const { version: applied } = await memory.saved("Core/a.md");
      await memory.close();
      await killed(root, "accept", aside, step);
      await killed(root, "reject", applied, step);

      const again = await holding({}, root);
      const done = ["written", "accepted", "cleaned"].includes(step);
      expect(again.read()).toBe(done ? "short\n" : NOTES);
      expect(again.read("Core/a.md")).toBe(done ? NOTES : NOTES.slice(0, 40));
      expect((await again.memory.held()).map(({ version }) => version)).toEqual(done ? [] : [aside, applied]);
      expect(await again.memory.accept(aside)).toMatchObject({ already: done });
      expect(await again.memory.reject(applied)).toMatchObject({ already: done });
      expect([again.read(), again.read("Core/a.md")]).toEqual(["short\n", NOTES]);
      expect(await contentOf(again.memory, aside)).toBe("short\n");
      expect(await contentOf(again.memory, applied, "Core/a.md")).toBe(NOTES.slice(0, 40));
      expect((await again.memory.doctor()).filter(({ level }) => level === "error")).toEqual([]);
    },
  );
});

it("a rebuilt state knows what is held, with its content and what was decided", async () => {
  const { memory, root, data } = await holding();
  await memory.replace(KEY, NOTES);
  const open = await heldBy(memory.replace(KEY, "short\n"));
  const rejected = await heldBy(memory.replace(KEY, "other\n"));
  await memory.reject(rejected);
  await memory.replace("Core/a.md", NOTES);
  await memory.flush();
  truncateSync(data("Core/a.md"), 40);
  const applied = await memory.saved("Core/a.md");
  const held = await memory.held();
  await memory.close();

  const again = await roots.open(root, { rebuild: true });
  expect(await again.held()).toEqual(held);
  expect((await again.doctor()).filter(({ code }) => code !== null && code !== undefined).map(({ message }) => message)).toEqual(
    [],
  );
  expect(await contentOf(again, open)).toBe("short\n");
  expect(await contentOf(again, rejected)).toBe("other\n");
  await again.flush();
  expect(readFileSync(join(root, MIRROR, "Core/a.md"), "utf8")).toBe(NOTES);
  await again.reject(applied.version);
  await again.accept(open);
  await again.flush();
  expect(readFileSync(join(root, MIRROR, "Core/a.md"), "utf8")).toBe(NOTES);
  expect(readFileSync(data(KEY), "utf8")).toBe("short\n");
});
