/** What a target holds is read back: each kind of damage there is named, cured, and a restore from it is proven. */
import { cpSync, existsSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { ulid } from "ulid";
import { describe, expect, it } from "vitest";
import { ownKey, type Key } from "../../src/core/key.ts";
import { forward, type Target } from "../../src/core/target.ts";
import { chain, changelogLine, erased, type Version } from "../../src/core/version.ts";
import { parseChangelogLine } from "../../src/logs/verify.ts";
import type { Memory, OpenOptions } from "../../src/open.ts";
import { createMemoryTarget, type MemoryTarget } from "../../src/testing/index.ts";
import { codeOf } from "../memory/root.ts";
import { recording, segmentsOf } from "../mirror/place.ts";
import { clockAt, makeRoot, type Root } from "./root.ts";

const DRIVE = { target: "drive" };

/** Two files and an archive copy, all at the target, in two segments of history. */
async function mirrored(place: MemoryTarget = createMemoryTarget(), wrap: (target: Target) => Target = (target) => target) {
  const root = makeRoot();
  const options: OpenOptions = { targets: { drive: wrap(place) }, clock: clockAt("2026-01-01T00:00:00Z") };
  const memory = await root.open(options);
  await memory.append("Meta/a.txt", "a1\n");
  await memory.append("Meta/a.txt", "a2\n");
  await memory.flush();
  await memory.replace("Meta/a.txt", "whole\n");
  await memory.append("Core/b.txt", "b\n");
  await memory.flush();
  return { root, memory, place, options };
}

const wrongs = async (memory: Memory, more = {}) => (await memory.verify({ ...DRIVE, ...more })).findings;
const segment = (place: MemoryTarget, n: number) => {
  const { writer, name, text } = segmentsOf(place)[n]!;
  return { key: ownKey(`${writer}/history/${name}`), lines: text.split("\n").slice(0, -1) };
};
const rewrite = (place: MemoryTarget, n: number, change: (lines: string[]) => string[]) => {
  const { key, lines } = segment(place, n);
  place.edit(key, `${change(lines).join("\n")}\n`);
  return key;
};
const versionOf = (line: string) => parseChangelogLine(JSON.parse(line)) as Version;

describe("files at a target", () => {
  it("all is well: hashes are compared, nothing is read, nothing is written; the time is recorded", async () => {
    const record = recording();
    const { memory } = await mirrored(createMemoryTarget(), record);
    const before = (await memory.status()).targets["drive"]!.last_verified_at;
    record.calls.length = 0;
    expect(await memory.verify(DRIVE)).toMatchObject({
      ok: true,
      findings: [],
      target: {
        name: "drive",
        files: 3,
        compared: 3,
        read: 0,
        unproven: 0,
        pending: 0,
        history: { lines: 4, segments: 2 },
        restore: null,
      },
    });
    expect(record.calls.filter((call) => !call.startsWith("list") && !/\.aftersave/.test(call))).toEqual([]);
    expect(record.calls.filter((call) => /^(put|copy|remove)/.test(call))).toEqual([]);
    expect((await memory.status()).targets["drive"]!.last_verified_at! > before!).toBe(true);
    expect(await memory.verify({ ...DRIVE, download: true })).toMatchObject({ findings: [], target: { read: 3, bytes: 14 } });
  });

  it.each([
    [
      "altered",
      (place: MemoryTarget) => void place.edit("Core/b.txt" as Key, "B\n"),
      "E_TARGET_CORRUPT",
      "is not what was sent there",
    ],
    ["removed", (place: MemoryTarget) => place.drop("Core/b.txt" as Key), "E_TARGET_ABSENT", "is gone from drive"],
  ])("one that was %s is named; doctor --fix and flush send it again", async (_, damage, code, what) => {
    const { memory, place } = await mirrored();
    const before = (await memory.status()).targets["drive"]!.last_verified_at;
    damage(place);
    expect(await wrongs(memory)).toMatchObject([
      { level: "error", code, file: "Core/b.txt", target: "drive", what: expect.stringContaining(what) },
    ]);
    expect((await memory.status()).targets["drive"]!.last_verified_at).toBe(before);
    expect(await memory.flush()).toMatchObject({ uploaded: 0 }); // verify changed nothing
    await memory.doctor({ fix: true });
    expect(await memory.flush()).toMatchObject({ uploaded: 1 });
    expect(await wrongs(memory, { download: true })).toEqual([]);
  });

  it("an archive copy there counts as much as a file", async () => {
    const { memory, place } = await mirrored();
    const copy = place.objects().find(({ key }) => key.startsWith("Archive/"))!.key;
    place.drop(copy);
    expect(await wrongs(memory)).toMatchObject([{ code: "E_TARGET_ABSENT", file: copy }]);
    await memory.doctor({ fix: true });
    await memory.flush();
    expect(await wrongs(memory)).toEqual([]);
  });

  it("a place that reports no hash is told as not proven; its bytes are read when asked for, and a lie in its hashes shows", async () => {
    const { memory, place } = await mirrored(createMemoryTarget({ hashes: [] }));
    expect(await memory.verify(DRIVE)).toMatchObject({ findings: [], target: { compared: 0, unproven: 3 } });
    place.edit("Core/b.txt" as Key, "B\n");
    expect(await wrongs(memory)).toEqual([]); // as long: nobody can tell
    expect(await wrongs(memory, { download: true })).toMatchObject([{ code: "E_TARGET_CORRUPT", file: "Core/b.txt" }]);
  });

  it("samples rotate through everything", async () => {
    const record = recording();
    const { memory } = await mirrored(createMemoryTarget(), record);
    for (let n = 0; n < 7; n++) await memory.append(`More/${n}.txt`, `${n}`);
    await memory.flush();
    const read = async () => {
      record.calls.length = 0;
      expect(await memory.verify({ ...DRIVE, sample: 4 })).toMatchObject({ findings: [], target: { read: 4, compared: 6 } });
      return record.calls.filter((call) => call.startsWith("read") && !call.includes(".aftersave"));
    };
    const [first, second, third] = [await read(), await read(), await read()];
    expect(new Set([...first, ...second, ...third]).size).toBe(10);
    expect(new Set([...first, ...second]).size).toBe(8);
  });

  it("a joined writer's newer version is no damage", async () => {
    const { memory, place, options } = await mirrored();
    const other = await makeRoot().open({ ...options, targets: { drive: place } });
    await other.append("Core/b.txt", "of the other\n");
    await other.join("drive");
    await other.flush();
    expect(await memory.verify(DRIVE)).toMatchObject({
      ok: true,
      findings: [{ level: "warning", file: "Core/b.txt", what: expect.stringContaining("another writer") }],
    });
  });

  it("what others of this memory save and send meanwhile makes no false alarm", async () => {
    const { root, memory, options } = await mirrored();
    const other = await root.open(options);
    let done = false;
    const saving = (async () => {
      for (let n = 0; n < 40; n++) {
        await other.append("Core/b.txt", `${n}\n`);
        if (n % 5 === 0) await other.replace("Meta/a.txt", `whole ${n}\n`);
        if (n % 3 === 0) await other.flush();
      }
      done = true;
    })();
    let looks = 0;
    while (!done) {
      expect(await memory.verify({ ...DRIVE, download: true, restore: looks++ % 2 === 1 })).toMatchObject({
        ok: true,
        findings: [],
      });
    }
    await saving;
    expect(looks).toBeGreaterThan(1);
  });
});

describe("the history at a target", () => {
  const cases: Record<string, [(place: MemoryTarget) => void, object]> = {
    "a line that was altered": [
      (p) => void rewrite(p, 1, (l) => l.with(0, l[0]!.replace("UNKNOWN", "Mallory"))),
      { place: 3, line: 1, what: expect.stringMatching(/^line 3 of the history was altered in the history on drive/) as string },
    ],
    "a line with a fresh sum": [
      (p) =>
        void rewrite(p, 1, (l) =>
          l.with(
            1,
            changelogLine(
              ((v: Version) => chain({ ...factsOf(v), reason: "Mallory" }, v.place, v.prev, v.salt!))(versionOf(l[1]!)),
            ),
          ),
        ),
      { place: 4, line: 2, what: expect.stringContaining("altered") as string },
    ],
    "a line that is gone": [
      (p) => void rewrite(p, 0, (l) => l.slice(0, 1)),
      { place: 2, what: expect.stringContaining("line 2 of the history was removed") as string },
    ],
    "a segment that is gone": [
      (p) => p.drop(segment(p, 0).key),
      { place: 1, what: expect.stringContaining("lines 1 to 2 of the history were removed") as string },
    ],
    "the last segment": [
      (p) => p.drop(segment(p, 1).key),
      { place: 3, what: expect.stringContaining("lines 3 to 4 of the history were removed") as string },
    ],
    "a line put in": [
      (p) => void rewrite(p, 0, (l) => [...l, l[0]!.replace("UNKNOWN", "Mallory")]),
      { place: 3, line: 3, what: expect.stringContaining("put into") as string },
    ],
    "two lines that changed places": [
      (p) => void rewrite(p, 0, (l) => l.toReversed()),
      { place: 1, line: 1, what: expect.stringContaining("moved") as string },
    ],
    "a key that stands in a line twice": [
      (p) => void rewrite(p, 0, (l) => l.with(1, l[1]!.replace("{", '{"chat_name":"EVIL",'))),
      { place: 2, line: 2, what: expect.stringContaining("was altered") as string },
    ],
    "a line blanked by hand": [
      (p) => void rewrite(p, 0, (l) => l.with(1, changelogLine(erased(versionOf(l[1]!))))),
      { place: 2, line: 2, what: expect.stringContaining("no erasure names it") as string },
    ],
  };
  it.each(Object.entries(cases))("%s is named; doctor --fix and flush tell it again", async (_, [damage, expected]) => {
    const { memory, place } = await mirrored();
    damage(place);
    expect(await wrongs(memory)).toMatchObject([{ code: "E_HISTORY", target: "drive", ...expected }]);
    await memory.doctor({ fix: true });
    await memory.flush();
    expect(await wrongs(memory)).toEqual([]);
    expect(await wrongs(memory, { restore: true })).toEqual([]);
  });

  it("file and state rewritten alike, with fresh sums: the target still knows what was", async () => {
    const { root, memory, options } = await mirrored();
    await memory.close();
    const lines = readFileSync(root.changelog, "utf8").split("\n").slice(0, -1).map(versionOf);
    let before: Version | undefined;
    const forged = lines.map(
      (v, n) =>
        (before = chain({ ...factsOf(v), ...(n === 2 ? { chat_name: "Mallory" } : {}) }, v.place, before?.sum ?? null, v.salt!)),
    );
    writeFileSync(root.changelog, forged.map((v) => `${changelogLine(v)}\n`).join(""));
    const { openDatabase } = await import("../../src/state/sqlite.ts");
    const db = openDatabase(root.state, 1000);
    for (const v of forged)
      db.prepare("UPDATE versions SET sum = ?, prev = ?, actor = json_set(actor, '$.chat_name', ?) WHERE place = ?").run(
        v.sum,
        v.prev,
        v.chat_name,
        v.place,
      );
    db.close();
    const again = await root.open(options);
    expect(await again.verify()).toMatchObject({ findings: [] }); // here nobody can tell any more
    expect(await wrongs(again)).toMatchObject([{ code: "E_HISTORY", place: 3 }]);
  });

  it("a marker that is gone", async () => {
    const { memory, place } = await mirrored();
    place.drop(ownKey("root.json"));
    expect(await wrongs(memory)).toMatchObject([{ code: "E_TARGET_ABSENT", what: expect.stringContaining("marker") }]);
    await memory.doctor({ fix: true });
    await memory.append("Core/b.txt", "x");
    await memory.flush();
    expect(await wrongs(memory)).toEqual([]);
  });
});

const LOST = ["the whole folder", "the state file alone, and the writer's name is kept"] as const;

describe.each(LOST)("a state that was lost (%s): what its former writer told is compared too", (what) => {
  const lose = (root: Root) => {
    if (what === LOST[0]) rmSync(root.at(".aftersave"), { recursive: true });
    else for (const end of ["", "-wal", "-shm"]) rmSync(`${root.state}${end}`, { force: true });
  };
  const CHANGED = { chat_name: "Mallory" };
  const id = () => ulid(Date.parse("2026-01-02T00:00:00Z"));
  /** Loses the state, and writes the changelog from its third line on as `forge` has it, with fresh sums. */
  async function lost(forge: (versions: Version[]) => Version[]) {
    const { root, memory, place, options } = await mirrored();
    await memory.close();
    const all = readFileSync(root.changelog, "utf8").split("\n").slice(0, -1).map(versionOf);
    let before: Version | undefined;
    const lines = forge(all).map(
      (v, at) => (before = at < 2 ? v : chain(factsOf(v), at + 1, before?.sum ?? null, v.salt!)), // the first two are as they were
    );
    lose(root);
    writeFileSync(root.changelog, lines.map((v) => `${changelogLine(v)}\n`).join(""));
    return { root, place, memory: await root.open(options) };
  }

  it("nothing to say when nobody touched the changelog, before and after the next flush", async () => {
    const { memory } = await lost((v) => v);
    const regained = [{ code: "E_LOG_ALTERED", level: "warning" }]; // the file alone vouches for its lines by now
    expect(await wrongs(memory)).toMatchObject(regained);
    await memory.append("Core/b.txt", "more\n");
    await memory.flush();
    expect(await memory.verify(DRIVE)).toMatchObject({ ok: true, findings: regained, target: { history: { own_ways: [] } } });
  });

  it.each<[string, (v: Version[]) => Version[], Record<string, unknown>]>([
    ["a line says something else", (v) => v.with(2, { ...v[2]!, ...CHANGED }), { level: "error", place: 3 }],
    ["a line was taken out", (v) => v.toSpliced(2, 1), { level: "error", place: 3 }],
    [
      "the end was cut off",
      (v) => v.slice(0, 3),
      { level: "error", place: 4, what: expect.stringContaining("tells line 4") as string },
    ],
    [
      "every line has a new id",
      (v) => v.map((one, n) => (n < 2 ? one : { ...one, ...CHANGED, version: id() })),
      { level: "warning", place: 3 },
    ],
  ])("%s: the first place that differs is named, also after the next flush", async (_, forge, expected) => {
    const { memory } = await lost(forge);
    const history = async () => (await wrongs(memory)).filter(({ code }) => code === "E_HISTORY");
    expect(await history()).toMatchObject([{ target: "drive", ...expected }]);
    await memory.append("Core/c.txt", "more\n");
    await memory.flush();
    expect(await history()).toMatchObject([{ place: expected["place"] }]);
  });

  it("the first line was rewritten: it is another memory root by now, and the marker says so", async () => {
    const { root, memory, options } = await mirrored();
    await memory.close();
    const all = readFileSync(root.changelog, "utf8").split("\n").slice(0, -1).map(versionOf);
    let before: Version | undefined;
    const forged = all.map(
      (v, n) =>
        (before = chain(
          { ...factsOf(v), version: n === 0 ? all[0]!.version.replace(/.$/, "0") : v.version },
          n + 1,
          before?.sum ?? null,
          v.salt!,
        )),
    );
    lose(root);
    writeFileSync(root.changelog, forged.map((v) => `${changelogLine(v)}\n`).join(""));
    expect(await wrongs(await root.open(options))).toMatchObject([{ code: "E_LOG_ALTERED" }, { code: "E_TARGET_IN_USE" }]);
  });

  it("another machine that goes its own way is told, and is no finding", async () => {
    const { root, memory, place } = await mirrored();
    const other = makeRoot();
    await memory.log("changes"); // what waits to be written to the file is written
    cpSync(root.at("Data"), other.at("Data"), { recursive: true });
    cpSync(root.at("logs"), other.at("logs"), { recursive: true });
    const second = await other.open({ targets: { drive: place }, clock: clockAt("2026-01-05T00:00:00Z") });
    await second.append("Core/theirs.txt", "x\n");
    await second.flush();
    expect(await wrongs(memory)).toMatchObject([{ level: "warning", code: "E_HISTORY", place: 5 }]); // longer than ours, and begins with it
    await memory.append("Core/ours.txt", "x\n");
    await memory.flush();
    const { ok, findings, target } = await memory.verify(DRIVE);
    expect([ok, findings]).toEqual([true, []]);
    expect(target!.history.own_ways).toMatchObject([{ from: 5 }]);
  });
});

const factsOf = ({ place: _, prev: __, sum: ___, salt: ____, commitment: _____, ...facts }: Version) => facts;

describe("a proven restore", () => {
  const scratch = (root: Root) => existsSync(root.at(".aftersave/scratch"));

  it("rebuilds the tree from the target alone, compares it byte for byte, is recorded and shown; nothing stays behind", async () => {
    const { root, memory } = await mirrored();
    const files = root.files("Data");
    const report = await memory.verify({ ...DRIVE, restore: true });
    expect(report).toMatchObject({
      ok: true,
      findings: [],
      target: { restore: { proven: true, files: 3, bytes: 14, excused: 0 } },
    });
    expect(scratch(root)).toBe(false);
    expect(root.files("Data")).toEqual(files);
    const { last_proven_restore_at, proven_restore } = (await memory.status()).targets["drive"]!;
    expect(Date.parse(last_proven_restore_at!)).toBeGreaterThan(0);
    expect(proven_restore).toEqual({ files: 3, bytes: 14, ms: report.target!.restore!.ms });
    expect(await memory.verify(DRIVE)).toMatchObject({ target: { restore: null } });
    expect((await memory.status()).targets["drive"]!.last_proven_restore_at).toBe(last_proven_restore_at);
  });

  it("is not proven when one byte is wrong there, and says which file; an earlier proof stays", async () => {
    const { memory, place } = await mirrored(createMemoryTarget({ hashes: [] }));
    await memory.verify({ ...DRIVE, restore: true });
    const { last_proven_restore_at } = (await memory.status()).targets["drive"]!;
    place.edit("Core/b.txt" as Key, "B\n");
    const { ok, findings, target } = await memory.verify({ ...DRIVE, restore: true });
    expect([ok, target!.restore!.proven]).toEqual([false, false]);
    expect(findings).toMatchObject([{ code: "E_TARGET_CORRUPT", file: "Core/b.txt" }]);
    expect((await memory.status()).targets["drive"]!.last_proven_restore_at).toBe(last_proven_restore_at);
  });

  it("is not proven where the bytes that are kept here are others", async () => {
    const { root, memory } = await mirrored();
    const [name] = Object.keys(root.files(".aftersave/heads")).filter(
      (head) => readFileSync(root.at(".aftersave/heads", head), "utf8") === "b\n",
    );
    writeFileSync(root.at(".aftersave/heads", name!), "B\n");
    const { findings, target } = await memory.verify({ ...DRIVE, restore: true });
    expect(findings.map(({ code, file }) => `${file} ${code}`)).toEqual(["Core/b.txt E_DAMAGED", "Core/b.txt E_TARGET_CORRUPT"]);
    expect(target!.restore!.proven).toBe(false);
  });

  it("what waits to be sent is no damage, and is counted", async () => {
    const { memory } = await mirrored();
    await memory.append("Core/b.txt", "later\n");
    await memory.append("new.txt", "new\n");
    expect(await memory.verify({ ...DRIVE, restore: true })).toMatchObject({
      ok: true,
      findings: [],
      target: { pending: 2, restore: { proven: true, files: 3 } },
    });
  });

  it("without room on the disk it says so, and nothing is left", async () => {
    const { root, memory, place } = await mirrored();
    const { bavail, bsize } = statfsSync(root.path);
    // a history that says that one file is larger than the disk
    const lines = segment(place, 1).lines.map(versionOf);
    const huge = chain({ ...factsOf(lines[1]!), size: bavail * bsize + 1 }, 4, lines[0]!.sum, lines[1]!.salt!);
    rewrite(place, 1, (l) => [l[0]!, changelogLine(huge)]);
    expect(await codeOf(memory.verify({ ...DRIVE, restore: true }))).toBe("E_NO_SPACE");
    expect(scratch(root)).toBe(false);
  });

  it("a target that cannot be reached is an error, not damage; an unknown one too", async () => {
    const { TargetError } = await import("../../src/core/errors.ts");
    const place = createMemoryTarget();
    let away = false;
    const { memory } = await mirrored(place, (inner) =>
      forward(inner, {
        list: (prefix, call) => {
          if (away) throw new TargetError("transient", "away", { code: "E_TARGET_UNREACHABLE" });
          return inner.list(prefix, call);
        },
      }),
    );
    away = true;
    expect(await codeOf(memory.verify(DRIVE))).toBe("E_TARGET_UNREACHABLE");
    expect(await codeOf(memory.verify({ target: "nowhere" }))).toBe("E_TARGET_UNKNOWN");
  });

  it("of a folder on this disk, with everything", async () => {
    const root = makeRoot();
    const memory = await root.open();
    for (let n = 0; n < 5; n++) await memory.append(`Meta/${n}.txt`, `${n}`);
    await memory.replace("Meta/1.txt", "x");
    await memory.flush();
    expect(await memory.verify({ ...DRIVE, restore: true, download: true })).toMatchObject({
      ok: true,
      findings: [],
      target: { files: 6, read: 6, restore: { proven: true, files: 6 } },
    });
    rmSync(root.at("mirror/Drive/MemoryVDB/Meta/3.txt"));
    writeFileSync(root.at("mirror/Drive/MemoryVDB/Meta/4.txt"), "Z");
    expect((await wrongs(memory, { restore: true })).map(({ code, file }) => `${file} ${code}`).toSorted()).toEqual([
      "Meta/3.txt E_TARGET_ABSENT",
      "Meta/3.txt E_TARGET_ABSENT",
      "Meta/4.txt E_TARGET_CORRUPT",
      "Meta/4.txt E_TARGET_CORRUPT",
    ]);
    await memory.doctor({ fix: true });
    await memory.flush();
    expect(await wrongs(memory, { restore: true })).toEqual([]);
  });
});
