import { describe, expect, it } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import type { Target } from "../../../src/core/target.ts";
import { isLong, labelOf, nameOf, nextName, readName } from "../../../src/targets/github/names.ts";
import { bytesOf, sourceOf } from "../../../src/testing/source.ts";
import { type Fault, type Github, sanitized } from "./emulator.ts";
import { memoryOf, onGithub, ROOT, writeAt } from "./place.ts";

const NOTE = parseKey("Core/Note.txt");
const NAME = nameOf(`${ROOT}${NOTE}`);
const textOf = async (target: Target) => Buffer.from(await target.read(NOTE, bytesOf)).toString();
const keysOf = async (target: Target) => {
  const keys: string[] = [];
  for await (const { key } of target.list("")) keys.push(key);
  return keys;
};
const namesAt = (hub: Github) => [...hub.assets.values()].map(({ name, state }) => `${name} ${state}`);

const UPLOAD = { method: "POST", path: /^\/uploads\// };
const DELETE = { method: "DELETE", path: /assets/ };
const RENAME = { method: "PATCH", path: /assets/ };

describe("a replacement that is cut off", () => {
  const cuts: Record<string, Fault> = {
    "before the upload": { ...UPLOAD, status: 502 },
    "after the upload, its answer lost": { ...UPLOAD, lost: true },
    "before the old one goes": { ...DELETE, status: 502 },
    "after the old one went, the answer lost": { ...DELETE, lost: true },
    "before the new one has its name": { ...RENAME, status: 502 },
    "after the new one has its name, the answer lost": { ...RENAME, lost: true },
  };
  for (const [when, fault] of Object.entries(cuts))
    it(`${when}: a whole copy is always there, and the next try ends it`, async () => {
      const { hub, target, open } = await onGithub();
      const seen = await target.put(NOTE, sourceOf("the old"));
      hub.faults.push(fault);
      await expect(target.put(NOTE, sourceOf("the new"), { expect: seen })).rejects.toMatchObject({ kind: "transient" });

      const reader = open({ memory: memoryOf() });
      expect(["the old", "the new"]).toContain(await textOf(reader));
      expect(await keysOf(reader)).toEqual([NOTE]);

      const uploads = hub.requests.filter((line) => line.startsWith("POST /uploads")).length;
      const next = open(); // as after a kill: nothing of this process is left
      const entry = await next.put(NOTE, sourceOf("the new"), { expect: seen });
      expect(entry).toMatchObject({ size: 7, hash: { hex: sourceOf("the new").sha256 } });
      expect(await textOf(next)).toBe("the new");
      expect(namesAt(hub)).toEqual([`${NAME} uploaded`]);
      // what arrived whole is not sent again
      const again = hub.requests.filter((line) => line.startsWith("POST /uploads")).length - uploads;
      expect(again).toBe(when.startsWith("before the upload") ? 1 : 0);
    });

  it("at no time is there no whole copy at GitHub", async () => {
    const { hub, target } = await onGithub();
    const seen = await target.put(NOTE, sourceOf("the old"));
    const remove = hub.assets.delete.bind(hub.assets);
    let removals = 0;
    hub.assets.delete = (id) => {
      const others = [...hub.assets.values()].filter((one) => one.id !== id && one.state === "uploaded");
      expect(others.map(({ bytes }) => bytes.toString())).toEqual(["the new"]);
      removals++;
      return remove(id);
    };
    await target.put(NOTE, sourceOf("the new"), { expect: seen });
    expect(removals).toBe(1);
  });

  it("what was sent and never took the place stays unseen, and does not come back when the file is removed", async () => {
    const { hub, target, open } = await onGithub();
    await target.put(NOTE, sourceOf("the old"));
    hub.faults.push({ ...DELETE, status: 502 });
    await expect(target.put(NOTE, sourceOf("the new"))).rejects.toThrow();
    expect(hub.assets.size).toBe(2);
    const other = open({ memory: memoryOf() });
    expect(await textOf(other)).toBe("the old");
    await other.remove(NOTE);
    expect(await other.stat(NOTE)).toBeUndefined();
    expect(hub.assets.size).toBe(0);
  });

  it("of two machines that replace the same, one wins, and the other is told", async () => {
    const { hub, target, open } = await onGithub();
    const seen = await target.put(NOTE, sourceOf("the old"));
    const [one, two] = [open({ memory: memoryOf() }), open({ memory: memoryOf() })];
    const results = await Promise.allSettled([
      one.put(NOTE, sourceOf("from one"), { expect: seen }),
      two.put(NOTE, sourceOf("from two"), { expect: seen }),
    ]);
    expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    expect(results.find(({ status }) => status === "rejected")).toMatchObject({ reason: { kind: "conflict" } });
    expect(await textOf(open())).toBe(results[0].status === "fulfilled" ? "from one" : "from two");
    expect(namesAt(hub)).toEqual([`${NAME} uploaded`]);
  });

  it("what someone removed while the bytes were sent is not brought back", async () => {
    const { hub, target } = await onGithub();
    const seen = await target.put(NOTE, sourceOf("the old"));
    async function* open() {
      yield Buffer.from("the");
      hub.assets.delete(Number(seen.rev));
      yield Buffer.from(" new");
    }
    const sending = target.put(NOTE, { ...sourceOf("the new"), open }, { expect: seen });
    await expect(sending).rejects.toMatchObject({ kind: "not-found" });
    expect(hub.assets.size).toBe(0);
  });

  it("a name that someone took in the gap is not taken from them", async () => {
    const { hub, target } = await onGithub();
    const seen = await target.put(NOTE, sourceOf("the old"));
    const remove = hub.assets.delete.bind(hub.assets);
    hub.assets.delete = (id) => {
      hub.assets.delete = remove;
      const was = remove(id);
      writeAt(hub, `${ROOT}${NOTE}`, Buffer.from("theirs"));
      return was;
    };
    await expect(target.put(NOTE, sourceOf("the new"), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    expect(await textOf(target)).toBe("theirs");
    expect(namesAt(hub)).toEqual([`${NAME} uploaded`]);
  });
});

describe("a new file", () => {
  for (const digests of [true, false])
    it(`that arrived though its answer was lost is no conflict for the next process, ${digests ? "with" : "without"} digests`, async () => {
      const { hub, target, open } = await onGithub({ digests });
      hub.faults.push({ ...UPLOAD, lost: true });
      await expect(target.put(NOTE, sourceOf("content"), { expect: "absent" })).rejects.toMatchObject({ kind: "transient" });
      const next = open();
      await next.put(NOTE, sourceOf("content"), { expect: "absent" });
      await expect(next.put(NOTE, sourceOf("another"), { expect: "absent" })).rejects.toMatchObject({ kind: "conflict" });
      expect(namesAt(hub)).toEqual([`${NAME} uploaded`]);
    });
  it("whose answer was lost is found again, and sent once", async () => {
    const { hub, retrying } = await onGithub();
    hub.faults.push({ ...UPLOAD, lost: true });
    await retrying.put(NOTE, sourceOf("content"), { expect: "absent" });
    expect(namesAt(hub)).toEqual([`${NAME} uploaded`]);
    expect(hub.requests.filter((line) => line.startsWith("POST /uploads"))).toHaveLength(1);
  });
  it("whose upload broke leaves a half asset that nobody sees, and the next process removes", async () => {
    const { hub, target, open } = await onGithub();
    hub.faults.push({ ...UPLOAD, status: 502 });
    await expect(target.put(NOTE, sourceOf("content"), { expect: "absent" })).rejects.toMatchObject({ kind: "transient" });
    expect(namesAt(hub)).toEqual([`${NAME} starter`]);
    const next = open();
    expect(await next.stat(NOTE)).toBeUndefined();
    expect(await keysOf(next)).toEqual([]);
    await next.put(NOTE, sourceOf("content"), { expect: "absent" });
    expect(namesAt(hub)).toEqual([`${NAME} uploaded`]);
  });
  it("that someone else is making at this moment is found out when its name is taken", async () => {
    const { hub, target, open } = await onGithub();
    await target.put(parseKey("Other.txt"), sourceOf("x")); // from here on the target knows what is there
    await open({ memory: memoryOf() }).put(NOTE, sourceOf("theirs"), { expect: "absent" });
    await expect(target.put(NOTE, sourceOf("ours"), { expect: "absent" })).rejects.toMatchObject({ kind: "conflict" });
    expect(await textOf(target)).toBe("theirs");
    expect(hub.assets.size).toBe(2);
  });
  it("which GitHub holds otherwise than it was sent is removed again", async () => {
    const { hub, target } = await onGithub();
    hub.faults.push({ ...UPLOAD, damage: true });
    await expect(target.put(NOTE, sourceOf("content"))).rejects.toMatchObject({ kind: "corrupt", code: "E_TARGET_CORRUPT" });
    expect(hub.assets.size).toBe(0);
    await target.put(NOTE, sourceOf("the old"));
    hub.faults.push({ ...UPLOAD, damage: true });
    await expect(target.put(NOTE, sourceOf("the new"))).rejects.toMatchObject({ kind: "corrupt" });
    expect(await textOf(target)).toBe("the old");
    expect(hub.assets.size).toBe(1);
  });
  it("costs one request once the release is known, a changed one four", async () => {
    const { hub, target } = await onGithub();
    await target.put(parseKey("First.txt"), sourceOf("x"));
    hub.requests.length = 0;
    const seen = await target.put(NOTE, sourceOf("one"), { expect: "absent" });
    expect(hub.requests.map((line) => line.split(" ")[0])).toEqual(["POST"]);
    hub.requests.length = 0;
    await target.put(NOTE, sourceOf("two"), { expect: seen });
    expect(hub.requests.map((line) => line.split(" ")[0])).toEqual(["GET", "POST", "DELETE", "PATCH"]);
  });
});

describe("what lies about", () => {
  it("half uploads and leftovers of others go after a day, what is younger stays", async () => {
    let now = Date.now();
    const { hub, target, open } = await onGithub({ now: () => now }, { now: () => now });
    await target.put(NOTE, sourceOf("x"));
    const release = hub.releases[0]?.id ?? 0;
    const path = `${ROOT}Core/Other.txt`;
    hub.addAsset(release, nameOf(path), Buffer.alloc(0), { state: "starter" });
    hub.addAsset(release, nextName(`${ROOT}${NOTE}`, [...hub.assets.keys()][0] ?? 0, "aaaaaaaa", "0000"), Buffer.from("x"));
    hub.addAsset(release, "release-notes.pdf", Buffer.from("theirs"));
    await open().put(NOTE, sourceOf("y"));
    expect(hub.assets.size).toBe(4);
    now += 25 * 60 * 60 * 1000;
    await open().put(NOTE, sourceOf("z"));
    expect(namesAt(hub).toSorted()).toEqual([`${NAME} uploaded`, "release-notes.pdf uploaded"].toSorted());
    expect(await keysOf(target)).toEqual([NOTE]);
  });
});

describe("names", () => {
  const alphabet = Array.from("abcXYZ019 ._-/+%#?&'\"()~@:;,!é日🧠\u0301_");
  it("are safe at GitHub, come back exactly, and never differ in case alone", () => {
    const seed = Date.now() % 1_000_000;
    let state = seed;
    const random = (below: number) => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648) % below;
    const seen = new Map<string, string>();
    for (let round = 0; round < 3000; round++) {
      const path = Array.from({ length: 1 + random(40) }, () => alphabet[random(alphabet.length)]).join("");
      const name = nameOf(path);
      const why = `seed ${seed}: ${JSON.stringify(path)} as ${name}`;
      expect(sanitized(name), why).toBe(name);
      expect(name.toLowerCase(), why).toBe(name);
      expect(name.length, why).toBeLessThanOrEqual(200);
      expect(readName({ name, label: labelOf(path) }), why).toEqual({ kind: "key", path });
      expect(seen.get(name) ?? path, why).toBe(path);
      seen.set(name, path);
      const next = nextName(path, 123, "0123abcd", "ffff");
      expect(sanitized(next), why).toBe(next);
      expect(readName({ name: next, label: labelOf(path) }), why).toMatchObject({ kind: "next", path, before: 123 });
    }
  });
  it("can be read by people where they are plain", () => {
    expect(nameOf("Drive/MemoryVDB/Core/Rules 2.txt")).toBe("_drive___memory_v_d_b___core___rules_-2.txt");
  });
  it("of someone else are none of ours", () => {
    for (const name of ["notes_.txt", "Rules.txt", "_999x", "_x2_", "_256", "a_046b", `_9${"0".repeat(64)}`])
      expect(readName({ name, label: "" }), name).toBeUndefined();
  });
  it("that are long are told by the label, and refused where GitHub does not keep it", async () => {
    const { hub, target, open } = await onGithub();
    const long = parseKey(`long/${"🧠".repeat(49)}/${"é".repeat(90)}.txt`);
    expect(isLong(`${ROOT}${long}`)).toBe(true);
    await target.put(long, sourceOf("one"));
    await target.put(long, sourceOf("two"));
    const other = open({ memory: memoryOf() });
    expect(await keysOf(other)).toEqual([long]);
    await other.remove(long);
    const set = hub.assets.set.bind(hub.assets);
    hub.assets.set = (id, asset) => set(id, Object.assign(asset, { label: asset.label.slice(0, 20) }));
    await expect(target.put(long, sourceOf("x"))).rejects.toMatchObject({ code: "E_TARGET_UNSUPPORTED" });
    expect(hub.assets.size).toBe(0);
  });
  it("of an empty file stand for one, though GitHub takes nothing empty; a file with one newline is another", async () => {
    const { hub, target, open } = await onGithub();
    await target.put(NOTE, sourceOf(""));
    expect([...hub.assets.values()].map(({ bytes }) => bytes.length)).toEqual([1]);
    expect(await open().stat(NOTE)).toMatchObject({ size: 0, hash: { hex: sourceOf("").sha256 } });
    await target.put(NOTE, sourceOf("\n"));
    expect(await open().stat(NOTE)).toMatchObject({ size: 1, hash: { hex: sourceOf("\n").sha256 } });
    expect(await textOf(open())).toBe("\n");
  });
});
