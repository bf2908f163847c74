/** Tampering with what is kept here, of every kind: it is seen, and named exactly. */
import { chmodSync, readFileSync, renameSync, rmSync, statSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { chain, changelogLine, erased, type Version } from "../../src/core/version.ts";
import { parseChangelogLine } from "../../src/logs/verify.ts";
import type { Memory, OpenOptions, VerifyFinding } from "../../src/open.ts";
import { tampering, seenLine, type ChainFacts } from "../../src/recovery/verify-chain.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { clockAt, makeRoot, type Root } from "./root.ts";

const versionOf = (line: string) => parseChangelogLine(JSON.parse(line)) as Version;
const factsOf = ({ place: _, prev: __, sum: ___, salt: ____, commitment: _____, ...facts }: Version) => facts;

/** A root with ten lines, and its memory closed: all of them are in the file. */
async function ten(options: OpenOptions = {}) {
  const root = makeRoot();
  const all: OpenOptions = { clock: clockAt("2026-01-01T00:00:00Z"), ...options };
  const memory = await root.open(all);
  for (let n = 1; n <= 8; n++) await memory.append("Meta/notes.md", `${n}\n`, { chat_name: `chat ${n}` });
  await memory.replace("Meta/notes.md", "whole\n");
  await memory.append("Core/b.txt", "b");
  await memory.close();
  return { root, options: all };
}

const linesOf = (root: Root) => readFileSync(root.changelog, "utf8").split("\n").slice(0, -1);
const write = (root: Root, lines: readonly string[]) => writeFileSync(root.changelog, lines.map((line) => `${line}\n`).join(""));

/** The same history from `place` on with fresh sums, as someone who knows the format would write it. */
function resummed(lines: readonly string[], from: number, change: (version: Version) => Version): string[] {
  const versions = lines.map(versionOf);
  let before = versions[from - 2];
  return versions.map((version, at) => {
    if (at + 1 < from) return lines[at]!;
    const facts = factsOf(at + 1 === from ? change(version) : version);
    before = chain(facts, at + 1, before?.sum ?? null, version.salt!);
    return changelogLine(before);
  });
}

const brief = ({ code, place, line, what }: VerifyFinding) => ({ code, place, line, what });
const found = async (memory: Memory) => (await memory.verify()).findings.map(brief);

describe("the changelog file", () => {
  it("is whole when nobody touched it, also while it is written and turned over", async () => {
    const root = makeRoot({ logs: { rotate: "4KiB" } });
    const memory = await root.open();
    const other = await root.open();
    let done = false;
    const saving = (async () => {
      for (let n = 0; n < 150; n++) await other.append(`Meta/${n % 7}.txt`, `${n}\n`);
      await other.replace("Meta/1.txt", "x");
      done = true;
    })();
    while (!done) expect(await memory.verify()).toMatchObject({ ok: true, findings: [] });
    await saving;
    expect(await memory.verify()).toMatchObject({ ok: true, findings: [], history: { lines: 151 }, files: 7, copies: 1 });
  });

  const cases: Record<string, [(lines: string[]) => string[], Partial<VerifyFinding>]> = {
    "a byte in a line": [
      (l) => l.with(3, l[3]!.replace("chat 4", "chat 5")),
      { place: 4, line: 4, what: expect.stringMatching(/^line 4 of the history was altered in the changelog/) as string },
    ],
    "a byte that ends the JSON": [
      (l) => l.with(3, l[3]!.replace("{", "[")),
      { place: 4, line: 4, what: expect.stringContaining("line 4 of the history was altered") as string },
    ],
    "a sum": [(l) => l.with(3, l[3]!.replace(/"sum":"./, '"sum":"g')), { place: 4, line: 4 }],
    "its place": [
      (l) => l.with(3, l[3]!.replace('"place":4', '"place":7')),
      { place: 4, line: 4, what: expect.stringContaining("altered") as string },
    ],
    "a field that nobody knows": [(l) => l.with(3, l[3]!.replace("{", '{"more":1,')), { place: 4, line: 4 }],
    "a key that stands in a line twice, of which parsing takes the last": [
      (l) => l.with(3, l[3]!.replace("{", '{"chat_name":"EVIL",')),
      { place: 4, line: 4, what: expect.stringContaining("line 4 of the history was altered") as string },
    ],
    "the order of its keys": [
      (l) => l.with(3, JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(l[3]!) as object).toReversed()))),
      { place: 4, line: 4, what: expect.stringContaining("line 4 of the history was altered") as string },
    ],
    "a line that is gone": [
      (l) => l.toSpliced(4, 1),
      { place: 5, line: 5, what: expect.stringMatching(/^line 5 of the history was removed from the changelog/) as string },
    ],
    "lines that are gone": [
      (l) => l.toSpliced(4, 3),
      { place: 5, line: 5, what: expect.stringMatching(/^lines 5 to 7 of the history were removed/) as string },
    ],
    "the first line": [(l) => l.slice(1), { place: 1, line: 1, what: expect.stringContaining("removed") as string }],
    "the last line": [
      (l) => l.slice(0, -1),
      { place: 10, line: null, what: expect.stringContaining("line 10 of the history was removed") as string },
    ],
    "the whole tail": [
      (l) => l.slice(0, 6),
      { place: 7, line: null, what: expect.stringContaining("lines 7 to 10 of the history were removed") as string },
    ],
    everything: [() => [], { place: 1, line: null, what: expect.stringContaining("lines 1 to 10") as string }],
    "a line twice": [
      (l) => l.toSpliced(5, 0, l[2]!),
      { place: 3, line: 6, what: expect.stringMatching(/^a line that nobody wrote was put into the changelog/) as string },
    ],
    "a forged line between": [
      (l) => {
        const before = versionOf(l[4]!);
        return l.toSpliced(
          5,
          0,
          changelogLine(chain({ ...factsOf(before), version: "01JZZZZZZZZZZZZZZZZZZZZZZZ" }, 6, before.sum, before.salt!)),
        );
      },
      { place: 6, line: 6, what: expect.stringContaining("put into") as string },
    ],
    "a line of rubbish between": [
      (l) => l.toSpliced(5, 0, "rubbish"),
      { place: 6, line: 6, what: expect.stringContaining("put into") as string },
    ],
    "two lines that changed places": [
      (l) => l.with(4, l[5]!).with(5, l[4]!),
      { place: 5, line: 5, what: expect.stringMatching(/^line 5 of the history was moved further behind/) as string },
    ],
    "one line with a fresh sum": [
      (l) => l.with(6, resummed(l, 7, (v) => ({ ...v, chat_name: "Mallory" }))[6]!),
      { place: 7, line: 7, what: expect.stringContaining("line 7 of the history was altered") as string },
    ],
    "the rest with fresh sums": [
      (l) => resummed(l, 7, (v) => ({ ...v, chat_name: "Mallory" })),
      { place: 7, line: 7, what: expect.stringContaining("line 7 of the history was altered") as string },
    ],
    "all with fresh sums": [(l) => resummed(l, 1, (v) => ({ ...v, chat_name: "Mallory" })), { place: 1, line: 1 }],
    "the last one with a fresh sum": [(l) => resummed(l, 10, (v) => ({ ...v, chat_name: "Mallory" })), { place: 10, line: 10 }],
    "a line that was blanked by hand": [
      (l) => l.with(3, changelogLine(erased(versionOf(l[3]!)))),
      { place: 4, line: 4, what: expect.stringContaining("is blank in the changelog, and no erasure names it") as string },
    ],
  };
  it.each(Object.entries(cases))("%s is named, and the file is left as it is", async (_, [change, expected]) => {
    const { root, options } = await ten();
    write(root, change(linesOf(root)));
    const before = readFileSync(root.changelog);
    const memory = await root.open(options);
    expect(await found(memory)).toMatchObject([{ code: "E_HISTORY", ...expected }]);
    expect((await memory.verify()).ok).toBe(false);
    expect(readFileSync(root.changelog)).toEqual(before);
  });

  it("doctor --fix writes it anew, and all is well", async () => {
    const { root, options } = await ten();
    write(root, linesOf(root).toSpliced(4, 1));
    const memory = await root.open(options);
    expect(await memory.verify()).toMatchObject({ ok: false });
    await memory.doctor({ fix: true });
    expect(await memory.verify()).toMatchObject({ ok: true, findings: [] });
  });

  it("doctor --fix writes it anew also where parsing does not tell", async () => {
    const { root, options } = await ten();
    const lines = linesOf(root);
    write(root, lines.with(3, lines[3]!.replace("{", '{"chat_name":"EVIL",')));
    const memory = await root.open(options);
    await memory.doctor({ fix: true });
    expect(await memory.verify()).toMatchObject({ ok: true, findings: [] });
    expect(linesOf(root)).toEqual(lines);
  });

  it("and the state are gone: the files that no version knows are told, and what to do", async () => {
    const { root, options } = await ten();
    rmSync(root.at("logs"), { recursive: true });
    rmSync(root.at(".aftersave"), { recursive: true });
    const { ok, history, findings } = await (await root.open(options)).verify();
    expect([ok, history.lines]).toEqual([true, 0]);
    expect(findings).toMatchObject([
      {
        level: "warning",
        what: expect.stringMatching(/^2 files in the data folder are known to no version/) as string,
        next: expect.stringMatching(/restore --from TARGET.*sweep/) as string,
      },
    ]);
  });

  it("a file that someone put beside those that were saved is told, and sweep ends it", async () => {
    const { root, options } = await ten();
    writeFileSync(root.at("Data/Core/new.txt"), "new");
    const memory = await root.open(options);
    expect((await memory.verify()).findings).toMatchObject([{ level: "warning", file: "Core/new.txt" }]);
    await memory.sweep();
    expect((await memory.verify()).findings).toEqual([]);
  });

  it("over rotated files: the one where it was altered is named", async () => {
    const { root, options } = await ten();
    const lines = linesOf(root);
    const rotated = `${root.changelog}.2026-01-01T00-00-10Z`;
    renameSync(root.changelog, rotated);
    write(root, lines.slice(5));
    writeFileSync(rotated, `${lines.slice(0, 5).with(2, lines[2]!.replace("chat 3", "chat X")).join("\n")}\n`);
    const memory = await root.open(options);
    const [first, ...more] = (await memory.verify()).findings;
    expect(first).toMatchObject({ place: 3, line: 3, path: rotated });
    expect(more).toEqual([]);
  });

  it("a line of another program in the middle or behind ours is an error that names where it stands", async () => {
    for (const at of [4, 10]) {
      const { root, options } = await ten();
      write(root, linesOf(root).toSpliced(at, 0, '{"note":"not ours"}'));
      const memory = await root.open(options);
      const what = expect.stringMatching(new RegExp(`, line ${at + 1}\\)$`)) as string;
      expect(await memory.verify()).toMatchObject({
        ok: false,
        findings: [{ code: "E_LOG_FOREIGN", level: "error", line: at + 1, what }],
      });
    }
  });

  it.each<[string, (text: string) => string, number | null]>([
    ["an unfinished line behind the last one", (text) => `${text}{"partial":`, 11],
    ["blank lines behind the last one", (text) => `${text}\n\n`, 11],
    ["a blank line in the middle", (text) => text.replace("\n", "\n\n"), 2],
    ["other line ends", (text) => text.replaceAll("\n", "\r\n"), null],
    ["a byte order mark", (text) => `\uFEFF${text}`, null],
  ])("%s is seen before the next save notices it", async (_, change, line) => {
    const { root, options } = await ten();
    writeFileSync(root.changelog, change(readFileSync(root.changelog, "utf8")));
    const memory = await root.open(options);
    expect(await memory.verify()).toMatchObject({ ok: false, findings: [{ code: "E_LOG_FOREIGN", level: "error", line }] });
  });
});

describe("the state", () => {
  it("an altered version in it is named, and the file is not blamed", async () => {
    const { root, options } = await ten();
    const db = openDatabase(root.state, 1000);
    db.exec(`UPDATE versions SET actor = replace(actor, 'chat 4', 'chat X') WHERE place = 4`);
    db.close();
    const memory = await root.open(options);
    const { findings } = await memory.verify();
    expect(findings.map(brief)).toMatchObject([{ code: "E_STATE_CORRUPT", place: 4 }]);
    expect(findings[0]!.next).toContain("--rebuild");
  });
});

describe("content", () => {
  it("a head, an archive copy and a live file that were damaged are each named", async () => {
    const { root, options } = await ten();
    const memory = await root.open(options);
    expect(await memory.verify()).toMatchObject({ findings: [], files: 2, copies: 1 });

    const [copy] = Object.keys(root.files("Data/Archive"));
    chmodSync(root.at("Data/Archive", copy!), 0o644);
    writeFileSync(root.at("Data/Archive", copy!), "1\n2\n3\n4\n5\n6\n7\nX\n");
    expect((await memory.verify()).findings).toMatchObject([
      { code: "E_ARCHIVE_CHANGED", level: "error", file: `Archive/${copy}` },
    ]);
    rmSync(root.at("Data/Archive", copy!));
    expect((await memory.verify()).findings).toMatchObject([
      { code: "E_ARCHIVE_CHANGED", what: expect.stringContaining("is gone") },
    ]);
  });

  it("a kept copy", async () => {
    const { root, options } = await ten();
    const memory = await root.open(options);
    const [head] = Object.keys(root.files(".aftersave/heads")).filter(
      (name) => readFileSync(root.at(".aftersave/heads", name), "utf8") === "b",
    );
    truncateSync(root.at(".aftersave/heads", head!), 0);
    expect((await memory.verify()).findings).toMatchObject([
      { code: "E_DAMAGED", file: "Core/b.txt", path: root.at(".aftersave/heads", head!) },
    ]);
    await memory.doctor({ fix: true });
    expect(await memory.verify()).toMatchObject({ findings: [] });
  });

  it("a live file: a change by someone is told as one; bytes that rotted under unchanged times are damage", async () => {
    const { root, options } = await ten();
    const memory = await root.open(options);
    writeFileSync(root.at("Data/Core/b.txt"), "c");
    expect(await memory.verify()).toMatchObject({
      ok: true,
      findings: [{ level: "warning", code: null, file: "Core/b.txt", next: expect.stringContaining("sweep") }],
    });
    await memory.sweep();
    expect(await memory.verify()).toMatchObject({ findings: [] });
    rmSync(root.at("Data/Core/b.txt"));
    expect(await memory.verify()).toMatchObject({
      ok: true,
      findings: [{ level: "warning", what: expect.stringContaining("removed") }],
    });
    await memory.sweep();

    // as if the disk had done it: the state is told that the file was seen so
    const path = root.at("Data/Meta/notes.md");
    writeFileSync(path, "whale\n");
    const old = new Date("2026-01-01T00:00:00Z");
    utimesSync(path, old, old);
    const s = statSync(path, { bigint: true });
    await memory.close();
    const db = openDatabase(root.state, 1000);
    db.exec(`UPDATE heads SET stamp = '${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}' WHERE key = 'Meta/notes.md'`);
    db.close();
    const again = await root.open(options);
    expect((await again.verify()).findings).toMatchObject([{ code: "E_DAMAGED", level: "error", file: "Meta/notes.md" }]);
  });
});

describe("tampering, of lines alone", () => {
  const history = (n: number) => {
    const lines: Version[] = [];
    for (let place = 1; place <= n; place++) {
      const facts = { ...factsOf(sample), version: `01JZZZZZZZZZZZZZZZZZZZZZ${String(place).padStart(2, "0")}` };
      lines.push(chain(facts, place, lines.at(-1)?.sum ?? null, "0".repeat(32)));
    }
    return lines;
  };
  const sample = versionOf(
    changelogLine(
      chain(
        {
          version: "01JZZZZZZZZZZZZZZZZZZZZZZZ",
          op: "append",
          file: "a" as never,
          sha256: "0".repeat(64),
          size: 1,
          prev_sha256: null,
          archived_as: null,
          timestamp: "2026-01-01T00:00:00.000Z",
          details: null,
          chat_name: "x",
          context_tags: [],
          model: null,
          session_id: null,
          tool: null,
          reason: null,
          origin: null,
        },
        1,
        null,
        "0".repeat(32),
      ),
    ),
  );
  const see = (lines: readonly Version[], facts?: ChainFacts) =>
    tampering(
      lines.map((line, at) => seenLine("x", at + 1, JSON.parse(changelogLine(line)), changelogLine(line))),
      facts,
    ).map(({ what, place, at }) => [what, place, at?.line]);

  it("an erased line is right when an erase names it, here or in another copy", () => {
    const lines = history(5);
    const [, second] = lines;
    const blank = lines.with(1, erased(second!));
    expect(see(blank)).toEqual([["forged", 2, 2]]);
    expect(see(blank, { erased: new Set([second!.version]) })).toEqual([]);
    const facts = {
      ...factsOf(sample),
      version: "01JZZZZZZZZZZZZZZZZZZZZZ99",
      op: "erase" as const,
      file: "" as never,
      sha256: null,
      size: null,
      details: { about: [second!.version] },
    };
    const erase = chain(facts, 6, lines[4]!.sum, "0".repeat(32));
    expect(see([...blank, erase])).toEqual([]);
    const known = (place: number) => ({ sum: [...lines, erase][place - 1]!.sum, erased: place === 2 });
    expect(see([...lines, erase], { known })).toEqual([["unerased", 2, 2]]);
  });

  it("a line behind the newest one was put in", () => {
    expect(see(history(6), { newest: 5 })).toEqual([["inserted", 6, 6]]);
    expect(see(history(6), { newest: 6, last: 6 })).toEqual([]);
    expect(see(history(5), { newest: 6, last: 5 })).toEqual([]);
    expect(see(history(4), { newest: 6, last: 5 })).toEqual([["removed", 5, undefined]]);
  });

  it("without another copy, a line with a fresh sum shows in the one behind it", () => {
    const lines = history(6);
    const forged = chain({ ...factsOf(lines[2]!), reason: "Mallory" }, 3, lines[1]!.sum, "0".repeat(32));
    expect(see(lines.with(2, forged))).toEqual([["altered", 3, 3]]);
  });
});
