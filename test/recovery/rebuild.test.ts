import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { describe, expect, it } from "vitest";
import { AftersaveError } from "../../src/core/errors.ts";
import type { Memory } from "../../src/open.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { createMemoryTarget } from "../../src/testing/memory-target.ts";
import { anySeed, seededRandom } from "../../src/testing/random.ts";
import { children } from "./children.ts";
import { clockAt, expectChain, linesOf, makeRoot, sha256, type Root } from "./root.ts";

const KEYS = ["Meta/A.txt", "Meta/Ä.txt", "Core/Rules.txt", "top.md"];

interface Accepted {
  readonly sha256: string;
  readonly size: number;
}

/** Saves and strangers' edits at random; what was accepted, by everyone. */
async function history(root: Root, memory: Memory, random: () => number, steps: number): Promise<Accepted[]> {
  const accepted: Accepted[] = [];
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)] as T;
  const text = () => `${"line ".repeat(Math.floor(random() * 30))}${random()}\n`;
  const note = ({ sha256: hash, size }: { sha256: string | null; size: number | null }) => {
    if (hash !== null && size !== null) accepted.push({ sha256: hash, size });
  };
  const live = (key: string) => existsSync(root.at("Data", key));
  for (let step = 0; step < steps; step++) {
    const key = pick(KEYS);
    const file = root.at("Data", key);
    const what = random();
    if (what < 0.4) note(await memory.append(key, text()));
    else if (what < 0.65) note(await memory.replace(key, text()));
    else if (what < 0.75 && live(key)) note(await memory.archive(key));
    else {
      mkdirSync(dirname(file), { recursive: true });
      if (what < 0.85 || !live(key)) writeFileSync(file, text());
      else if (what < 0.95) writeFileSync(file, readFileSync(file, "utf8") + text());
      else unlinkSync(file);
      for (const receipt of (await memory.sweep()).changed) note(receipt);
    }
  }
  return accepted;
}

/** Every content that was accepted is the beginning of some file that is there. */
function expectKept(root: Root, accepted: readonly Accepted[]): void {
  const paths = [
    ...Object.keys(root.files("Data")).map((path) => root.at("Data", path)),
    ...Object.keys(root.files(".aftersave/heads")).map((path) => root.at(".aftersave/heads", path)),
  ];
  const files = paths.map((path) => readFileSync(path));
  for (const { sha256: hash, size } of accepted)
    expect(files.some((bytes) => bytes.length >= size && sha256(bytes.subarray(0, size)) === hash)).toBe(true);
}

const remove = (root: Root, suffixes: readonly string[]) => {
  for (const suffix of suffixes) rmSync(root.state + suffix, { force: true });
};
const flip = (path: string, from: number, length: number) => {
  const bytes = readFileSync(path);
  for (let at = from; at < Math.min(from + length, bytes.length); at++) bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  writeFileSync(path, bytes);
};

/** How a state file can be lost; all are done to a closed memory. */
const damages: Record<string, (root: Root, random: () => number) => void> = {
  removed: (root) => remove(root, ["", "-wal", "-shm"]),
  "with its folder": (root) => rmSync(root.at(".aftersave/state.db"), { force: true }),
  emptied: (root) => truncateSync(root.state, 0),
  "cut to less than a header": (root) => truncateSync(root.state, 60),
  "cut in half": (root) => truncateSync(root.state, Math.floor(statSync(root.state).size / 8192) * 4096),
  "damaged in the header": (root) => flip(root.state, 0, 40),
  "damaged in the first page": (root) => flip(root.state, 100, 3000),
  "damaged in the middle": (root) => flip(root.state, 4096, statSync(root.state).size),
  "damaged in one page": (root, random) =>
    flip(root.state, 4096 * Math.floor((random() * statSync(root.state).size) / 4096), 4096),
  "replaced by text": (root) => writeFileSync(root.state, "this is not a database\n".repeat(1000)),
};

/** Uses the memory in every way; a damage that shows only now is answered with the cure that the error names. */
async function useAll(root: Root, options: Parameters<Root["open"]>[0]) {
  const accepted: Accepted[] = [];
  const use = async (open: () => Promise<Memory>) => {
    const memory = await open();
    for (const { sha256: hash, size } of (await memory.sweep()).changed) accepted.push({ sha256: hash ?? "", size: size ?? 0 });
    for (const key of KEYS) {
      const { sha256: hash, size } = await memory.append(key, `after ${key}\n`);
      accepted.push({ sha256: hash ?? "", size: size ?? 0 });
    }
    await memory.flush();
    const status = await memory.status();
    if (status.failed > 0) {
      // an upload that met the damage is parked; the doctor names the damage
      const damage = (await memory.doctor()).find(({ part, level }) => part === "state" && level === "error");
      throw new AftersaveError(damage?.code ?? "E_INTERNAL", damage?.message ?? "uploads failed", { hint: damage?.cure ?? "" });
    }
    return { memory, accepted, status };
  };
  let first: Memory | undefined;
  try {
    return await use(async () => (first = await root.open(options)));
  } catch (error) {
    expect(error).toMatchObject({ code: "E_STATE_CORRUPT", hint: expect.stringContaining("doctor --rebuild") as string });
    await first?.close();
    return use(() => root.open({ ...options, rebuild: true }));
  }
}

/** What each writer of the mirror tells of its history. */
function histories(root: Root): string[] {
  const folder = "mirror/Drive/MemoryVDB/.aftersave";
  const writers = new Map<string, string>();
  for (const path of Object.keys(root.files(folder)).toSorted()) {
    const [writer = "", history, name] = path.split(/[\\/]/);
    if (history === "history" && name !== undefined)
      writers.set(writer, (writers.get(writer) ?? "") + readFileSync(root.at(folder, path), "utf8"));
  }
  return [...writers.values()];
}

describe("a state that was lost is rebuilt", () => {
  it.each(Object.entries(damages))(
    "%s: nothing accepted is lost, the chain goes on, targets get no twin and no false conflict",
    async (_name, damage) => {
      const seed = anySeed();
      const random = seededRandom(seed);
      console.log(`seed ${seed}`);
      const root = makeRoot({
        targets: { drive: { type: "folder", enabled: true, path: "./mirror" }, cloud: { type: "gdrive", enabled: true } },
      });
      const cloud = createMemoryTarget();
      const options = { targets: { cloud }, clock: clockAt("2026-03-01T00:00:00Z") };
      const before = await root.open(options);
      const accepted = await history(root, before, random, 30);
      await before.flush();
      accepted.push(...(await history(root, before, random, 8))); // these wait when the state is lost
      await before.close();
      const lines = await linesOf(root.changelog);
      const heads = root.files(".aftersave/heads");
      damage(root, random);

      const { memory, accepted: more, status } = await useAll(root, options);
      accepted.push(...more);
      expectKept(root, accepted);
      expect(status.conflicts).toBe(0);
      expect(status.pending + status.failed).toBe(0);
      await memory.close();

      const after = await linesOf(root.changelog);
      expect(after.slice(0, lines.length)).toEqual(lines);
      await expectChain(root.changelog, after.length);
      const data = root.files("Data");
      const mirrored = Object.entries(root.files("mirror/Drive/MemoryVDB")).filter(([path]) => !path.startsWith(".aftersave"));
      expect(Object.fromEntries(mirrored)).toEqual(data);
      expect(histories(root)).toContain(readFileSync(root.changelog, "utf8"));
      const objects = cloud.objects().filter(({ key }) => !key.startsWith(".aftersave/"));
      expect(new Set(objects.map(({ key }) => key)).size).toBe(objects.length);
      expect(Object.fromEntries(objects.map(({ key, bytes }) => [key, sha256(bytes)]))).toEqual(data);
      // heads are named by the rule, so none had to be made anew
      const kept = Object.keys(root.files(".aftersave/heads"));
      expect(Object.keys(heads).every((path) => kept.includes(path))).toBe(true);
      expect(kept.some((path) => /\.(new|damaged)$/.test(path))).toBe(false);
    },
  );

  it("goes on where a rebuild was killed while it made a kept copy anew", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("a.txt", "a".repeat(100));
    await memory.close();
    flip(root.state, 0, 40);
    const [head] = Object.keys(root.files(".aftersave/heads"));
    flip(root.at(".aftersave/heads", head!), 0, 10);
    writeFileSync(root.at(".aftersave/heads", `${head!}.new`), "a".repeat(50));
    const again = await root.open();
    expect(readFileSync(root.at(".aftersave/heads", head!), "utf8")).toBe("a".repeat(100));
    expect(await again.verify()).toMatchObject({ ok: true, findings: [{ code: "E_LOG_ALTERED", level: "warning" }] });
    expect(existsSync(root.at(".aftersave/heads", `${head!}.new`))).toBe(false);
  });

  it("says so, and keeps the damaged file", async () => {
    const root = makeRoot();
    const first = await root.open();
    await first.append("Meta/A.txt", "one\n");
    await first.close();
    damages["replaced by text"]?.(root, Math.random);
    const memory = await root.open({ clock: clockAt("2026-03-01T00:00:00Z") });
    expect(memory.notices).toEqual([
      expect.stringContaining("it was moved to"),
      "the state was rebuilt from the changelog: 1 version, 1 file",
    ]);
    expect(Object.keys(root.files(".aftersave")).some((name) => name.startsWith("state.db.damaged-2026-03-01T"))).toBe(true);
    expect((await memory.append("Meta/A.txt", "two\n")).prev_sha256).toBe(sha256("one\n"));
  });

  it("knows archive copies and heads again", async () => {
    const root = makeRoot();
    const first = await root.open();
    await first.append("Meta/A.txt", "one\n");
    const replaced = await first.replace("Meta/A.txt", "two\n");
    const archived = await first.archive("Meta/A.txt");
    await first.append("Meta/A.txt", "three\n");
    await first.close();
    remove(root, ["", "-wal", "-shm"]);
    writeFileSync(root.at("Data/Meta/A.txt"), "a stranger's\n");
    const memory = await root.open();
    const external = await memory.saved("Meta/A.txt");
    expect(external).toMatchObject({ op: "external", prev_sha256: sha256("three\n") });
    for (const [key, text] of [
      [replaced.archived_as, "one\n"],
      [archived.archived_as, "two\n"],
      [external.archived_as, "three\n"],
    ] as const)
      expect(readFileSync(root.at("Data", key ?? ""), "utf8")).toBe(text);
    const names = (await linesOf(root.at("logs/archive_log.json"))).map((line) => line["archived_as"]);
    expect(names).toEqual([replaced.archived_as, archived.archived_as]);
    await memory.close();
    expect((await linesOf(root.at("logs/archive_log.json"))).map((line) => line["archived_as"])).toEqual([
      replaced.archived_as,
      archived.archived_as,
      external.archived_as,
    ]);
  });

  it("takes the newest lines from the changelog when only the write-ahead log was lost", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", "one\n");
    await memory.close();
    const again = await root.open();
    await again.replace("Meta/A.txt", "two\n");
    await again.append("Core/B.txt", "b\n");
    await again.flush();
    copyFileSync(root.state, root.at("older.db")); // what is in the file while the rest is in the write-ahead log
    await again.close();
    remove(root, ["", "-wal", "-shm"]);
    copyFileSync(root.at("older.db"), root.state);
    const rebuilt = await root.open();
    expect(rebuilt.notices[0]).toContain("rebuilt from the changelog: 3 versions, 2 files");
    expect((await rebuilt.append("Meta/A.txt", "three\n")).prev_sha256).toBe(sha256("two\n"));
    await rebuilt.flush();
    expect((await rebuilt.status()).conflicts).toBe(0);
    await rebuilt.close();
    await expectChain(root.changelog, 4);
  });

  it("does not take over another history that lies under the changelog's name", async () => {
    const [root, other] = [makeRoot(), makeRoot()];
    for (const [at, count] of [
      [root, 1],
      [other, 3],
    ] as const) {
      const memory = await at.open();
      for (let n = 0; n < count; n++) await memory.append("Meta/A.txt", `${n}\n`);
      await memory.close();
    }
    copyFileSync(other.changelog, root.changelog);
    const memory = await root.open();
    const receipt = await memory.append("Meta/A.txt", "mine\n");
    expect(memory.notices.filter((notice) => notice.includes("rebuilt"))).toEqual([]);
    expect(receipt.prev_sha256).toBe(sha256("0\n"));
  });

  it.each([0, 1, 2])("loses no content when the changelog's tail was cut too (%i lines stay)", async (stay) => {
    const root = makeRoot();
    const first = await root.open({ clock: clockAt("2026-03-01T00:00:00Z") });
    const accepted: Accepted[] = [];
    for (const text of ["one\n", "two\n", "three\n", "four\n"]) {
      const { sha256: hash, size } = await first.replace("Meta/A.txt", text);
      accepted.push({ sha256: hash ?? "", size: size ?? 0 });
    }
    await first.flush();
    await first.close();
    const lines = readFileSync(root.changelog, "utf8").split("\n");
    writeFileSync(root.changelog, `${lines.slice(0, stay).join("\n")}${stay > 0 ? "\n" : ""}${lines[stay]?.slice(0, 40)}`);
    remove(root, ["", "-wal", "-shm"]);
    const memory = await root.open({ clock: clockAt("2026-03-02T00:00:00Z") });
    await memory.saved("Meta/A.txt");
    await memory.append("Meta/A.txt", "five\n");
    expectKept(root, accepted);
    if (stay > 0) {
      await memory.flush();
      expect(root.files("mirror/Drive/MemoryVDB")).toMatchObject(root.files("Data"));
    }
    await memory.close();
    await expectChain(root.changelog, stay + 2);
  });

  it("takes from the damaged file what the changelog does not have yet", async () => {
    const root = makeRoot();
    const first = await root.open();
    await first.append("Meta/A.txt", "one\n");
    await first.close();
    const kept = readFileSync(root.changelog);
    const second = await root.open();
    await second.replace("Meta/A.txt", "two\n");
    await second.append("Core/B.txt", "b\n");
    await second.close();
    writeFileSync(root.changelog, kept);
    const database = openDatabase(root.state, 0);
    database.exec("UPDATE versions SET actor = '{' WHERE place = 3"); // the damage begins at the newest version
    database.close();
    const memory = await root.open();
    expect(memory.notices[1]).toBe("the state was rebuilt from the changelog: 2 versions, 1 file");
    expect((await memory.append("Meta/A.txt", "more\n")).prev_sha256).toBe(sha256("two\n"));
    expect((await memory.sweep()).changed.map(({ file, sha256: hash }) => [file, hash])).toEqual([["Core/B.txt", sha256("b\n")]]);
    await memory.close();
    await expectChain(root.changelog, 4);
  });

  it("exports what only a sound state knew when it is set aside on purpose", async () => {
    const root = makeRoot();
    const first = await root.open();
    await first.append("Meta/A.txt", "one\n");
    await first.close();
    const kept = readFileSync(root.changelog);
    const second = await root.open();
    await second.replace("Meta/A.txt", "two\n");
    await second.append("Core/B.txt", "b\n");
    await second.close();
    writeFileSync(root.changelog, kept);
    const memory = await root.open({ rebuild: true });
    expect(memory.notices[1]).toBe("the state was rebuilt from the changelog: 3 versions, 2 files");
    await memory.append("Core/B.txt", "c\n");
    await memory.close();
    await expectChain(root.changelog, 4);
    expect((await linesOf(root.at("logs/archive_log.json"))).length).toBe(1);
  });

  it("refuses to set a state aside that another memory has open, and works for that one on", async () => {
    const root = makeRoot();
    const first = await root.open();
    await first.append("Meta/A.txt", "one\n");
    await expect(root.open({ rebuild: true })).rejects.toMatchObject({ code: "E_BUSY" });
    await first.append("Meta/A.txt", "two\n");
    await first.close();
    await expectChain(root.changelog, 2);
  });

  it("keeps the lines behind one that was altered, and says where", async () => {
    const root = makeRoot();
    const first = await root.open();
    for (const text of ["1", "2", "3", "4", "5"]) await first.append(`Meta/${text}.txt`, text);
    await first.close();
    writeFileSync(root.changelog, readFileSync(root.changelog, "utf8").replace('"file":"Meta/3.txt"', '"file":"Meta/X.txt"'));
    remove(root, ["", "-wal", "-shm"]);
    const memory = await root.open();
    expect(memory.notices[0]).toContain("4 versions, 4 files; the changelog is broken: place 3 was altered");
    await memory.sweep();
    await memory.close();
    const places = (await linesOf(root.changelog)).map((line) => line["place"]);
    expect(places).toEqual([1, 2, 3, 4, 5, 6]);
    const again = await root.open();
    expect(again.notices).toEqual([]);
  });

  it("is rebuilt when the changelog was just rotated", async () => {
    const root = makeRoot({ logs: { rotate: "1KiB" } });
    const first = await root.open();
    for (let n = 0; n < 8; n++) await first.append("Meta/A.txt", `${n}\n`);
    await first.close();
    renameSync(root.changelog, `${root.changelog}.2999-01-01T00-00-00Z`);
    writeFileSync(root.changelog, "");
    remove(root, ["", "-wal", "-shm"]);
    const memory = await root.open();
    await memory.append("Meta/A.txt", "more\n");
    await memory.close();
    await expectChain(root.changelog, 9);
  });

  it("parts a head from an archive copy that an unfinished save had made of it", async () => {
    const root = makeRoot();
    const first = await root.open();
    await first.append("Meta/A.txt", "one\n");
    await first.close();
    const [head] = Object.keys(root.files(".aftersave/heads"));
    const copy = root.at("Data/Archive/Meta/A_2026-03-01T00-00-00Z.txt");
    mkdirSync(dirname(copy), { recursive: true });
    linkSync(root.at(".aftersave/heads", head ?? ""), copy);
    remove(root, ["", "-wal", "-shm"]);
    const memory = await root.open();
    await memory.append("Meta/A.txt", "two\n");
    expect(readFileSync(copy, "utf8")).toBe("one\n");
    expect((await memory.flush()).failed).toBe(0);
  });

  it("goes on where a rebuild was killed", async () => {
    const root = makeRoot();
    const first = await root.open();
    for (let n = 0; n < 30; n++) await first.replace(`Meta/${n % 5}.txt`, `${n}\n`);
    await first.close();
    for (const at of ["begun", "lines", "heads", "archives"]) {
      remove(root, ["", "-wal", "-shm"]);
      const [result] = await children([["recovery.child.ts", root.path, at]]);
      expect(result?.signal).toBe("SIGKILL");
      const memory = await root.open();
      expect(memory.notices[0]).toContain("30 versions, 5 files");
      expect((await memory.status()).files).toBe(5);
      await memory.close();
      await expectChain(root.changelog, 30);
    }
  });

  it.each(["removed", "replaced by text"])("by one process when several open it at once (%s)", async (name) => {
    const root = makeRoot();
    const first = await root.open();
    for (let n = 0; n < 20; n++) await first.replace(`Meta/${n % 3}.txt`, `${n}\n`);
    await first.close();
    for (let round = 0; round < 3; round++) {
      damages[name]?.(root, Math.random);
      const results = await children([1, 2, 3, 4].map((n) => ["recovery.child.ts", root.path, "save", `${round}-${n}`]));
      expect(results.map(({ code, stderr }) => [code, stderr])).toEqual(results.map(() => [0, ""]));
      const rebuilt = results.filter(({ stdout }) => stdout.includes("was rebuilt"));
      expect(rebuilt.length).toBe(1);
      await expectChain(root.changelog, 20 + (round + 1) * 4);
    }
    const asides = Object.keys(root.files(".aftersave")).filter((path) =>
      /damaged-[^-]+-[^-]+-[^-]+-[^-]+-\d\dZ(_\d+)?$/.test(path),
    );
    expect(asides.length).toBe(name === "removed" ? 0 : 3);
  });

  it("takes more versions than fit into one transaction", async () => {
    const root = makeRoot();
    const first = await root.open();
    await first.append("Meta/A.txt", "x");
    await first.close();
    const { chain, changelogLine } = await import("../../src/core/version.ts");
    const { parseChangelogLine } = await import("../../src/logs/verify.ts");
    let last = parseChangelogLine((await linesOf(root.changelog))[0])!;
    const lines = [changelogLine(last)];
    const { ulid } = await import("ulid");
    for (let place = 2; place <= 20_000; place++) {
      last = chain(
        { ...last, version: ulid(), op: "append", prev_sha256: last.sha256, file: `Meta/${place % 500}.txt` as typeof last.file },
        place,
        last.sum,
        last.salt!,
      );
      lines.push(changelogLine(last));
    }
    writeFileSync(root.changelog, `${lines.join("\n")}\n`);
    for (let n = 0; n < 500; n++) writeFileSync(root.at(`Data/Meta/${n}.txt`), "x");
    remove(root, ["", "-wal", "-shm"]);
    const memory = await root.open();
    expect((await memory.status()).files).toBe(501);
    expect(await memory.log("changes")).toHaveLength(20_000);
  });
});

describe("damage that shows only in an operation", () => {
  const withState = async (work: (sql: (text: string) => void) => void) => {
    const root = makeRoot();
    const first = await root.open();
    await first.append("Meta/A.txt", "one\n");
    await first.append("Meta/B.txt", "two\n");
    await first.close();
    const database = openDatabase(root.state, 0);
    work((text) => database.exec(text));
    database.close();
    return root;
  };
  const cases: Record<string, string> = {
    "a head with another hash": `UPDATE heads SET sha256 = '${"0".repeat(64)}'`,
    "a head with another copy": "UPDATE heads SET base = 'X' || substr(base, 2)",
    "a head of no version": "UPDATE heads SET version = 'nothing'",
    "a newest version that was altered": "UPDATE versions SET file = 'Meta/C.txt' WHERE place = 2",
  };
  it.each(Object.entries(cases))("%s is E_STATE_CORRUPT with the cure, and the cure works", async (_name, sql) => {
    const root = await withState((run) => run(sql));
    const memory = await root.open();
    const error = await memory.append("Meta/A.txt", "more\n").catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AftersaveError);
    expect(error).toMatchObject({ code: "E_STATE_CORRUPT", hint: expect.stringContaining("doctor --rebuild") as string });
    expect(readFileSync(root.at("Data/Meta/A.txt"), "utf8")).toBe("one\n");
    await memory.close();
    const cured = await root.open({ rebuild: true });
    await cured.append("Meta/A.txt", "more\n");
    await cured.close();
    expect(readFileSync(root.at("Data/Meta/A.txt"), "utf8")).toBe("one\nmore\n");
    await expectChain(root.changelog, 3);
  });
});

describe("a state that a newer version wrote", () => {
  it("is refused and left alone, also when a rebuild is asked for", async () => {
    const root = makeRoot();
    await (await root.open()).close();
    const database = openDatabase(root.state, 0);
    database.exec("PRAGMA user_version=99");
    database.close();
    const before = Object.keys(root.files(".aftersave"));
    for (const rebuild of [false, true]) await expect(root.open({ rebuild })).rejects.toMatchObject({ code: "E_STATE_NEWER" });
    expect(Object.keys(root.files(".aftersave")).filter((name) => name.includes("damaged"))).toEqual([]);
    expect(before).toContain("state.db");
  });
});
