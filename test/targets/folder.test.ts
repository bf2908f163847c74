import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import fsSync from "node:fs";
import fs from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Key, parseKey } from "../../src/core/key.ts";
import { createFolderTarget } from "../../src/targets/folder.ts";
import { anySeed, bytesOf, seededRandom, sourceOf, targetSuite } from "../../src/testing/index.ts";
import { bundled } from "../bundled.ts";

const KEY = parseKey("Core/Rules.txt");
const DAY = 24 * 60 * 60 * 1000;
let path: string;
const undo: Array<() => void> = [];

beforeEach(() => {
  path = fsSync.mkdtempSync(join(tmpdir(), "aftersave-folder-"));
});
afterEach(() => {
  for (const back of undo.splice(0)) back();
  syncBuiltinESMExports();
  fsSync.rmSync(path, { recursive: true, force: true });
});

const open = (now = Date.now) => createFolderTarget({ path, root: "Drive/MemoryVDB/", clock: { now } });
const diskPath = (key: string) => join(path, "Drive/MemoryVDB", key);
function writeForeign(key: string, content: string | Uint8Array): void {
  fsSync.mkdirSync(dirname(diskPath(key)), { recursive: true });
  fsSync.writeFileSync(diskPath(key), content);
}
const onDisk = (key: string) => fsSync.readFileSync(diskPath(key), "utf8");
const helpers = () =>
  fsSync.readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) => name.includes("aftersave-"));
const keysOf = async (target = open(), prefix = "") => {
  const keys: string[] = [];
  for await (const { key } of target.list(prefix)) keys.push(key);
  return keys.toSorted();
};

/** Replaces a function of node:fs until the test ends. */
function patch<M extends object, N extends keyof M>(module: M, name: N, make: (real: M[N]) => M[N]): void {
  const real = module[name];
  module[name] = make(real);
  syncBuiltinESMExports();
  undo.push(() => {
    module[name] = real;
  });
}
const errno = (code: string) => Object.assign(new Error(`${code}: made for this test`), { code });

describe("passes the target suite", () => {
  targetSuite({
    test,
    open: () => ({
      target: open(),
      reopen: () => open(),
      foreignWrite: writeForeign,
      cleanup: () => expect(helpers()).toEqual([]),
    }),
  });
});

describe("on a file system without hard links", () => {
  beforeEach(() => patch(fs, "link", () => () => Promise.reject(errno("ENOTSUP"))));
  targetSuite({
    test,
    open: () => ({ target: open(), foreignWrite: writeForeign, cleanup: () => expect(helpers()).toEqual([]) }),
  });
});

describe("a place that is not there", () => {
  test("is unreachable, which can pass, and is never made", async () => {
    fsSync.rmSync(path, { recursive: true });
    const target = open();
    const gone = { kind: "transient", code: "E_TARGET_UNREACHABLE", canPass: true };
    await expect(target.stat(KEY)).rejects.toMatchObject(gone);
    await expect(target.put(KEY, sourceOf("x"))).rejects.toMatchObject(gone);
    await expect(target.read(KEY, bytesOf)).rejects.toMatchObject(gone);
    await expect(target.copy(KEY, parseKey("to"))).rejects.toMatchObject(gone);
    await expect(target.remove(KEY)).rejects.toMatchObject(gone);
    await expect(keysOf(target)).rejects.toMatchObject(gone);
    expect(typeof target.traits.caseSensitive).toBe("boolean");
    expect(fsSync.existsSync(path)).toBe(false);
    fsSync.mkdirSync(path);
    await target.put(KEY, sourceOf("x"), { expect: "absent" });
    expect(onDisk(KEY)).toBe("x");
  });

  test("disappears while a body is sent", async () => {
    async function* body() {
      yield Buffer.from("x");
      await fs.rm(path, { recursive: true });
    }
    const sending = open().put(KEY, { ...sourceOf("x"), open: body });
    await expect(sending).rejects.toMatchObject({ kind: "transient", code: "E_TARGET_UNREACHABLE" });
  });
});

describe("what the system refuses", () => {
  const table = [
    ["ENOSPC", "quota", "E_TARGET_QUOTA"],
    ["EDQUOT", "quota", "E_TARGET_QUOTA"],
    ["EACCES", "auth", "E_PERMISSION"],
    ["EROFS", "auth", "E_READ_ONLY"],
    ["EIO", "transient", "E_TARGET_TRANSIENT"],
    ["EMFILE", "transient", "E_TARGET_TRANSIENT"],
    ["ENAMETOOLONG", "unsupported", "E_TARGET_UNSUPPORTED"],
    ["ENODEV", "transient", "E_TARGET_UNREACHABLE"],
  ] as const;
  test.each(table)("%s is %s, %s, with its cause", async (code, kind, our) => {
    await open().put(KEY, sourceOf("old"));
    patch(fs, "open", (real) => (file, ...rest) => {
      if (!String(file).includes(".aftersave-tmp")) return real(file, ...rest);
      return Promise.reject(Object.assign(errno(code), { message: `${code}: no, open '${String(file)}'` }));
    });
    const failing = open().put(KEY, sourceOf("new"));
    await expect(failing).rejects.toMatchObject({ name: "TargetError", kind, code: our, cause: { code } });
    await expect(failing).rejects.toThrow(
      expect.objectContaining({ message: expect.not.stringContaining("aftersave-tmp") as string }),
    );
    expect(onDisk(KEY)).toBe("old");
  });

  test("a name that the disk cannot hold", async () => {
    await expect(open().put("n".repeat(256) as Key, sourceOf("x"))).rejects.toMatchObject({ kind: "unsupported" });
  });

  test("a folder where a file should be, and a file where a folder should be", async () => {
    const target = open();
    fsSync.mkdirSync(diskPath(KEY), { recursive: true });
    const folder = { kind: "unsupported", code: "E_KEY_FOLDER" };
    await expect(target.stat(KEY)).rejects.toMatchObject(folder);
    await expect(target.read(KEY, bytesOf)).rejects.toMatchObject(folder);
    await expect(target.put(KEY, sourceOf("x"))).rejects.toMatchObject(folder);
    await expect(target.put(KEY, sourceOf("x"), { expect: "absent" })).rejects.toMatchObject(folder);
    await expect(target.remove(KEY)).rejects.toMatchObject(folder);
    writeForeign("Core/file", "theirs");
    const below = parseKey("Core/file/below.txt");
    expect(await target.stat(below)).toBeUndefined();
    await expect(target.put(below, sourceOf("x"))).rejects.toMatchObject(folder);
    expect(onDisk("Core/file")).toBe("theirs");
    expect(helpers()).toEqual([]);
  });
});

describe("a write", () => {
  test("whose bytes are changed on the disk before they are read back is corrupt and changes nothing", async () => {
    await open().put(KEY, sourceOf("old"));
    async function* body() {
      yield Buffer.from("new bytes");
      const [tmp] = helpers();
      await fs.writeFile(join(path, tmp ?? "none"), "N", { flag: "r+" });
    }
    await expect(open().put(KEY, { ...sourceOf("new bytes"), open: body })).rejects.toMatchObject({ kind: "corrupt" });
    expect(onDisk(KEY)).toBe("old");
    expect(helpers()).toEqual([]);
  });

  test("has synced the file before it gets its name, and the folders after", async () => {
    const steps: string[] = [];
    const isTemporary = (name: unknown) => String(name).includes(".aftersave-tmp");
    const { prototype } = (await fs.open(path, "r").then(async (file) => (await file.close(), file))).constructor as unknown as {
      prototype: fs.FileHandle;
    };
    const names = new WeakMap<object, string>();
    patch(fs, "open", (real) => async (file, ...rest) => {
      const handle = await real(file, ...rest);
      names.set(handle, isTemporary(file) ? "file" : String(file).slice(path.length));
      return handle;
    });
    patch(
      prototype,
      "sync",
      (real) =>
        async function sync(this: fs.FileHandle) {
          await real.call(this);
          steps.push(`sync ${names.get(this)}`);
        },
    );
    for (const name of ["link", "rename"] as const)
      patch(fs, name, (real) => async (from, to) => {
        await real(from, to);
        if (isTemporary(from)) steps.push(name);
      });
    await open().put(KEY, sourceOf("x"), { expect: "absent" });
    expect(steps).toEqual(["sync ", "sync /Drive", "sync /Drive/MemoryVDB", "sync file", "link", "sync /Drive/MemoryVDB/Core"]);
    steps.length = 0;
    await open().put(KEY, sourceOf("y"));
    expect(steps).toEqual(["sync file", "rename", "sync /Drive/MemoryVDB/Core"]);
  });

  test("of a big file takes constant memory", { timeout: 120_000 }, async () => {
    const child = fork(await bundled(join(import.meta.dirname, "folder-big.child.ts")), [path], { execArgv: [] });
    const [{ got, memory }] = (await once(child, "message")) as [{ got: number; memory: number }];
    expect(got).toBe(400 * 2 ** 20);
    expect(memory).toBeLessThan(120 * 2 ** 20);
    await once(child, "exit");
  });

  test("keeps the mode that a person gave the file", async () => {
    const target = open();
    await target.put(KEY, sourceOf("x"));
    fsSync.chmodSync(diskPath(KEY), 0o600);
    await target.put(KEY, sourceOf("y"));
    expect(fsSync.statSync(diskPath(KEY)).mode & 0o777).toBe(0o600);
  });

  test("refuses the name of a temporary file of ours", async () => {
    const key = parseKey("Core/.x.0123456789ab.aftersave-tmp");
    await expect(open().put(key, sourceOf("x"))).rejects.toMatchObject({ kind: "unsupported" });
  });
});

describe("someone else's edit at the last moment", () => {
  /** Runs `edit` once, just before the new bytes take the file's place. */
  function justBefore(name: "renameSync" | "unlinkSync", edit: () => void): void {
    let done = false;
    patch(
      fsSync,
      name,
      (real: (...args: never[]) => void) =>
        ((...args: never[]) => {
          if (!done && !String(args[0]).endsWith("-old")) {
            done = true;
            edit();
          }
          real(...args);
        }) as never,
    );
  }

  test.each(["them", "someone else's"])("into the file (%s) is put back, and ours is refused", async (theirs) => {
    const target = open();
    const seen = await target.put(KEY, sourceOf("ours"));
    justBefore("renameSync", () => writeForeign(KEY, theirs));
    await expect(target.put(KEY, sourceOf("more"), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    expect(onDisk(KEY)).toBe(theirs);
    expect(await keysOf()).toEqual([KEY]);
    expect(helpers()).toEqual([]);
  });

  test("into a file that is being removed is put back", async () => {
    const target = open();
    const seen = await target.put(KEY, sourceOf("ours"));
    justBefore("unlinkSync", () => writeForeign(KEY, "them"));
    await expect(target.remove(KEY, { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    expect(onDisk(KEY)).toBe("them");
    expect(helpers()).toEqual([]);
  });

  test("with its times set back is still noticed", async () => {
    const target = open();
    const seen = await target.put(KEY, sourceOf("ours"));
    const { atime, mtime } = fsSync.statSync(diskPath(KEY));
    writeForeign(KEY, "them");
    fsSync.utimesSync(diskPath(KEY), atime, mtime);
    await expect(target.put(KEY, sourceOf("more"), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    expect(onDisk(KEY)).toBe("them");
  });
});

describe("what killed writers leave", () => {
  const names = ["Core/.Rules.txt.0123456789ab.aftersave-tmp", "Core/.Rules.txt.0123456789ab.aftersave-old"];

  test("is never listed, and goes when it is older than a day", async () => {
    const target = open();
    await target.put(KEY, sourceOf("x"));
    for (const name of names) writeForeign(name, "left");
    expect(await keysOf(target)).toEqual([KEY]);
    await open().put(KEY, sourceOf("y"));
    expect(helpers()).toHaveLength(2);
    await open(() => Date.now() + DAY + 60_000).put(KEY, sourceOf("z"));
    // Replaced bytes that have no other name may be a person's: they stay.
    expect(helpers()).toEqual([`Drive/MemoryVDB/${names[1]}`]);
    expect(onDisk(names[1] ?? "")).toBe("left");
  });

  test("`kill -9` at random moments leaves whole files only", { timeout: 120_000 }, async () => {
    const seed = anySeed();
    const random = seededRandom(seed);
    const script = await bundled(join(import.meta.dirname, "folder-writer.child.ts"));
    for (let round = 0; round < 12; round++) {
      const child: ChildProcess = fork(script, [path], { execArgv: [] });
      await once(child, "message");
      await new Promise((resolve) => setTimeout(resolve, random() * 60));
      child.kill("SIGKILL");
      await once(child, "exit");
      const target = open();
      for (const name of await keysOf(target)) {
        const content = onDisk(name);
        expect(content, `seed ${seed}`).toBe(`${content[0]?.repeat(200_000)}`);
      }
    }
    expect((await keysOf()).length).toBeGreaterThan(0);
  });
});

describe("symbolic links", () => {
  test("are not followed out of the target, nor replaced", async () => {
    const outside = fsSync.mkdtempSync(join(tmpdir(), "aftersave-outside-"));
    undo.push(() => fsSync.rmSync(outside, { recursive: true }));
    fsSync.writeFileSync(join(outside, "secret.txt"), "secret");
    writeForeign("inside.txt", "inside");
    fsSync.symlinkSync(outside, diskPath("out"));
    fsSync.symlinkSync(join(outside, "secret.txt"), diskPath("link.txt"));
    fsSync.symlinkSync(join(outside, "nothing"), diskPath("dangling"));
    const target = open();
    for (const name of ["out/secret.txt", "link.txt"]) {
      const key = parseKey(name);
      await expect(target.stat(key)).rejects.toMatchObject({ kind: "unsupported" });
      await expect(target.read(key, bytesOf)).rejects.toMatchObject({ kind: "unsupported" });
      await expect(target.put(key, sourceOf("x"))).rejects.toMatchObject({ kind: "unsupported" });
      await expect(target.remove(key)).rejects.toMatchObject({ kind: "unsupported" });
      await expect(target.copy(parseKey("inside.txt"), key)).rejects.toMatchObject({ kind: "unsupported" });
    }
    await expect(target.put(parseKey("out/new/x.txt"), sourceOf("x"))).rejects.toMatchObject({ kind: "unsupported" });
    await expect(target.put(parseKey("dangling/x.txt"), sourceOf("x"))).rejects.toMatchObject({ name: "TargetError" });
    expect(await keysOf(target)).toEqual(["inside.txt"]);
    expect(fsSync.readdirSync(outside)).toEqual(["secret.txt"]);
    expect(fsSync.readFileSync(join(outside, "secret.txt"), "utf8")).toBe("secret");
    expect(fsSync.lstatSync(diskPath("link.txt")).isSymbolicLink()).toBe(true);
  });
});

describe("names of others", () => {
  test("that no key can have, are not listed; a decomposed one is another file here", async () => {
    for (const name of ["ok.txt", "a:b", "line\nbreak", "dot.", "Core/con.txt"]) writeForeign(name, "x");
    const composed = "é.txt".normalize("NFC");
    writeForeign(composed.normalize("NFD"), "decomposed");
    expect(await keysOf()).toEqual(["ok.txt"]);
    writeForeign(composed, "composed");
    expect(await keysOf()).toEqual(["ok.txt", composed]);
  });
});

describe("traits.caseSensitive", () => {
  test("is what the file system does, found out without leaving anything", () => {
    expect(open().traits.caseSensitive).toBe(true);
    expect(fsSync.readdirSync(path)).toEqual([]);
    patch(
      fsSync,
      "lstatSync",
      (real) =>
        ((file: string, ...rest: never[]) =>
          real(
            file.replace(/\.CASE\..*/, (name) => name.toLowerCase()),
            ...rest,
          )) as never,
    );
    expect(open().traits.caseSensitive).toBe(false);
  });
});
