import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { TargetError } from "../../src/core/errors.ts";
import type { Key } from "../../src/core/key.ts";
import { forward } from "../../src/core/target.ts";
import type { Memory } from "../../src/open.ts";
import { codeOf } from "../memory/root.ts";
import { DAY, days, keepingRoots, type Root } from "./root.ts";

const roots = keepingRoots();
const A = "Meta/A.txt";

/** The archive copies that saves made, oldest first. */
const copiesOf = async (root: Pick<Root, "memory" | "clock">, n: number, key = A): Promise<string[]> =>
  (await days(root, key, n)).flatMap(({ archived_as }) => archived_as ?? []);

async function flushed(retention: Record<string, unknown> | undefined, n: number) {
  const root = await roots.fresh(retention);
  const copies = await copiesOf(root, n);
  await root.memory.flush();
  return { ...root, copies };
}

const findings = async (memory: Memory) =>
  (await memory.doctor()).filter(({ level }) => level !== "ok").map(({ message }) => message);

describe("nothing is removed", () => {
  test("without a rule", async () => {
    const { memory, copies, there } = await flushed(undefined, 4);
    expect(await memory.planPrune()).toEqual({ ruled: false, versions: [], removes: [], bytes: 0 });
    expect(await memory.prune()).toEqual({ removed: [], lines: [], left: [] });
    expect(copies.every(there)).toBe(true);
  });

  test("by a plan", async () => {
    const { memory, copies, there, changes } = await flushed({ "*": { keep_last: 1 } }, 4);
    const lines = changes().length;
    expect((await memory.planPrune()).removes).toHaveLength(3);
    expect(copies.every(there)).toBe(true);
    expect(changes()).toHaveLength(lines);
  });

  test("while no target holds it", async () => {
    const root = await roots.fresh({ "*": { keep_last: 1 } });
    const copies = await copiesOf(root, 3);
    expect((await root.memory.prune()).removed).toEqual([]);
    expect(copies.every(root.there)).toBe(true);
    expect((await root.memory.planPrune()).versions.map(({ kept_by }) => kept_by.join())).toEqual([
      "current,keep_last",
      "not on drive yet",
      "not on drive yet",
    ]);
  });

  test("from a place that nobody knows", async () => {
    const { memory } = await flushed({ "*": { keep_last: 1 } }, 1);
    expect(await codeOf(memory.planPrune({ from: "drvie" }))).toBe("E_TARGET_UNKNOWN");
  });
});

describe("what the rules let go", () => {
  test("goes here, is told in one line, and is not missed", async () => {
    const { memory, copies, there, changes, at, open } = await flushed({ Meta: { keep_last: 3 } }, 6);
    const before = await findings(memory);
    const { removed, lines, left } = await memory.prune({}, { chat_name: "tidy" });
    const gone = copies.slice(0, 3);
    expect(removed).toEqual([{ from: "here", copies: 3, bytes: (1 + 2 + 3) * `${A} on day 0\n`.length }]);
    expect(left).toEqual([]);
    expect(copies.map(there)).toEqual([false, false, false, true, true]);
    await memory.close();
    expect(changes().at(-1)).toMatchObject({
      op: "prune",
      file: A,
      version: lines[0],
      chat_name: "tidy",
      tool: "aftersave prune",
      details: { prunes: { copies: gone.toReversed(), from: "here" } },
    });
    const again = await open();
    expect(await findings(again)).toEqual(before);
    expect(at("drive")).toEqual(expect.arrayContaining(copies));
    expect((await again.planPrune()).removes).toEqual([]);
    expect(await again.prune()).toEqual({ removed: [], lines: [], left: [] });
  });

  test("goes only below what was asked about", async () => {
    const root = await roots.fresh({ "*": { keep_last: 1 } });
    for (const key of ["Meta/A.txt", "Meta/A/b.txt", "Metas/c.txt", "Meta-d.txt"]) await days(root, key, 2);
    await root.memory.flush();
    const goes = async (under?: string) => (await root.memory.planPrune({ under })).removes.map(({ key }) => key).toSorted();
    expect(await goes("Meta/A.txt")).toEqual(["Meta/A.txt"]);
    for (const text of ["Meta", "Meta/", root.path("Meta")]) expect(await goes(text)).toEqual(["Meta/A.txt", "Meta/A/b.txt"]);
    expect(await goes("Meta/A")).toEqual(["Meta/A/b.txt"]);
    expect(await goes()).toHaveLength(4);
    expect(await codeOf(root.memory.planPrune({ under: "../x" }))).toBe("E_KEY_OUTSIDE");
  });

  test("stays with all its versions for the sake of one", async () => {
    const root = await roots.fresh({ "*": { keep_last: 1, keep_tag: ["milestone"] } });
    const { memory, clock, there } = root;
    await memory.append(A, "one\n");
    const wanted = await memory.append(A, "two\n", { tags: ["milestone"] });
    await memory.append(A, "three\n");
    const first = await memory.replace(A, "x\n");
    clock.pass(DAY);
    const second = await memory.replace(A, "y\n");
    await memory.flush();
    await memory.prune();
    expect([first, second].map(({ archived_as }) => there(archived_as ?? ""))).toEqual([true, false]);
    const kept = (await memory.planPrune()).versions.map(({ kept_by }) => kept_by.join());
    expect(kept).toEqual([
      "current,keep_last",
      `shares a copy with ${wanted.version}`,
      "keep_tag milestone",
      `shares a copy with ${wanted.version}`,
    ]);
  });

  test("of many files goes in one line, which names no file", async () => {
    const root = await roots.fresh({ "*": { keep_last: 1 } });
    for (const key of ["Meta/A.txt", "Core/B.txt"]) await days(root, key, 2);
    await root.memory.flush();
    expect((await root.memory.prune()).lines).toHaveLength(1);
    await root.memory.close();
    expect(root.changes().at(-1)).toMatchObject({ op: "prune", file: null });
  });

  test("is known to a state that was rebuilt, and is not sent to a target again", async () => {
    const root = await flushed({ "*": { on_targets: { usb: { keep_last: 2 } } }, Core: { keep_last: 1 } }, 4);
    const [core = ""] = await copiesOf(root, 2, "Core/B.txt");
    await root.memory.flush();
    await root.memory.prune();
    await root.memory.close();
    const gone = root.copies.slice(0, 2);
    const onUsb = () => root.at("usb").filter((key) => gone.includes(key));
    expect(onUsb()).toEqual([]);
    const usb = forward(root.places.usb, { traits: { ...root.places.usb.traits, identity: "path" } });
    const again = await root.open({ rebuild: true, targets: { ...root.places, usb } });
    await again.flush();
    expect([root.there(core), root.copies.map(root.there)]).toEqual([false, [true, true, true]]);
    expect(onUsb()).toEqual([]);
    root.places.usb.drop(".aftersave/root.json" as Key); // so that everything is sent there anew
    root.clock.pass(DAY);
    await again.append(A, "more\n");
    await again.flush();
    await again.append(A, "more\n");
    await again.flush();
    expect(root.at("usb")).toContain(".aftersave/root.json");
    expect(onUsb()).toEqual([]);
    expect((await findings(again)).filter((message) => message.includes("Archive"))).toEqual([]);
    expect((await again.status()).failed).toBe(0);
  });
});

describe("a pin", () => {
  test("keeps a version, and its end lets it go", async () => {
    const root = await roots.fresh({ "*": { keep_last: 1 } });
    const [first, second] = await days(root, A, 3);
    const { memory } = root;
    await memory.flush();
    expect(await memory.pin(`${A}@-2`)).toMatchObject({ version: first?.version, file: A, pinned: true, changed: true });
    expect(await memory.pin(first?.version.slice(-6).toLowerCase() ?? "")).toMatchObject({ changed: false });
    expect((await memory.prune()).removed).toMatchObject([{ copies: 1 }]);
    expect([root.there(second?.archived_as ?? ""), (await memory.planPrune()).removes]).toEqual([true, []]);
    expect(await memory.unpin(first?.version ?? "")).toMatchObject({ pinned: false, changed: true, guarded: false });
    expect(await memory.unpin(first?.version ?? "")).toMatchObject({ changed: false });
    expect((await memory.prune()).removed).toMatchObject([{ copies: 1 }]);
    await memory.close();
    expect(root.changes().filter(({ op }) => op === "pin" || op === "unpin")).toMatchObject([
      { op: "pin", file: A, sha256: null, details: { about: [first?.version] } },
      { op: "unpin", file: A, sha256: null, details: { about: [first?.version] } },
    ]);
  });

  test("set between plan and removal counts", async () => {
    const { memory, copies, there } = await flushed({ "*": { keep_last: 1 } }, 4);
    const plan = await memory.planPrune();
    await memory.pin(`${A}@-3`);
    const { removed, left } = await memory.applyPrune(plan);
    expect(removed).toMatchObject([{ copies: 2 }]);
    expect(left).toMatchObject([{ copy: copies[0], from: "here", code: "E_STALE" }]);
    expect(copies.map(there)).toEqual([true, false, false]);
  });

  test.each([
    ["zzzz", "E_VERSION"],
    [`${A}@-9`, "E_VERSION"],
    ["../x@-1", "E_KEY_OUTSIDE"],
    ["", "E_VERSION"],
  ])("of %j is refused: %s", async (text, code) => {
    const { memory } = await flushed(undefined, 1);
    expect(await codeOf(memory.pin(text))).toBe(code);
  });

  test("of a version that holds nothing is refused", async () => {
    const { memory } = await flushed(undefined, 1);
    const { version } = await memory.archive(A);
    expect(await codeOf(memory.pin(version))).toBe("E_USAGE");
  });

  test("finds a file with an @ in its name", async () => {
    const { memory } = await roots.fresh(undefined);
    const { version } = await memory.replace("Meta/me@home.txt", "x\n");
    expect(await memory.pin("Meta/me@home.txt@-0")).toMatchObject({ version });
  });
});

describe("copies on targets", () => {
  const rule = { "*": { keep_last: 1, on_targets: { "*": { keep_last: 1 } } } };

  test("go by their own rule, and one copy stays", async () => {
    const { memory, copies, there, at, changes } = await flushed(rule, 4);
    const { removed, left } = await memory.prune();
    expect([removed.map(({ from, copies: n }) => `${from} ${n}`), left]).toEqual([["here 3", "usb 3"], []]);
    expect(copies.map(there)).toEqual([false, false, false]);
    expect(at("usb")).toContain(A);
    expect(at("usb").filter((key) => copies.includes(key))).toEqual([]);
    expect(at("drive")).toEqual(expect.arrayContaining(copies));
    await memory.close();
    expect(changes().filter(({ op }) => op === "prune")).toMatchObject([
      { details: { prunes: { from: "here" } } },
      { details: { prunes: { from: "usb" } } },
    ]);
  });

  test("stay while the copy here is not what was archived", async () => {
    const { memory, copies, path, at } = await flushed({ "*": { on_targets: { "*": { keep_last: 1 } } } }, 2);
    appendFileSync(path(copies[0] ?? ""), "!");
    const { removed, left } = await memory.prune();
    expect(removed.map(({ from, copies: n }) => `${from} ${n}`)).toEqual(["drive 1"]);
    expect(left).toMatchObject([{ from: "usb", code: "E_CONTENT_GONE" }]);
    expect(at("usb")).toContain(copies[0]);
  });

  test("that someone changed there stay", async () => {
    const { memory, copies, places, at } = await flushed({ "*": { on_targets: { usb: { keep_last: 1 } } } }, 3);
    places.usb.edit(copies[0] as Key, "mine");
    const { removed, left } = await memory.prune();
    expect(removed).toMatchObject([{ from: "usb", copies: 1 }]);
    expect(left).toMatchObject([{ copy: copies[0], from: "usb", code: "E_ARCHIVE_CHANGED" }]);
    expect(at("usb")).toContain(copies[0]);
    expect((await memory.prune()).left).toEqual([]);
  });

  test("that cannot be removed now are removed the next time", async () => {
    const root = await flushed({ "*": { on_targets: { usb: { keep_last: 1 } } } }, 3);
    await root.memory.close();
    const away = () => Promise.reject(new TargetError("transient", "usb is not there", { code: "E_TARGET_UNREACHABLE" }));
    const off = await root.open({ targets: { ...root.places, usb: forward(root.places.usb, { remove: away }) }, retryBaseMs: 1 });
    const { removed, left } = await off.prune();
    expect([removed, left.map(({ code }) => code)]).toEqual([[], ["E_TARGET_UNREACHABLE", "E_TARGET_UNREACHABLE"]]);
    await off.flush();
    expect((await off.planPrune()).removes).toEqual([]);
    await off.close();
    const on = await root.open();
    expect((await on.prune()).removed).toMatchObject([{ from: "usb", copies: 2 }]);
    expect(root.at("usb").filter((key) => root.copies.includes(key))).toEqual([]);
    expect(root.copies.every(root.there)).toBe(true);
  });

  test("of a place that was asked about alone", async () => {
    const { memory, copies, there } = await flushed(rule, 3);
    expect((await memory.prune({ from: "drive" })).removed.map(({ from }) => from)).toEqual(["drive"]);
    expect(copies.every(there)).toBe(true);
  });
});

describe("a copy that a target is to keep is asked for before the one here goes", () => {
  const only = { "*": { keep_last: 1 } };
  const drop = ({ places, copies }: Awaited<ReturnType<typeof flushed>>, keys = copies) => {
    for (const place of [places.drive, places.usb]) for (const key of keys) place.drop(key as Key);
  };

  test.each<[string, string, (root: Awaited<ReturnType<typeof flushed>>) => void]>([
    ["gone from every target", "E_TARGET_ABSENT", (root) => drop(root)],
    [
      "rotten there at the same length",
      "E_TARGET_CORRUPT",
      ({ places, copies, path }) => {
        for (const place of [places.drive, places.usb])
          for (const key of copies) place.edit(key as Key, readFileSync(path(key), "latin1").replaceAll("day", "DAY"));
      },
    ],
  ])("%s: it stays, no line says that it went, and it is sent again", async (_, code, damage) => {
    const root = await flushed(only, 4);
    const { memory, copies, there, changes } = root;
    const lines = changes().length;
    damage(root);
    const { removed, left, lines: said } = await memory.prune();
    expect([removed, said, left.map((one) => `${one.from} ${one.code}`)]).toEqual([[], [], Array(3).fill(`here ${code}`)]);
    expect(copies.every(there)).toBe(true);
    expect(changes()).toHaveLength(lines);
    await memory.flush();
    for (const place of [root.places.drive, root.places.usb])
      for (const key of copies)
        expect(Buffer.from(place.objects().find((one) => one.key === key)!.bytes)).toEqual(readFileSync(root.path(key)));
    expect((await memory.prune()).removed).toMatchObject([{ from: "here", copies: 3 }]);
  });

  test("one that is gone stays, those that are there go", async () => {
    const root = await flushed(only, 4);
    drop(root, [root.copies[1] ?? ""]);
    const { removed, left } = await root.memory.prune();
    expect([removed.map(({ copies }) => copies), left.map(({ copy }) => copy)]).toEqual([[2], [root.copies[1]]]);
    expect(root.copies.map(root.there)).toEqual([false, true, false]);
  });

  test("a target that cannot be asked, or that proves nothing, keeps nothing for us; another one does", async () => {
    const root = await flushed(only, 4);
    await root.memory.close();
    let asked = 0;
    const away = () => {
      asked++;
      return Promise.reject(new TargetError("transient", "it is not there", { code: "E_TARGET_UNREACHABLE" }));
    };
    const off = (place: typeof root.places.drive) => forward(place, { stat: away, read: away });
    const { drive, usb } = root.places;
    const alone = await root.open({ targets: { drive: off(drive), usb: off(usb) }, retryBaseMs: 1 });
    const { removed, left } = await alone.prune();
    expect([removed, left.map(({ code }) => code)]).toEqual([[], Array(3).fill("E_TARGET_UNREACHABLE")]);
    expect(root.copies.every(root.there)).toBe(true);
    expect(asked).toBeLessThan(60); // tries of the first few, not of each
    await alone.close();
    const bare = (place: typeof drive) =>
      forward(place, {
        stat: async (key, look) => (await place.stat(key, look)) && { ...(await place.stat(key, look))!, hash: undefined },
      });
    const unproven = await root.open({ targets: { drive: bare(drive), usb: bare(usb) } });
    expect((await unproven.prune()).left.map(({ code }) => code)).toEqual(Array(3).fill("E_CONTENT_GONE"));
    await unproven.close();
    const half = await root.open({ targets: { drive: off(drive), usb }, retryBaseMs: 1 });
    expect(await half.prune()).toMatchObject({ removed: [{ from: "here", copies: 3 }], left: [] });
  });

  test("and so it is before one at another target goes", async () => {
    const root = await flushed({ "*": { keep_last: 1, on_targets: { usb: { keep_last: 1 } } } }, 3);
    const { memory, copies, places, at, changes } = root;
    await memory.prune({ from: "here" });
    const lines = changes().length;
    for (const key of copies) places.drive.drop(key as Key);
    const { removed, left } = await memory.prune({ from: "usb" });
    expect([removed, left.map(({ from, code }) => `${from} ${code}`)]).toEqual([[], Array(2).fill("usb E_TARGET_ABSENT")]);
    expect(at("usb")).toEqual(expect.arrayContaining(copies));
    expect(changes()).toHaveLength(lines);
  });
});

describe("a copy at a target", () => {
  const rule = { "*": { on_targets: { usb: { keep_last: 1 } } } };

  test("that is not there any more is not said to be removed", async () => {
    const { memory, copies, places } = await flushed(rule, 4);
    places.usb.drop(copies[0] as Key);
    expect(await memory.prune()).toMatchObject({ removed: [{ from: "usb", copies: 2 }], left: [] });
    expect(await memory.prune()).toEqual({ removed: [], lines: [], left: [] });
  });

  test("with another revision and the same bytes is ours: the place was moved to a new disk", async () => {
    const { memory, copies, places, path, at } = await flushed(rule, 4);
    for (const key of copies) places.usb.edit(key as Key, readFileSync(path(key)));
    expect(await memory.prune()).toMatchObject({ removed: [{ from: "usb", copies: 3 }], left: [] });
    expect(at("usb").filter((key) => copies.includes(key))).toEqual([]);
  });
});

describe("a file in the archive folder that is not ours any more", () => {
  test.each<[string, (path: string) => void]>([
    ["longer", (path) => appendFileSync(path, "mine\n")],
    ["other bytes of the same length", (path) => writeFileSync(path, readFileSync(path, "latin1").replace("day", "DAY"))],
    [
      "a folder",
      (path) => {
        rmSync(path);
        mkdirSync(path);
      },
    ],
    [
      "a link",
      (path) => {
        rmSync(path);
        symlinkSync("/etc/hostname", path);
      },
    ],
  ])("stays: %s", async (_, change) => {
    const { memory, copies, path, there, changes } = await flushed({ "*": { keep_last: 1 } }, 3);
    const [mine = ""] = copies;
    change(path(mine));
    const { removed, left } = await memory.prune();
    expect(removed).toMatchObject([{ copies: 1 }]);
    expect(left).toMatchObject([{ copy: mine, from: "here", code: "E_ARCHIVE_CHANGED" }]);
    expect(there(mine)).toBe(true);
    await memory.close();
    expect(changes().at(-1)).toMatchObject({ details: { prunes: { copies: [copies[1]] } } }); // nothing says that it went
  });

  test("but a copy whose time alone is new is read, and goes", async () => {
    const { memory, copies, path } = await flushed({ "*": { keep_last: 1 } }, 2);
    utimesSync(path(copies[0] ?? ""), new Date(), new Date(Date.UTC(2040, 1, 1)));
    expect((await memory.prune()).removed).toMatchObject([{ copies: 1 }]);
  });

  test("and one that someone removed is written off", async () => {
    const { memory, copies, path } = await flushed({ "*": { keep_last: 1 } }, 2);
    rmSync(path(copies[0] ?? ""));
    expect(await memory.prune()).toMatchObject({ removed: [], left: [], lines: [expect.any(String)] });
    expect((await findings(memory)).filter((message) => message.includes("is gone"))).toEqual([]);
  });
});

test("two prunes at once remove each copy once, and leave one", async () => {
  const root = await flushed({ "*": { keep_last: 1, on_targets: { "*": { keep_last: 1 } } } }, 5);
  const other = await root.open();
  const plans = await Promise.all([root.memory.planPrune({ from: "drive" }), other.planPrune({ from: "usb" })]);
  const done = await Promise.all([root.memory.applyPrune(plans[0]), other.applyPrune(plans[1])]);
  expect(done.map(({ removed }) => removed.map(({ copies }) => copies))).toEqual([[4], [4]]);
  expect(root.copies.every(root.there)).toBe(true);
  const here = await root.memory.prune({ from: "here" });
  expect(here.removed).toEqual([]);
  expect(root.copies.every(root.there)).toBe(true);
});

test("progress counts every copy, and an abort stops between two", async () => {
  const { memory, copies, there } = await flushed({ "*": { keep_last: 1 } }, 4);
  const seen: string[] = [];
  const controller = new AbortController();
  controller.abort(new DOMException("stop", "AbortError"));
  await expect(memory.prune({}, {}, { signal: controller.signal })).rejects.toThrow();
  expect(copies.every(there)).toBe(true);
  await memory.prune({}, {}, { onProgress: (done, of) => seen.push(`${done}/${of}`) });
  expect(seen).toEqual(["1/3", "2/3", "3/3"]);
  expect(existsSync(join(memory.root, "Data", A))).toBe(true);
});
