/** Promises 3, 4, 5, 7 and 8, at the mirror: one key is one file there, and success means its own hash. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesBelow, logLines, MIRROR, sha256 } from "../../scripts/campaign/root.ts";
import { parseKey } from "../../src/core/key.ts";
import { TargetError } from "../../src/core/errors.ts";
import { forward, type Target, type Wrap } from "../../src/core/target.ts";
import { driveUpload, type Memory } from "../../src/open.ts";
import { anySeed } from "../../src/testing/random.ts";
import { createMemoryTarget, sourceOf, withFaults, type MemoryTarget } from "../../src/testing/index.ts";
import { freshRoots } from "../memory/root.ts";

const roots = freshRoots();
const KEY = "Meta/notes.txt";

const text = (target: MemoryTarget, key: string) => {
  const found = target.objects().filter((object) => object.key === key);
  if (found.length !== 1) throw new Error(`${found.length} objects are named ${key}`);
  return Buffer.from(found[0]!.bytes).toString("utf8");
};

/** What the tree holds, each key with its bytes; the target must hold just this. */
const tree = (root: string) =>
  new Map(filesBelow(join(root, "Data")).map((key) => [key, readFileSync(join(root, "Data", key), "utf8")]));

const held = (target: MemoryTarget) => {
  const known = new Map<string, string>();
  for (const { key, bytes } of target.objects()) {
    if (known.has(key)) throw new Error(`two objects are named ${key}`);
    if (!key.startsWith(".aftersave/")) known.set(key, Buffer.from(bytes).toString("utf8"));
  }
  return known;
};

/** Counts the puts of memory files. */
function counting(): Wrap & { readonly puts: string[] } {
  const puts: string[] = [];
  const wrap = (inner: Target): Target =>
    forward(inner, {
      put: (key, body, guard) => {
        if (!key.startsWith(".aftersave/")) puts.push(key);
        return inner.put(key, body, guard);
      },
    });
  return Object.assign(wrap, { puts });
}

async function flushAll(memory: Memory): Promise<number> {
  for (let passes = 1; ; passes++) if ((await memory.flush()).pending === 0) return passes;
}

it("10,000 uploads with 5 % lost replies and 5 % passing failures end with one remote file per key and the right bytes", async () => {
  const seed = anySeed();
  // four targets for each save: what is proven are the uploads, and saves cost more than they do
  const names = ["one", "two", "three", "four"];
  const places = names.map(() => createMemoryTarget());
  const faulty = places.map((place, n) => {
    const faults = withFaults(
      [
        { fault: "lost-reply", chance: 0.05 },
        { fault: "fail", chance: 0.05 },
      ],
      seed + n,
    );
    return { faults, target: faults(place) };
  });
  const root = roots.make({
    targets: Object.fromEntries(names.map((name) => [name, { type: "folder", enabled: true, path: `elsewhere/${name}/` }])),
  });
  const memory = await roots.open(root, {
    targets: Object.fromEntries(names.map((name, n) => [name, faulty[n]!.target])),
    retryBaseMs: 0,
  });
  let uploads = 0;
  memory.on("upload", () => uploads++);
  const keys = Array.from({ length: 250 }, (_, n) => `Zone${n % 7}/file ${n}.txt`);
  for (let round = 0; uploads < 10_000; round++) {
    await Promise.all(keys.map((key, n) => memory.replace(key, `${key} round ${round}${"!".repeat((n + round) % 50)}`)));
    await flushAll(memory);
  }
  for (const place of places) expect(held(place), `seed ${seed}`).toEqual(tree(root));
  expect(await memory.status()).toMatchObject({ pending: 0, failed: 0, conflicts: 0 });
  await memory.close(); // the logs are whole then
  const lines = logLines(root, "upload_log");
  expect(lines.filter(({ status }) => status === "success")).toHaveLength(uploads);
  expect(faulty.reduce((sum, { faults }) => sum + faults.struck.length, 0)).toBeGreaterThan(900);
}, 120_000);

describe("a file that is saved again while it is being uploaded", () => {
  /** Stops in the middle of the first body, until `go` is called. */
  function stalling() {
    let go: () => void = () => undefined;
    let reached: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const midway = new Promise<void>((resolve) => (reached = resolve));
    let first = true;
    const wrap: Wrap = (inner) =>
      forward(inner, {
        put(key, body, guard) {
          if (key !== KEY || !first) return inner.put(key, body, guard);
          first = false;
          async function* slow() {
            let sent = 0;
            for await (const chunk of body.open()) {
              if (sent > 0) {
                reached();
                await gate;
              }
              sent += chunk.length;
              yield chunk;
            }
          }
          return inner.put(key, { ...body, open: slow }, guard);
        },
      });
    return { wrap, midway, go: () => go() };
  }
  const old = "old ".repeat(700_000);

  it.each([
    ["replace", (memory: Memory) => memory.replace(KEY, "the new"), "the new"],
    ["append", (memory: Memory) => memory.append(KEY, "more"), `${old}more`],
    ["archive", (memory: Memory) => memory.archive(KEY), old],
  ] as const)("%s: the newest bytes are there afterwards, never a mixture, in one file", async (_, save, content) => {
    const place = createMemoryTarget();
    const { wrap, midway, go } = stalling();
    const root = roots.make();
    const memory = await roots.open(root, { targets: { drive: wrap(place) }, retryBaseMs: 0 });
    await memory.replace(KEY, old);
    const flushed = memory.flush();
    await midway;
    const receipt = await save(memory);
    go();
    await flushed;
    await flushAll(memory);
    expect(text(place, KEY)).toBe(content);
    if (receipt.archived_as) expect(text(place, receipt.archived_as)).toBe(old);
    expect(await memory.status()).toMatchObject({ pending: 0, failed: 0, conflicts: 0 });
    await memory.close();
    expect(logLines(root, "upload_log").every(({ status }) => status === "success" || status === "skipped")).toBe(true);
  });
});

describe("what waits survives", () => {
  it("a restart: jobs of a target that could not be reached are done by the next process", async () => {
    const place = createMemoryTarget();
    const faults = withFaults([{ fault: "unreachable", chance: 1 }]);
    const root = roots.make();
    const first = await roots.open(root, { targets: { drive: faults(place) }, retryBaseMs: 0 });
    await first.replace(KEY, "one");
    await first.replace(KEY, "two");
    await first.append("Meta/b.txt", "b");
    expect(await first.flush()).toMatchObject({ uploaded: 0, pending: 3 });
    await first.close();
    const next = await roots.open(root, { targets: { drive: place }, retryBaseMs: 0 });
    expect(await next.flush()).toMatchObject({ uploaded: 3, pending: 0 });
    expect(held(place)).toEqual(tree(root));
  });

  it("a target that cannot be reached gets one probe, and the other jobs no try", async () => {
    const place = createMemoryTarget();
    const faults = withFaults([{ fault: "unreachable", chance: 1 }]);
    const memory = await roots.open(roots.make(), { targets: { drive: faults(place) }, retryBaseMs: 0 });
    for (let n = 0; n < 20; n++) await memory.append(`Meta/${n}.txt`, "x");
    await memory.flush();
    const tried = (from: number) => new Set(faults.struck.slice(from).map(({ key }) => key));
    expect(tried(0).size).toBeLessThanOrEqual(3); // as many as are sent at once, before the first of them told
    const { failed } = await memory.status();
    expect(failed).toBeLessThanOrEqual(3);
    for (let round = 0; round < 3; round++) {
      const before = faults.struck.length;
      expect(await memory.flush()).toMatchObject({ failed: 1, pending: 20 });
      expect(tried(before).size).toBe(1);
    }
    expect((await memory.status()).targets["drive"]).toMatchObject({ state: "unreachable", code: "E_TARGET_UNREACHABLE" });
    faults.clear();
    expect(await memory.flush()).toMatchObject({ uploaded: 20, pending: 0 });
  });

  it("a worker leaves a target alone that could not be reached a moment ago", async () => {
    let now = Date.now();
    const clock = { now: () => now, sleep: () => Promise.resolve() };
    const faults = withFaults([{ fault: "unreachable", chance: 1 }]);
    const memory = await roots.open(roots.make(), { targets: { drive: faults(createMemoryTarget()) }, retryBaseMs: 0, clock });
    await memory.append(KEY, "x");
    await memory.flush();
    const before = faults.struck.length;
    expect(await memory.work()).toBe(true);
    expect(faults.struck.length).toBe(before);
    faults.clear();
    now += 61_000;
    expect(await memory.work()).toBe(true);
    expect(await memory.status()).toMatchObject({ pending: 0, failed: 0 });
  });

  it("no sign-in: token_missing, attempts 0, and the job is kept", async () => {
    const root = roots.make({ targets: undefined });
    mkdirSync(join(root, "Data/Meta"));
    writeFileSync(join(root, "Data", KEY), "x");
    const result = await driveUpload(`Data/${KEY}`, { chat_name: "c" }, { root });
    expect(result).toMatchObject({ status: "fail", code: "E_TOKEN_MISSING", attempts: 0 });
    expect(logLines(root, "upload_log")).toMatchObject([{ file: KEY, status: "token_missing", attempts: 0, chat_name: "c" }]);
    const memory = await roots.open(root);
    const status = await memory.status();
    expect(status.pending + status.failed).toBe(1);
    expect(status.targets["drive"]).toMatchObject({ type: "gdrive", state: "signed_out" });
    expect(memory.check(status)).toBe(4);
    await memory.flush();
    const { pending, failed } = await memory.status();
    expect(pending + failed).toBe(1);
  });
});

describe("several writers of one mirror", () => {
  it("two processes that flush at once send each file once", async () => {
    const place = createMemoryTarget();
    const count = counting();
    const root = roots.make();
    const target = count(place);
    const [a, b] = [
      await roots.open(root, { targets: { drive: target } }),
      await roots.open(root, { targets: { drive: target } }),
    ];
    for (let n = 0; n < 60; n++) await a.append(`Meta/${n}.txt`, `${n}`);
    const [one, two] = await Promise.all([a.flush(), b.flush()]);
    expect(count.puts.toSorted()).toEqual([...tree(root).keys()].toSorted());
    expect(one.uploaded + two.uploaded).toBe(60);
    expect([one.pending, two.pending]).toEqual([0, 0]);
    expect(held(place)).toEqual(tree(root));
    await Promise.all([a.close(), b.close()]);
    expect(logLines(root, "upload_log").filter(({ status }) => status === "success")).toHaveLength(60);
  });

  it("a second memory root is refused and changes nothing", async () => {
    const place = createMemoryTarget();
    const first = await roots.open(roots.make(), { targets: { drive: place }, retryBaseMs: 0 });
    await first.append(KEY, "first");
    await first.flush();
    const before = place.objects();
    const root = roots.make();
    const second = await roots.open(root, { targets: { drive: place }, retryBaseMs: 0 });
    await second.append(KEY, "second");
    expect(await second.flush()).toMatchObject({ uploaded: 0, failed: 1, pending: 1 });
    expect(place.objects()).toEqual(before);
    expect((await second.status()).targets["drive"]).toMatchObject({ code: "E_TARGET_IN_USE" });
    expect(await second.upload(KEY)).toMatchObject({ status: "fail", code: "E_TARGET_IN_USE" });
    await first.append(KEY, " goes on");
    expect(await first.flush()).toMatchObject({ uploaded: 1, pending: 0 });
  });
});

describe("the folder target, edited by someone", () => {
  it("keeps their content beside ours, and says conflict in log, status and result", async () => {
    const { root, memory } = await roots.fresh();
    const at = (key: string) => join(root, MIRROR, key);
    await memory.replace(KEY, "ours");
    await memory.flush();
    writeFileSync(at(KEY), "edited by hand");
    await memory.replace(KEY, "ours again");
    const conflicts: unknown[] = [];
    memory.on("conflict", (outcome) => conflicts.push(outcome));
    const result = await memory.upload(KEY);
    expect(result).toMatchObject({
      status: "success",
      code: "E_CONFLICT",
      notes: expect.stringContaining("someone else's content"),
    });
    expect(readFileSync(at(KEY), "utf8")).toBe("ours again");
    await memory.flush();
    const kept = filesBelow(join(root, MIRROR, "Archive")).map((name) => readFileSync(at(`Archive/${name}`), "utf8"));
    expect(kept.toSorted()).toEqual(["edited by hand", "ours"]);
    expect(await memory.status()).toMatchObject({ conflicts: 1, pending: 0 });
    expect(memory.check(await memory.status())).toBe(5);
    expect(conflicts).toMatchObject([{ file: KEY, status: "conflict" }]);
    await memory.close();
    expect(logLines(root, "upload_log").filter(({ status }) => status === "conflict")).toMatchObject([
      { file: KEY, sha256: sha256("ours again") },
    ]);
    expect(readFileSync(join(root, "Data", KEY), "utf8")).toBe("ours again"); // nothing remote changes a local file
  });

  it("keeps their content once, also when ours could not be written then", async () => {
    const place = createMemoryTarget();
    let broken = false;
    const target = forward(place, {
      put: (key, body, guard) =>
        broken &&
        key === KEY &&
        guard?.expect !== undefined &&
        place.objects().some(({ key: there }) => there.startsWith("Archive/"))
          ? Promise.reject(new TargetError("transient", "the place failed"))
          : place.put(key, body, guard),
    });
    const memory = await roots.open(roots.make(), { targets: { drive: target }, retryBaseMs: 0 });
    await memory.append(KEY, "ours");
    await memory.flush();
    await place.put(parseKey(KEY), sourceOf("theirs"));
    await memory.append(KEY, " again");
    broken = true;
    expect(await memory.flush()).toMatchObject({ failed: 1 });
    expect(await memory.flush()).toMatchObject({ failed: 1 });
    broken = false;
    expect(await memory.flush()).toMatchObject({ failed: 0, pending: 0 });
    expect(text(place, KEY)).toBe("ours again");
    const kept = place.objects().filter(({ key }) => key.startsWith("Archive/"));
    expect(kept.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(["theirs"]);
    expect(await memory.status()).toMatchObject({ conflicts: 1 });
  });

  it("puts back nothing, and sends again what was removed there", async () => {
    const { root, memory } = await roots.fresh();
    await memory.replace(KEY, "ours");
    await memory.flush();
    rmSync(join(root, MIRROR, KEY));
    await memory.append(KEY, " and more");
    const result = await memory.upload(KEY);
    expect(result).toMatchObject({ status: "success", notes: expect.stringContaining("removed at the target") });
    expect(readFileSync(join(root, MIRROR, KEY), "utf8")).toBe("ours and more");
    expect(await memory.status()).toMatchObject({ conflicts: 0, pending: 0 });
  });

  it("takes an older version of ours, put back there by someone, for ours", async () => {
    const { root, memory } = await roots.fresh();
    await memory.replace(KEY, "one");
    await memory.flush();
    await memory.replace(KEY, "two");
    await memory.flush();
    writeFileSync(join(root, MIRROR, KEY), "one");
    await memory.replace(KEY, "three");
    expect(await memory.upload(KEY)).toMatchObject({
      status: "success",
      notes: expect.stringContaining("older version of ours"),
    });
    expect(await memory.status()).toMatchObject({ conflicts: 0 });
  });
});

describe("success means the right hash, and one bad file stops no other", () => {
  it("a target that reports another hash is a failure, kept and tried again later", async () => {
    const place = createMemoryTarget();
    const faults = withFaults([{ fault: "wrong-hash", verbs: ["put", "stat"], key: KEY, chance: 1 }]);
    const root = roots.make();
    const memory = await roots.open(root, { targets: { drive: faults(place) }, retryBaseMs: 0 });
    await memory.append(KEY, "x");
    await memory.append("Meta/b.txt", "b");
    expect(await memory.flush()).toMatchObject({ uploaded: 1, failed: 1, pending: 1 });
    expect((await memory.status()).targets["drive"]).toMatchObject({ failed: 1 });
    faults.clear();
    expect(await memory.flush()).toMatchObject({ pending: 0, failed: 0 });
    expect(held(place)).toEqual(tree(root));
    await memory.close();
    const told = logLines(root, "upload_log").filter(({ file }) => file === KEY);
    expect(told.map(({ status }) => status)).toEqual(["fail", "success"]);
  });

  it("a target without hashes says so in the notes", async () => {
    const memory = await roots.open(roots.make(), { targets: { drive: createMemoryTarget({ hashes: [] }) }, retryBaseMs: 0 });
    await memory.append(KEY, "x");
    expect(await memory.upload(KEY)).toMatchObject({ status: "success", notes: expect.stringContaining("not verified") });
  });

  it.each(["before", "during"])(
    "an archive copy that someone changed %s its upload is not sent; everything else is",
    async (when) => {
      const place = createMemoryTarget();
      const root = roots.make();
      let tamper: () => void = () => undefined;
      const target = forward(place, {
        put(key, body, guard) {
          if (!key.startsWith("Archive/")) return place.put(key, body, guard);
          tamper();
          return Promise.reject(new TargetError("transient", "the place failed"));
        },
      });
      const memory = await roots.open(root, { targets: { drive: target }, retryBaseMs: 0 });
      await memory.replace(KEY, "one");
      const { archived_as } = await memory.replace(KEY, "two");
      const change = () => writeFileSync(join(root, "Data", archived_as!), "tampered");
      if (when === "before") change();
      else tamper = change;
      for (let n = 0; n < 5; n++) await memory.append(`Meta/${n}.txt`, "x");
      expect(await memory.flush()).toMatchObject({ uploaded: 6, failed: 1, pending: 1 });
      expect(text(place, KEY)).toBe("two");
      await memory.close();
      expect(logLines(root, "upload_log").filter(({ file }) => file === archived_as)).toMatchObject([
        { status: "fail", notes: expect.stringContaining("changed or removed by someone") },
      ]);
    },
  );
});

describe("what a save costs and says", () => {
  it("a save never waits for a target: one that hangs holds up nobody", async () => {
    const faults = withFaults([{ fault: "stall", chance: 1 }]);
    const memory = await roots.open(roots.make(), { targets: { drive: faults(createMemoryTarget()) }, retryBaseMs: 0 });
    await memory.append(KEY, "one\n");
    const stop = new AbortController();
    const flushed = memory.flush({ signal: stop.signal }).catch((error: unknown) => error);
    for (let n = 0; n < 20; n++) await memory.append(KEY, "more\n");
    expect(await memory.replace("Meta/b.txt", "b")).toMatchObject({ uploads: [{ status: "pending" }] });
    stop.abort(new Error("enough"));
    expect(await flushed).toMatchObject({ message: "enough" });
    expect(await memory.status()).toMatchObject({ pending: 2 });
  });

  it("a mirror on the same disk is no protection, and status says so; elsewhere it is, once it is verified there", async () => {
    const { memory } = await roots.fresh();
    await memory.append(KEY, "x".repeat(1000));
    await memory.flush();
    expect(await memory.status()).toMatchObject({
      unprotected_bytes: 1000,
      targets: { drive: { same_device: true, state: "ok" } },
    });
    const elsewhere = await roots.open(roots.make(), { targets: { drive: createMemoryTarget() } });
    await elsewhere.append(KEY, "x".repeat(1000));
    const before = await elsewhere.status();
    expect(before).toMatchObject({ unprotected_bytes: 1000, pending: 1, oldest_pending_at: expect.any(String) });
    expect(elsewhere.check(before)).toBe(0);
    await elsewhere.flush();
    expect(await elsewhere.status()).toMatchObject({
      unprotected_bytes: 0,
      pending: 0,
      oldest_pending_at: null,
      targets: { drive: { same_device: false } },
    });
    await elsewhere.replace(KEY, "y");
    expect(await elsewhere.status()).toMatchObject({ unprotected_bytes: 1001 }); // the archive copy and the new content
  });

  it("content is in no log and in no error", async () => {
    const secret = "sk-proj-4f3c2b1a";
    const faults = withFaults(
      [
        { fault: "wrong-hash", chance: 0.5 },
        { fault: "fail", chance: 1 },
      ],
      7,
    );
    const root = roots.make();
    const memory = await roots.open(root, { targets: { drive: faults(createMemoryTarget()) }, retryBaseMs: 0 });
    await memory.append(KEY, `${secret}\n`);
    await memory.replace(KEY, `${secret} again`);
    const told = JSON.stringify([await memory.upload(KEY), await memory.flush(), await memory.status(), memory.notices]);
    const stale: unknown = await memory.replace(KEY, secret, {}, { if_sha256: null }).catch((error: unknown) => error);
    await memory.close();
    const files = [...filesBelow(join(root, "logs")).map((name) => `logs/${name}`), ".aftersave/diagnostic.log"];
    const texts = files.map((name) => readFileSync(join(root, name), "utf8"));
    expect(texts.every((content) => content.length > 0)).toBe(true);
    for (const content of [...texts, told, String(stale), JSON.stringify(stale)]) expect(content).not.toContain(secret);
  });
});
