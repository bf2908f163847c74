/** A memory from one target alone: the same tree, the same history, and nothing that the target does not vouch for. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ownKey, type Key } from "../../src/core/key.ts";
import { forward, type Target } from "../../src/core/target.ts";
import { chain, changelogLine, erased, type Version } from "../../src/core/version.ts";
import { parseChangelogLine } from "../../src/logs/verify.ts";
import type { Memory, OpenOptions } from "../../src/open.ts";
import { anySeed, createMemoryTarget, seededRandom, startDriveEmulator, type MemoryTarget } from "../../src/testing/index.ts";
import { codeOf } from "../memory/root.ts";
import { segmentsOf } from "../mirror/place.ts";
import { children } from "./children.ts";
import { clockAt, makeRoot, sha256, type Root } from "./root.ts";

const changelogOf = (root: Root) =>
  readdirSync(root.at("logs"))
    .filter((name) => name.startsWith("memory_changelog.json"))
    .toSorted((a, b) => b.length - a.length || (a < b ? -1 : 1)) // rotated ones first
    .map((name) => readFileSync(root.at("logs", name), "utf8"))
    .join("");

/** Version → its key, and what it held. */
type Held = ReadonlyMap<string, { readonly key: string; readonly content: string | null }>;

/** A history of every kind of save; returns what each version held. */
async function live(memory: Memory, root: Root, seed: number, steps = 40): Promise<Held> {
  const random = seededRandom(seed);
  const keys = ["Meta/notes.md", "Core/Rules.txt", "top.txt", "Meta/deep/er/ünï ço∂e.txt", ".env"];
  const pick = () => keys[Math.floor(random() * keys.length)] as string;
  const text = () => `${"line ".repeat(Math.floor(random() * 40))}${random()}\n`;
  const held = new Map<string, { key: string; content: string | null }>();
  const now = new Map<string, string>();
  for (let n = 0; n < steps; n++) {
    const key = pick();
    const added = text();
    const what = random();
    if (what < 0.5) {
      const { version } = await memory.append(key, added, { chat_name: "a chat" });
      now.set(key, (now.get(key) ?? "") + added);
      held.set(version, { key, content: now.get(key) ?? null });
    } else if (what < 0.75) {
      const { version } = await memory.replace(key, added);
      now.set(key, added);
      held.set(version, { key, content: added });
    } else if (what < 0.85 && now.has(key)) {
      const { version } = await memory.archive(key);
      now.delete(key);
      held.set(version, { key, content: null });
    } else if (now.has(key)) {
      writeFileSync(root.at("Data", key), added);
      const { version } = await memory.saved(key);
      now.set(key, added);
      held.set(version, { key, content: added });
    }
  }
  return held;
}

async function expectVersions(memory: Memory, held: Held) {
  for (const [version, { key, content }] of held) {
    if (content === null) continue;
    const pieces: Uint8Array[] = [];
    for await (const piece of (await memory.show(key, { version })).open()) pieces.push(piece.slice());
    expect(Buffer.concat(pieces).toString(), version).toBe(content);
  }
}

/** An empty root with the same configuration, as on another machine. */
const bareRoot = (config?: Record<string, unknown>) => {
  const root = makeRoot(config);
  rmSync(root.at("Data"), { recursive: true });
  return root;
};

async function expectSame(from: Root, to: Root) {
  expect(to.files("Data")).toEqual(from.files("Data"));
  expect(changelogOf(to)).toBe(changelogOf(from));
}

describe("on an empty root", () => {
  it("from a target: the same tree, history, versions; a plan first; and the two machines go on beside each other", async () => {
    const seed = anySeed();
    console.info(`seed ${seed}`);
    const place = createMemoryTarget();
    const options = { targets: { drive: place }, clock: clockAt("2026-01-01T00:00:00Z") };
    const old = makeRoot();
    const memory = await old.open(options);
    const held = await live(memory, old, seed);
    await memory.flush();
    await memory.close();

    const root = bareRoot();
    const bare = await root.open(options);
    const plan = await bare.restoreFrom("drive", { dryRun: true });
    expect(plan).toMatchObject({ bare: true, dry_run: true, missing: [], gaps: [], bad: [], beside: 0, here: 0 });
    expect(plan.files + plan.copies).toBe(Object.keys(old.files("Data")).length);
    expect(existsSync(root.at("Data"))).toBe(false);
    expect(existsSync(root.changelog)).toBe(false);

    const done = await bare.restoreFrom("drive");
    expect(done).toMatchObject({
      dry_run: false,
      missing: [],
      changes: [],
      receipts: [],
      files: plan.files,
      copies: plan.copies,
      bytes: plan.bytes,
    });
    await bare.log("changes");
    await expectSame(old, root);
    await expectVersions(bare, held);
    expect(await bare.sweep()).toMatchObject({ changed: [], refused: [] });
    expect(await bare.restoreFrom("drive")).toMatchObject({ bare: false, changes: [], missing: [] });
    expect(await bare.verify({ target: "drive" })).toMatchObject({ findings: [] });

    await bare.append("Meta/notes.md", "on the new machine\n");
    await bare.flush();
    expect(await bare.status()).toMatchObject({ conflicts: 0, failed: 0, pending: 0 });
    expect(new Set(segmentsOf(place).map(({ writer }) => writer)).size).toBe(2);
    expect(await bare.verify({ target: "drive", download: true, restore: true })).toMatchObject({ findings: [] });
  });

  it("from the default route's folder, and rotated logs come as one", async () => {
    const config = { targets: { drive: { type: "folder", enabled: true, path: "./" } } };
    const old = makeRoot({ ...config });
    const memory = await old.open({ clock: clockAt("2026-01-01T00:00:00Z") });
    const held = await live(memory, old, 7, 20);
    await memory.flush();
    await memory.close();
    const root = bareRoot(config);
    const copy = (folder: string) => {
      for (const [name] of Object.entries(old.files(folder))) {
        mkdirSync(join(root.at(folder), name, ".."), { recursive: true });
        writeFileSync(join(root.at(folder), name), readFileSync(join(old.at(folder), name)));
      }
    };
    copy("Drive");
    const bare = await root.open();
    expect(await bare.restoreFrom("drive")).toMatchObject({ missing: [], receipts: [] });
    await bare.log("changes");
    await expectSame(old, root);
    await expectVersions(bare, held);
  });

  it("while every twentieth request fails, from the Drive emulator", { timeout: 60_000 }, async () => {
    const seed = anySeed();
    console.info(`seed ${seed}`);
    const emulator = await startDriveEmulator();
    try {
      const config = {
        targets: {
          drive: { type: "gdrive", enabled: true, root_url: emulator.rootUrl, token_url: emulator.tokenUrl, attempts: 8 },
        },
      };
      const old = makeRoot(config);
      const token = (root: Root) =>
        writeFileSync(root.at("drive_token.json"), JSON.stringify(emulator.authorizedUser()), { mode: 0o600 });
      token(old);
      const memory = await old.open({ clock: clockAt("2026-01-01T00:00:00Z") });
      await live(memory, old, seed, 12);
      expect(await memory.flush()).toMatchObject({ failed: 0, pending: 0 });
      await memory.close();
      emulator.faults.add({ when: { probability: 0.05 }, do: { kind: "5xx-before" } });
      const root = bareRoot(config);
      token(root);
      const bare = await root.open();
      expect(await bare.restoreFrom("drive")).toMatchObject({ missing: [], receipts: [] });
      await bare.log("changes");
      await expectSame(old, root);
    } finally {
      await emulator.close();
    }
  });
});

/** A target with three files, one archived twice over; the root that told it. */
async function told(options: OpenOptions = {}) {
  const place = createMemoryTarget();
  const all: OpenOptions = { targets: { drive: place }, clock: clockAt("2026-01-01T00:00:00Z"), ...options };
  const root = makeRoot();
  const memory = await root.open(all);
  await memory.replace("Meta/a.txt", "a1");
  await memory.replace("Meta/a.txt", "a2");
  await memory.append("Core/b.txt", "b1\n");
  await memory.append("Core/b.txt", "b2\n");
  await memory.append("c.txt", "c");
  await memory.flush();
  return { place, root, memory, options: all };
}

const segmentKeyOf = (place: MemoryTarget, n = 0) => {
  const { writer, name } = segmentsOf(place)[n]!;
  return ownKey(`${writer}/history/${name}`);
};

/** Rewrites the lines of the only segment. */
function rewrite(place: MemoryTarget, change: (lines: string[]) => string[]) {
  const lines = segmentsOf(place)[0]!.text.split("\n").slice(0, -1);
  place.edit(segmentKeyOf(place), `${change(lines).join("\n")}\n`);
}

const versionOf = (line: string) => parseChangelogLine(JSON.parse(line)) as Version;

describe("a target that cannot be trusted", () => {
  it("bytes that are not the history's are not put in place: they are named", async () => {
    const { place, options } = await told();
    place.edit("Meta/a.txt" as Key, "forged");
    place.drop("c.txt" as Key);
    const root = bareRoot();
    const bare = await root.open(options);
    const done = await bare.restoreFrom("drive");
    expect(done.missing.map(({ file, why }) => `${file} ${why}`).toSorted()).toEqual(["Meta/a.txt other", "c.txt absent"]);
    expect(done.receipts).toEqual([]);
    expect(existsSync(root.at("Data/Meta/a.txt"))).toBe(false);
    expect(readFileSync(root.at("Data/Core/b.txt"), "utf8")).toBe("b1\nb2\n");
  });

  it("a copy is taken from wherever the same bytes lie", async () => {
    const { place, options } = await told();
    const bytes = place.objects().find(({ key }) => key === "Meta/a.txt")!.bytes;
    place.edit("Archive/Meta/a_2026-03-03T00-00-00Z.txt" as Key, bytes); // kept aside there by another writer
    place.drop("Meta/a.txt" as Key);
    const root = bareRoot();
    const bare = await root.open(options);
    await bare.restoreFrom("drive");
    expect(readFileSync(root.at("Data/Meta/a.txt"), "utf8")).toBe("a2");
    expect(existsSync(root.at("Data/Archive/Meta/a_2026-03-03T00-00-00Z.txt"))).toBe(false);
  });

  it.each([
    "../../outside.txt",
    "/etc/outside.txt",
    "Meta/../../outside.txt",
    "Archive/Meta/x.txt",
    ".aftersave/x.txt",
    "a\\..\\b",
  ])("a history that names %s is not believed, and nothing outside is touched", async (name) => {
    const { place, options } = await told();
    rewrite(place, (lines) => {
      const last = versionOf(lines.at(-1)!);
      const { place: _, prev: __, sum: ___, salt, commitment: ____, ...facts } = last;
      const evil = {
        ...facts,
        version: "01JZZZZZZZZZZZZZZZZZZZZZZZ",
        file: name as Key,
        prev_sha256: null,
        sha256: sha256("evil"),
        size: 4,
      };
      return [...lines, changelogLine(chain(evil, last.place + 1, last.sum, salt!))];
    });
    place.edit(name as Key, "evil");
    const root = bareRoot();
    const before = new Set(readdirSync(join(root.path, "..")));
    const bare = await root.open(options);
    const done = await bare.restoreFrom("drive");
    expect(done.bad).toMatchObject([{ line: 6, why: "names a file that cannot be memory" }]);
    expect(done.versions).toBe(5);
    expect(readdirSync(join(root.path, "..")).filter((one) => !before.has(one) && /outside/.test(one))).toEqual([]);
    expect(Object.keys(root.files("Data")).filter((one) => /x\.txt|outside|evil/.test(one))).toEqual([]);
    expect((await bare.log("changes")).map((line) => line["file"])).not.toContain(name);
  });

  it.each(["paths.json", "Meta/a.txt", "Archive", "../Archive/x.txt", ".aftersave/x", "Archive/../paths.json"])(
    "a line that calls %s an archive copy is not believed; the rest comes all the same",
    async (name) => {
      const { place, root: first, options } = await told();
      rewrite(place, (lines) => {
        const last = versionOf(lines.at(-1)!);
        const { place: _, prev: __, sum: ___, salt, commitment: ____, ...facts } = last;
        const evil = { ...facts, version: "01JZZZZZZZZZZZZZZZZZZZZZZZ", prev_sha256: last.sha256, archived_as: name as Key };
        return [...lines, changelogLine(chain({ ...evil, sha256: sha256("e"), size: 1 }, last.place + 1, last.sum, salt!))];
      });
      place.edit(name as Key, name === "Meta/a.txt" ? "a2" : "c");
      const root = bareRoot();
      const bare = await root.open(options);
      const done = await bare.restoreFrom("drive");
      expect(done).toMatchObject({ versions: 5, bad: [{ line: 6, why: "names a file that cannot be memory" }] });
      expect(root.files("Data")).toEqual(first.files("Data"));
    },
  );

  it("a line that names a copy which an earlier one made does not take its place", async () => {
    const { place, root: first, options } = await told();
    rewrite(place, (lines) => {
      const last = versionOf(lines.at(-1)!);
      const { place: _, prev: __, sum: ___, salt, commitment: ____, ...facts } = last;
      const { archived_as } = versionOf(lines[1]!);
      expect(archived_as).toMatch(/^Archive\//);
      const evil = { ...facts, version: "01JZZZZZZZZZZZZZZZZZZZZZZZ", prev_sha256: last.sha256, archived_as };
      return [...lines, changelogLine(chain({ ...evil, sha256: sha256("c"), size: 1 }, last.place + 1, last.sum, salt!))];
    });
    const root = bareRoot();
    const bare = await root.open(options);
    expect(await bare.restoreFrom("drive")).toMatchObject({ versions: 6, missing: [], left: [] });
    expect(root.files("Data")).toEqual(first.files("Data"));
  });

  it("an altered line and a segment that is gone are gaps that are told; what can be linked is restored", async () => {
    const { place, memory, options } = await told();
    await memory.replace("Meta/a.txt", "a3");
    await memory.flush();
    rewrite(place, (lines) => lines.map((line, n) => (n === 1 ? line.replace("UNKNOWN", "Mallory") : line)));
    const root = bareRoot();
    const bare = await root.open(options);
    const done = await bare.restoreFrom("drive");
    expect(done).toMatchObject({ gaps: [{ first: 2, last: 2 }], versions: 5 });
    expect(done.bad).toMatchObject([{ line: 2, why: "altered" }]);
    expect(readFileSync(root.at("Data/Meta/a.txt"), "utf8")).toBe("a3");
    place.drop(segmentKeyOf(place, 0));
    const other = bareRoot();
    const last = await (await other.open(options)).restoreFrom("drive");
    expect(last).toMatchObject({ gaps: [{ first: 1, last: 5 }], versions: 1 });
    expect(readFileSync(other.at("Data/Meta/a.txt"), "utf8")).toBe("a3");
  });

  it("a line with a fresh sum in the place of another is not taken: the line behind it names the one that was there", async () => {
    const { place, options } = await told();
    rewrite(place, (lines) => {
      const { place: at, prev, sum: _, salt, commitment: __, ...facts } = versionOf(lines[1]!);
      return lines.with(1, changelogLine(chain({ ...facts, chat_name: "Mallory" }, at, prev, salt!)));
    });
    const bare = await bareRoot().open(options);
    expect(await bare.restoreFrom("drive")).toMatchObject({ gaps: [{ first: 2, last: 2 }], versions: 4, beside: 1 });
    expect((await bare.log("changes")).map((line) => line["chat_name"])).not.toContain("Mallory");
  });

  it("a line that was erased in one writer's history is not brought back by another's", async () => {
    const { place, options } = await told();
    const { writer, name, text } = segmentsOf(place)[0]!;
    const lines = text.split("\n").slice(0, -1);
    const stale = writer.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));
    place.edit(ownKey(`${stale}/writer.json`), JSON.stringify({ memory_root: versionOf(lines[0]!).version, host: "old" }));
    for (const [of, blank] of [
      [stale, false],
      [writer, true],
    ] as const)
      place.edit(
        ownKey(`${of}/history/${name}`),
        `${(blank ? lines.with(1, changelogLine(erased(versionOf(lines[1]!)))) : lines).join("\n")}\n`,
      );
    const root = bareRoot();
    const bare = await root.open(options);
    expect(await bare.restoreFrom("drive", { dryRun: true })).toMatchObject({ versions: 5, gaps: [], writers: [{}, {}] });
    await bare.restoreFrom("drive");
    expect((await bare.log("changes"))[1]).toMatchObject({ file: null, salt: null });
  });

  it("a place without a history is refused, with nothing changed", async () => {
    const place = createMemoryTarget();
    place.edit("Meta/a.txt" as Key, "x");
    const root = bareRoot();
    const bare = await root.open({ targets: { drive: place } });
    expect(await codeOf(bare.restoreFrom("drive"))).toBe("E_HISTORY");
    expect(existsSync(root.at("Data"))).toBe(false);
  });

  it("a file that no history names is not ours: it is said, and nothing is missing", async () => {
    const { place, root: first, options } = await told();
    place.edit("Meta/theirs.txt" as Key, "a stranger's");
    const root = bareRoot();
    const bare = await root.open(options);
    const not_ours = [{ file: "Meta/theirs.txt", memory_root: null }];
    expect(await bare.restoreFrom("drive", { dryRun: true })).toMatchObject({ missing: [], not_ours });
    expect(await bare.restoreFrom("drive")).toMatchObject({ missing: [], not_ours });
    expect(await bare.restoreFrom("drive")).toMatchObject({ missing: [], not_ours, changes: [] });
    await expectSame(first, root);
  });

  it("where a joined memory has the same key, what lay there is fetched from where it was kept", async () => {
    const { root: first, options } = await told();
    const b = await makeRoot().open(options);
    await b.append("Meta/a.txt", "the other memory's");
    await b.join("drive");
    await b.flush();
    const root = bareRoot();
    const bare = await root.open(options);
    expect(await bare.restoreFrom("drive")).toMatchObject({ missing: [], left: [] });
    expect(readFileSync(root.at("Data/Meta/a.txt"), "utf8")).toBe("a2");
    expect(root.files("Data")).toEqual(first.files("Data"));
  });

  it("a joined memory root's history is not ours, and comes where it is asked for", async () => {
    const { place, root: first, options } = await told();
    const second = makeRoot();
    const b = await second.open(options);
    for (let n = 0; n < 9; n++) await b.append("Of/b.txt", `${n}`); // a longer history
    await b.join("drive");
    await b.flush();
    const root = bareRoot();
    const bare = await root.open(options);
    const done = await bare.restoreFrom("drive");
    expect(done).toMatchObject({ versions: 5, writers: [{ lines: 5 }] });
    expect(done.missing).toEqual([]);
    expect(done.not_ours).toMatchObject([{ file: "Of/b.txt", memory_root: expect.any(String) }]);
    await bare.log("changes");
    await expectSame(first, root);
    expect(segmentsOf(place).length).toBeGreaterThan(1);

    expect(new Map(done.memories.map(({ owner, lines }) => [owner, lines]))).toEqual(
      new Map([
        [true, 5],
        [false, 9],
      ]),
    );
    const joined = done.memories.find(({ owner }) => !owner)!.memory_root;
    const own = done.memories.find(({ owner }) => owner)!.memory_root;
    for (const memory of [joined, joined.slice(-8), joined.slice(-8).toLowerCase()]) {
      const other = bareRoot();
      const c = await other.open(options);
      expect(await c.restoreFrom("drive", { memory, dryRun: true })).toMatchObject({
        memory_root: joined,
        versions: 9,
        missing: [],
      });
      const theirs = await c.restoreFrom("drive", { memory });
      expect(theirs).toMatchObject({ memory_root: joined, missing: [], left: [], gaps: [] });
      expect(theirs.not_ours.map((one) => [one.file, one.memory_root])).toEqual(expect.arrayContaining([["Meta/a.txt", own]]));
      await c.log("changes");
      await expectSame(second, other);
    }
    const none = await bareRoot().open(options);
    for (const memory of ["ZZZZ", joined.slice(-3), ""])
      expect(await codeOf(none.restoreFrom("drive", { memory }))).toBe("E_USAGE");
  });
});

describe("one name that this disk cannot have", () => {
  it("a link out of the data folder, a folder or a file in the way keep back that key alone", async () => {
    const { options, memory, root: first } = await told();
    await memory.append("Meta/folder.txt", "f");
    await memory.append("Deep/er/x.txt", "x");
    await memory.flush();
    const outside = makeRoot();
    writeFileSync(outside.at("secret.txt"), "secret");
    const root = makeRoot();
    mkdirSync(root.at("Data/Meta/folder.txt"), { recursive: true });
    symlinkSync(outside.at("secret.txt"), root.at("Data/Meta/a.txt"));
    writeFileSync(root.at("Data/Deep"), "not a folder");
    const bare = await root.open(options);
    const names = ["Deep/er/x.txt", "Meta/a.txt", "Meta/folder.txt"];
    const plan = await bare.restoreFrom("drive", { dryRun: true });
    expect(plan.left.map(({ file }) => file).toSorted()).toEqual(names);
    const done = await bare.restoreFrom("drive");
    expect(done.left.map(({ file }) => file).toSorted()).toEqual(names);
    expect(readFileSync(outside.at("secret.txt"), "utf8")).toBe("secret");
    expect(readFileSync(root.at("Data/Core/b.txt"), "utf8")).toBe("b1\nb2\n");
    expect(changelogOf(root)).toBe(changelogOf(first));
    expect((await bare.restoreFrom("drive")).left.map(({ file }) => file).toSorted()).toEqual(names);
    rmSync(root.at("Data/Meta/a.txt"));
    rmSync(root.at("Data/Deep"));
    rmSync(root.at("Data/Meta/folder.txt"), { recursive: true });
    expect(await bare.restoreFrom("drive")).toMatchObject({ left: [], missing: [], files: 3 });
    expect(readFileSync(root.at("Data/Meta/a.txt"), "utf8")).toBe("a2");
    expect(await bare.verify()).toMatchObject({ findings: [] });
  });
});

describe("interrupted", () => {
  it("it goes on where it stopped, whatever request fails", async () => {
    const { place, root: first, options } = await told();
    const root = bareRoot();
    let n = 0;
    let broken = 1;
    const failing: Target = forward(place, {
      read(key, use, call) {
        if (++n === broken) return Promise.reject(new Error("the process dies"));
        return place.read(key, use, call);
      },
    });
    let reads = 0;
    for (let tries = 0; ; tries++) {
      const bare = await root.open({ ...options, targets: { drive: failing } });
      n = 0;
      broken++;
      const ended = await bare.restoreFrom("drive").catch(() => undefined);
      reads += n;
      await bare.close();
      if (ended) break;
      expect(tries).toBeLessThan(12);
      expect(existsSync(root.changelog)).toBe(false);
    }
    expect(reads).toBeGreaterThan(6);
    await expectSame(first, root);
  });

  it(
    "killed while it fetches, writes the history or builds the state: run again, it ends as if nothing had happened",
    { timeout: 60_000 },
    async () => {
      const disk = makeRoot();
      const config = { targets: { drive: { type: "folder", enabled: true, path: disk.at("mirror") } } };
      const old = makeRoot(config);
      const memory = await old.open({ clock: clockAt("2026-01-01T00:00:00Z") });
      await live(memory, old, 11, 40);
      await memory.flush();
      await memory.close();
      const files = Object.keys(old.files("Data")).length;
      const kills = [[1, 0], [files - 1, 0], [files, 0], ...[1, 4, 8, 16, 32, 64].map((ms) => [files, ms])];
      const killed = kills.map(([nth, ms]) => ({ nth: String(nth), ms: String(ms), root: bareRoot(config) }));
      const ended = await children(killed.map(({ nth, ms, root }) => ["from-target.child.ts", root.path, nth, ms]));
      expect(ended.filter(({ signal }) => signal === "SIGKILL").length, ended[0]!.stderr).toBeGreaterThan(2);
      for (const { root } of killed) {
        const again = await root.open();
        await again.restoreFrom("drive");
        await again.log("changes");
        await expectSame(old, root);
        expect(await again.verify()).toMatchObject({ findings: [] });
        await again.close();
      }
    },
  );

  it("what another process saves meanwhile is not overrun", async () => {
    const { place, options } = await told();
    const root = makeRoot();
    const other = await root.open(options);
    const bare = await root.open({
      ...options,
      targets: {
        drive: forward(place, {
          async read(key, use, call) {
            if (key === "c.txt") await other.append("quick.txt", "quicker");
            return place.read(key, use, call);
          },
        }),
      },
    });
    expect(await codeOf(bare.restoreFrom("drive"))).toBe("E_BUSY");
    expect((await bare.log("changes")).map((line) => line["file"])).toEqual(["quick.txt"]);
    expect(await bare.restoreFrom("drive")).toMatchObject({ bare: false });
    expect(readFileSync(root.at("Data/Meta/a.txt"), "utf8")).toBe("a2");
    expect(readFileSync(root.at("Data/quick.txt"), "utf8")).toBe("quicker");
    await bare.sweep();
    expect(await bare.verify()).toMatchObject({ findings: [] });
  });

  it("a state that was not built yet is built by whoever opens it", async () => {
    const { root: first, options } = await told();
    const root = bareRoot();
    const bare = await root.open(options);
    await bare.restoreFrom("drive");
    await bare.close();
    for (const suffix of ["", "-wal", "-shm"]) rmSync(root.state + suffix, { force: true });
    const again = await root.open(options);
    expect(await again.restoreFrom("drive")).toMatchObject({ changes: [], missing: [] });
    await expectSame(first, root);
  });
});

describe("where something is here already", () => {
  it("a file in the way becomes a version, and what the target holds another one", async () => {
    const { options } = await told();
    const root = makeRoot();
    mkdirSync(root.at("Data/Meta"));
    writeFileSync(root.at("Data/Meta/a.txt"), "mine");
    const memory = await root.open(options);
    const done = await memory.restoreFrom("drive");
    expect(done.receipts).toMatchObject([{ file: "Meta/a.txt", op: "restore", size: 2 }]);
    expect(readFileSync(root.at("Data/Meta/a.txt"), "utf8")).toBe("a2");
    const lines = await memory.log("changes");
    expect(lines.slice(5).map(({ op }) => op)).toEqual(["external", "restore"]);
    expect(readFileSync(root.at("Data", String(lines.at(-1)!["archived_as"])), "utf8")).toBe("mine");
    expect(await memory.verify()).toMatchObject({ findings: [] });
  });

  it("a history of its own goes on: what differs becomes new versions, below a prefix if one is given; it can be undone", async () => {
    const { memory, root, place } = await told();
    await memory.replace("Meta/a.txt", "damaged");
    writeFileSync(root.at("Data/Core/b.txt"), "b1\nby hand");
    await memory.append("here/only.txt", "x");
    const plan = await memory.restoreFrom("drive", { prefix: "Meta", dryRun: true });
    expect(plan).toMatchObject({ bare: false, changes: [{ file: "Meta/a.txt", to: sha256("a2"), from: sha256("damaged") }] });
    expect(readFileSync(root.at("Data/Meta/a.txt"), "utf8")).toBe("damaged");
    const done = await memory.restoreFrom("drive");
    expect(done.changes.map(({ file }) => file).toSorted()).toEqual(["Core/b.txt", "Meta/a.txt"]);
    expect(readFileSync(root.at("Data/Core/b.txt"), "utf8")).toBe("b1\nb2\n");
    expect(readFileSync(root.at("Data/here/only.txt"), "utf8")).toBe("x");
    const restored = (await memory.log("changes")).filter(({ op }) => op === "restore");
    expect(restored).toHaveLength(2);
    for (const line of restored) expect(line["details"]).toMatchObject({ restores: expect.any(String) });
    expect(await memory.restoreFrom("drive")).toMatchObject({ changes: [] });
    await memory.undo({ session_id: String(restored[0]!["session_id"]) });
    expect(readFileSync(root.at("Data/Meta/a.txt"), "utf8")).toBe("damaged");
    expect(readFileSync(root.at("Data/Core/b.txt"), "utf8")).toBe("b1\nby hand");

    place.edit("c.txt" as Key, "a stranger's");
    expect((await memory.restoreFrom("drive", { prefix: "c.txt" })).missing).toMatchObject([
      { file: "c.txt", why: "covered", version: null },
    ]);
    expect(readFileSync(root.at("Data/c.txt"), "utf8")).toBe("c");
  });

  it("what a second machine of this memory root saved comes as new versions", async () => {
    const { memory, root, options } = await told();
    const second = bareRoot();
    const b = await second.open(options);
    await b.restoreFrom("drive");
    await b.append("Core/b.txt", "of the second\n");
    await b.append("new/there.txt", "new");
    await b.flush();
    await memory.append("c.txt", "c of the first");
    await memory.append("c.txt", "c of the first");
    const done = await memory.restoreFrom("drive");
    expect(done.changes.map(({ file }) => file).toSorted()).toEqual(["Core/b.txt", "c.txt", "new/there.txt"]);
    expect(readFileSync(root.at("Data/Core/b.txt"), "utf8")).toBe("b1\nb2\nof the second\n");
    expect(await memory.verify()).toMatchObject({ findings: [] });
  });

  it("two machines that went on by themselves: what stays behind of the shorter history is named, and where it lies", async () => {
    const { memory, options } = await told();
    const second = bareRoot();
    const b = await second.open(options);
    await b.restoreFrom("drive");
    await b.replace("Meta/a.txt", "b one");
    await b.replace("Meta/a.txt", "b two");
    await b.replace("Core/b.txt", "b three");
    await b.append("new/there.txt", "new");
    await b.flush();
    for (let n = 0; n < 8; n++) await memory.append("c.txt", `${n}`);
    await memory.replace("Meta/a.txt", "a three");
    await memory.flush();
    const root = bareRoot();
    const bare = await root.open(options);
    const plan = await bare.restoreFrom("drive", { dryRun: true });
    expect(plan).toMatchObject({ beside: 4, versions: 14, not_taken: null, missing: [] });
    const named = (some: typeof plan.not_brought) => some.map(({ file, sha256: hash }) => `${file} ${hash}`).toSorted();
    const stays = ["b one", "b two"].map((text) => `Meta/a.txt ${sha256(text)}`).toSorted();
    expect(named(plan.not_brought)).toEqual(stays);
    for (const { at } of plan.not_brought) expect(at).toMatch(/^Archive\/Meta\/a_/);
    const done = await bare.restoreFrom("drive");
    expect(done.not_brought).toEqual(plan.not_brought);
    expect(done.receipts.map(({ file }) => file).toSorted()).toEqual(["Core/b.txt", "new/there.txt"]);
    expect(readFileSync(root.at("Data/new/there.txt"), "utf8")).toBe("new");

    const theirs = await b.restoreFrom("drive", { dryRun: true }); // the shorter history is this machine's own
    expect(theirs.not_brought.map(({ file }) => file)).toEqual(Array.from({ length: 7 }, () => "c.txt"));
    expect(theirs.not_brought.map(({ at }) => at)).toEqual(Array.from({ length: 7 }, () => "c.txt"));
    expect(theirs.not_taken).toBeNull();
  });

  it("after one save the history there is not taken over, and that is said", async () => {
    const { options } = await told();
    const root = makeRoot();
    const memory = await root.open(options);
    await memory.append("mine.txt", "mine");
    const not_taken = { lines: 5, copies: 1 };
    expect(await memory.restoreFrom("drive", { dryRun: true })).toMatchObject({ bare: false, not_taken });
    const done = await memory.restoreFrom("drive");
    expect(done).toMatchObject({ bare: false, not_taken, not_brought: [] });
    expect(done.receipts).toHaveLength(3);
  });

  it("as it was at a time, also on an empty root: the result is new versions", async () => {
    const { memory, options, root: first } = await told();
    const at = String((await memory.log("changes"))[2]!["timestamp"]);
    await memory.archive("Core/b.txt");
    await memory.flush();
    const root = bareRoot();
    const bare = await root.open(options);
    const done = await bare.restoreFrom("drive", { at });
    expect(done.receipts.map(({ file, op }) => `${op} ${file}`).toSorted()).toEqual(["restore Core/b.txt", "restore c.txt"]);
    expect(readFileSync(root.at("Data/Core/b.txt"), "utf8")).toBe("b1\n");
    expect(existsSync(root.at("Data/c.txt"))).toBe(false);
    const lines = await bare.log("changes");
    expect(lines).toHaveLength(8);
    expect(changelogOf(root).startsWith(changelogOf(first))).toBe(true);
  });
});

describe("a time before the history, and a prefix that it does not know", () => {
  it.each([{ dryRun: true }, { dryRun: false }])("are refused before anything is written: %o", async (how) => {
    const { options, memory } = await told();
    const root = bareRoot();
    const bare = await root.open(options);
    const early = "2025-01-01T00:00:00.000Z";
    expect(await codeOf(bare.restoreFrom("drive", { at: early, ...how }))).toBe("E_NOT_FOUND");
    const late = "2027-01-01T00:00:00.000Z";
    expect(await codeOf(bare.restoreFrom("drive", { at: late, prefix: "No/where", ...how }))).toBe("E_NOT_FOUND");
    expect(existsSync(root.at("Data"))).toBe(false);
    expect(existsSync(root.changelog)).toBe(false);
    expect(await codeOf(memory.restoreFrom("drive", { at: early, ...how }))).toBe("E_NOT_FOUND");
  });
});

describe("what was erased", () => {
  it("stays so: the same tree and history without it, here and there", async () => {
    const { memory, root: first, options } = await told();
    await memory.replace("Meta/a.txt", "a line that stays here\nthe secret of the whole thing\n");
    await memory.append("Meta/a.txt", "another line that stays\n");
    await memory.replace("Meta/a.txt", "the end\n");
    await memory.flush();
    await memory.erase({ match: "secret of the whole" });
    await memory.flush();
    expect(await memory.verify({ target: "drive", download: true, restore: true })).toMatchObject({ ok: true, findings: [] });
    const root = bareRoot();
    const bare = await root.open(options);
    expect(await bare.restoreFrom("drive")).toMatchObject({ missing: [], receipts: [], gaps: [] });
    await bare.log("changes");
    await expectSame(first, root);
    expect(await bare.verify()).toMatchObject({ ok: true, findings: [] });
  });
});

describe("bytes that are here no more", () => {
  it("a version whose copies are gone here is read from a target", async () => {
    const { memory, root } = await told();
    const [first] = await memory.log("changes");
    rmSync(root.at("Data/Archive"), { recursive: true });
    const shown = await memory.show("Meta/a.txt", { version: String(first!["version"]) });
    const pieces: Uint8Array[] = [];
    for await (const piece of shown.open()) pieces.push(piece);
    expect(Buffer.concat(pieces).toString()).toBe("a1");
  });

  it("bytes that do not match are not shown", async () => {
    const { memory, root, place } = await told();
    const [first] = await memory.log("changes");
    const copy = place.objects().find(({ key }) => key.startsWith("Archive/"))!.key;
    place.edit(copy, "xx");
    rmSync(root.at("Data/Archive"), { recursive: true });
    expect(await codeOf(memory.show("Meta/a.txt", { version: String(first!["version"]) }))).toBe("E_CONTENT_GONE");
  });
});
