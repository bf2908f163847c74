/** Bringing earlier content back: of one key, and of all as they were at a moment. */
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Memory, Receipt } from "../../src/open.ts";
import { anySeed } from "../../src/testing/random.ts";
import { children } from "./children.ts";
import { clockAt, expectChain, linesOf, makeRoot, sha256, type Root } from "./root.ts";

const START = "2026-04-13T10:00:00.000Z";
const key = "Meta/a.txt";

async function setting(): Promise<{ root: Root; memory: Memory; read: (of?: string) => string | null }> {
  const root = makeRoot();
  const memory = await root.open({ clock: clockAt(START) });
  const read = (of = key) => (existsSync(root.at("Data", of)) ? readFileSync(root.at("Data", of), "utf8") : null);
  return { root, memory, read };
}

/** The memory files alone. */
const tree = (root: Root) =>
  Object.fromEntries(Object.entries(root.files("Data")).filter(([path]) => !path.startsWith("Archive")));

describe("restore KEY@VERSION", () => {
  it("makes any version what the file holds; what is there now is archived, and the line says what came back", async () => {
    const { root, memory, read } = await setting();
    const one = await memory.append(key, "one\n");
    const two = await memory.append(key, "two\n");
    await memory.replace(key, "whole\n");
    await memory.archive(key);
    const held: [string, string][] = [
      [one.version, "one\n"],
      [two.version.slice(-8), "one\ntwo\n"],
      ["-1", "one\n"],
      ["-4", "whole\n"],
    ];
    for (const [version, content] of held) {
      const before = read();
      const { receipts, plan, left } = await memory.restore({ file: key, version });
      expect({ content: read(), left }).toEqual({ content, left: [] });
      expect(plan.actions).toMatchObject([{ does: before === null ? "create" : "replace", merged: false, undoes: [] }]);
      const kept = receipts[0]?.archived_as ?? null;
      expect(kept === null ? null : readFileSync(root.at("Data", kept), "utf8")).toBe(before);
    }
    expect((await memory.restore({ file: key, version: "-0" })).receipts).toEqual([]);
    await memory.close();
    const [first] = (await linesOf(root.changelog)).filter(({ op }) => op === "restore");
    expect(first).toMatchObject({ tool: "aftersave restore", details: { restores: one.version } });
    await expectChain(root.changelog, 8);
  });

  it("brings nothing back where the key held nothing then, and keeps what others did since in the archive", async () => {
    const { root, memory, read } = await setting();
    await memory.append(key, "x\n");
    const gone = await memory.archive(key);
    writeFileSync(root.at("Data", key), "by an editor\n");
    const plan = await memory.planRestore({ file: key, version: gone.version });
    expect(plan.actions).toMatchObject([{ does: "empty", now: { version: null, size: 13 }, becomes: null }]);
    const { receipts } = await memory.apply(plan);
    expect(read()).toBeNull();
    expect(readFileSync(root.at("Data", receipts[0]?.archived_as ?? ""), "utf8")).toBe("by an editor\n");
    await memory.undo();
    expect(read()).toBe("by an editor\n");
  });

  it("refuses what is no version of the file, and never goes through a link", async () => {
    const { root, memory, read } = await setting();
    const other = await memory.append("Core/b.txt", "b\n");
    const { version } = await memory.append(key, "a\n");
    for (const wrong of [other.version, "ZZZZ", "-7", "x y"])
      await expect(memory.restore({ file: key, version: wrong })).rejects.toMatchObject({ code: "E_VERSION" });
    await expect(memory.restore({ file: "../x", version })).rejects.toMatchObject({ code: "E_KEY_OUTSIDE" });
    await memory.replace(key, "newer\n");
    const plan = await memory.planRestore({ file: key, version });

    mkdirSync(root.at("outside"));
    const crafted = { ...plan, actions: plan.actions.map((action) => ({ ...action, file: "../outside" as never, now: null })) };
    expect((await memory.apply(crafted)).left).toMatchObject([{ code: "E_KEY_OUTSIDE" }]);
    expect(existsSync(root.at("outside"))).toBe(true);

    rmSync(root.at("Data/Meta"), { recursive: true });
    symlinkSync(root.at("outside"), root.at("Data/Meta"));
    mkdirSync(root.at("outside/a.txt"));
    expect((await memory.apply(plan)).left).toMatchObject([{ file: key, code: "E_KEY_OUTSIDE" }]);
    const unmade = { ...plan, actions: plan.actions.map((action) => ({ ...action, now: null })) };
    expect((await memory.apply(unmade)).left).toMatchObject([{ file: key, code: "E_KEY_OUTSIDE" }]);
    expect(existsSync(root.at("outside/a.txt"))).toBe(true);

    rmSync(root.at("Data/Meta"));
    mkdirSync(root.at("Data/Meta"));
    symlinkSync(root.at("Data/Core/b.txt"), root.at("Data", key));
    await expect(memory.planRestore({ file: root.at("Data", key), version })).rejects.toMatchObject({ code: "E_VERSION" });
    const at = new Date(Date.parse(START) + 3_600_000);
    expect((await memory.planRestoreAt(at, "Meta")).left).toMatchObject([{ file: key, code: "E_KEY_NAME" }]);
    expect(read("Core/b.txt")).toBe("b\n");
  });
});

describe("restore --at TIME", () => {
  it("speaks of a folder or a file, never of names that begin alike, and can leave new files alone", async () => {
    const { root, memory, read } = await setting();
    await memory.append("Meta/a.txt", "1\n");
    const { timestamp } = await memory.append("Metadata/a.txt", "1\n");
    for (const of of ["Meta/a.txt", "Metadata/a.txt", "Meta/new.txt", "Meta/a.txt.bak"]) await memory.append(of, "2\n");
    const moment = new Date(timestamp);
    expect((await memory.restoreAt(moment, "Meta/a.txt")).receipts.map(({ file }) => file)).toEqual(["Meta/a.txt"]);
    await memory.undo();
    const kept = await memory.restoreAt(moment, "Meta/", {}, { keepNew: true });
    expect(kept.receipts.map(({ file }) => file)).toEqual(["Meta/a.txt"]);
    const { plan } = await memory.restoreAt(moment, "Meta");
    expect(plan).toMatchObject({ at: timestamp, prefix: "Meta", files: 2, bytes: 0 });
    expect(Object.keys(tree(root))).toEqual(["Meta/a.txt", "Metadata/a.txt"].toSorted());
    expect([read("Meta/a.txt"), read("Metadata/a.txt")]).toEqual(["1\n", "1\n2\n"]);
    await memory.undo({ session_id: plan.plan });
    expect([read("Meta/new.txt"), read("Meta/a.txt.bak")]).toEqual(["2\n", "2\n"]);
  });

  it("a file takes the place of a folder, and a folder that of a file", async () => {
    const { root, memory } = await setting();
    const first = await memory.append("x", "file\n");
    await memory.archive("x");
    const second = await memory.append("x/y/z.txt", "deep\n");
    const now = tree(root);
    mkdirSync(root.at("Data/x/empty/er"), { recursive: true });
    expect((await memory.restoreAt(first.timestamp)).left).toEqual([]);
    expect(tree(root)).toEqual({ x: sha256("file\n") });
    expect((await memory.restoreAt(second.timestamp)).left).toEqual([]);
    expect(tree(root)).toEqual(now);
  });

  it("what is kept nowhere is left, and all else comes back", async () => {
    const { root, memory, read } = await setting();
    await memory.append("a.txt", "old a\n");
    const { timestamp } = await memory.append("b.txt", "old b\n");
    const { archived_as } = await memory.replace("a.txt", "new\n");
    await memory.replace("b.txt", "new\n");
    rmSync(root.at("Data", archived_as ?? ""));
    const { receipts, left } = await memory.restoreAt(timestamp);
    expect(left).toMatchObject([{ file: "a.txt", code: "E_CONTENT_GONE" }]);
    expect([receipts.length, read("a.txt"), read("b.txt")]).toEqual([1, "new\n", "old b\n"]);
  });

  it("refuses a moment before the first save, and a place where nothing ever was", async () => {
    const { memory, read } = await setting();
    const { timestamp } = await memory.append(key, "x\n");
    await expect(memory.restoreAt("2020-01-01T00:00:00Z")).rejects.toMatchObject({ code: "E_NOT_FOUND" });
    await expect(memory.restoreAt(timestamp, "Nowhere")).rejects.toMatchObject({ code: "E_NOT_FOUND" });
    await expect(memory.restoreAt("once upon a time")).rejects.toMatchObject({ code: "E_USAGE" });
    expect(read()).toBe("x\n");
  });

  it("a writer that goes on meanwhile loses nothing", async () => {
    const { root, memory, read } = await setting();
    const keys = Array.from({ length: 20 }, (_, i) => `Core/${i}.txt`);
    for (const of of keys) await memory.append(of, "old\n");
    const { timestamp } = await memory.append(key, "mark\n");
    for (const of of keys) await memory.replace(of, "wrecked\n");
    const other = await root.open({ clock: clockAt("2026-04-13T12:00:00.000Z") });
    const written: Promise<Receipt>[] = [];
    const { receipts, left } = await memory.restoreAt(
      timestamp,
      "Core",
      {},
      {
        onProgress: (done) => {
          if (done % 3 === 1) written.push(other.append(keys[keys.length - done]!, `late ${done}\n`));
        },
      },
    );
    await Promise.all(written);
    expect(receipts.length + left.length).toBe(keys.length);
    expect(left.every(({ code }) => code === "E_STALE")).toBe(true);
    const late = keys.map((of) => read(of)).join("");
    expect(late.match(/late \d+/g)).toHaveLength(written.length);
  });
});

const files = ["a.txt", "Meta/b.md", "Meta/deep/c", "Meta"] as const;
const body = fc.oneof(
  fc.constantFrom("", "line\n", "no end", "two\nlines\n"),
  fc.string({ maxLength: 20 }),
  fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
);
const moment = fc.record({
  op: fc.constantFrom("append", "append", "replace", "archive", "external", "restore", "undo" as const),
  file: fc.constantFrom(...files),
  body,
  back: fc.nat({ max: 5 }),
});

const seed = anySeed();

it(
  `any moment of a random history comes back byte for byte, and the undo of that brings the rest back (seed ${seed})`,
  {
    timeout: 240_000,
  },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(moment, { minLength: 2, maxLength: 14 }), fc.nat(), async (moments, choice) => {
        const { root, memory } = await setting();
        const trees: { at: string; tree: Record<string, string> }[] = [];
        for (const { op, file, body: bytes, back } of moments) {
          const path = root.at("Data", file);
          try {
            if (op === "external") {
              mkdirSync(join(path, ".."), { recursive: true });
              writeFileSync(path, bytes);
              await memory.sweep();
            } else if (op === "archive") await memory.archive(file);
            else if (op === "restore") await memory.restore({ file, version: `-${back}` });
            else if (op === "undo") await memory.undo();
            else await memory[op](file, bytes);
          } catch (error) {
            // a folder or a file stands in the way, or there is nothing to archive or undo: then nothing has changed
            const { code = "" } = error as { code?: string };
            if (!["E_KEY_FOLDER", "E_NOT_FOUND", "E_VERSION", "EISDIR", "ENOTDIR", "EEXIST"].includes(code)) throw error;
          }
          const last = (await memory.log("changes", { limit: 1 }))[0];
          if (last) trees.push({ at: String(last["timestamp"]), tree: tree(root) });
        }
        if (trees.length === 0) return;
        const now = tree(root);
        const then = trees[choice % trees.length]!;
        const { plan, left } = await memory.restoreAt(then.at);
        expect(left).toEqual([]);
        expect(tree(root)).toEqual(trees.findLast(({ at }) => at === then.at)!.tree);
        expect((await memory.restoreAt(then.at)).receipts).toEqual([]); // run again, nothing is left to do
        if (plan.files > 0) expect((await memory.undo({ session_id: plan.plan })).left).toEqual([]);
        expect(tree(root)).toEqual(now);
        await memory.close();
        await expectChain(root.changelog, (await linesOf(root.changelog)).length);
        rmSync(root.path, { recursive: true });
      }),
      { seed, numRuns: 20 },
    );
  },
);

describe("killed in the midst", () => {
  it.each([
    ["restore", "begun"],
    ["undo", "archived"],
    ["restore", "headed"],
    ["undo", "written"],
    ["restore", "accepted"],
    ["undo", "cleaned"],
  ])("%s, at the step %s, leaves each file as it was or will be, and run again does the rest", async (what, step) => {
    const { root, memory } = await setting();
    const keys = Array.from({ length: 12 }, (_, i) => `Core/${i}.txt`);
    for (const of of keys.slice(0, 9)) await memory.append(of, `old ${of}\n`);
    const { timestamp } = await memory.append(key, "mark\n");
    const then = tree(root);
    for (const of of keys.slice(0, 6)) await memory.replace(of, "wrecked\n", { session_id: "s" });
    for (const of of keys.slice(6, 9)) await memory.archive(of, { session_id: "s" });
    for (const of of keys.slice(9)) await memory.append(of, "new\n", { session_id: "s" });
    const wrecked = tree(root);
    await memory.close();
    const how = what === "undo" ? "s" : timestamp;

    for (const nth of [1, 5]) {
      const [child] = await children([["bringing.child.ts", root.path, how, step, String(nth)]]);
      expect({ signal: child?.signal, said: child?.stderr }).toEqual({ signal: "SIGKILL", said: "" });
      for (const [path, hash] of Object.entries(tree(root))) expect([then[path], wrecked[path]]).toContain(hash);
    }
    const [child] = await children([["bringing.child.ts", root.path, how, "never", "0"]]);
    expect(child).toMatchObject({ code: 0, stderr: "" });
    const { receipts, left } = JSON.parse(child?.stdout ?? "") as { receipts: Receipt[]; left: unknown[] };
    expect(left).toEqual([]);
    expect(receipts.length).toBeLessThan(9); // what the killed ones did is not done again
    expect(tree(root)).toEqual(then);

    const again = await root.open();
    const brought = (await again.log("changes")).filter(({ op }) => op === "restore").map(({ version }) => String(version));
    expect(brought).toHaveLength(12);
    const sessions = new Set((await again.log("changes")).filter(({ op }) => op === "restore").map((line) => line["session_id"]));
    expect(sessions.size, "all of it is one session").toBe(1);
    const [session] = sessions;
    const entries = (await again.history({ session: String(session) })).entries;
    expect(entries.length).toBe(1);
    await again.undo({ session_id: String(session) });
    expect(tree(root)).toEqual(wrecked);
    const [anew] = (await again.log("changes")).slice(-1);
    expect(anew?.["session_id"]).not.toBe(session);
    await again.close();
    await expectChain(root.changelog, 10 + 12 + 12 + 12);
  });
});

describe("a wish that is not understood", () => {
  it("touches nothing, and says which field was meant", async () => {
    const { root, memory } = await setting();
    await memory.append(key, "one\n");
    await memory.append(key, "two\n");
    const before = root.files("Data");
    const loose = memory as unknown as Record<
      "restore" | "planRestore" | "restoreAt" | "planRestoreAt",
      (...args: unknown[]) => Promise<unknown>
    >;
    const refused = async (asked: Promise<unknown>, hint = "") =>
      expect(asked).rejects.toMatchObject({ code: "E_USAGE", hint: expect.stringContaining(hint) as string });
    for (const wish of [undefined, null, key, {}, { file: key }, { version: "-1" }, { file: key, version: 1 }]) {
      await refused(loose.restore(wish));
      await refused(loose.planRestore(wish));
    }
    await refused(loose.restore({ key, version: "-1" }), "file and version");
    await refused(loose.restore({ file: key, versoin: "-1" }), "Did you mean version?");
    for (const time of [undefined, null, 5, new Date("x")]) await refused(loose.restoreAt(time));
    await refused(loose.restoreAt(START, 5));
    await refused(loose.restoreAt(START, "", {}, { keepnew: true }), "keepNew");
    await refused(loose.restoreAt(START, "", {}, { keepNew: "yes" }));
    await refused(loose.planRestoreAt(START, "", { keep_new: true }), "Did you mean keepNew?");
    expect(root.files("Data")).toEqual(before);
  });
});
