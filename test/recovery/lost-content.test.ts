/** Content that is nowhere here any more: verify names it until it is back, and a target brings it back. */
import { rmSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { createMemoryTarget } from "../../src/testing/index.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { clockAt, makeRoot } from "./root.ts";

async function mirrored() {
  const [place, second] = [createMemoryTarget(), createMemoryTarget()];
  const targets = {
    drive: { type: "folder", enabled: true, path: "./mirror" },
    second: { type: "folder", enabled: true, path: "./second" },
  };
  const options = { targets: { drive: place, second }, clock: clockAt("2026-01-01T00:00:00Z") };
  const root = makeRoot({ targets });
  const memory = await root.open(options);
  await memory.replace("Core/c.json", "1");
  await memory.replace("Core/c.json", "22");
  await memory.append("Meta/a.txt", "a\n");
  await memory.replace("Meta/a.txt", "b\n");
  await memory.flush();
  const bare = makeRoot({ targets });
  return { place, second, options, root, memory, bare };
}

describe("what a key holds", () => {
  it("and no target gave: verify and doctor name it, until another target gives it", async () => {
    const { place, options, bare } = await mirrored();
    await place.remove("Core/c.json" as Key);
    const memory = await bare.open(options);
    expect((await memory.restoreFrom("drive")).missing).toMatchObject([{ file: "Core/c.json", why: "absent" }]);
    const lost = { level: "error", code: "E_CONTENT_GONE", file: "Core/c.json" };
    const report = await memory.verify();
    expect(report.ok).toBe(false);
    expect(report.findings.filter(({ code }) => code === "E_CONTENT_GONE")).toMatchObject([lost]);
    expect(report.findings.find(({ code }) => code === "E_CONTENT_GONE")!.next).toContain("restore --from");
    await memory.flush();
    expect((await memory.verify({ target: "drive", restore: true })).findings).toContainEqual(expect.objectContaining(lost));
    expect((await memory.doctor()).filter(({ code }) => code === "E_CONTENT_GONE")).toMatchObject([{ level: "error" }]);
    await memory.restoreFrom("second");
    expect((await memory.verify()).findings.filter(({ level }) => level === "error")).toEqual([]);
    expect((await memory.show("Core/c.json")).size).toBe(2);
  });

  it("that was archived or erased is not missed", async () => {
    const { memory } = await mirrored();
    await memory.archive("Core/c.json");
    await memory.erase({ key: "Meta/a.txt" });
    expect((await memory.verify()).ok).toBe(true);
    const { version } = await memory.append("Meta/b.txt", "one\n");
    await memory.append("Meta/b.txt", "two and more of it\n");
    await memory.erase({ version });
    await memory.archive("Meta/b.txt");
    expect((await memory.verify()).findings).toEqual([]);
  });
});

describe("archive copies that were removed", () => {
  const gone = async () => {
    const all = await mirrored();
    const { root } = all;
    await all.memory.append("Core/p.txt", "p1");
    await all.memory.replace("Core/p.txt", "p2");
    await all.memory.flush();
    const before = root.files("Data");
    rmSync(root.at("Data/Archive"), { recursive: true });
    return { ...all, before };
  };

  it("come back from a target, and verify is content", async () => {
    const { memory, root, before } = await gone();
    const wrong = (await memory.verify()).findings;
    expect(wrong.map(({ code }) => code)).toEqual(["E_ARCHIVE_CHANGED", "E_ARCHIVE_CHANGED", "E_ARCHIVE_CHANGED"]);
    for (const { next } of wrong) expect(next).toContain("restore --from");
    expect(await memory.restoreFrom("drive", { dryRun: true })).toMatchObject({ copies: 3, changes: [], missing: [] });
    expect(root.files("Data")).not.toEqual(before);
    expect(await memory.restoreFrom("drive", { prefix: "Meta" })).toMatchObject({ copies: 1 });
    expect(await memory.restoreFrom("drive")).toMatchObject({ copies: 2, receipts: [], missing: [], left: [] });
    expect(root.files("Data")).toEqual(before);
    expect((await memory.verify()).findings).toEqual([]);
    expect(await memory.restoreFrom("drive")).toMatchObject({ copies: 0, missing: [] });
  });

  it("that are other bytes there, or were pruned or erased, do not come", async () => {
    const { memory, place, root, before } = await gone();
    const [c, p, a] = ["c_", "p_", "a_"].map((name) => Object.keys(before).find((path) => path.includes(`/${name}`))!);
    place.edit(c as Key, "forged");
    await memory.erase({ key: "Core/p.txt" });
    const db = openDatabase(root.state, 1000);
    db.exec(`UPDATE archives SET pruned = 1 WHERE key = '${a}'`);
    db.close();
    const done = await memory.restoreFrom("drive");
    expect(done).toMatchObject({ copies: 0, missing: [{ file: c, why: "other" }] });
    expect(p).toBeDefined();
    expect(Object.keys(root.files("Data")).filter((path) => path.startsWith("Archive"))).toEqual([]);
  });
});
