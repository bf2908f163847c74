import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { verifyChain } from "../../src/logs/verify.ts";
import type { JobRequest } from "../../src/state/jobs.ts";
import type { Mirrored } from "../../src/state/ledger.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { STATE_FILE } from "../../src/state/state.ts";
import { actorOf } from "../../src/core/version.ts";
import { accept, freshFolder, hashOf, intentOf, key, openFresh } from "./folder.ts";

const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
};

const request = (target: string, file: string, version: string, archive = false): JobRequest => ({
  target,
  key: key(file),
  version,
  sha256: hashOf(1),
  size: 1,
  archive,
  actor: actorOf({}),
});

const failure = { code: "E_TARGET_TRANSIENT", notes: "why", attempts: 3, canPass: true, runAt: 5000 } as const;

describe("saves", () => {
  it("get their place and link when they are accepted, in one unbroken chain", async () => {
    const state = await openFresh();
    for (let n = 1; n <= 5; n++) await accept(state, intentOf(`Meta/${n % 2}.txt`, n));
    const versions = await collect(state.saves.versions());
    expect(versions.map(({ place }) => place)).toEqual([1, 2, 3, 4, 5]);
    expect(await verifyChain(versions)).toMatchObject({ verified: 5, broken: null });
    expect((await collect(state.saves.versions(3))).map(({ place }) => place)).toEqual([4, 5]);
    expect(await state.saves.version(versions[2]?.version ?? "")).toEqual(versions[2]);
  });

  it("bring head, archive copy, jobs and log lines with them, or nothing", async () => {
    const state = await openFresh();
    const first = await accept(state, intentOf("Meta/A.txt", 1), ["t"]);
    const old = { base: first.version, sha256: hashOf(1), size: 1 };
    const copy = key("Archive/Meta/A_2026-03-01T00-00-00Z.txt");
    const next = intentOf("Meta/A.txt", 2, { old, archived_as: copy });
    await state.saves.begin(next);
    expect(await state.saves.intent(key("Meta/A.txt"))).toEqual(next);
    expect(await state.saves.intents()).toEqual([next]);
    expect((await state.saves.head(key("Meta/A.txt")))?.version).toBe(first.version);
    await state.saves.accept(next, { stamp: "s", targets: ["t"], archiveTargets: ["t"] });
    expect(await state.saves.intents()).toEqual([]);
    expect(await state.saves.head(key("Meta/A.txt"))).toEqual({
      key: "Meta/A.txt",
      version: next.version,
      stamp: "s",
      ...next.new,
    });
    expect(await state.saves.archiveCopy(copy)).toEqual({
      key: copy,
      file: "Meta/A.txt",
      version: next.version,
      sha256: hashOf(1),
      size: 1,
      base: next.old?.base,
      pruned: false,
    });
    expect(await state.saves.archivesOf(hashOf(1))).toHaveLength(1);
    expect((await collect(state.jobs.all())).map((job) => [job.key, job.version, job.archive])).toEqual([
      ["Meta/A.txt", next.version, false],
      [copy, next.version, true],
    ]);
    expect((await state.outbox.after("changes", 0, 10)).length).toBe(2);
    expect((await state.outbox.after("archives", 0, 10)).map(({ line }) => JSON.parse(line) as object)).toEqual([
      expect.objectContaining({ file: "Meta/A.txt", archived_as: copy, input_hash: hashOf(1), version: next.version }),
    ]);

    // an archive key can be used once: the whole save is taken back
    const failing = intentOf("Meta/B.txt", 3, { version: next.version });
    await state.saves.begin(failing);
    await expect(state.saves.accept(failing, { stamp: null, targets: ["t"], archiveTargets: [] })).rejects.toThrow("UNIQUE");
    expect(await state.saves.head(key("Meta/B.txt"))).toBeUndefined();
    expect(await state.jobs.job("t", key("Meta/B.txt"))).toBeUndefined();
    expect((await state.saves.last())?.place).toBe(2);
    await state.saves.withdraw(failing);
    expect(await state.saves.intents()).toEqual([]);
  });

  it("that archive leave no head; the next begins afresh", async () => {
    const state = await openFresh();
    const first = await accept(state, intentOf("Meta/A.txt", 1));
    const old = { base: first.version, sha256: hashOf(1), size: 1 };
    const gone = await accept(state, intentOf("Meta/A.txt", null, { old, archived_as: key("Archive/Meta/A_x.txt") }));
    expect(gone).toMatchObject({ op: "archive", sha256: null, size: null, prev_sha256: hashOf(1) });
    expect(await state.saves.head(key("Meta/A.txt"))).toBeUndefined();
    expect(await state.saves.countHeads()).toBe(0);
    expect(await state.saves.everHeld(key("Meta/A.txt"), hashOf(1))).toBe(true);
    expect(await state.saves.everHeld(key("Meta/B.txt"), hashOf(1))).toBe(false);
  });

  it("choose archive names that neither a copy nor a file has", async () => {
    const state = await openFresh();
    const free = (taken: readonly string[]) =>
      state.saves.freeArchiveKey(key("Meta/A.txt"), "2026-03-01T00:00:00.000Z", "Archive/", async (name) => taken.includes(name));
    const name = await free([]);
    expect(name).toBe("Archive/Meta/A_2026-03-01T00-00-00Z.txt");
    expect(await free([name])).toBe("Archive/Meta/A_2026-03-01T00-00-00Z_2.txt");
    const first = await accept(state, intentOf("Meta/A.txt", 1));
    await accept(
      state,
      intentOf("Meta/A.txt", 2, { old: { base: first.version, sha256: hashOf(1), size: 1 }, archived_as: name }),
    );
    expect(await free([])).toBe("Archive/Meta/A_2026-03-01T00-00-00Z_2.txt");
  });

  it("one intent a key: a second is refused", async () => {
    const state = await openFresh();
    await state.saves.begin(intentOf("Meta/A.txt", 1));
    await expect(state.saves.begin(intentOf("Meta/A.txt", 2))).rejects.toThrow("UNIQUE");
  });

  it("stamp only the version that they speak of", async () => {
    const state = await openFresh();
    const { version } = await accept(state, intentOf("Meta/A.txt", 1));
    await state.saves.stamp(key("Meta/A.txt"), "another", "wrong");
    expect((await state.saves.head(key("Meta/A.txt")))?.stamp).toBeNull();
    await state.saves.stamp(key("Meta/A.txt"), version, "right");
    expect((await state.saves.head(key("Meta/A.txt")))?.stamp).toBe("right");
  });

  it("are listed whole, page by page", async () => {
    const folder = freshFolder();
    const state = await openFresh(folder);
    const lines = [];
    for (let n = 1; n <= 2500; n++)
      lines.push({ version: { ...(await accept(state, intentOf(`Meta/${n}.txt`, n))) }, base: null });
    expect((await collect(state.saves.versions())).length).toBe(2500);
    const heads = await collect(state.saves.heads());
    expect(new Set(heads.map((head) => head.key)).size).toBe(2500);
  });

  it.each([
    ["heads", "UPDATE heads SET sha256 = 'x'"],
    ["heads", "UPDATE heads SET size = 99"],
    ["heads", "DELETE FROM versions"],
  ])("a state that contradicts itself is not believed (%s: %s)", async (_table, sql) => {
    const folder = freshFolder();
    const state = await openFresh(folder);
    await accept(state, intentOf("Meta/A.txt", 1));
    const database = openDatabase(join(folder, STATE_FILE), 1000);
    database.exec(sql);
    database.close();
    await expect(state.saves.head(key("Meta/A.txt"))).rejects.toMatchObject({ code: "E_STATE_CORRUPT" });
  });

  it("nothing is chained to a version that was altered", async () => {
    const folder = freshFolder();
    const state = await openFresh(folder);
    await accept(state, intentOf("Meta/A.txt", 1));
    const database = openDatabase(join(folder, STATE_FILE), 1000);
    database.exec("UPDATE versions SET op = 'append'");
    database.close();
    const next = intentOf("Meta/B.txt", 2);
    await state.saves.begin(next);
    await expect(state.saves.accept(next, { stamp: null, targets: [], archiveTargets: [] })).rejects.toMatchObject({
      code: "E_STATE_CORRUPT",
    });
    expect(await state.saves.head(key("Meta/B.txt"))).toBeUndefined();
  });
});

describe("the queue", () => {
  it("keeps one job for a key and target: the newest content takes its place, and starts anew", async () => {
    const state = await openFresh();
    await state.jobs.enqueue([request("t", "A.txt", "v1"), request("u", "A.txt", "v1")]);
    const first = await state.jobs.job("t", key("A.txt"));
    await state.jobs.park(first!, failure);
    expect(await state.jobs.job("t", key("A.txt"))).toMatchObject({
      state: "failed",
      attempts: 3,
      code: failure.code,
      notes: "why",
    });
    await state.jobs.enqueue([request("t", "A.txt", "v2")]);
    const second = await state.jobs.job("t", key("A.txt"));
    expect(second).toMatchObject({
      id: first?.id,
      created_at: first?.created_at,
      version: "v2",
      state: "pending",
      attempts: 0,
      run_at: 0,
      code: null,
    });
    expect((await state.jobs.job("u", key("A.txt")))?.version).toBe("v1");
    expect(await state.jobs.counts()).toEqual([
      expect.objectContaining({ target: "t", state: "pending", n: 1 }),
      expect.objectContaining({ target: "u", state: "pending", n: 1 }),
    ]);
  });

  it("sends every archive copy", async () => {
    const state = await openFresh();
    await state.jobs.enqueue([request("t", "Archive/A_1.txt", "v1", true), request("t", "Archive/A_2.txt", "v2", true)]);
    expect((await collect(state.jobs.all())).map((job) => [job.key, job.archive])).toEqual([
      ["Archive/A_1.txt", true],
      ["Archive/A_2.txt", true],
    ]);
  });

  it("does not end, or park, newer content that took the place of what was sent", async () => {
    const state = await openFresh();
    await state.jobs.enqueue([request("t", "A.txt", "v1")]);
    const sent = await state.jobs.job("t", key("A.txt"));
    await state.jobs.enqueue([request("t", "A.txt", "v2")]);
    await state.jobs.park(sent!, failure);
    await state.ledger.settle(sent!, "{}");
    expect(await state.jobs.job("t", key("A.txt"))).toMatchObject({ version: "v2", state: "pending" });
    await state.ledger.settle((await state.jobs.job("t", key("A.txt")))!, "{}");
    expect(await state.jobs.job("t", key("A.txt"))).toBeUndefined();
  });

  it("gives what is due: pending, and parked whose time has come and can pass, or all when asked", async () => {
    const state = await openFresh();
    await state.jobs.enqueue(["a", "b", "c", "d"].map((name) => request("t", name, name)));
    const job = async (name: string) => (await state.jobs.job("t", key(name)))!;
    await state.jobs.park(await job("b"), failure);
    await state.jobs.park(await job("c"), { ...failure, canPass: false });
    const due = async (at: number, hopeless?: boolean) =>
      (await state.jobs.due("t", at, 0, 10, hopeless)).map((found) => found.key);
    expect(await due(4999)).toEqual(["a", "d"]);
    expect(await due(5000)).toEqual(["a", "b", "d"]);
    expect(await due(5000, true)).toEqual(["a", "b", "c", "d"]);
    expect((await state.jobs.due("t", 5000, (await job("b")).id, 10)).map((found) => found.key)).toEqual(["d"]);
    expect(await state.jobs.due("u", 5000, 0, 10)).toEqual([]);
  });
});

describe("the ledger", () => {
  const copy = (file: string, n: number): Mirrored => ({
    key: key(file),
    rev: `rev${n}`,
    id: `id${n}`,
    sha256: hashOf(n),
    size: n,
    version: `v${n}`,
    verified_at: 1000 + n,
    drive_path: `Drive/${file}`,
  });

  it("records a verified copy, its log line and the end of its job together", async () => {
    const state = await openFresh();
    await state.jobs.enqueue([request("t", "A.txt", "v1")]);
    await state.ledger.setHealth("t", { code: "E_TARGET_UNREACHABLE", openUntil: 99 });
    await state.ledger.record({ target: "t", key: key("A.txt"), version: "v1" }, copy("A.txt", 1), '{"a":1}');
    expect(await state.ledger.mirrored("t", key("A.txt"))).toEqual(copy("A.txt", 1));
    expect(await state.ledger.mirrored("u", key("A.txt"))).toBeUndefined();
    expect(await state.jobs.job("t", key("A.txt"))).toBeUndefined();
    expect((await state.outbox.after("uploads", 0, 10)).map(({ line }) => line)).toEqual(['{"a":1}']);
    expect(await state.ledger.target("t")).toMatchObject({ last_success_at: 1001, open_until: 0, code: null, owned: false });
    await state.ledger.setOwned("t");
    expect((await state.ledger.target("t")).owned).toBe(true);
  });

  it("finds twins that differ only in case", async () => {
    const state = await openFresh();
    await state.ledger.record({ target: "t", key: key("É.txt"), version: "v1" }, copy("É.txt", 1), "{}");
    expect(await state.ledger.twin("t", key("é.txt"))).toBe("É.txt");
    expect(await state.ledger.twin("t", key("É.txt"))).toBeUndefined();
    expect(await state.ledger.twin("u", key("é.txt"))).toBeUndefined();
  });

  it("keeps conflicts until someone has looked", async () => {
    const state = await openFresh();
    const conflict = { target: "t", key: key("A.txt"), kept_as: key("Archive/A_1.txt"), sha256: hashOf(1), at: 5, whose: null };
    await state.ledger.addConflict(conflict);
    await state.ledger.addConflict(conflict);
    expect(await state.ledger.conflicts()).toEqual([conflict]);
    expect(await state.ledger.acknowledgeConflicts()).toBe(1);
    expect(await state.ledger.conflicts()).toEqual([]);
    expect(await state.ledger.acknowledgeConflicts()).toBe(0);
  });

  it("counts what no target holds: heads and archive copies, by their bytes", async () => {
    const state = await openFresh();
    const first = await accept(state, intentOf("A.txt", 3));
    await accept(
      state,
      intentOf("A.txt", 5, { old: { base: first.version, sha256: hashOf(3), size: 3 }, archived_as: key("Archive/A_1.txt") }),
    );
    expect(await state.ledger.unprotected(["t"])).toEqual({ bytes: 8, files: 2 });
    await state.ledger.record({ target: "t", key: key("A.txt"), version: "x" }, copy("A.txt", 3), "{}"); // an older one
    expect(await state.ledger.unprotected(["t"])).toEqual({ bytes: 8, files: 2 });
    await state.ledger.record({ target: "t", key: key("A.txt"), version: "x" }, copy("A.txt", 5), "{}");
    expect(await state.ledger.unprotected(["t"])).toEqual({ bytes: 3, files: 1 });
    expect(await state.ledger.unprotected([])).toEqual({ bytes: 8, files: 2 });
    expect(await state.ledger.unprotected(["u", "t"])).toEqual({ bytes: 3, files: 1 });
  });

  it("remembers what drivers want, each for itself", async () => {
    const state = await openFresh();
    const [one, two] = [state.ledger.driverMemory("one"), state.ledger.driverMemory("two")];
    await one.set("folder:a", "1");
    await one.set("folder:b", "2");
    await one.set("folder_", "3");
    await two.set("folder:a", "other");
    expect(await one.get("folder:a")).toBe("1");
    expect(await one.list("folder:")).toEqual([
      ["folder:a", "1"],
      ["folder:b", "2"],
    ]);
    await one.delete("folder:a");
    expect(await one.get("folder:a")).toBeUndefined();
    expect(await two.get("folder:a")).toBe("other");
  });
});

describe("the outbox", () => {
  const at = (seq: number, size: number) => ({ path: "log", ino: "7", size, seq });

  it("keeps each log's lines in order until they are safe, and its mark", async () => {
    const state = await openFresh();
    for (const line of ["a", "b", "c"]) await state.ledger.note(line);
    await accept(state, intentOf("A.txt", 1));
    const lines = await state.outbox.after("uploads", 0, 10);
    expect(lines.map(({ line }) => line)).toEqual(["a", "b", "c"]);
    const [first, second, third] = lines.map(({ seq }) => seq) as [number, number, number];
    expect((await state.outbox.after("uploads", first, 1)).map(({ line }) => line)).toEqual(["b"]);
    expect(await state.outbox.last("uploads")).toBe(third);
    expect(await state.outbox.mark("uploads")).toBeUndefined();

    await state.outbox.setMark("uploads", at(first, 2));
    expect(await state.outbox.mark("uploads")).toEqual({ ...at(first, 2), safe_size: 0, safe_seq: 0 });
    await state.outbox.setSafe("uploads", at(second, 4));
    expect(await state.outbox.mark("uploads")).toEqual({ ...at(second, 4), safe_size: 4, safe_seq: second });
    expect((await state.outbox.after("uploads", 0, 10)).map(({ line }) => line)).toEqual(["c"]);
    await state.outbox.setMark("uploads", at(third, 6));
    expect(await state.outbox.mark("uploads")).toEqual({ ...at(third, 6), safe_size: 4, safe_seq: second });
    expect((await state.outbox.after("changes", 0, 10)).length).toBe(1);
  });

  it("never gives a number twice, also when it was emptied and opened again", async () => {
    const folder = freshFolder();
    const state = await openFresh(folder);
    await state.ledger.note("a");
    const last = await state.outbox.last("uploads");
    await state.outbox.setSafe("uploads", at(last, 2));
    expect(await state.outbox.last("uploads")).toBe(0);
    await state.close();
    const again = await openFresh(folder);
    await again.ledger.note("b");
    expect(await again.outbox.last("uploads")).toBeGreaterThan(last);
  });
});
