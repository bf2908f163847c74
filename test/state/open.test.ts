import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SCHEMA } from "../../src/state/schema.ts";
import { openDatabase, sqliteLibrary } from "../../src/state/sqlite.ts";
import { openState, setStateAside, STATE_FILE } from "../../src/state/state.ts";
import { accept, clock, ended, freshFolder, intentOf, openFresh, said, start } from "./folder.ts";

const answer = async (...args: string[]) => {
  const child = await start("open.child.ts", ...args);
  const [text] = await Promise.all([said(child), ended(child)]);
  return JSON.parse(text) as Record<string, unknown>;
};

describe("opening the state", () => {
  it("makes a new one, for its owner only, in WAL mode, sound", async () => {
    const folder = join(freshFolder(), "deep", "state");
    const state = await openFresh(folder);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(state.journalMode).toBe("wal");
    expect(await state.check()).toEqual([]);
    expect(await state.saves.rootId()).toBeUndefined();
  });

  it.runIf(process.platform !== "win32")("in a folder that others may enter, its files are its owner's only", async () => {
    const folder = freshFolder();
    chmodSync(folder, 0o755);
    const mask = process.umask(0o022);
    try {
      await accept(await openFresh(folder), intentOf("Meta/A.txt", 1));
      const files = readdirSync(folder).filter((name) => name.startsWith(STATE_FILE));
      expect(files.length).toBeGreaterThan(1);
      expect(files.map((name) => [name, statSync(join(folder, name)).mode & 0o777])).toEqual(files.map((name) => [name, 0o600]));
    } finally {
      process.umask(mask);
    }
  });

  it("finds again what was accepted, also by many processes that open a new one at once", async () => {
    const folder = freshFolder();
    const answers = await Promise.all([1, 2, 3, 4].map(() => answer(folder)));
    expect(answers.map(({ place, check }) => [place, check])).toEqual([1, 2, 3, 4].map(() => [0, []]));
    const state = await openFresh(folder);
    const { version } = await accept(state, intentOf("Meta/A.txt", 1));
    await state.close();
    expect((await answer(folder))["place"]).toBe(1);
    const again = await openFresh(folder);
    expect((await again.saves.last())?.version).toBe(version);
    expect(await again.saves.rootId()).toBe(version);
  });

  it("refuses the state of a newer version and leaves it as it is", async () => {
    const folder = freshFolder();
    await (await openState(folder, clock)).close();
    const path = join(folder, STATE_FILE);
    const database = openDatabase(path, 0);
    database.exec(`PRAGMA user_version=${SCHEMA + 1}; PRAGMA wal_checkpoint(TRUNCATE)`);
    database.close();
    const before = readFileSync(path);
    await expect(openState(folder, clock)).rejects.toMatchObject({
      code: "E_STATE_NEWER",
      hint: expect.stringContaining("Update") as string,
      details: { schema: SCHEMA + 1, known: SCHEMA },
    });
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it("sets up a file that has no schema yet, such as one that a crash left empty", async () => {
    const folder = freshFolder();
    writeFileSync(join(folder, STATE_FILE), "");
    expect(await (await openFresh(folder)).check()).toEqual([]);
  });

  it.each(["text", "cut"])(
    "a damaged file (%s) is E_STATE_CORRUPT; set aside, it keeps its bytes under a free name",
    async (how) => {
      const folder = freshFolder();
      const state = await openState(folder, clock);
      for (let n = 1; n < 40; n++) await accept(state, intentOf(`Meta/${n}.txt`, n));
      await state.close();
      const path = join(folder, STATE_FILE);
      if (how === "text") writeFileSync(path, "not a database at all\n".repeat(500));
      else truncateSync(path, 4096);
      const before = readFileSync(path);
      await expect(openState(folder, clock)).rejects.toMatchObject({ code: "E_STATE_CORRUPT" });
      const aside = setStateAside(folder, "2026-03-01T10:20:30.000Z");
      expect(aside).toBe(`${path}.damaged-2026-03-01T10-20-30Z`);
      expect(readFileSync(aside).equals(before)).toBe(true);
      writeFileSync(path, "again");
      expect(setStateAside(folder, "2026-03-01T10:20:30.000Z")).toBe(`${aside}_2`);
      expect(() => setStateAside(folder, "2026-03-01T10:20:30.000Z")).toThrow(
        expect.objectContaining({ code: "E_NOT_FOUND" }) as Error,
      );
      expect(existsSync(path)).toBe(false);
      expect(await (await openFresh(folder)).check()).toEqual([]);
    },
  );

  it("is not set aside while someone has it open", async () => {
    const folder = freshFolder();
    const state = await openFresh(folder);
    expect(() => setStateAside(folder, "2026-03-01T10:20:30.000Z")).toThrow(expect.objectContaining({ code: "E_BUSY" }) as Error);
    await accept(state, intentOf("Meta/A.txt", 1));
    expect(readdirSync(folder).filter((name) => name.includes("damaged"))).toEqual([]);
  });

  it("a folder in its place, or a place that is a file, is an error with a code", async () => {
    const folder = freshFolder();
    mkdirSync(join(folder, STATE_FILE));
    await expect(openState(folder, clock)).rejects.toMatchObject({ code: "E_IO" });
  });

  it("errors inside a listing have a code too", async () => {
    const folder = freshFolder();
    const state = await openFresh(folder);
    await accept(state, intentOf("Meta/A.txt", 1));
    const database = openDatabase(join(folder, STATE_FILE), 1000);
    database.exec("UPDATE versions SET actor = '{'");
    database.close();
    const read = async () => {
      for await (const _ of state.saves.versions()) expect(_).toBeUndefined();
    };
    await expect(read()).rejects.toMatchObject({ code: "E_STATE_CORRUPT" });
  });

  it("facts of the root outlive the process", async () => {
    const folder = freshFolder();
    const state = await openState(folder, clock);
    expect(await state.getMeta("x")).toBeUndefined();
    await state.setMeta("x", "1");
    await state.setMeta("x", "2");
    await state.close();
    expect(await (await openFresh(folder)).getMeta("x")).toBe("2");
  });
});

describe("the SQLite library", () => {
  it("is one that this Node has", () => {
    expect(sqliteLibrary().name).toMatch(/^(better-sqlite3|node:sqlite) \d/);
  });

  it("absent, is E_NO_SQLITE with the two cures, and nothing is made", async () => {
    const folder = join(freshFolder(), "state");
    const { code, message, hint } = await answer(folder, "better-sqlite3,node:sqlite");
    expect({ code, message }).toEqual({
      code: "E_NO_SQLITE",
      message: `no SQLite for Node ${process.versions.node} is installed`,
    });
    expect(hint).toContain("npm install better-sqlite3");
    expect(hint).toContain("22.14");
    expect(existsSync(folder)).toBe(false);
  });

  it.skipIf(Number.parseInt(process.versions.node, 10) < 22)("falls back to Node's own, on a file of either", async () => {
    const folder = freshFolder();
    const state = await openState(folder, clock);
    await accept(state, intentOf("Meta/A.txt", 1));
    await state.close();
    expect(await answer(folder, "better-sqlite3")).toEqual({
      library: `node:sqlite ${process.versions.node}`,
      place: 1,
      check: [],
      journalMode: "wal",
    });
  });
});
