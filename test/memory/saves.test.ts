/** What each save does, and what it answers. */
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesBelow, logLines } from "../../scripts/campaign/root.ts";
import type { Body } from "../../src/open.ts";
import { codeOf, freshRoots, sha256 } from "./root.ts";

const roots = freshRoots();
const KEY = "Meta/AI_Architecture.txt";
const at = (iso: string) => ({ now: () => Date.parse(iso), sleep: () => Promise.resolve() });

async function* pieces(...parts: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part);
}

describe("append", () => {
  it("makes the file, then adds at its end, and answers a receipt for each", async () => {
    const { memory, read, archives } = await roots.fresh({ clock: at("2026-04-13T18:00:00.123Z") });
    const first = await memory.append(KEY, "one\n", { chat_name: "c", tags: ["t"] });
    expect(first).toMatchObject({
      op: "append",
      file: KEY,
      sha256: sha256("one\n"),
      size: 4,
      prev_sha256: null,
      archived_as: null,
      timestamp: "2026-04-13T18:00:00.123Z",
      unchanged: false,
      undo: first.version,
      warnings: [],
      uploads: [{ target: "drive", status: "pending", attempts: 0, drive_path: `Drive/MemoryVDB/${KEY}`, notes: "" }],
    });
    const second = await memory.append(KEY, "two\n");
    expect(second).toMatchObject({
      op: "append",
      sha256: sha256("one\ntwo\n"),
      size: 8,
      prev_sha256: first.sha256,
      archived_as: null,
    });
    expect(second.version > first.version).toBe(true);
    expect(read(KEY)).toBe("one\ntwo\n");
    expect(archives()).toEqual([]);
  });

  it("does not rewrite the file", async () => {
    const { memory, data } = await roots.fresh();
    await memory.append(KEY, "one\n");
    const { ino } = statSync(data(KEY));
    await memory.append(KEY, "two\n");
    expect(statSync(data(KEY)).ino).toBe(ino);
  });

  it("of nothing changes nothing", async () => {
    const { memory } = await roots.fresh();
    const { version } = await memory.append(KEY, "one\n");
    expect(await memory.append(KEY, "")).toMatchObject({ unchanged: true, version, undo: null, uploads: [] });
    expect(await memory.append("empty.txt", "")).toMatchObject({ unchanged: false, size: 0, sha256: sha256("") });
    expect(await memory.append("empty.txt", "x")).toMatchObject({ size: 1, archived_as: null });
  });
});

describe("replace", () => {
  it("archives the old content first, readable, under its time", async () => {
    const { memory, read, root } = await roots.fresh({ clock: at("2026-04-13T18:00:00.999Z") });
    const { sha256: old } = await memory.replace(KEY, "old");
    const receipt = await memory.replace(KEY, "new", { reason: "consolidation" });
    const name = "Archive/Meta/AI_Architecture_2026-04-13T18-00-00Z.txt";
    expect(receipt).toMatchObject({ op: "replace", prev_sha256: old, archived_as: name });
    expect([read(KEY), read(name)]).toEqual(["new", "old"]);
    expect(await memory.replace(KEY, "third")).toMatchObject({
      archived_as: "Archive/Meta/AI_Architecture_2026-04-13T18-00-00Z_2.txt",
    });
    await memory.close();
    expect(logLines(root, "archive_log")).toMatchObject([
      { file: KEY, archived_as: name, input_hash: sha256("old"), reason: "consolidation", version: receipt.version },
      { input_hash: sha256("new"), reason: "replace" },
    ]);
  });

  it("never overwrites a file that someone put where the archive copy would go", async () => {
    const { memory, read, write } = await roots.fresh({ clock: at("2026-04-13T18:00:00Z") });
    await memory.replace(".env", "old");
    write("Archive/Root/.env_2026-04-13T18-00-00Z", "theirs");
    expect(await memory.replace(".env", "new")).toMatchObject({ archived_as: "Archive/Root/.env_2026-04-13T18-00-00Z_2" });
    expect(read("Archive/Root/.env_2026-04-13T18-00-00Z")).toBe("theirs");
    expect(read("Archive/Root/.env_2026-04-13T18-00-00Z_2")).toBe("old");
  });

  it.each<[string, () => Body]>([
    ["text", () => "the same"],
    ["bytes", () => Buffer.from("the same")],
    ["a stream", () => pieces("the ", "same")],
  ])("with the same bytes (%s) is accepted and changes nothing", async (_, body) => {
    const { memory, archives, data } = await roots.fresh();
    const { version } = await memory.replace(KEY, "the same");
    const { mtimeNs } = statSync(data(KEY), { bigint: true });
    expect(await memory.replace(KEY, body())).toMatchObject({ unchanged: true, version, archived_as: null, uploads: [] });
    expect(archives()).toEqual([]);
    expect(statSync(data(KEY), { bigint: true }).mtimeNs).toBe(mtimeNs);
    expect(filesBelow(join(memory.root, ".aftersave/spool"))).toEqual([]);
    expect(await memory.flush()).toMatchObject({ uploaded: 1 });
  });

  it("takes a stream or a file, larger than what is held in memory", async () => {
    const { memory, bytes, root } = await roots.fresh();
    const piece = Buffer.alloc(3_000_000, "abc\r\n");
    const whole = Buffer.concat([piece, piece, piece, piece]);
    expect(await memory.replace(KEY, pieces(piece, piece, piece, piece))).toMatchObject({
      size: whole.length,
      sha256: sha256(whole),
    });
    expect(bytes(KEY).equals(whole)).toBe(true);
    writeFileSync(join(root, "input.bin"), piece);
    expect(await memory.replace(KEY, { path: join(root, "input.bin") })).toMatchObject({ size: piece.length });
    await memory.append(KEY, { path: join(root, "input.bin") });
    expect(bytes(KEY).equals(Buffer.concat([piece, piece]))).toBe(true);
    expect(filesBelow(join(root, ".aftersave/spool"))).toEqual([]);
  });

  it("a stream that fails changes nothing and leaves nothing", async () => {
    const { memory, read, root, files } = await roots.fresh();
    await memory.replace(KEY, "old");
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("half");
      throw new Error("the source broke");
    }
    for (const save of [() => memory.replace(KEY, broken()), () => memory.append(KEY, broken())])
      await expect(save()).rejects.toMatchObject({ message: expect.stringContaining("the source broke") });
    expect(read(KEY)).toBe("old");
    expect(files()).toEqual([KEY]);
    expect(await codeOf(memory.replace(KEY, { path: join(root, "absent") }))).toBe("E_NOT_FOUND");
  });
});

describe("archive", () => {
  it("moves the file to the archive; a later save starts afresh", async () => {
    const { memory, there, read } = await roots.fresh();
    await memory.append(KEY, "old\n");
    const receipt = await memory.archive(KEY);
    expect(receipt).toMatchObject({ op: "archive", sha256: null, size: null, prev_sha256: sha256("old\n"), uploads: [] });
    expect(there(KEY)).toBe(false);
    expect(read(receipt.archived_as!)).toBe("old\n");
    expect(await memory.append(KEY, "new\n")).toMatchObject({ prev_sha256: null, size: 4, archived_as: null });
    expect(read(receipt.archived_as!)).toBe("old\n");
    await memory.append(KEY, "more\n");
    expect(read(receipt.archived_as!)).toBe("old\n");
  });

  it("of nothing is E_NOT_FOUND", async () => {
    const { memory } = await roots.fresh();
    expect(await codeOf(memory.archive(KEY))).toBe("E_NOT_FOUND");
    await memory.append(KEY, "x");
    await memory.archive(KEY);
    expect(await codeOf(memory.archive(KEY))).toBe("E_NOT_FOUND");
  });
});

describe("if_sha256", () => {
  it("refuses what was not computed from the current content, and tells its hash", async () => {
    const { memory, read, write } = await roots.fresh();
    const { sha256: hash } = await memory.replace(KEY, "one", {}, { if_sha256: null });
    await memory.replace(KEY, "two", {}, { if_sha256: hash });
    for (const save of [
      () => memory.replace(KEY, "three", {}, { if_sha256: hash }),
      () => memory.append(KEY, "three", {}, { if_sha256: hash }),
      () => memory.archive(KEY, {}, { if_sha256: hash }),
      () => memory.replace(KEY, "two", {}, { if_sha256: null }),
    ])
      await expect(save()).rejects.toMatchObject({
        code: "E_STALE",
        details: { sha256: sha256("two") },
        hint: expect.any(String),
      });
    write(KEY, "by hand");
    await expect(memory.replace(KEY, "x", {}, { if_sha256: sha256("two") })).rejects.toMatchObject({
      details: { sha256: sha256("by hand") },
    });
    expect(read(KEY)).toBe("by hand");
    await memory.archive(KEY, {}, { if_sha256: sha256("by hand") });
    await expect(memory.append(KEY, "x", {}, { if_sha256: hash })).rejects.toMatchObject({
      code: "E_STALE",
      details: { sha256: null },
    });
  });

  it("lets one of two through that were computed from the same content", async () => {
    const { memory, root, read } = await roots.fresh();
    const other = await roots.open(root);
    const { sha256: hash } = await memory.replace(KEY, "0");
    const answers = await Promise.all(
      [memory, other, memory, other].map((m, n) => codeOf(m.replace(KEY, `writer ${n}`, {}, { if_sha256: hash }))),
    );
    expect(answers.map(String).toSorted()).toEqual(["E_STALE", "E_STALE", "E_STALE", "accepted"]);
    expect(read(KEY)).toBe(`writer ${answers.indexOf("accepted")}`);
  });
});

/** Changes by others; what they leave, and whether the old content stays the beginning of the file. */
const strangers: readonly (readonly [name: string, change: (path: string) => void, after: string | null])[] = [
  ["overwrites", (path) => writeFileSync(path, "something else"), "something else"],
  ["overwrites with as many bytes in the same instant", (path) => writeFileSync(path, "ACCEPTED\n"), "ACCEPTED\n"],
  [
    "overwrites with as many bytes and puts the time back",
    (path) => {
      const { atime, mtime } = statSync(path);
      writeFileSync(path, "ACCEPTED\n");
      utimesSync(path, atime, mtime);
    },
    "ACCEPTED\n",
  ],
  ["truncates", (path) => truncateSync(path, 3), "acc"],
  ["empties", (path) => truncateSync(path, 0), ""],
  ["removes", (path) => unlinkSync(path), null],
  ["adds to", (path) => appendFileSync(path, "theirs\n"), "accepted\ntheirs\n"],
  [
    "replaces by rename",
    (path) => {
      writeFileSync(`${path}.1`, "renamed");
      renameSync(`${path}.1`, path);
    },
    "renamed",
  ],
];

describe.each(strangers)("someone %s the file", (name, change, after) => {
  const grown = name === "adds to";

  it.each(["append", "replace", "saved", "sweep"] as const)(
    "noticed by %s: what was accepted is in an archive copy, or begins the file",
    async (by) => {
      const { memory, data, read, there, archives, root } = await roots.fresh();
      await memory.append(KEY, "accepted\n");
      change(data(KEY));
      if (by === "append") await memory.append(KEY, "ours\n");
      else if (by === "replace") await memory.replace(KEY, "ours\n");
      else if (by === "saved")
        expect(await memory.saved(KEY)).toMatchObject({
          op: "external",
          sha256: after === null ? null : sha256(after),
          unchanged: false,
        });
      else
        expect((await memory.sweep()).changed).toMatchObject([{ op: "external", file: KEY, prev_sha256: sha256("accepted\n") }]);
      const copies = archives().map((copy) => readFileSync(join(root, "Data/Archive", copy), "utf8"));
      const due = by === "replace" && after !== null ? [...(grown ? [] : ["accepted\n"]), after] : grown ? [] : ["accepted\n"];
      expect(copies.toSorted()).toEqual(due.toSorted());
      if (by === "append") expect(read(KEY)).toBe(`${after ?? ""}ours\n`);
      else if (by === "replace") expect(read(KEY)).toBe("ours\n");
      else expect(there(KEY) ? read(KEY) : null).toBe(after);
      expect((await memory.sweep()).changed).toEqual([]);
    },
  );
});

describe("saved", () => {
  it("of a file that we never saw begins its history; unchanged afterwards; E_NOT_FOUND for nothing", async () => {
    const { memory, write } = await roots.fresh();
    write(KEY, "by a save manager of their own\n");
    const receipt = await memory.saved(KEY, { op: "append", chat_name: "c" });
    expect(receipt).toMatchObject({ op: "append", prev_sha256: null, archived_as: null, warnings: [] });
    expect(await memory.saved(KEY)).toMatchObject({ unchanged: true, version: receipt.version });
    expect(await codeOf(memory.saved("Meta/none.txt"))).toBe("E_NOT_FOUND");
  });

  it.each([
    ["append", "overwritten", "external"],
    ["append", "accepted\nmore", "append"],
    ["append", null, "external"],
    ["replace", "overwritten", "replace"],
    ["replace", "accepted\nmore", "replace"],
    ["replace", null, "external"],
    ["archive", null, "archive"],
    ["archive", "overwritten", "external"],
    [undefined, "accepted\nmore", "external"],
  ] as const)("claimed %s, found %j: recorded as %s", async (op, content, recorded) => {
    const { memory, write, data, archives, root } = await roots.fresh();
    await memory.append(KEY, "accepted\n");
    if (content === null) unlinkSync(data(KEY));
    else write(KEY, content);
    const receipt = await memory.saved(KEY, { op, chat_name: "c" });
    expect(receipt.op).toBe(recorded);
    expect(receipt.warnings).toHaveLength(op !== undefined && recorded === "external" ? 1 : 0);
    const copies = archives().map((copy) => readFileSync(join(root, "Data/Archive", copy), "utf8"));
    expect(copies).toEqual(content?.startsWith("accepted\n") && op !== "replace" ? [] : ["accepted\n"]);
    await memory.close();
    expect(logLines(root, "memory_changelog").at(-1)).toMatchObject({
      op: recorded,
      chat_name: "c",
      origin: op ? null : "unattributed",
    });
  });
});

describe("bytes and permissions", () => {
  it.each([
    ["CRLF", Buffer.from("a\r\nb\r\n")],
    ["a BOM", Buffer.from("\uFEFFx")],
    ["what is not UTF-8", Buffer.from([0xff, 0xfe, 0x00, 0x80, 0x0a])],
    ["no line end", Buffer.from("x")],
    ["a typed array with an offset", new Uint8Array(Buffer.from("__abc__")).subarray(2, 5)],
  ])("%s goes in and out untouched", async (_, content) => {
    const { memory, bytes } = await roots.fresh();
    await memory.replace(KEY, content);
    expect(bytes(KEY).equals(content)).toBe(true);
    await memory.append(KEY, content);
    expect(bytes(KEY).equals(Buffer.concat([content, content]))).toBe(true);
    const { archived_as } = await memory.archive(KEY);
    expect(bytes(archived_as!).equals(Buffer.concat([content, content]))).toBe(true);
  });

  it("the file keeps its mode and owner, and its archive copy has them too", async () => {
    const { memory, data } = await roots.fresh();
    await memory.replace(KEY, "old");
    chmodSync(data(KEY), 0o640);
    const { archived_as } = await memory.replace(KEY, "new");
    await memory.append(KEY, "more");
    for (const key of [KEY, archived_as!]) expect(statSync(data(key)).mode & 0o777).toBe(0o640);
  });

  it.each(["saved", "sweep"] as const)(
    "a private file that someone removes does not become readable in the archive (%s)",
    async (by) => {
      const { memory, data, write } = await roots.fresh();
      write(KEY, "private");
      chmodSync(data(KEY), 0o600);
      await memory.saved(KEY);
      unlinkSync(data(KEY));
      const { archived_as } = by === "saved" ? await memory.saved(KEY) : (await memory.sweep()).changed[0]!;
      expect(statSync(data(archived_as!)).mode & 0o777).toBe(0o600);
    },
  );

  it("an archive copy and a head are files of their own: writing to one changes no other", async () => {
    const { memory, data, read } = await roots.fresh();
    await memory.append(KEY, "accepted\n");
    appendFileSync(data(KEY), "x");
    truncateSync(data(KEY), 0);
    const { archived_as } = await memory.saved(KEY);
    expect(read(archived_as!)).toBe("accepted\n");
    await memory.append(KEY, "again\n");
    await memory.append(KEY, "and again\n");
    expect(read(archived_as!)).toBe("accepted\n");
  });
});

describe("names", () => {
  it.each([
    ["", "E_KEY_EMPTY"],
    ["../x", "E_KEY_OUTSIDE"],
    ["/etc/passwd", "E_KEY_OUTSIDE"],
    ["Meta/a\u0001b", "E_KEY_CONTROL"],
    ["Meta/con.txt", "E_KEY_NAME"],
    ["Archive/Meta/x.txt", "E_KEY_RESERVED"],
    ["Root/x.txt", "E_KEY_RESERVED"],
    ["Meta", "E_KEY_FOLDER"],
    ["Meta/a.txt/b.txt", "E_KEY_FOLDER"],
    ["out/x.txt", "E_KEY_OUTSIDE"],
    ["link.txt", "E_KEY_OUTSIDE"],
    ["dangling.txt", "E_KEY_OUTSIDE"],
  ])("%j is refused with %s before anything is touched", async (key, code) => {
    const { memory, root, data, write } = await roots.fresh();
    write("Meta/a.txt", "a");
    mkdirSync(join(root, "elsewhere"));
    writeFileSync(join(root, "elsewhere/x.txt"), "x");
    symlinkSync(join(root, "elsewhere"), data("out"));
    symlinkSync(join(root, "elsewhere/x.txt"), data("link.txt"));
    symlinkSync(join(root, "nowhere"), data("dangling.txt"));
    const before = filesBelow(root).filter((name) => !name.startsWith(".aftersave/"));
    for (const save of [
      () => memory.append(key, "y"),
      () => memory.replace(key, "y"),
      () => memory.archive(key),
      () => memory.saved(key),
    ])
      expect(await codeOf(save())).toBe(code);
    expect(filesBelow(root).filter((name) => !name.startsWith(".aftersave/"))).toEqual(before);
    expect(readFileSync(join(root, "elsewhere/x.txt"), "utf8")).toBe("x");
  });

  it("a link inside the data folder is the file that it names", async () => {
    const { memory, data, read } = await roots.fresh();
    await memory.append("Meta/real.txt", "one\n");
    symlinkSync("real.txt", data("Meta/alias.txt"));
    expect(await memory.append("Meta/alias.txt", "two\n")).toMatchObject({ file: "Meta/real.txt", size: 8 });
    expect(read("Meta/real.txt")).toBe("one\ntwo\n");
    expect((await memory.sweep()).refused).toEqual([]);
  });

  const [composed, decomposed] = ["Zoë/é.txt".normalize("NFC"), "Zoë/é.txt".normalize("NFD")] as const;

  it("a file whose name and folder are decomposed on the disk is found under its key", async () => {
    const { memory, write, read } = await roots.fresh();
    write(decomposed, "from a Mac\n");
    expect(await memory.sweep()).toMatchObject({ changed: [{ file: composed, op: "external" }], refused: [] });
    expect(await memory.append(decomposed, "more\n")).toMatchObject({ file: composed });
    expect(read(decomposed)).toBe("from a Mac\nmore\n");
    expect((await memory.sweep()).changed).toEqual([]);
  });

  it("two files that are one key are reported, and neither overwrites the other", async () => {
    const { memory, write, read } = await roots.fresh();
    const [one, two] = ["Meta/é.txt".normalize("NFC"), "Meta/é.txt".normalize("NFD")] as const;
    write(one, "one");
    write(two, "two");
    write("Meta/other.txt", "other");
    expect(await codeOf(memory.append(one, "x"))).toBe("E_KEY_TWIN");
    const { changed, refused } = await memory.sweep();
    expect(changed).toMatchObject([{ file: "Meta/other.txt" }]);
    expect(refused.map(({ error }) => error.code)).toEqual(expect.arrayContaining(["E_KEY_TWIN"]));
    expect([read(one), read(two)]).toEqual(["one", "two"]);
  });
});

describe("events", () => {
  it("come after acceptance; a listener that throws, rejects or never settles harms nobody", async () => {
    const { memory, read } = await roots.fresh();
    const heard: unknown[] = [];
    const warnings: string[] = [];
    const onWarning = (warning: Error) => warnings.push(warning.message);
    process.on("warning", onWarning);
    memory.on("append", () => {
      throw new Error("thrown by a listener");
    });
    memory.on("append", () => Promise.reject(new Error("rejected by a listener")));
    memory.on("append", () => new Promise(() => undefined));
    const stop = memory.on("append", ({ file, sha256: hash }) => {
      heard.push([file, hash, sha256(read(KEY))]);
    });
    const { sha256: hash } = await memory.append(KEY, "one\n");
    await new Promise((resolve) => setImmediate(resolve));
    expect(heard).toEqual([[KEY, hash, hash]]);
    stop();
    await memory.append(KEY, "two\n");
    await memory.close();
    process.off("warning", onWarning);
    expect(heard).toHaveLength(1);
    expect(warnings.filter((text) => text.includes("thrown by a listener"))).toHaveLength(2);
    expect(warnings.filter((text) => text.includes("rejected by a listener"))).toHaveLength(2);
  });
});

describe("sweep", () => {
  it("versions what others did, once, and reports what cannot be memory", async () => {
    const { memory, write, data } = await roots.fresh();
    for (const key of ["a.txt", "Meta/b.txt", "Meta/deep/c.txt"]) await memory.append(key, key);
    write("Meta/b.txt", "changed");
    unlinkSync(data("a.txt"));
    write("New/d.txt", "new");
    write("New/aux.txt", "a name that Windows reserves");
    const { changed, refused, checked } = await memory.sweep();
    expect(new Map(changed.map(({ file, sha256: hash }) => [file as string, hash]))).toEqual(
      new Map([
        ["Meta/b.txt", sha256("changed")],
        ["New/d.txt", sha256("new")],
        ["a.txt", null],
      ]),
    );
    expect(refused).toMatchObject([{ path: data("New/aux.txt"), error: { code: "E_KEY_NAME" } }]);
    expect(checked).toBe(4);
    expect((await memory.sweep()).changed).toEqual([]);
  });

  it("takes nothing as removed while the data folder is missing", async () => {
    const { memory, root } = await roots.fresh();
    await memory.append(KEY, "x");
    renameSync(join(root, "Data"), join(root, "Data.away"));
    expect(await codeOf(memory.sweep())).toBe("E_NOT_FOUND");
    renameSync(join(root, "Data.away"), join(root, "Data"));
    expect((await memory.sweep()).changed).toEqual([]);
  });

  it("a folder in a file's place stops no other file", async () => {
    const { memory, write, data, read } = await roots.fresh();
    await memory.append(KEY, "x");
    rmSync(data(KEY));
    write(`${KEY}/inside.txt`, "i");
    write("Meta/z.txt", "z");
    const { changed, refused } = await memory.sweep();
    expect(changed.map(({ file }) => file).toSorted()).toEqual([`${KEY}/inside.txt`, "Meta/z.txt"].toSorted());
    expect(refused.map(({ error }) => error.code)).toEqual(["E_KEY_FOLDER"]);
    expect(read("Meta/z.txt")).toBe("z");
  });
});

describe("opening and closing", () => {
  it("close waits for the saves that are under way", async () => {
    const { memory, root } = await roots.fresh();
    const saves = Array.from({ length: 10 }, (_, n) => memory.append(`Meta/${n}.txt`, "x"));
    await memory.close();
    expect(await Promise.all(saves)).toHaveLength(10);
    expect(logLines(root, "memory_changelog")).toHaveLength(10);
  });

  it("a log whose unsynced end a power cut took is whole again after the next opening", async () => {
    const { memory, root } = await roots.fresh();
    await memory.replace(KEY, "one");
    await memory.replace(KEY, "two");
    await memory.flush();
    await memory.status(); // the logs are written, and not synced: `close` would
    const cut = roots.make();
    cpSync(root, cut, { recursive: true });
    const logs = ["memory_changelog", "archive_log", "upload_log"] as const;
    const before = logs.map((log) => logLines(root, log));
    for (const [log, left] of [
      ["memory_changelog", 7],
      ["archive_log", 0],
      ["upload_log", 300],
    ] as const)
      truncateSync(join(cut, `logs/${log}.json`), left);
    const after = await roots.open(cut);
    await after.status();
    expect(logs.map((log) => logLines(cut, log))).toEqual(before);
    expect((await after.verify()).findings).toEqual([]);
  });

  it("one unfinished save that cannot be settled does not keep the memory from opening", async () => {
    const root = roots.make();
    const stuck = new Error("the process died here");
    const dying = await roots.open(root, {
      onStep: (step) => {
        if (step !== "written") return undefined;
        // what the process would have taken back, it cannot any more
        renameSync(join(root, ".aftersave/heads"), join(root, ".aftersave/gone"));
        writeFileSync(join(root, ".aftersave/heads"), "in the way");
        rmSync(join(root, "Data", KEY));
        mkdirSync(join(root, "Data", KEY));
        throw stuck;
      },
    });
    await expect(dying.append(KEY, "x")).rejects.toBeDefined();
    await dying.close();
    rmSync(join(root, ".aftersave/heads"));
    renameSync(join(root, ".aftersave/gone"), join(root, ".aftersave/heads"));
    const memory = await roots.open(root);
    expect(memory.notices.join("\n")).toMatch(/folder/);
    await memory.append("Meta/other.txt", "y");
    rmSync(join(root, "Data", KEY), { recursive: true });
    expect(await memory.append(KEY, "z")).toMatchObject({ size: 1 });
  });

  it("an empty memory file with a temporary file's name survives the recovery of its neighbour", async () => {
    const root = roots.make();
    const memory = await roots.open(root);
    await memory.append("log.txt", "one\n");
    await memory.append("log.txt.20261120", "");
    await memory.close();
    // what a killed writer leaves: its intent, and write-file-atomic's temporary file
    const killed = await roots.open(root, {
      onStep: (step) => {
        if (step !== "headed") return;
        copyFileSync(join(root, "Data/log.txt"), join(root, "kept"));
        writeFileSync(join(root, "Data/log.txt.1234567890"), "t");
        renameSync(join(root, ".aftersave/heads"), join(root, ".aftersave/gone"));
        writeFileSync(join(root, ".aftersave/heads"), "in the way");
        throw new Error("the process died here");
      },
    });
    await expect(killed.replace("log.txt", "two")).rejects.toBeDefined();
    await killed.close();
    rmSync(join(root, ".aftersave/heads"));
    renameSync(join(root, ".aftersave/gone"), join(root, ".aftersave/heads"));
    const next = await roots.open(root);
    expect(next.notices).toEqual(["1 unfinished save was settled"]);
    expect(filesBelow(join(root, "Data"))).toEqual(["log.txt", "log.txt.20261120"]);
    expect((await next.sweep()).changed).toEqual([]);
  });
});
