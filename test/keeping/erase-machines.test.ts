// What an erasure means for the other machines that write to the same target.
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Memory } from "../../src/open.ts";
import { codeOf } from "../memory/root.ts";
import { makeRoot, type Root } from "../recovery/root.ts";
import { expectGone, filesWith } from "./erase-root.ts";

const SECRET = "the-door-opens-at-seven";

const text = (root: Root, key: string) => readFileSync(root.at("Data", key), "utf8");

/** Two machines of one memory, each with the text; the second has sent nothing yet unless it is asked to. */
async function twoMachines(sends = false) {
  const one = makeRoot();
  const two = makeRoot({ targets: { drive: { type: "folder", enabled: true, path: one.at("mirror") } } });
  const a = await one.open();
  await a.append("Meta/A.txt", `one ${SECRET}\n`);
  await a.append("Meta/Old.txt", `old ${SECRET}\n`);
  await a.replace("Meta/Old.txt", "new\n");
  await a.append("Meta/B.txt", "b\n");
  await a.flush();
  const b = await two.open();
  await b.restoreFrom("drive");
  if (sends) await b.flush();
  expect(text(two, "Meta/A.txt")).toContain(SECRET);
  return { one, two, a, b, mirror: one.at("mirror") };
}

const blockedOf = async (memory: Memory) => (await memory.status()).blocked_list.map(({ file, code }) => `${file} ${code}`);

describe("another machine of the same memory", () => {
  it.each([false, true])("sends nothing of what one erased, and is free once it erased it too (had sent: %s)", async (sends) => {
    const { one, two, a, b, mirror } = await twoMachines(sends);
    const { remains } = await a.erase({ match: SECRET });
    expect(remains.map(({ what, cure }) => `${what} ${cure}`).join("\n")).toMatch(/other machines.*the same `aftersave erase`/is);
    await a.flush();
    expect(filesWith(mirror, SECRET)).toEqual([]);

    await b.append("Meta/A.txt", "more\n");
    await b.append("Meta/B.txt", "more\n");
    await b.flush();
    expect(filesWith(mirror, SECRET)).toEqual([]);
    expect(await blockedOf(b)).toContain("Meta/A.txt E_ERASED");
    await b.restoreFrom("drive"); // what it held goes to its archive, and stays there
    await b.flush();
    expect(filesWith(mirror, SECRET)).toEqual([]);
    expect(readFileSync(`${mirror}/Drive/MemoryVDB/Meta/B.txt`, "utf8")).toBe("b\nmore\n");

    await b.erase({ match: SECRET });
    await b.flush();
    expect(await blockedOf(b)).toEqual([]);
    expectGone(two.path, SECRET);
    expectGone(one.path, SECRET);
  });

  it.each(["a restore", "a save"])("sends no archive copy of it either, which %s made", async (what) => {
    const { two, a, b, mirror } = await twoMachines(true);
    await b.close();
    await a.erase({ match: SECRET });
    await a.flush();
    const again = await two.open();
    if (what === "a restore") await again.restoreFrom("drive");
    else await again.replace("Meta/A.txt", "nothing of it\n");
    await again.flush();
    expect(filesWith(two.at("Data/Archive"), SECRET).length).toBeGreaterThan(1);
    expect(filesWith(mirror, SECRET)).toEqual([]);
    expect(text(two, "Meta/A.txt")).not.toContain(SECRET);
  });

  it("is heard by the first one too, which knows of no other", async () => {
    const { one, a, b, mirror } = await twoMachines(true);
    await b.erase({ key: "Meta/A.txt" });
    await b.erase({ match: SECRET });
    await b.flush();
    await a.append("Meta/A.txt", "more\n");
    await a.flush();
    expect(filesWith(mirror, SECRET)).toEqual([]);
    expect(await blockedOf(a)).toEqual(["Meta/A.txt E_ERASED"]);
    expect(text(one, "Meta/A.txt")).toBe(`one ${SECRET}\nmore\n`);
  });

  it("is heard by the first one from the history that it restores", async () => {
    const { one, a, b, mirror } = await twoMachines(true);
    await b.erase({ match: SECRET });
    await b.flush();
    await a.restoreFrom("drive");
    expect(text(one, "Meta/A.txt")).toBe("one [erased]\n");
    await a.flush();
    expect(filesWith(one.at("Data/Archive"), SECRET).length).toBeGreaterThan(1);
    expect(filesWith(mirror, SECRET)).toEqual([]);
  });

  it("sends nothing of a key that one erased, though nothing lies in its place", async () => {
    const { a, b, mirror } = await twoMachines();
    await a.erase({ key: "Meta/A.txt" });
    await a.flush();
    await b.flush();
    expect(existsSync(`${mirror}/Drive/MemoryVDB/Meta/A.txt`)).toBe(false);
    expect(await blockedOf(b)).toContain("Meta/A.txt E_ERASED");
    await b.erase({ key: "Meta/A.txt" });
    await b.flush();
    expect((await blockedOf(b)).filter((one) => one.startsWith("Meta/A.txt"))).toEqual([]);
  });

  it("cannot give it back to the one that erased it", async () => {
    const { one, two, a, b, mirror } = await twoMachines(true);
    await a.erase({ match: SECRET });
    await a.flush();
    // text in new clothes is known to nobody there: it comes to the target, and no further
    await b.replace("Meta/New.txt", `told anew: ${SECRET}\n`);
    await b.replace("Meta/B.txt", `told anew: ${SECRET}\n`);
    await b.flush();
    expect(filesWith(mirror, SECRET).length).toBeGreaterThan(0);
    const { left } = await a.restoreFrom("drive");
    expect(left.map(({ code }) => code)).toContain("E_ERASED");
    await a.flush();
    for (const folder of ["Data", "logs", ".aftersave"]) expectGone(one.at(folder), SECRET);
    await a.append("Meta/B.txt", "mine\n");
    await a.flush();
    expect(readFileSync(`${mirror}/Drive/MemoryVDB/Meta/B.txt`, "utf8")).not.toContain(SECRET);
    expect(filesWith(two.path, SECRET).length).toBeGreaterThan(0);
    expect(await codeOf(b.append("Meta/B.txt", "more\n"))).toBe("accepted");
  });
});

it("what two machines redacted alike or each for itself is known to the other as its own", async () => {
  const { a, b } = await twoMachines(true);
  await b.append("Meta/B.txt", `b says ${SECRET}\n`);
  await b.flush();
  await a.erase({ match: SECRET });
  await a.flush();
  await b.erase({ match: SECRET });
  await b.flush();
  const { findings } = await a.verify({ target: "drive" });
  expect(findings.map(({ code, file }) => `${code} ${file}`)).not.toContain("E_TARGET_CORRUPT Meta/B.txt");
  const outcomes: string[] = [];
  await a.append("Meta/B.txt", "a goes on\n");
  await a.flush({ onOutcome: ({ file, notes }) => outcomes.push(`${file}: ${notes}`) });
  expect(outcomes.join("\n")).not.toMatch(/someone else/);
  expect(outcomes.join("\n")).toMatch(/Meta\/B.txt: another machine of yours/);
});
