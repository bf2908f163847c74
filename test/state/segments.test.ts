import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SCHEMA, schemaOf } from "../../src/state/schema.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { openState, STATE_FILE } from "../../src/state/state.ts";
import { accept, clock, freshFolder, hashOf, intentOf, key, openFresh } from "./folder.ts";

const erasing = ["erasures", "erasure_swaps", "erasure_places"];
const added = [
  "history",
  "joins",
  "writers",
  "segments_read",
  "foreign_versions",
  "held",
  "pins",
  "pruned_at",
  "masked",
  ...erasing,
];
const indexes = ["archives_of_base", "archives_of_file", "versions_of_time"];
const columns = { versions: ["details", "commitment"], conflicts: ["whose"], archives: ["base", "pruned"] };

describe("a state file of the first schema", () => {
  it("becomes one of this version, with all that it holds", async () => {
    const folder = freshFolder();
    const old = await openState(folder, clock);
    const first = intentOf("Meta/A.txt", 1);
    await accept(old, first);
    const copy = key("Archive/Meta/A_2026-03-01T00-00-00Z.txt");
    const next = { ...intentOf("Meta/A.txt", 2), old: first.new, archived_as: copy };
    const { version } = await accept(old, next, ["drive"]);
    await old.close();
    const database = openDatabase(join(folder, STATE_FILE), 0);
    for (const table of added) database.exec(`DROP TABLE ${table}`);
    for (const index of indexes) database.exec(`DROP INDEX ${index}`);
    for (const [table, names] of Object.entries(columns))
      for (const name of names) database.exec(`ALTER TABLE ${table} DROP COLUMN ${name}`);
    database.exec("PRAGMA user_version=1");
    const tables = database.prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").all();
    database.close();
    // the first entry of the migrations stays what it was: files that it made are out there
    expect(createHash("sha256").update(JSON.stringify(tables)).digest("hex").slice(0, 16)).toBe("12a1b7b235f7d7cf");

    const states = await Promise.all([1, 2, 3].map(() => openFresh(folder)));
    for (const state of states) {
      expect((await state.saves.last())?.version).toBe(version);
      expect(await state.jobs.job("drive", key("Meta/A.txt"))).toMatchObject({ version });
      expect(await state.segments.reach("drive", "w")).toMatchObject({ place: null });
      expect(await state.saves.archiveCopy(copy)).toMatchObject({ base: first.new?.base, pruned: false });
      expect(await state.saves.whereabouts(first.version)).toMatchObject({ inHead: false, copy: { key: copy } });
      expect(await state.saves.whereabouts(version)).toMatchObject({ inHead: true, copy: undefined });
      expect(await state.check()).toEqual([]);
    }
    const now = openDatabase(join(folder, STATE_FILE), 0);
    expect(schemaOf(now)).toBe(SCHEMA);
    now.close();
  });
});

describe("the writer of a state", () => {
  it("is made once, whoever asks first, and outlives the state file", async () => {
    const folder = freshFolder();
    const states = [await openFresh(folder), await openFresh(folder), await openFresh(folder)];
    const ids = new Set((await Promise.all(states.map(({ segments }) => segments.writer()))).map(({ id }) => id));
    expect(ids.size).toBe(1);
    expect([...ids][0]).toMatch(/^[0-9a-f]{20}$/);
    const path = join(folder, "writer.json");
    const kept = JSON.parse(readFileSync(path, "utf8")) as Record<string, string>;
    const idOf = async () => (await (await openFresh(folder)).segments.writer()).id;
    expect(await idOf()).toBe(kept["id"]);
    // a container's name changes, some file systems give a file another number
    writeFileSync(path, JSON.stringify({ ...kept, host: "another" }));
    expect(await idOf()).toBe(kept["id"]);
    writeFileSync(path, JSON.stringify({ ...kept, ino: "1" }));
    expect(await idOf()).toBe(kept["id"]);
  });

  it.each([
    ["a copy on another machine", (kept: object) => JSON.stringify({ ...kept, host: "another", ino: "1" })],
    ["a file that a crash cut", (kept: object) => JSON.stringify(kept).slice(0, 20)],
    ["no id", () => "{}"],
    ["nothing", () => "null"],
  ])("%s gets an id of its own", async (_, change) => {
    const folder = freshFolder();
    const { segments } = await openFresh(folder);
    const { id } = await segments.writer();
    const path = join(folder, "writer.json");
    writeFileSync(path, change(JSON.parse(readFileSync(path, "utf8")) as object));
    const next = (await segments.writer()).id;
    expect(next).not.toBe(id);
    expect((await segments.writer()).id).toBe(next);
  });

  it("is renewed once, however many find that it must be", async () => {
    const { segments } = await openFresh();
    const { id } = await segments.writer();
    await segments.found("drive", id, 5);
    const renewed = await Promise.all([1, 2, 3].map(() => segments.renewWriter(id)));
    expect(new Set(renewed.map((writer) => writer.id)).size).toBe(1);
    expect(renewed[0]?.id).not.toBe(id);
    expect(await segments.reach("drive", id)).toMatchObject({ place: null });
  });
});

it("what waits is what no target that holds anything has", async () => {
  const state = await openFresh();
  const { ledger, segments } = state;
  const first = await accept(state, intentOf("Meta/A.txt", 1));
  const at = Date.parse(first.timestamp);
  expect(await segments.oldestWaiting(["one", "two"])).toBeNull(); // no target holds anything: the jobs tell
  const copy = {
    key: key("Meta/A.txt"),
    rev: "1",
    sha256: hashOf(1),
    size: 1,
    version: first.version,
    verified_at: 1,
    drive_path: "",
  };
  await ledger.record({ target: "one", key: copy.key, version: first.version }, copy, "{}");
  expect(await segments.oldestWaiting(["one", "two"])).toBe(at);
  await segments.found("two", "w", 1);
  expect(await segments.oldestWaiting(["one", "two"])).toBe(at); // what two says counts once it holds something
  await segments.found("one", "w", 0);
  await segments.begin("one", "w", { first: 1, last: 1 });
  expect(await segments.reach("one", "w")).toMatchObject({ place: 0, under_way: { first: 1, last: 1 } });
  await segments.sent("one", "w", 1, 5);
  expect(await segments.reach("one", "w")).toMatchObject({ place: 1, under_way: null, sent_at: 5 });
  expect(await segments.oldestWaiting(["one", "two"])).toBeNull();
});
