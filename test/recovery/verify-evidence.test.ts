/** Evidence of tampering with the changelog outlives whatever command runs first; a crash or a power cut is none. */
import { appendFileSync, cpSync, existsSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { chain, changelogLine, type Version } from "../../src/core/version.ts";
import { parseChangelogLine } from "../../src/logs/verify.ts";
import type { Memory } from "../../src/open.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { anySeed, seededRandom } from "../../src/testing/random.ts";
import { children } from "./children.ts";
import { makeRoot, type Root } from "./root.ts";

const linesOf = (root: Root) => readFileSync(root.changelog, "utf8").split("\n").slice(0, -1);
const textOf = (lines: readonly string[]) => lines.map((line) => `${line}\n`).join("");

async function save(root: Root, saves = 6): Promise<void> {
  const memory = await root.open();
  for (let n = 1; n <= saves; n++) await memory.append("Meta/notes.md", `${n}\n`, { chat_name: `chat ${n}` });
  await memory.close();
}

/** The next line, as someone who knows the format would write it. */
function forged(lines: readonly string[], says: Partial<Version> = {}): string {
  const last = parseChangelogLine(JSON.parse(lines.at(-1)!)) as Version;
  const { place: _, prev: __, sum: ___, salt: ____, commitment: _____, ...facts } = last;
  const next = { ...facts, version: "01KZZZZZZZZZZZZZZZZZZZZZZZ", chat_name: "Mallory", archived_as: null, ...says };
  return changelogLine(chain(next, last.place + 1, last.sum, last.salt!));
}

const tamperings: Record<string, { do: (root: Root) => void; what: RegExp; place: number | null }> = {
  "cut by lines": {
    do: (root) => writeFileSync(root.changelog, textOf(linesOf(root).slice(0, 4))),
    what: /was cut: it ended before line 5/,
    place: 5,
  },
  "cut in the middle of a line": {
    do: (root) => truncateSync(root.changelog, readFileSync(root.changelog).length - 100),
    what: /was cut: it ended before line 6/,
    place: 6,
  },
  removed: { do: (root) => rmSync(root.changelog), what: /was removed/, place: 1 },
  "altered, and shorter": {
    do: (root) => writeFileSync(root.changelog, textOf(linesOf(root).map((line) => line.replace("chat 3", "x")))),
    what: /was altered in line 3, line 3 of the history/,
    place: 3,
  },
  "replaced by another file": {
    do: (root) => {
      writeFileSync(`${root.changelog}.new`, `${linesOf(root)[0]}\n{"place":2}\n`);
      renameSync(`${root.changelog}.new`, root.changelog);
    },
    what: /was altered in line 2, line 2 of the history/,
    place: 2,
  },
  "given a line of another program": {
    do: (root) => appendFileSync(root.changelog, '{"note":"not ours"}\n'),
    what: /something that nobody of ours wrote stood in the changelog .*, line 7/,
    place: null,
  },
  "given rubbish": {
    do: (root) => appendFileSync(root.changelog, "rubbish\n"),
    what: /something that nobody of ours wrote stood in the changelog .*, line 7/,
    place: null,
  },
  "given a forged line with a right sum": {
    do: (root) => appendFileSync(root.changelog, `${forged(linesOf(root))}\n`),
    what: /^1 line stood in the changelog .* that the state did not know; taken over/,
    place: 7,
  },
};

const commands: Record<string, (memory: Memory) => Promise<unknown>> = {
  append: (memory) => memory.append("Core/other.txt", "x"),
  status: (memory) => memory.status(),
  flush: (memory) => memory.flush(),
  log: (memory) => memory.log("changes"),
};

/** What is wrong with the changelog, noticed before or seen now. */
const told = async (memory: Memory) => (await memory.verify()).findings.filter(({ code }) => code !== null);

describe("a changelog that was", () => {
  const cases = Object.keys(tamperings).flatMap((kind) => Object.keys(commands).map((command) => [kind, command] as const));
  it.each(cases)("%s, and %s came first: verify says so until doctor --fix", async (kind, command) => {
    const { do: tamper, what, place } = tamperings[kind]!;
    const root = makeRoot();
    await save(root);
    tamper(root);
    const first = await root.open();
    await commands[command]!(first);
    await first.close().catch(() => undefined);

    const looked = await root.open();
    expect(await told(looked)).not.toEqual([]);
    await looked.append("Core/more.txt", "y"); // by now it was mended, or refused
    await looked.doctor();
    await looked.close();
    const after = await root.open();
    const report = await after.verify();
    expect(report.ok).toBe(false);
    const noticed = report.findings.filter(({ code }) => code === "E_LOG_ALTERED");
    expect(noticed).toMatchObject([{ level: "error", place, path: root.changelog, what: expect.stringMatching(what) as string }]);
    for (const { what, why, next, noticed_at, set_aside } of noticed) {
      expect(what).toContain(`noticed ${noticed_at}`);
      expect(why).toMatch(/risk/);
      expect(next).toContain("doctor --fix");
      for (const path of set_aside) expect(existsSync(path)).toBe(true);
    }
    const status = await after.status();
    expect([status.altered, after.check(status)]).toEqual([1, 5]);
    const said = (await after.doctor()).filter(({ code }) => code === "E_LOG_ALTERED");
    expect(said).toMatchObject([{ part: "logs", level: "error", fixed: false }]);

    expect((await after.doctor({ fix: true })).filter(({ code }) => code === "E_LOG_ALTERED")).toMatchObject([{ fixed: true }]);
    expect((await after.verify()).findings.filter(({ code }) => code === "E_LOG_ALTERED")).toEqual([]);
    expect((await after.status()).altered).toBe(0);
    expect(readFileSync(root.at(".aftersave/diagnostic.log"), "utf8")).toMatch(/"event":"evidence cleared".*memory_changelog/);
  });

  it.each(["cut by lines", "altered, and shorter", "removed"])(
    "%s is whole again, and what stood there is kept",
    async (kind) => {
      const root = makeRoot();
      await save(root);
      const before = linesOf(root);
      tamperings[kind]!.do(root);
      const left = existsSync(root.changelog) ? readFileSync(root.changelog, "utf8") : null;
      const memory = await root.open();
      await memory.append("Core/other.txt", "x");
      const [found] = await told(memory);
      expect(linesOf(root).slice(0, 6)).toEqual(before);
      expect(found!.set_aside.map((path) => readFileSync(path, "utf8"))).toEqual(left === null ? [] : [left]);
    },
  );

  it("cut under a running process, before anything was synced", async () => {
    const root = makeRoot();
    const memory = await root.open();
    for (let n = 0; n < 4; n++) await memory.append("a.txt", `${n}\n`);
    await memory.status();
    writeFileSync(root.changelog, textOf(linesOf(root).slice(0, 2)));
    await memory.append("a.txt", "more\n");
    expect(await told(memory)).toMatchObject([{ code: "E_LOG_ALTERED", place: 3 }]);
    expect(linesOf(root)).toHaveLength(5);
  });

  it("found so by this very doctor --fix is not yet looked at", async () => {
    const root = makeRoot();
    await save(root);
    const memory = await root.open();
    await memory.append("Core/other.txt", "x");
    await memory.status();
    writeFileSync(root.changelog, textOf(linesOf(root).slice(0, 2)));
    const other = await root.open({
      onStep: (step) => {
        if (step === "accepted") throw new Error("dies here, and nothing is exported");
      },
    });
    await expect(other.append("Core/other.txt", "y")).rejects.toBeDefined();
    const code = ({ code }: { code: string | null }) => code === "E_LOG_ALTERED";
    expect((await memory.doctor({ fix: true })).filter(code)).toMatchObject([{ fixed: false }]);
    expect((await told(memory)).filter(code)).toHaveLength(1);
    expect((await memory.doctor({ fix: true })).filter(code)).toMatchObject([{ fixed: true }]);
    expect(await told(memory)).toEqual([]);
  });

  it("tampered with again and again: the first ones and the newest are kept, twenty of them", async () => {
    const root = makeRoot();
    await save(root, 1);
    const memory = await root.open();
    for (let n = 0; n < 25; n++) {
      rmSync(root.changelog);
      appendFileSync(root.changelog, n === 24 ? "" : `{"place":${n}}\n`);
      await memory.append("a.txt", `${n}\n`);
      await memory.status();
    }
    const found = await told(memory);
    expect(found).toHaveLength(20);
    expect(found[0]!.what).toMatch(/was altered in line 1/);
    expect(found.at(-1)!.what).toMatch(/was cut/);
  });
});

describe("a state that was put together again", () => {
  it("from the file alone says how many lines came from there; a warning", async () => {
    const root = makeRoot();
    await save(root);
    rmSync(root.at(".aftersave"), { recursive: true });
    const memory = await root.open();
    expect(await memory.verify()).toMatchObject({
      ok: true,
      findings: [{ code: "E_LOG_ALTERED", level: "warning", what: expect.stringMatching(/^6 lines stood in the changelog/) }],
    });
    expect((await memory.status()).altered).toBe(0);
    await memory.doctor({ fix: true });
    expect((await memory.verify()).findings).toEqual([]);
  });

  it("although it was whole has nothing to say, but of a forged line it does", async () => {
    const root = makeRoot();
    await save(root);
    const memory = await root.open({ rebuild: true });
    expect((await memory.verify()).findings).toEqual([]);
    await memory.close();
    appendFileSync(root.changelog, `${forged(linesOf(root))}\n`);
    const again = await root.open({ rebuild: true });
    expect(await told(again)).toMatchObject([{ level: "error", place: 7, what: expect.stringMatching(/^1 line stood/) }]);
  });

  it("keeps what was noticed before", async () => {
    const root = makeRoot();
    await save(root);
    rmSync(root.changelog);
    const memory = await root.open();
    await memory.append("Core/other.txt", "x");
    await memory.close();
    const again = await root.open({ rebuild: true });
    expect(await told(again)).toMatchObject([{ code: "E_LOG_ALTERED", what: expect.stringMatching(/was removed/) }]);
    await again.close();
    const db = openDatabase(root.state, 1000);
    db.exec("UPDATE versions SET actor = 'nothing' WHERE place = 7"); // `last` cannot be read
    db.close();
    const third = await root.open();
    expect(third.notices[0]).toMatch(/was damaged/);
    expect((await told(third)).map(({ what }) => what)).toContainEqual(expect.stringMatching(/was removed/));
  });
});

describe("a forged line with a right sum behind the end", () => {
  const cases: Record<string, Partial<Version>> = {
    "a key out of the data folder": { file: "../../esc/pwn.txt" as Key },
    "a copy out of it": { archived_as: "../../esc/secret.txt" as Key },
    "a copy in the place of a memory file": { archived_as: "Meta/notes.md" as Key },
    "our own folder": { file: ".aftersave/state.db" as Key },
  };
  it.each(Object.entries(cases))("that names %s is not taken over, nor what follows it", async (_, says) => {
    const root = makeRoot();
    await save(root);
    const first = forged(linesOf(root), says);
    const second = forged([first], { version: "01KZZZZZZZZZZZZZZZZZZZZZZY" });
    appendFileSync(root.changelog, `${first}\n${second}\n`);
    const memory = await root.open();
    expect(memory.notices).toEqual([]);
    expect((await memory.verify()).findings).toMatchObject([{ level: "error", place: 7, line: 7 }]);
    expect((await memory.verify()).history.lines).toBe(6);
    await memory.flush();
    expect(Object.keys(root.files("mirror")).filter((path) => /pwn|secret/.test(path))).toEqual([]);
    await memory.append("Core/other.txt", "x");
    expect(await told(memory)).not.toEqual([]);
    await memory.close().catch(() => undefined);
    rmSync(root.at(".aftersave"), { recursive: true }); // also where the file alone is left
    const again = await root.open();
    await again.flush();
    expect(Object.keys(root.files("mirror")).filter((path) => /pwn|secret/.test(path))).toEqual([]);
  });

  it("does not make an archive copy another one than it was recorded as", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/notes.md", "one");
    const { archived_as } = await memory.replace("Meta/notes.md", "two");
    await memory.append("Core/other.txt", "other");
    await memory.close();
    const before = parseChangelogLine(JSON.parse(linesOf(root)[1]!)) as Version;
    const says = { file: "Core/other.txt" as Key, archived_as, prev_sha256: "ab".repeat(32) };
    appendFileSync(root.changelog, `${forged(linesOf(root), says)}\n`);
    const again = await root.open();
    const found = (await again.verify()).findings.filter(({ code }) => code === "E_ARCHIVE_CHANGED");
    expect(found).toEqual([]);
    expect(before.archived_as).toBe(archived_as);
  });
});

describe("doctor --fix", () => {
  const insert = (root: Root, at: number, bytes: Buffer) => {
    const lines = textOf(linesOf(root).slice(0, at));
    const rest = textOf(linesOf(root).slice(at));
    writeFileSync(root.changelog, Buffer.concat([Buffer.from(lines), bytes, Buffer.from(rest)]));
  };
  const cases: Record<string, (root: Root) => void> = {
    "bytes that are no text in the middle": (root) => insert(root, 3, Buffer.from("hello \xff\xfe\n", "latin1")),
    "a line of another program in the middle": (root) => insert(root, 3, Buffer.from('{"note":"not ours"}\n')),
    "a line of another program at the end": (root) => insert(root, 6, Buffer.from('{"note":"not ours"}\n')),
    "a forged line that is refused at the end": (root) =>
      insert(root, 6, Buffer.from(`${forged(linesOf(root), { file: "../x" as Key })}\n`)),
    "an unfinished line at the end": (root) => insert(root, 6, Buffer.from('{"partial":')),
    "other line ends": (root) => writeFileSync(root.changelog, readFileSync(root.changelog, "utf8").replaceAll("\n", "\r\n")),
  };
  const both = Object.keys(cases).flatMap((name) => [true, false].map((saved) => [name, saved] as const));
  it.each(both)(
    "writes the changelog anew that holds %s, and keeps what stood there (a save came first: %s)",
    async (name, saved) => {
      const root = makeRoot();
      await save(root);
      const before = linesOf(root);
      cases[name]!(root);
      const stood = readFileSync(root.changelog);
      const memory = await root.open();
      if (saved) await memory.append("Core/other.txt", "x");
      await memory.status();
      expect((await told(memory)).length).toBeGreaterThan(0);
      const plain = readFileSync(root.changelog);
      await memory.doctor();
      expect(readFileSync(root.changelog)).toEqual(plain);
      await memory.doctor({ fix: true });
      await memory.doctor({ fix: true }); // what the first one noticed itself
      expect((await memory.verify()).findings).toEqual([]);
      await memory.append("Core/more.txt", "y");
      await memory.status();
      expect((await memory.verify()).findings).toEqual([]);
      const ours = linesOf(root).map((line) => line.replace(/\r$/, "")); // a save lets other line ends stand, and tells of them
      expect(ours.slice(0, 6)).toEqual(before);
      expect(linesOf(root)).toHaveLength(saved ? 8 : 7);
      const beside = `${root.changelog}.before-aftersave`;
      if (!saved) expect(readFileSync(beside)).toEqual(stood);
    },
  );
});

describe("no tampering", () => {
  it("saves that are killed, again and again, leave no evidence", { timeout: 120_000 }, async () => {
    const root = makeRoot({ logs: { rotate: "8KiB" } });
    const random = seededRandom(anySeed());
    for (let round = 0; round < 12; round++) {
      const ended = await children([["evidence.child.ts", root.path, String(Math.floor(random() * 400))]]);
      expect(ended.map(({ signal }) => signal)).toEqual(["SIGKILL"]);
      const memory = await root.open();
      await memory.sweep();
      await memory.status();
      expect((await memory.verify()).findings).toEqual([]);
      await memory.close();
      expect((await (await root.open()).verify()).findings).toEqual([]);
    }
  });

  it("a power cut that takes any part of what was not synced leaves no evidence", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("a.txt", "0\n");
    await memory.doctor(); // syncs
    const safe = readFileSync(root.changelog).length;
    for (let n = 1; n < 5; n++) await memory.append("a.txt", `${n}\n`);
    await memory.status();
    const whole = readFileSync(root.changelog);
    const random = seededRandom(anySeed());
    for (let round = 0; round < 24; round++) {
      const cut = makeRoot();
      cpSync(root.path, cut.path, { recursive: true });
      const size = safe + Math.floor(random() * (whole.length - safe + 1));
      const left = Buffer.from(whole.subarray(0, size));
      const nul = round % 2 === 0 ? size : safe + Math.floor(random() * (size - safe + 1));
      left.fill(0, nul);
      writeFileSync(cut.changelog, left);
      const after = await cut.open();
      await after.status();
      expect((await after.verify()).findings, `size ${size}, NUL from ${nul}`).toEqual([]);
      expect(readFileSync(cut.changelog).equals(whole)).toBe(true);
      await after.close();
    }
  });

  it("a torn end of our own, a root that was copied as a whole, another name in paths.json", async () => {
    const root = makeRoot();
    await save(root);
    const memory = await root.open();
    await memory.append("Core/other.txt", "x");
    await memory.status();
    const copied = makeRoot();
    cpSync(root.path, copied.path, { recursive: true });
    const copy = await copied.open();
    await copy.append("Core/other.txt", "y");
    expect((await copy.verify()).findings).toEqual([]);
    await copy.close();
    const config = JSON.parse(readFileSync(copied.at("paths.json"), "utf8")) as object;
    writeFileSync(copied.at("paths.json"), JSON.stringify({ ...config, memory_changelog: "logs/other.json" }));
    const named = await copied.open();
    await named.append("Core/other.txt", "z");
    expect((await named.verify()).findings).toEqual([]);
  });

  it.each(["absent", "begun"])("a kill while the file was turned over (the new one is %s)", async (next) => {
    const root = makeRoot();
    await save(root);
    renameSync(root.changelog, `${root.changelog}.2026-01-01T00-00-00Z`);
    if (next === "begun") writeFileSync(root.changelog, "");
    const memory = await root.open();
    await memory.append("Core/other.txt", "x");
    await memory.status();
    expect((await memory.verify()).findings).toEqual([]);
    expect(linesOf(root)).toHaveLength(1);
  });

  it.each(["voided", "moved aside"])("a changelog that we were writing anew when we were killed (%s)", async (when) => {
    const root = makeRoot();
    await save(root);
    const lines = linesOf(root);
    const db = openDatabase(root.state, 1000);
    db.exec("UPDATE log_marks SET ino = '', size = 0, safe_size = 0 WHERE log = 'changes'");
    db.close();
    if (when === "moved aside") renameSync(root.changelog, `${root.changelog}.before-aftersave`);
    const memory = await root.open();
    await memory.status();
    expect(linesOf(root)).toEqual(lines);
    expect((await memory.verify()).findings).toEqual([]);
  });
});
