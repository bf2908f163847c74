/** Several writers at one target: refused until joined, known to each other, and nothing of either is lost. */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Memory } from "../../src/open.ts";
import { createMemoryTarget, type MemoryTarget } from "../../src/testing/index.ts";
import { codeOf, freshRoots } from "../memory/root.ts";
import { changelog, histories, recording, stillClock } from "./place.ts";

const roots = freshRoots();
const KEY = "Meta/notes.txt";

const text = (place: MemoryTarget, key: string) =>
  place
    .objects()
    .filter((object) => object.key === key)
    .map(({ bytes }) => Buffer.from(bytes).toString("utf8"))
    .join(" and a twin: ");
const archived = (place: MemoryTarget) =>
  place
    .objects()
    .filter(({ key }) => key.startsWith("Archive/"))
    .map(({ bytes }) => Buffer.from(bytes).toString("utf8"))
    .toSorted();

/** Two memories; the first one has used the place. */
async function two(place: MemoryTarget) {
  const [a, b] = [
    await roots.open(roots.make(), { targets: { drive: place }, retryBaseMs: 0 }),
    await roots.open(roots.make(), { targets: { drive: place }, retryBaseMs: 0 }),
  ];
  await a.append(KEY, "of A");
  await a.flush();
  await b.append(KEY, "of B");
  return [a, b] as const;
}

const save = async (memory: Memory, content: string) => {
  await memory.replace(KEY, content);
  return memory.upload(KEY);
};

describe("a second memory root", () => {
  it("is refused, with the way out; joined, it writes there, and neither calls the other's versions a conflict", async () => {
    const place = createMemoryTarget();
    const [a, b] = await two(place);
    const refused = await b.upload(KEY);
    expect(refused).toMatchObject({ status: "fail", code: "E_TARGET_IN_USE" });
    expect(refused.notes).toContain("`aftersave targets join drive`");

    const joined = await b.join("drive");
    expect(joined).toMatchObject({ target: "drive", joined: true });
    expect(joined.owner).toBe((await a.log("changes"))[0]?.["version"]);
    expect(joined.writers).toHaveLength(2);
    expect((await b.status()).targets["drive"]).toMatchObject({ code: null, state: "new" });
    expect(await b.flush()).toMatchObject({ uploaded: 1, failed: 0, pending: 0 });
    expect(text(place, KEY)).toBe("of B");
    expect(archived(place)).toEqual(["of A"]); // whose only copy there it was

    await a.append(KEY, " again");
    expect(await a.upload(KEY)).toMatchObject({
      status: "success",
      notes: expect.stringContaining("the memory that writes here too ("),
    });
    expect(text(place, KEY)).toBe("of A again");
    expect(archived(place)).toEqual(["of A", "of B"]);
    await Promise.all([a.flush(), b.flush()]);
    for (const memory of [a, b]) expect(await memory.status()).toMatchObject({ conflicts: 0, failed: 0, pending: 0 });
    expect((await a.status()).targets["drive"]?.writers).toHaveLength(2);
    await Promise.all([a.close(), b.close()]);
    expect([...histories(place).values()].toSorted()).toEqual([changelog(a.root), changelog(b.root)].toSorted());
  });

  it("finds a stranger's content a conflict all the same", async () => {
    const place = createMemoryTarget();
    const [a, b] = await two(place);
    await b.join("drive");
    await b.flush();
    place.edit(KEY as never, "by hand");
    expect(await save(b, "B again")).toMatchObject({ status: "success", code: "E_CONFLICT" });
    place.edit(KEY as never, "by another hand");
    expect(await save(a, "A again")).toMatchObject({ status: "success", code: "E_CONFLICT" });
    expect(archived(place)).toEqual(expect.arrayContaining(["by hand", "by another hand"]));
    expect((await a.status()).conflicts).toBe(1);
  });

  it("what a writer had not told of yet is a conflict only until it has", async () => {
    const clock = stillClock();
    const place = createMemoryTarget();
    const root = roots.make();
    const a = await roots.open(roots.make(), { targets: { drive: place }, clock });
    await a.append(KEY, "of A");
    await a.flush();
    const b = await roots.open(root, { targets: { drive: place }, clock });
    await b.append(KEY, "of B");
    await b.join("drive");
    await b.flush();
    await a.append(KEY, " again");
    await a.flush();
    await b.append(KEY, " again");
    await b.work(); // the data, not yet the history
    await a.append(KEY, " and again");
    await a.work();
    expect((await a.status()).conflicts).toBe(1);
    expect(archived(place)).toContain("of B again");
    await b.flush();
    await a.append("Meta/other.txt", "x");
    await a.flush();
    expect((await a.status()).conflicts).toBe(0);
  });

  it("stays joined when the state is rebuilt, and is refused where a third one's marker is", async () => {
    const place = createMemoryTarget();
    const [, b] = await two(place);
    await b.join("drive");
    await b.flush();
    await b.close();
    for (const suffix of ["", "-wal", "-shm"]) rmSync(join(b.root, `.aftersave/state.db${suffix}`), { force: true });
    const again = await roots.open(b.root, { targets: { drive: place }, retryBaseMs: 0 });
    expect(await save(again, "after the rebuild")).toMatchObject({ status: "success" });
    expect((await again.status()).conflicts).toBe(0);
    await again.close();
    expect([...histories(place).values()]).toContain(changelog(b.root));

    const third = createMemoryTarget();
    third.edit(".aftersave/root.json" as never, '{"memory_root":"a third one"}');
    const moved = await roots.open(b.root, { targets: { drive: third }, retryBaseMs: 0 });
    expect(await codeOf(moved.join("drive").then(() => moved.join("nowhere")))).toBe("E_TARGET_UNKNOWN");
    third.edit(".aftersave/root.json" as never, "nothing that can be read");
    expect(await codeOf(moved.join("drive"))).toBe("E_TARGET_IN_USE");
  });

  it("joins nothing where the place is its own, or nobody's", async () => {
    const place = createMemoryTarget();
    const memory = await roots.open(roots.make(), { targets: { drive: place } });
    expect(await memory.join("drive")).toEqual({ target: "drive", owner: null, joined: false, writers: [] });
    expect(place.objects()).toEqual([]); // it has nothing that could own it
    await memory.append(KEY, "x");
    expect(await memory.join("drive")).toMatchObject({
      owner: null,
      joined: false,
      writers: [{ host: expect.any(String) as string }],
    });
    expect(await memory.join("drive")).toMatchObject({ joined: false });
    expect(await memory.flush()).toMatchObject({ uploaded: 1 });
  });

  it("is not joined where the target is not enabled", async () => {
    const root = roots.make({ targets: { drive: { type: "folder", enabled: false, path: "./mirror/" } } });
    expect(await codeOf((await roots.open(root)).join("drive"))).toBe("E_TARGET_DISABLED");
  });
});

describe("the same memory on a second machine", () => {
  it("needs no join, is a writer of its own, and knows the first one's versions", async () => {
    const place = createMemoryTarget();
    const record = recording();
    const root = roots.make();
    const one = await roots.open(root, { targets: { drive: place } });
    await one.append(KEY, "both");
    await one.flush();
    await one.close();
    const other = roots.make();
    rmSync(other, { recursive: true });
    cpSync(root, other, { recursive: true });
    rmSync(join(other, ".aftersave"), { recursive: true }); // as a clone of the folder, without the state
    const [a, b] = [
      await roots.open(root, { targets: { drive: place } }),
      await roots.open(other, { targets: { drive: record(place) } }),
    ];
    await a.append(KEY, ", then one");
    await a.flush();
    await b.append(KEY, ", then the other");
    expect(await b.flush()).toMatchObject({ failed: 0, pending: 0 });
    expect(await b.status()).toMatchObject({ conflicts: 0 });
    expect(archived(place)).toEqual(["both, then one"]);
    expect((await b.status()).targets["drive"]?.writers).toHaveLength(2);
    await Promise.all([a.close(), b.close()]);
    expect([...histories(place).values()].toSorted()).toEqual([changelog(root), changelog(other)].toSorted());
    const read = record.calls.filter((call) => call.startsWith("read") && call.includes("history"));
    expect(read.length).toBe(new Set(read).size); // each segment is read once
  });
});
