/** What processes that were killed left lying about is no place for an erased text, and none of it becomes memory. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { children } from "../recovery/children.ts";
import { makeRoot } from "../recovery/root.ts";
import { expectGone } from "./erase-root.ts";

const SECRET = "the-secret-that-lies-about";

it("what a killed upload left at a folder target goes with the file, of this key only", async () => {
  const root = makeRoot();
  const memory = await root.open();
  await memory.append("Meta/A.txt", `one ${SECRET}\n`);
  await memory.flush();
  const left = (name: string) => root.at("mirror/Drive/MemoryVDB/Meta", name);
  const mine = [".A.txt.0123456789ab.aftersave-tmp", ".A.txt.ba9876543210.aftersave-old"].map(left);
  const others = [".A.txt.b.0123456789ab.aftersave-tmp", ".A.txt.0123456789ab.aftersave-kept"].map(left);
  for (const path of mine) writeFileSync(path, `one ${SECRET}`);
  for (const path of others) writeFileSync(path, "another file's");
  await memory.erase({ match: SECRET });
  await memory.flush();
  expectGone(root.path, SECRET);
  expect(mine.filter((path) => existsSync(path))).toEqual([]);
  expect(others.filter((path) => !existsSync(path))).toEqual([]);
  expect(readFileSync(left("A.txt"), "utf8")).toBe("one [erased]\n");
});

it("a rewritten file that a killed erasure had half made is removed, a memory file of such a name stays", async () => {
  const root = makeRoot();
  const memory = await root.open();
  await memory.append("Meta/A.txt", `one ${SECRET}\nand more\n`);
  await memory.append("Meta/A.txt.7654321", "one [era");
  await memory.close();
  const [killed] = await children([["../keeping/erase.child.ts", root.path, "committed", "1", SECRET]]);
  expect(killed?.signal, killed?.stderr).toBe("SIGKILL");
  const [head = ""] = readdirSync(root.at(".aftersave/erase"));
  expect(head).not.toBe("");
  for (const text of ["", "one [erased]\nan"]) writeFileSync(root.at("Data/Meta", `A.txt.${1_234_567 + text.length}`), text);
  writeFileSync(root.at("Data/Meta/A.txt.999"), "no name that we give");
  mkdirSync(root.at("Data/Other"));

  const again = await root.open();
  await again.sweep();
  const names = readdirSync(root.at("Data/Meta")).toSorted();
  expect(names).toEqual(["A.txt", "A.txt.7654321", "A.txt.999"]);
  expect(readFileSync(join(root.at("Data/Meta"), "A.txt"), "utf8")).toBe("one [erased]\nand more\n");
  expect((await again.log("changes")).filter(({ op }) => op === "external").map(({ file }) => file)).toEqual(["Meta/A.txt.999"]);
});
