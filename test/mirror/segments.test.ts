/** History at the targets: the changelog's lines, exactly, in files that never change, behind the data. */
import { spawn } from "node:child_process";
import { cpSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { filesBelow, logLines, MIRROR } from "../../scripts/campaign/root.ts";
import { TargetError } from "../../src/core/errors.ts";
import { forward, type Target } from "../../src/core/target.ts";
import type { Memory } from "../../src/open.ts";
import { createMemoryTarget, withFaults } from "../../src/testing/index.ts";
import { bundled } from "../bundled.ts";
import { freshRoots } from "../memory/root.ts";
import { changelog, histories, isSegment, recording, segmentsOf, stillClock } from "./place.ts";

const roots = freshRoots();
const KEY = "Meta/notes.txt";

/** The one writer's history at the place is the changelog. */
async function expectTold(place: ReturnType<typeof createMemoryTarget>, memory: Memory) {
  await memory.log("changes"); // all lines are in the file
  expect([...histories(place).values()]).toEqual([changelog(memory.root)]);
}

describe("what is sent", () => {
  it("is the changelog's lines, byte for byte; a segment never changes, and nothing new costs nothing", async () => {
    const place = createMemoryTarget();
    const record = recording();
    const memory = await roots.open(roots.make(), { targets: { drive: record(place) } });
    for (let n = 0; n < 5; n++) await memory.append(KEY, `ünïcode ${n}\n`, { chat_name: "a “chat”" });
    await memory.flush();
    await expectTold(place, memory);
    const first = segmentsOf(place);
    expect(first.map(({ name }) => name)).toEqual(["000000000001-000000000005.jsonl"]);
    await memory.replace(KEY, "new");
    await memory.archive(KEY);
    await memory.flush();
    await expectTold(place, memory);
    expect(segmentsOf(place)[0]).toEqual(first[0]);
    expect(segmentsOf(place).map(({ name }) => name)).toEqual([first[0]!.name, "000000000006-000000000007.jsonl"]);
    record.calls.length = 0;
    await memory.flush();
    expect(record.calls).toEqual([]);
  });

  it("comes behind the data, which costs no request more", async () => {
    const place = createMemoryTarget();
    const record = recording();
    const memory = await roots.open(roots.make(), { targets: { drive: record(place) } });
    await memory.append(KEY, "x");
    await memory.flush();
    const [writer] = histories(place).keys();
    const folder = `.aftersave/${writer}`;
    expect(record.calls).toEqual([
      "stat .aftersave/root.json",
      "put .aftersave/root.json",
      `put ${KEY}`,
      `put ${folder}/writer.json`,
      `put ${folder}/history/000000000001-000000000001.jsonl`,
    ]);
    record.calls.length = 0;
    await memory.append(KEY, "y");
    await memory.flush();
    expect(record.calls).toEqual([`put ${KEY}`, `put ${folder}/history/000000000002-000000000002.jsonl`]);
    expect(JSON.parse(Buffer.from(place.objects().find(({ key }) => key === `${folder}/writer.json`)!.bytes).toString())).toEqual(
      {
        writer,
        memory_root: (await memory.log("changes"))[0]?.["version"],
        host: expect.any(String) as string,
        first_seen: expect.any(String) as string,
        joined: null,
      },
    );
  });

  it("is waited for by no upload: one save is verified while its history hangs, and closing stops it", async () => {
    const place = createMemoryTarget();
    let begun: () => void = () => undefined;
    const hanging = new Promise<void>((resolve) => (begun = resolve));
    const target = forward(place, {
      put(key, body, guard) {
        if (!isSegment(key)) return place.put(key, body, guard);
        begun();
        return new Promise((_, reject) => guard?.signal?.addEventListener("abort", () => reject(guard.signal?.reason as Error)));
      },
    });
    const root = roots.make();
    const memory = await roots.open(root, { targets: { drive: target }, clock: stillClock() });
    await memory.append(KEY, "x");
    expect(await memory.upload(KEY)).toMatchObject({ status: "success", attempts: 1 });
    await hanging;
    await memory.close();
    const next = await roots.open(root, { targets: { drive: place } });
    await next.append(KEY, "y");
    await next.flush();
    expect(segmentsOf(place).map(({ name }) => name)).toEqual([
      "000000000001-000000000001.jsonl", // what was begun keeps its bounds
      "000000000002-000000000002.jsonl",
    ]);
    await expectTold(place, next);
  });

  it("goes to no target that nothing is routed to", async () => {
    const [all, meta, none] = [createMemoryTarget(), createMemoryTarget(), createMemoryTarget()];
    const folder = { type: "folder", enabled: true };
    const root = roots.make({
      targets: { all: { ...folder, path: "a/" }, meta: { ...folder, path: "b/" }, none: { ...folder, path: "c/" } },
      routes: [
        { match: "Meta/**", targets: ["all", "meta"] },
        { match: "**", targets: ["all"] },
      ],
    });
    const memory = await roots.open(root, { targets: { all, meta, none } });
    await memory.append("Core/a.txt", "x");
    await memory.flush();
    expect([all, meta, none].map((place) => segmentsOf(place).length)).toEqual([1, 0, 0]);
    await memory.append("Meta/a.txt", "x");
    await memory.flush();
    await expectTold(meta, memory);
    expect(none.objects()).toEqual([]);
  });

  it("goes to no target that took none of our files yet", async () => {
    const place = createMemoryTarget();
    const target = forward(place, {
      put: (key, body, guard) =>
        key === KEY ? Promise.reject(new TargetError("quota", "no space")) : place.put(key, body, guard),
    });
    const memory = await roots.open(roots.make(), { targets: { drive: target } });
    await memory.append(KEY, "x");
    expect(await memory.flush()).toMatchObject({ failed: 1 });
    expect(place.objects().map(({ key }) => key)).toEqual([".aftersave/root.json"]);
  });
});

describe("when", () => {
  it("a worker sends at most one a minute, status covers what waits, and much does not wait", async () => {
    const clock = stillClock();
    const place = createMemoryTarget();
    const memory = await roots.open(roots.make(), { targets: { drive: place }, clock });
    const save = async () => {
      await memory.append(KEY, "x");
      await memory.work();
      return segmentsOf(place).length;
    };
    expect(await save()).toBe(1);
    expect(await memory.status()).toMatchObject({ oldest_pending_at: null, pending: 0 });
    const waits = clock.now() + 10_000;
    for (let n = 1; n <= 5; n++) {
      clock.pass(10_000);
      expect(await save()).toBe(1);
    }
    const { oldest_pending_at, pending } = await memory.status();
    expect([Date.parse(oldest_pending_at ?? ""), pending]).toEqual([waits, 0]);
    const due = await memory.historyDue();
    expect(due).toBe(waits + 50_000);
    clock.pass(due! - clock.now());
    await memory.work();
    expect(segmentsOf(place)).toHaveLength(2);
    expect(await memory.historyDue()).toBeNull();
    await expectTold(place, memory);

    for (let n = 0; n < 4; n++) await memory.append(KEY, "x", { reason: "r".repeat(60_000) });
    await memory.work();
    expect(segmentsOf(place)).toHaveLength(2);
    await memory.append(KEY, "x", { reason: "r".repeat(60_000) }); // 256 KiB and more
    await memory.work();
    expect(segmentsOf(place)).toHaveLength(3);
    await expectTold(place, memory);
    const late = await memory.status();
    await memory.append(KEY, "x");
    await memory.work();
    clock.pass(16 * 60_000);
    expect([memory.check(late), memory.check(await memory.status())]).toEqual([0, 1]);
  });

  it("a segment that fails holds up no data and no job, is in no upload log, and is tried again later", async () => {
    const clock = stillClock();
    const place = createMemoryTarget();
    let full = true;
    const target = forward(place, {
      put: (key, body, guard) =>
        full && isSegment(key) ? Promise.reject(new TargetError("quota", "no space")) : place.put(key, body, guard),
    });
    const root = roots.make();
    const memory = await roots.open(root, { targets: { drive: target }, clock });
    await memory.append(KEY, "x");
    expect(await memory.flush()).toMatchObject({ uploaded: 1, failed: 0, pending: 0 });
    expect(await memory.status()).toMatchObject({
      pending: 0,
      failed: 0,
      oldest_pending_at: expect.any(String) as string,
      targets: { drive: { state: "failing", code: "E_TARGET_QUOTA" } },
    });
    const findings = await memory.doctor();
    expect(findings.filter(({ code }) => code === "E_TARGET_QUOTA")).toMatchObject([{ part: "writers", level: "warning" }]);
    full = false;
    await memory.work();
    expect(segmentsOf(place)).toEqual([]); // a moment ago
    clock.pass(61_000);
    await memory.work();
    await expectTold(place, memory);
    expect((await memory.status()).targets["drive"]).toMatchObject({ state: "ok", code: null });
    await memory.close();
    expect(logLines(root, "upload_log").map(({ file, status }) => [file, status])).toEqual([[KEY, "success"]]);
  });

  it("a target that cannot be reached is left alone, and reached again tells that it is well", async () => {
    const clock = stillClock();
    const place = createMemoryTarget();
    const faults = withFaults();
    const memory = await roots.open(roots.make(), { targets: { drive: faults(place) }, clock, retryBaseMs: 0 });
    await memory.append(KEY, "x");
    await memory.flush();
    await memory.append(KEY, "y");
    await memory.work();
    faults.add({ fault: "unreachable", chance: 1 });
    await memory.flush();
    const before = faults.struck.length;
    expect(before).toBeGreaterThan(0);
    expect((await memory.status()).targets["drive"]).toMatchObject({ state: "unreachable" });
    await memory.work();
    expect(faults.struck.length).toBe(before);
    faults.clear();
    await memory.flush();
    expect((await memory.status()).targets["drive"]).toMatchObject({ state: "ok" });
    await expectTold(place, memory);
  });
});

describe("sent once", () => {
  it("a lost reply: the same segment is found there, whatever was saved meanwhile", async () => {
    const place = createMemoryTarget();
    const faults = withFaults();
    const root = roots.make();
    const memory = await roots.open(root, { targets: { drive: faults(place) }, retryBaseMs: 0 });
    await memory.append(KEY, "x");
    await memory.flush();
    await memory.append(KEY, "y");
    const [writer] = histories(place).keys();
    faults.add({
      fault: "lost-reply",
      key: `.aftersave/${writer}/history/000000000002-000000000002.jsonl`,
      verbs: ["put", "stat"],
      times: 6,
    });
    await memory.flush();
    expect(segmentsOf(place)).toHaveLength(2);
    expect(faults.struck.length).toBeGreaterThan(1);
    faults.clear();
    await memory.append(KEY, "z");
    await memory.flush();
    expect(segmentsOf(place).map(({ name }) => name)).toEqual([1, 2, 3].map((n) => `00000000000${n}-00000000000${n}.jsonl`));
    await expectTold(place, memory);
  });

  it("two processes that flush at once send each line once", async () => {
    const place = createMemoryTarget();
    const root = roots.make();
    const target: Target = place;
    const [a, b] = [
      await roots.open(root, { targets: { drive: target } }),
      await roots.open(root, { targets: { drive: target } }),
    ];
    for (let n = 0; n < 30; n++) await a.append(`Meta/${n}.txt`, `${n}`);
    await Promise.all([a.flush(), b.flush()]);
    await expectTold(place, a);
  });

  it("kill -9 before and after each write: no line is missing, doubled or changed", async () => {
    const root = roots.make();
    const at = ["put writer.json", "done writer.json", "put jsonl", "done jsonl", "done jsonl"];
    for (const [n, when] of at.entries()) {
      const child = spawn(process.execPath, [await bundled(join(import.meta.dirname, "killed.child.ts")), root, when, `${n}`], {
        stdio: ["ignore", "inherit", "inherit"],
      });
      const signal = await new Promise((resolve) => child.once("close", (_, how) => resolve(how)));
      expect(signal, when).toBe("SIGKILL");
    }
    const memory = await roots.open(root);
    await memory.append(KEY, "last");
    await memory.flush();
    await memory.close();
    const folder = join(root, MIRROR, ".aftersave");
    const [writer = "", ...others] = readdirSync(folder).filter((name) => name !== "root.json");
    expect(others).toEqual([]);
    const names = readdirSync(join(folder, writer, "history")).toSorted();
    expect(names.map((name) => readFileSync(join(folder, writer, "history", name), "utf8")).join("")).toBe(changelog(root));
    expect(names.length).toBeGreaterThan(2);
  }, 30_000);
});

describe("what becomes of the writer", () => {
  it("a state that is copied and used twice becomes two writers, each with a whole history", async () => {
    const place = createMemoryTarget();
    const root = roots.make();
    const memory = await roots.open(root, { targets: { drive: place } });
    await memory.append(KEY, "both");
    await memory.flush();
    await memory.close();
    const copy = roots.make();
    rmSync(copy, { recursive: true });
    cpSync(root, copy, { recursive: true });
    for (const [n, at] of [root, copy, root, copy].entries()) {
      const one = await roots.open(at, { targets: { drive: place } });
      await one.append(`Meta/${n % 2}.txt`, `${n}`);
      await one.flush();
      await one.close();
    }
    const told = [...histories(place).values()];
    expect(told.toSorted()).toEqual([changelog(root), changelog(copy)].toSorted());
  });

  it("a mirror that was emptied gets the whole history again", async () => {
    const clock = stillClock();
    const root = roots.make();
    const memory = await roots.open(root, { clock });
    await memory.append(KEY, "x");
    await memory.flush();
    for (const name of readdirSync(join(root, MIRROR))) rmSync(join(root, MIRROR, name), { recursive: true });
    clock.pass(61_000);
    await memory.append(KEY, "y");
    await memory.flush();
    await memory.close();
    const files = filesBelow(join(root, MIRROR));
    expect(
      files
        .filter(isSegment)
        .map((name) => readFileSync(join(root, MIRROR, name), "utf8"))
        .join(""),
    ).toBe(changelog(root));
    expect(files).toContain(KEY);
  });
});
