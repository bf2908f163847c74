/** The folder of a desktop client: what is put there is handed over, and nobody says that it was verified. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openMemory } from "../../src/open.ts";
import { parseKey } from "../../src/core/key.ts";
import { openFolderTarget } from "../../src/targets/folder.ts";
import { sourceOf, targetSuite } from "../../src/testing/index.ts";

let path: string;
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), "aftersave-handed-"));
});
afterEach(() => rmSync(path, { recursive: true, force: true }));

const ROOT = "Drive/MemoryVDB/";
const open = () => openFolderTarget(ROOT, { path, client: "Dropbox" }, Date);

describe("passes the target suite", () => {
  targetSuite({
    test,
    open: () => ({
      target: open(),
      reopen: () => open(),
      foreignWrite(key, bytes) {
        const file = join(path, ROOT, key);
        mkdirSync(dirname(file), { recursive: true });
        writeFileSync(file, bytes);
      },
      cleanup: () => undefined,
    }),
    options: { bigBytes: 300_000, manyEntries: 20 },
  });
});

test("reports no hash, whoever asks", async () => {
  const [target, key] = [open(), parseKey("Core/A.txt")];
  expect(target.traits).toMatchObject({ hashes: [], handedTo: "Dropbox" });
  expect(await target.put(key, sourceOf("a"))).not.toHaveProperty("hash");
  expect(await target.stat(key, { hash: true })).not.toHaveProperty("hash");
  expect(await target.copy(key, parseKey("Core/B.txt"))).not.toHaveProperty("hash");
});

test("an upload, the log and the status say that it was handed over, and to whom", async () => {
  const root = join(path, "root");
  mkdirSync(root);
  mkdirSync(join(path, "box"));
  const config = { targets: { box: { type: "folder", enabled: true, path: join(path, "box"), preset: "dropbox" } } };
  writeFileSync(join(root, "paths.json"), JSON.stringify(config));
  const memory = await openMemory({ root, env: {} });
  try {
    await memory.append("Meta/a.txt", "text\n");
    expect(await memory.flush()).toMatchObject({ uploaded: 1 });
    expect(readFileSync(join(path, "box", ROOT, "Meta/a.txt"), "utf8")).toBe("text\n");
    const [line] = await memory.log("uploads");
    expect(line).toMatchObject({ status: "success" });
    expect(line?.["notes"]).toMatch(/handed over to Dropbox, not verified/);
    const again = await memory.upload("Data/Meta/a.txt", {}, { cwd: root });
    expect(again.notes).toMatch(/^unchanged: these bytes were handed over at /);
    const status = await memory.status();
    expect(status.targets["box"]).toMatchObject({ handed_over: "Dropbox", last_verified_at: null });
    expect(status.unprotected_bytes).toBe(5);
    expect(memory.targets()[0]).toMatchObject({ handed_over: "Dropbox", where: join(path, "box", ROOT), traits: { hashes: [] } });
  } finally {
    await memory.close();
  }
});

test("without a folder, says so instead of guessing", () => {
  expect(() => openFolderTarget(ROOT, { client: "Dropbox", looked: ["/home/x/Dropbox"] }, Date)).toThrow(/no folder of Dropbox/);
});
