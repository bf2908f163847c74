import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Key } from "../../src/core/key.ts";
import { actorOf, chain, type Version } from "../../src/core/version.ts";
import { blame, type BlameParts } from "../../src/history/blame.ts";
import type { Memory } from "../../src/open.ts";
import { anySeed } from "../../src/testing/random.ts";
import { codeOf, freshRoots, sha256 } from "../memory/root.ts";

const KEY = "Meta/Notes.md";
const { fresh } = freshRoots();
const by = (chat_name: string) => ({ chat_name, origin: "agent" as const });

/** Text and chat of each line. */
const told = async (memory: Memory, version?: string) =>
  (await memory.blame(KEY, { version })).lines.map(({ text, chat_name }) => `${chat_name}: ${text}`);

describe("blame", () => {
  test("names version, chat, model, origin and time of each line", async () => {
    const { memory } = await fresh();
    const first = await memory.append(KEY, "one\n", { chat_name: "A", model: "openai/gpt-5", session_id: "s", origin: "agent" });
    const second = await memory.append(KEY, "two", { chat_name: "B", origin: "human" });
    const blame = await memory.blame(KEY);
    expect(blame).toMatchObject({ file: KEY, version: second.version, sha256: second.sha256, missing: [] });
    expect(blame.lines).toEqual([
      expect.objectContaining({
        line: 1,
        text: "one",
        version: first.version,
        op: "append",
        chat_name: "A",
        model: "openai/gpt-5",
        session_id: "s",
        origin: "agent",
        timestamp: first.timestamp,
      }),
      expect.objectContaining({ line: 2, text: "two", version: second.version, chat_name: "B", origin: "human" }),
    ]);
    expect(blame.lines[0]).not.toHaveProperty("moved");
  });

  test("an append that goes on in an open line changes it; one that only ends it does not", async () => {
    const { memory } = await fresh();
    for (const [chat, text] of [
      ["A", "begun"],
      ["B", "\nnext"],
      ["C", " went on"],
      ["D", "\r\nlast\n"],
      ["E", "\n"],
    ] as const)
      await memory.append(KEY, text, by(chat));
    expect(await told(memory)).toEqual(["A: begun", "C: next went on", "D: last", "E: "]);
    expect(await told(memory, "-3")).toEqual(["A: begun", "B: next"]);
  });

  test("what others wrote is unattributed; who replaces only gets what is new", async () => {
    const { memory, edit } = await fresh();
    await memory.append(KEY, "one\ntwo\nthree\n", by("A"));
    await memory.replace(KEY, "one\nTWO\nthree\n", by("B"));
    edit(KEY, "zero\none\nTWO\nthree\n");
    await memory.sweep();
    await memory.append(KEY, "four\n", by("C"));
    expect((await memory.blame(KEY)).lines.map(({ chat_name, origin }) => `${chat_name} ${origin}`)).toEqual([
      "UNKNOWN unattributed",
      "A agent",
      "B agent",
      "A agent",
      "C agent",
    ]);
  });

  test("lines that a restore brings back are those of who wrote them, not of who restored", async () => {
    const { memory } = await fresh();
    const { version } = await memory.append(KEY, "alpha line\nbeta line\ngamma line\n", by("A"));
    await memory.append(KEY, "delta line\n", by("B"));
    await memory.replace(KEY, "nothing of it\n", by("vandal"));
    await memory.restore({ file: KEY, version: "-1" }, { chat_name: "cure" });
    expect(await told(memory)).toEqual(["A: alpha line", "A: beta line", "A: gamma line", "B: delta line"]);
    await memory.restore({ file: KEY, version }, { chat_name: "cure" });
    expect(await told(memory)).toEqual(["A: alpha line", "A: beta line", "A: gamma line"]);
  });

  test("an undo that is merged with newer saves brings back the authors of what it brings back", async () => {
    const { memory } = await fresh();
    const rows = Array.from({ length: 12 }, (_, n) => `row ${n} of the list`);
    await memory.append(KEY, `${rows.join("\n")}\n`, by("A"));
    const harm = await memory.replace(KEY, `${rows.slice(3).join("\n")}\n`, by("vandal"));
    await memory.append(KEY, "a newer row\n", by("B"));
    await memory.undo({ versions: [harm.version] }, { chat_name: "cure" });
    expect(await told(memory)).toEqual([...rows.map((row) => `A: ${row}`), "B: a newer row"]);
  });

  test("after an archive everything begins anew", async () => {
    const { memory } = await fresh();
    await memory.append(KEY, "one\n", by("A"));
    await memory.archive(KEY);
    expect(await codeOf(memory.blame(KEY))).toBe("E_NOT_FOUND");
    expect(await told(memory, "-1")).toEqual(["A: one"]);
    await memory.append(KEY, "one\n", by("B"));
    expect(await told(memory)).toEqual(["B: one"]);
    expect(await codeOf(memory.blame(KEY, { version: "-1" }))).toBe("E_NOT_FOUND");
  });

  test("refuses what is unknown, or no text, and says so", async () => {
    const { memory } = await fresh();
    expect(await codeOf(memory.blame("Meta/never.txt"))).toBe("E_NOT_FOUND");
    await memory.append("Meta/image.png", Uint8Array.of(137, 80, 0, 255));
    expect(await codeOf(memory.blame("Meta/image.png"))).toBe("E_NOT_TEXT");
    await memory.append("Meta/empty.txt", "");
    expect((await memory.blame("Meta/empty.txt")).lines).toEqual([]);
    expect(await codeOf(memory.blame(KEY, { version: "ZZZZ" }))).toBe("E_VERSION");
  });

  test("content that is gone is named, and its lines count as the next version's", async () => {
    const { memory, root } = await fresh();
    await memory.append(KEY, "one is first\n", by("A"));
    await memory.replace(KEY, "one is first\ntwo is second\n", by("B"));
    const third = await memory.replace(KEY, "zero\none is first\ntwo is second\n", by("C"));
    rmSync(join(root, "Data", third.archived_as ?? ""));
    const blame = await memory.blame(KEY);
    expect(blame.missing).toHaveLength(1);
    expect(await told(memory)).toEqual(["C: zero", "A: one is first", "C: two is second"]);
    expect(await codeOf(memory.blame(KEY, { version: "-1" }))).toBe("E_CONTENT_GONE");
  });

  test("long copies that were changed are not believed, wherever they were", async () => {
    const { memory, edit } = await fresh();
    const long = "a line that stays\n".repeat(10_000);
    await memory.append(KEY, long, by("A"));
    await memory.replace(KEY, `${long}two\n`, by("B"));
    await memory.replace(KEY, `${long}two\nthree\n`, by("C"));
    const third = await memory.replace(KEY, `${long}three\nfour\n`, by("D"));
    const fourth = await memory.replace(KEY, `${long}five\nthree\nfour\n`, by("E"));
    edit(third.archived_as ?? "", `${long}two\nTHREE\n`);
    edit(fourth.archived_as ?? "", `${long.replace("stays", "STAYS")}three\nfour\n`);
    const { missing, lines } = await memory.blame(KEY);
    expect(missing).toEqual([expect.any(String), third.version]); // what the third save replaced, and the third
    expect(lines.slice(-4).map(({ text, chat_name }) => `${chat_name}: ${text}`)).toEqual([
      "A: a line that stays",
      "E: five",
      "E: three",
      "E: four",
    ]);
  });

  test("an archive copy that someone changed is not believed", async () => {
    const { memory, edit } = await fresh();
    await memory.append(KEY, "one is first\n", by("A"));
    const second = await memory.replace(KEY, "two is second\none is first\n", by("B"));
    edit(second.archived_as ?? "", "two is second\n");
    expect((await memory.blame(KEY)).missing).toHaveLength(1);
    expect(await told(memory)).toEqual(["B: two is second", "B: one is first"]);
  });
});

test("versions that only look like appends are compared like any other", async () => {
  const folder = mkdtempSync(join(tmpdir(), "aftersave-blame-"));
  const contents = [
    "a first one, in whose memory the others have room",
    "a second",
    "a second\nthird",
    "FOURTH, NOT THIRD",
    "fifth is as long as that",
  ];
  const all = contents.map((content, n): Version => {
    writeFileSync(join(folder, `${n}`), content);
    const facts = {
      ...actorOf({ chat_name: `c${n}` }),
      version: `${n}`,
      op: "replace" as const,
      file: KEY as Key,
      sha256: sha256(content),
      size: content.length,
      prev_sha256: null,
      archived_as: n < 3 ? ("Archive/x" as Key) : null,
      timestamp: "2026-01-01T00:00:00.000Z",
      details: null,
    };
    return chain(facts, n + 1, null, "00".repeat(16));
  });
  const never = () => Promise.reject(new Error("asked for elsewhere"));
  const known = { find: () => undefined, keep: () => undefined };
  const parts = {
    saves: {
      select: async function* ({ before = Infinity }: { before?: number }) {
        yield* all.filter(({ place }) => place < before);
      },
      whereabouts: async (base: string) => ({ content: { base, size: contents[Number(base)]?.length, sha256: "" } }),
    },
    versions: { content: never, named: async (id: string) => all[Number(id)] },
    heads: { path: (base: string) => join(folder, base) },
    known,
  } as unknown as BlameParts;
  const authors = async (version: string) => (await blame(parts, KEY as Key, { version })).lines.map((line) => line.chat_name);
  expect(await authors("1")).toEqual(["c1"]);
  expect(await authors("2")).toEqual(["c1", "c2"]);
  expect(await authors("3")).toEqual(["c3"]);
  expect(await authors("4")).toEqual(["c4"]);
  rmSync(folder, { recursive: true });
});

describe("any history", () => {
  const step = fc.record({
    kind: fc.constantFrom("append", "append", "append", "open", "replace", "move", "external", "grown", "restore"),
    at: fc.nat(50),
  });

  const seed = anySeed();
  test(`each line is known by who wrote it, also after restores, at every version (seed ${seed})`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 14 }), async (steps) => {
        const { memory, edit } = await fresh();
        let count = 0;
        let lines: string[] = [];
        let open = false; // the last line has no end
        const states: { version: string; lines: string[] }[] = [];
        const textOf = (all: readonly string[]) => all.map((line) => `${line.slice(line.indexOf(" ") + 1)}\n`).join("");
        for (const [n, { kind, at }] of steps.entries()) {
          const chat = `c${n}`;
          const made = (who = chat) => `${who}: written as number ${count++}`;
          let receipt;
          const closed = textOf(lines).slice(0, open ? -1 : undefined);
          if (kind === "append" || kind === "open" || lines.length === 0) {
            const added = [made(), made()];
            const text = textOf(added).slice(0, kind === "open" ? -1 : undefined);
            receipt = await memory.append(KEY, `${open ? "\n" : ""}${text}`, by(chat));
            lines = lines.concat(added);
            open = kind === "open";
          } else if (kind === "grown" || kind === "external") {
            const added = made("UNKNOWN");
            lines = kind === "grown" ? [...lines, added] : [added, ...lines.slice(1)];
            edit(KEY, kind === "grown" ? `${closed}${open ? "\n" : ""}${textOf([added])}` : textOf(lines));
            open = false;
            receipt = (await memory.sweep()).changed[0];
          } else if (kind === "restore") {
            const target = states[at % states.length];
            if (!target) continue; // so far its last line had no end
            const done = await memory.restore({ file: KEY, version: target.version }, by(chat));
            if (done.receipts.length === 0) continue; // it held that already
            lines = target.lines;
            open = false;
            receipt = done.receipts[0];
          } else {
            const from = at % lines.length;
            if (kind === "replace") lines = lines.toSpliced(from, 2, made());
            else lines = [...lines.slice(from), ...lines.slice(0, from)];
            if (textOf(lines) === closed) continue;
            receipt = await memory.replace(KEY, textOf(lines), by(chat));
            open = false;
          }
          if (!open) states.push({ version: receipt?.version ?? "", lines });
        }
        for (const state of states) expect(await told(memory, state.version)).toEqual(state.lines);
        await memory.close();
      }),
      { seed, numRuns: 25 },
    );
  });
});
