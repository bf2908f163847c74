/** What a state that is put together again knows of versions that an erasure touched. */
import { rmSync } from "node:fs";
import { expect, it } from "vitest";
import type { Memory } from "../../src/open.ts";
import { makeRoot } from "./root.ts";

const SECRET = "the secret that was here";

const shown = async (memory: Memory, key: string, version: string) => {
  const pieces: Uint8Array[] = [];
  for await (const piece of (await memory.show(key, { version })).open()) pieces.push(piece.slice());
  return Buffer.concat(pieces).toString();
};

it.each(["rebuilt", "restored on an empty root"])(
  "%s: copies of erased lines have their size, their versions their bytes",
  async (how) => {
    const root = makeRoot();
    const mirror = { targets: { drive: { type: "folder", enabled: true, path: root.at("mirror") } } };
    const memory = await root.open();
    const held = new Map<string, string>();
    const save = async (op: "append" | "replace", key: string, text: string, holds: string) =>
      held.set(`${key} ${(await memory[op](key, text)).version}`, holds);
    for (const key of ["a.txt", "b.txt"]) {
      await save("append", key, `one ${SECRET}\n`, "one [erased]\n");
      await save("replace", key, `two ${key}\n`, `two ${key}\n`); // its line names the hash of what is erased
      await save("append", key, "three\n", `two ${key}\nthree\n`);
      await save("replace", key, `four ${key}\n`, `four ${key}\n`);
    }
    await save("append", "c.txt", `one ${SECRET}\n`, "one [erased]\n");
    await save("replace", "c.txt", "two\n", "two\n");
    await save("replace", "c.txt", "three\n", "three\n");
    await save("append", "c.txt", "four\n", "three\nfour\n");
    await memory.flush();
    await memory.erase({ match: SECRET });
    await memory.flush();
    await memory.close();

    const to = how === "rebuilt" ? root : makeRoot(mirror);
    if (to !== root) rmSync(to.at("Data"), { recursive: true });
    const again = await to.open({ rebuild: to === root });
    if (to !== root) await again.restoreFrom("drive");
    for (const [name, text] of held) {
      const [key = "", version = ""] = name.split(" ");
      expect(await shown(again, key, version), name).toBe(text);
    }
    expect(await again.flush()).toMatchObject({ failed: 0, pending: 0 });
    expect((await again.verify({ target: "drive", download: true })).findings).toEqual([]);
    expect((await again.doctor({ fix: true })).filter(({ level }) => level === "error")).toEqual([]);
  },
);
