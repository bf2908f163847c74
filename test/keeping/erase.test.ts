import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { AftersaveError } from "../../src/core/errors.ts";
import { codeOf } from "../memory/root.ts";
import { anySeed, seededRandom } from "../../src/testing/random.ts";
import { clockAt, expectChain, linesOf, makeRoot } from "../recovery/root.ts";
import { expectGone, filesWith } from "./erase-root.ts";

const SECRET = "hunter2-is-the-password";
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const count = async (path: string) => (await linesOf(path)).length;

const bytesOf = async (memory: Awaited<ReturnType<ReturnType<typeof makeRoot>["open"]>>, key: string, version?: string) => {
  const shown = await memory.show(key, version === undefined ? {} : { version });
  const pieces: Uint8Array[] = [];
  for await (const piece of shown.open()) pieces.push(piece);
  return Buffer.concat(pieces).toString("utf8");
};

describe("erase --match", () => {
  it("takes a text out of every version, copy, log and target, keeps the chain, and blocks it from coming back", async () => {
    const root = makeRoot();
    const memory = await root.open();
    const one = await memory.append("Meta/A.txt", "first line\n", { chat_name: "one" });
    const two = await memory.append("Meta/A.txt", `my ${SECRET.slice(0, 8)}`, { chat_name: "two" });
    const three = await memory.append("Meta/A.txt", `${SECRET.slice(8)} end\n`, { reason: `because of ${SECRET}` });
    const four = await memory.replace("Meta/A.txt", "all new\n");
    await memory.replace("Core/B.json", JSON.stringify({ a: SECRET, b: [1, SECRET] }));
    await memory.append("Core/C.txt", "innocent\n");
    await memory.flush();
    expect(filesWith(root.path, SECRET).length).toBeGreaterThan(4);
    const lines = await count(root.changelog);

    const receipt = await memory.erase({ match: SECRET });
    expectGone(root.path, SECRET);
    expect(receipt).toMatchObject({ by: "match", pending: 0 });
    expect(receipt.files.map(({ file }) => file).toSorted()).toEqual(["Core/B.json", "Meta/A.txt"]);
    await memory.flush();
    expectGone(root.path, SECRET, sha256(`first line\nmy ${SECRET} end\n`), sha256(SECRET));
    expect(JSON.parse(readFileSync(root.at("Data/Core/B.json"), "utf8"))).toEqual({ a: "[erased]", b: [1, "[erased]"] });

    expect(await bytesOf(memory, "Meta/A.txt", one.version)).toBe("first line\n");
    expect(await bytesOf(memory, "Meta/A.txt", two.version)).toBe("first line\nmy [erased]");
    expect(await bytesOf(memory, "Meta/A.txt", three.version)).toBe("first line\nmy [erased] end\n");
    expect(await bytesOf(memory, "Meta/A.txt", four.version)).toBe("all new\n");
    expect(await memory.show("Meta/A.txt", { version: three.version })).toMatchObject({ redacted: true });

    const now = await linesOf(root.changelog);
    expect(now.length).toBe(lines + 2);
    await expectChain(root.changelog, lines + 2);
    const erased = now.find((line) => line["version"] === three.version);
    expect(erased).toMatchObject({ file: null, sha256: null, salt: null, chat_name: "UNKNOWN", reason: null });
    expect(erased?.["commitment"]).toMatch(/^[0-9a-f]{64}$/);

    expect(await codeOf(memory.append("Core/C.txt", `again ${SECRET}\n`))).toBe("E_ERASED");
    for (const at of [0, 1_500_000, 2_900_000]) {
      const big = Buffer.alloc(3_000_000, "filling\n");
      big.write(SECRET, at);
      writeFileSync(root.at("big.txt"), big);
      expect(await codeOf(memory.replace("Core/Big.txt", { path: root.at("big.txt") })), `at ${at}`).toBe("E_ERASED");
    }
    rmSync(root.at("big.txt"));
    await memory.append("Core/C.txt", SECRET.slice(0, 10));
    expect(await codeOf(memory.append("Core/C.txt", `${SECRET.slice(10)}\n`))).toBe("E_ERASED");
    expect(await codeOf(memory.append("Core/C.txt", "fine\n", { reason: SECRET }))).toBe("E_ERASED");
    await memory.append("Core/C.txt", "fine\n");
    expectGone(root.path, SECRET);
    await memory.close();
    expectGone(root.path, SECRET);
  });

  it("leaves everything as it is on a dry run", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", `${SECRET}\n`);
    await memory.flush();
    await memory.status();
    const before = root.files("Data");
    const plan = await memory.erase({ match: SECRET }, { dry_run: true });
    expect(plan).toMatchObject({
      dry_run: true,
      erasure: null,
      lines: 1,
      redacted: 1,
      files: [{ file: "Meta/A.txt", versions: 1 }],
    });
    expect(JSON.stringify(plan)).not.toContain(SECRET);
    expect(root.files("Data")).toEqual(before);
    expect(await memory.erasures()).toEqual([]);
    expect(filesWith(root.at(".aftersave"), "erase.key")).toEqual([]);
  });
});

describe("erase KEY", () => {
  it("leaves neither content nor name", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/Unspeakable.txt", `${SECRET}\n`);
    await memory.replace("Meta/Unspeakable.txt", "another text of it\n");
    await memory.append("Core/C.txt", "innocent\n");
    await memory.flush();
    const lines = await count(root.changelog);
    const receipt = await memory.erase({ key: "Meta/Unspeakable.txt" });
    expectGone(root.path, SECRET, "Unspeakable", "another text of it");
    expect(receipt.files).toEqual([{ file: "Meta/Unspeakable.txt", versions: 2, removed: true }]);
    await expectChain(root.changelog, lines + 1);
    expect(await codeOf(memory.show("Meta/Unspeakable.txt"))).toBe("E_NOT_FOUND");
    await memory.flush();
    await memory.close();
    expectGone(root.path, SECRET, "Unspeakable");
    expect(readFileSync(root.at("mirror/Drive/MemoryVDB/Core/C.txt"), "utf8")).toBe("innocent\n");
  });
});

describe("erase a version, a chat, a session", () => {
  it("takes what they brought, wherever it stands", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", "kept of old\n", { chat_name: "good" });
    const bad = await memory.append("Meta/A.txt", "pin 4711\nand a longer line of it\n", { chat_name: "bad", session_id: "s1" });
    await memory.append("Meta/A.txt", "kept of new\n", { chat_name: "good" });
    await memory.replace("Meta/A.txt", "kept of old\npin 4711\nkept of new\nquote: and a longer line of it.\n", {
      chat_name: "good",
    });
    await memory.replace("Core/B.txt", "B says: and a longer line of it!\n", { chat_name: "good" });
    await memory.flush();
    await memory.erase({ chat: "bad" });
    expectGone(root.path, "pin 4711", "a longer line of it", '"bad"');
    expect(readFileSync(root.at("Data/Meta/A.txt"), "utf8")).toBe("kept of old\n[erased]\nkept of new\nquote: [erased].\n");
    expect(readFileSync(root.at("Data/Core/B.txt"), "utf8")).toBe("B says: [erased]!\n");
    expect(await bytesOf(memory, "Meta/A.txt", bad.version)).toBe("kept of old\n[erased]\n");
    await expectChain(root.changelog, await count(root.changelog));
    expect(await codeOf(memory.erase({ chat: "bad" }))).toBe("E_NOT_FOUND");
  });

  it("keeps JSON that is written by lines", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.replace("Core/B.json", JSON.stringify({ a: "first", z: 1 }, null, 2));
    const bad = await memory.replace("Core/B.json", JSON.stringify({ a: "first", token: "abcdef-0123456789", z: 1 }, null, 2));
    await memory.erase({ version: bad.version });
    expect(JSON.parse(readFileSync(root.at("Data/Core/B.json"), "utf8"))).toEqual({ a: "first", "[erased]": null, z: 1 });
  });
});

describe("a rebuilt state", () => {
  it("knows what was erased, and nothing comes back", async () => {
    const root = makeRoot();
    const first = await root.open();
    const one = await first.append("Meta/A.txt", `a ${SECRET}\n`);
    const two = await first.append("Meta/A.txt", "b\n");
    const three = await first.replace("Meta/A.txt", `c ${SECRET} d\n`);
    await first.archive("Meta/A.txt");
    const five = await first.append("Meta/A.txt", "e\n");
    await first.append("Gone.txt", "nothing of this\n");
    await first.flush();
    await first.erase({ match: SECRET });
    await first.erase({ key: "Gone.txt" });
    await first.append("Meta/A.txt", "f\n");
    await first.close();

    const memory = await root.open({ rebuild: true });
    expect(memory.notices.join()).not.toMatch(/not found|broken/);
    const shown = async (version: string) => bytesOf(memory, "Meta/A.txt", version);
    expect(await shown(one.version)).toBe("a [erased]\n");
    expect(await shown(two.version)).toBe("a [erased]\nb\n");
    expect(await shown(three.version)).toBe("c [erased] d\n");
    expect(await shown(five.version)).toBe("e\n");
    expect(readFileSync(root.at("Data/Meta/A.txt"), "utf8")).toBe("e\nf\n");
    await memory.flush();
    expectGone(root.path, SECRET, "nothing of this");
    expect((await memory.status()).conflicts).toBe(0);
    await expectChain(root.changelog, await count(root.changelog));
    expect(await codeOf(memory.append("Meta/A.txt", SECRET))).toBe("E_ERASED");
    await memory.append("Meta/A.txt", "g\n");
    await memory.close();
  });
});

describe("what others bring back", () => {
  it("is versioned, and kept from the targets", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", `a ${SECRET}\n`);
    await memory.flush();
    await memory.erase({ match: SECRET });
    writeFileSync(root.at("Data/Meta/A.txt"), `again ${SECRET}\n`);
    const { changed } = await memory.sweep();
    expect(changed).toMatchObject([{ op: "external", alarms: [{ rule: "erased" }] }]);
    await memory.flush();
    expect(filesWith(join(root.path, "mirror"), SECRET)).toEqual([]);
    expect((await memory.status()).held).toBe(1);
    await memory.erase({ match: SECRET });
    expectGone(root.path, SECRET);
  });
});

describe("erasing again", () => {
  it("says anew what an earlier erasure said of the same versions, so that no blank line is unexplained", async () => {
    const root = makeRoot();
    const memory = await root.open();
    const other = "another-thing-to-forget";
    const one = await memory.append("Meta/A.txt", `1 ${SECRET} 2 ${other} 3\n`);
    const two = await memory.replace("Meta/A.txt", `only ${other}\n`);
    await memory.append("Meta/A.txt", "closing words\n");
    await memory.flush();
    await memory.erase({ match: SECRET });
    await memory.erase({ match: other });
    expectGone(root.path, SECRET, other, sha256(`1 [erased] 2 ${other} 3\n`));
    expect(await bytesOf(memory, "Meta/A.txt", one.version)).toBe("1 [erased] 2 [erased] 3\n");
    expect(await bytesOf(memory, "Meta/A.txt", two.version)).toBe("only [erased]\n");
    await memory.flush();
    await memory.close();
    const rebuilt = await root.open({ rebuild: true });
    expect(await bytesOf(rebuilt, "Meta/A.txt", one.version)).toBe("1 [erased] 2 [erased] 3\n");
    expect(await bytesOf(rebuilt, "Meta/A.txt", two.version)).toBe("only [erased]\n");
    const { findings } = await rebuilt.verify();
    expect(findings).toEqual([]);
    await rebuilt.erase({ key: "Meta/A.txt" });
    const after = await rebuilt.verify();
    expect(after.findings).toEqual([]);
    expectGone(root.path, "Meta/A.txt", "closing words");
  });
});

describe("what an erasure left", () => {
  it("is no text to erase: nothing is rewritten for it, and nothing kept out", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", `- ${SECRET}\n`, { chat_name: "first" });
    await memory.replace("Meta/B.json", `{\n  "pin": 1,\n  "${SECRET} of mine": 2\n}\n`, { chat_name: "first" });
    await memory.erase({ match: SECRET });
    await memory.flush();
    const was = readFileSync(root.at("Data/Meta/A.txt"), "utf8");
    expect(was).toBe("- [erased]\n");
    for (const match of ["erased", "[erased]", '"[erased]"', "x[erased", "ed] x", "note ["])
      for (const dry_run of [true, false]) expect(await codeOf(memory.erase({ match }, { dry_run }))).toBe("E_USAGE");
    expect(await memory.erasures()).toHaveLength(1);
    expect(await memory.erase({ match: "x [section] y" })).toMatchObject({ lines: 0, copies: [], erasure: null });
    // its own place goes, and no line of another save that looks the same
    await memory.append("Meta/A.txt", "- [erased]\n", { chat_name: "second" });
    expect((await memory.erase({ chat: "second" })).files).toMatchObject([{ file: "Meta/A.txt", versions: 1 }]);
    expect(readFileSync(root.at("Data/Meta/A.txt"), "utf8")).toBe("- [erased]\n[erased]\n");
    expect(await memory.erasures()).toHaveLength(1);
    expect((await memory.erase({ key: "Meta/B.json" }, { dry_run: true })).files).toMatchObject([{ versions: 1 }]);
    expect(await codeOf(memory.append("Meta/A.txt", "- [erased]\n"))).toBe("accepted");
    await memory.flush();
    expect(await memory.status()).toMatchObject({ pending: 0, failed: 0 });
  });
});

describe("a file of very many lines", () => {
  it("is looked through whole", { timeout: 60_000 }, async () => {
    const root = makeRoot();
    const memory = await root.open();
    const lines = Array.from({ length: 150_000 }, (_, n) => `line ${n} of a long file\n`);
    await memory.replace("Meta/A.txt", lines.join(""), { chat_name: "long" });
    expect((await memory.erase({ key: "Meta/A.txt" }, { dry_run: true })).files).toMatchObject([{ versions: 1 }]);
    expect((await memory.erase({ chat: "long" }, { dry_run: true })).files).toMatchObject([{ versions: 1 }]);
  });
});

describe("many histories", () => {
  const seed = anySeed();
  it(`of random saves lose the text everywhere and nothing else (seed ${seed})`, { timeout: 60_000 }, async () => {
    const random = seededRandom(seed);
    const pick = (n: number) => Math.floor(random() * n);
    for (let round = 0; round < 6; round++) {
      const root = makeRoot();
      const memory = await root.open({ clock: clockAt("2026-03-01T10:00:00Z") });
      const saved = new Map<string, { key: string; bytes: string }>();
      const held = new Map<string, string>();
      for (let n = 0; n < 30; n++) {
        const key = `Z/${pick(3)}.txt`;
        const words = Array.from({ length: 1 + pick(4) }, () => (pick(5) === 0 ? SECRET : `w${pick(1e6)}`)).join(
          pick(3) ? " " : "\n",
        );
        const whole = pick(3) === 0;
        const cut = pick(4) === 0 ? words.length - pick(5) : words.length; // a text that is split over two saves
        for (const piece of [words.slice(0, cut), `${words.slice(cut)}\n`]) {
          if (piece === "") continue;
          const first = piece !== words && piece.length === cut;
          const receipt = whole && first ? await memory.replace(key, piece) : await memory.append(key, piece);
          const bytes = whole && first ? piece : (held.get(key) ?? "") + piece;
          held.set(key, bytes);
          saved.set(receipt.version, { key, bytes });
        }
        if (pick(6) === 0) await memory.flush();
      }
      await memory.erase({ match: SECRET });
      await memory.flush();
      expectGone(root.path, SECRET);
      const clean = (bytes: string) => bytes.replaceAll(SECRET, "[erased]");
      for (const [version, { key, bytes }] of saved) {
        const now = await bytesOf(memory, key, version);
        // an end inside the text has become its mark; a run of whole lines has one mark, and an end inside the run is behind it
        const tail = Array.from({ length: SECRET.length - 1 }, (_, n) => SECRET.slice(0, n + 1)).findLast((part) =>
          bytes.endsWith(part),
        );
        const squeezed = (text: string) =>
          text.replace(/\[erased\](\n\[erased\])+(?=\n|$)/g, "[erased]").replace(/\[erased\]\n$/, "[erased]");
        const whole = clean(bytes);
        const cutTail = tail === undefined ? [] : [clean(bytes.slice(0, -tail.length)) + "[erased]"];
        expect([whole, ...cutTail].map(squeezed), `seed ${seed}, round ${round}, ${version}`).toContain(squeezed(now));
      }
      const { findings } = await memory.verify({ target: "drive" });
      expect(findings, `seed ${seed}, round ${round}`).toEqual([]);
      await memory.close();
    }
  });
});

describe("what waits, what was pruned, what was put aside", () => {
  it("loses the text too", async () => {
    const root = makeRoot({ guard: { "*": { policy: "hold" } } });
    const memory = await root.open();
    await memory.replace("Meta/A.txt", "a long line of it\n".repeat(60));
    expect(await codeOf(memory.replace("Meta/A.txt", `${SECRET}\n`))).toBe("E_HELD");
    await memory.append("Meta/B.txt", `B ${SECRET}\n`);
    await memory.archive("Meta/B.txt");
    writeFileSync(root.at("logs/upload_log.json.torn"), `half a line with ${SECRET}`);
    writeFileSync(root.at("Data/Archive/stray.txt"), `put here by hand: ${SECRET}\n`);
    await memory.flush();
    const [held] = await memory.held();
    await memory.erase({ match: SECRET });
    expectGone(root.path, SECRET);
    await memory.accept(held?.version ?? "");
    expect(readFileSync(root.at("Data/Meta/A.txt"), "utf8")).toBe("[erased]\n");
    await memory.flush();
    await memory.close();
    const rebuilt = await root.open({ rebuild: true });
    expect(await rebuilt.held()).toEqual([]);
    expect((await rebuilt.verify()).findings).toEqual([]);
    expectGone(root.path, SECRET);
  });
});

it("of a chat says how many versions it could not know to be of it", async () => {
  const root = makeRoot();
  const memory = await root.open();
  await memory.append("Meta/A.txt", "token-one, said by the chat\nBETA-private, said by it too\n", { chat_name: "cz" });
  await memory.append("Meta/B.txt", "something else of the same chat\n", { chat_name: "cz" });
  await memory.erase({ match: "token-one" });
  const named = (remains: readonly { what: string; cure: string }[]) =>
    remains.find(({ what }) => what.includes("erased in part before"));
  expect(named((await memory.erase({ chat: "cz" }, { dry_run: true })).remains)?.what).toMatch(/^1 version /);
  const { remains } = await memory.erase({ chat: "cz" });
  expect(named(remains)).toMatchObject({
    what: expect.stringMatching(/^1 version /),
    cure: expect.stringMatching(/by its version/),
  });
  expect(await memory.erase({ chat: "cz" }).catch((error: unknown) => (error as AftersaveError).hint)).toMatch(
    /erased in part before/,
  );
});
