import { spawn } from "node:child_process";
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Finding, Memory } from "../../src/open.ts";
import { openDatabase } from "../../src/state/sqlite.ts";
import { createMemoryTarget } from "../../src/testing/memory-target.ts";
import { withFaults } from "../../src/testing/faulty.ts";
import { clockAt, expectChain, linesOf, makeRoot, sha256, type Root } from "./root.ts";

const cloudOnly = { targets: { cloud: { type: "gdrive", enabled: true } } };

/** A root with a few saves, mirrored to a place that is not this disk. */
async function healthy(options: Parameters<Root["open"]>[0] = {}) {
  const root = makeRoot(cloudOnly);
  const cloud = createMemoryTarget();
  const memory = await root.open({ targets: { cloud }, ...options });
  await memory.append("Meta/A.txt", "one\n");
  await memory.replace("Meta/A.txt", "two\n");
  await memory.append("Core/B.txt", "b\n");
  await memory.flush();
  const heads = () => Object.keys(root.files(".aftersave/heads")).map((path) => root.at(".aftersave/heads", path));
  const headOf = (text: string) => heads().find((path) => readFileSync(path, "utf8") === text) ?? "";
  return { root, cloud, memory, heads, headOf };
}

const bad = (findings: readonly Finding[]) => findings.filter(({ level }) => level !== "ok");
const worst = async (memory: Memory, fix = false) => bad(await memory.doctor({ fix }));

describe("doctor", () => {
  it("finds a healthy memory healthy: one finding for each part, all ok", async () => {
    const { memory } = await healthy();
    const findings = await memory.doctor();
    expect(bad(findings)).toEqual([]);
    const parts = ["config", "permissions", "locks", "state", "history", "heads", "archive", "saves", "data", "logs", "clock"];
    expect(findings.map(({ part }) => part)).toEqual([...parts, "targets", "writers", "conflicts", "jobs"]);
    expect(findings.every(({ cure, code, fixed, message }) => cure === null && code === null && !fixed && message !== "")).toBe(
      true,
    );
    expect(findings.find(({ part }) => part === "state")?.message).toMatch(/sqlite.*wal.*2 files/);
  });

  it("changes nothing that it was not asked to mend", async () => {
    const { root, memory, headOf } = await healthy();
    await memory.doctor(); // writes what the logs still owe
    rmSync(headOf("two\n"));
    writeFileSync(root.at("Data/Core/B.txt"), "a stranger's\n");
    mkdirSync(`${root.changelog}.lock`);
    utimesSync(`${root.changelog}.lock`, 1, 1);
    const before = { data: root.files("Data"), logs: root.files("logs"), heads: root.files(".aftersave/heads") };
    expect((await worst(memory)).map(({ part }) => part)).toEqual(["heads", "data", "logs"]);
    expect({ data: root.files("Data"), logs: root.files("logs"), heads: root.files(".aftersave/heads") }).toEqual(before);
    expect(existsSync(`${root.changelog}.lock`)).toBe(true);
  });

  it("tells of settings without effect, and of no enabled target", async () => {
    const root = makeRoot({
      sync: { include: ["**"] },
      targets: { drive: { type: "folder", enabled: false, path: "./mirror" } },
    });
    const found = await worst(await root.open());
    expect(found.map(({ part, message }) => [part, message])).toEqual([
      ["config", "no target is enabled: saves are kept on this machine only"],
      ["config", expect.stringContaining("sync has no effect")],
    ]);
  });

  it("a mirror on the same disk is no protection", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", "one\n");
    await memory.flush();
    expect(await worst(memory)).toEqual([
      expect.objectContaining({
        level: "warning",
        part: "targets",
        message: expect.stringContaining("same disk is no protection") as string,
      }),
    ]);
  });

  it("state and token that others can read; --fix closes them", async () => {
    const { root, memory } = await healthy();
    chmodSync(root.at(".aftersave"), 0o755);
    writeFileSync(root.at("drive_token.json"), "{}", { mode: 0o644 });
    chmodSync(root.at("drive_token.json"), 0o644);
    expect((await worst(memory)).map(({ part, fixed }) => [part, fixed])).toEqual([
      ["permissions", false],
      ["permissions", false],
    ]);
    expect((await worst(memory, true)).map(({ fixed }) => fixed)).toEqual([true, true]);
    expect(statSync(root.at(".aftersave")).mode & 0o777).toBe(0o700);
    expect(statSync(root.at("drive_token.json")).mode & 0o777).toBe(0o600);
    expect(await worst(memory)).toEqual([]);
  });

  it("names the process that holds a claim", async () => {
    const { root, memory } = await healthy();
    const child = spawn(process.execPath, [
      "--import",
      "tsx",
      join(import.meta.dirname, "../state/claims.child.ts"),
      root.at(".aftersave/locks"),
      "save",
      "Meta/A.txt",
      "hold",
    ]);
    try {
      await new Promise((resolve) => child.stdout.once("data", resolve));
      const [finding] = await worst(memory);
      expect(finding).toMatchObject({ part: "locks", level: "warning" });
      if (process.platform === "linux") expect(finding?.message).toContain(`process ${child.pid}`);
    } finally {
      child.kill("SIGKILL");
      await new Promise((resolve) => child.once("close", resolve));
    }
    expect(await worst(memory)).toEqual([]);
  });

  it("a head that is gone or damaged is made again from the live file", async () => {
    const { memory, headOf } = await healthy();
    const [gone, damaged] = [headOf("two\n"), headOf("b\n")];
    rmSync(gone);
    writeFileSync(damaged, "x\n");
    expect((await worst(memory)).map(({ part, level, fixed }) => [part, level, fixed])).toEqual([
      ["heads", "error", false],
      ["heads", "error", false],
    ]);
    const mended = await worst(memory, true);
    expect(mended.filter(({ level }) => level === "error").map(({ fixed }) => fixed)).toEqual([true, true]);
    expect([readFileSync(gone, "utf8"), readFileSync(damaged, "utf8")]).toEqual(["two\n", "b\n"]);
    // what was in the damaged one is nowhere else: told, and left
    expect(await worst(memory, true)).toEqual([
      expect.objectContaining({
        part: "heads",
        level: "warning",
        fixed: false,
        message: expect.stringContaining("nothing else holds") as string,
      }),
    ]);
    expect(readFileSync(`${damaged}.damaged`, "utf8")).toBe("x\n");
  });

  it("a head that no file can replace is told, not invented", async () => {
    const { root, memory, headOf } = await healthy();
    rmSync(headOf("b\n"));
    writeFileSync(root.at("Data/Core/B.txt"), "a stranger's\n");
    const found = (await worst(memory, true)).filter(({ part }) => part === "heads");
    expect(found).toEqual([expect.objectContaining({ level: "error", fixed: false, code: "E_IO" })]);
    expect(headOf("b\n")).toBe("");
  });

  it("removes a kept copy that no key uses only when the same bytes are elsewhere", async () => {
    const { root, memory } = await healthy();
    const place = (name: string) => root.at(".aftersave/heads/Z", name);
    mkdirSync(root.at(".aftersave/heads/Z"), { recursive: true });
    writeFileSync(place("archived"), "one\n");
    writeFileSync(place("current"), "two\n");
    writeFileSync(place("only here"), "precious\n");
    writeFileSync(root.at("elsewhere"), "linked\n");
    linkSync(root.at("elsewhere"), place("linked"));
    expect((await worst(memory)).length).toBe(4);
    const mended = await worst(memory, true);
    expect(mended.filter(({ fixed }) => fixed).length).toBe(3);
    expect(["archived", "current", "only here", "linked"].filter((name) => existsSync(place(name)))).toEqual(["only here"]);
    expect(root.files("Data")["Core/B.txt"]).toBe(sha256("b\n"));
  });

  it("does not call an orphan's bytes held by an archive copy that was changed", async () => {
    const { root, memory } = await healthy();
    mkdirSync(root.at(".aftersave/heads/Z"), { recursive: true });
    writeFileSync(root.at(".aftersave/heads/Z/orphan"), "one\n");
    const [copy] = Object.keys(root.files("Data/Archive"));
    rmSync(root.at("Data/Archive", copy ?? ""));
    const found = await worst(memory, true);
    expect(found.map(({ part, code, fixed }) => [part, code, fixed])).toEqual([
      ["heads", null, false],
      ["archive", "E_ARCHIVE_CHANGED", false],
    ]);
    expect(existsSync(root.at(".aftersave/heads/Z/orphan"))).toBe(true);
  });

  it("an archive copy that was changed, and one that belongs to no save", async () => {
    const { root, memory } = await healthy();
    const [copy] = Object.keys(root.files("Data/Archive"));
    writeFileSync(root.at("Data/Archive", copy ?? ""), "forged\n");
    writeFileSync(root.at("Data/Archive/Meta/X_2026-01-01T00-00-00Z.txt"), "stray\n");
    expect((await worst(memory)).map(({ level, code }) => [level, code])).toEqual([
      ["error", "E_ARCHIVE_CHANGED"],
      ["warning", null],
    ]);
  });

  it("unfinished saves: settled by --fix", async () => {
    const { root, memory } = await healthy();
    const database = openDatabase(root.state, 1000);
    const intent = {
      version: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
      key: "Meta/New.txt",
      op: "append",
      writes: true,
      old: null,
      new: { base: "01ARZ3NDEKTSV4RRFFQ69G5FAV", sha256: sha256("never written"), size: 13 },
      archived_as: null,
      actor: { chat_name: "UNKNOWN", context_tags: [], model: null, session_id: null, tool: null, reason: null, origin: null },
      timestamp: "2026-01-01T00:00:00.000Z",
    };
    database
      .prepare("INSERT INTO intents (key, version, body) VALUES (?,?,?)")
      .run(intent.key, intent.version, JSON.stringify(intent));
    expect((await worst(memory)).map(({ part, fixed }) => [part, fixed])).toEqual([["saves", false]]);
    expect((await worst(memory, true)).map(({ part, fixed }) => [part, fixed])).toEqual([["saves", true]]);
    expect(await worst(memory)).toEqual([]);
    database.close();
  });

  it("a damaged state, a row that was altered", async () => {
    const { root, memory } = await healthy();
    const database = openDatabase(root.state, 1000);
    database.exec("UPDATE versions SET size = 5 WHERE place = 1");
    expect((await worst(memory)).map(({ part, code }) => [part, code])).toEqual([["history", "E_STATE_CORRUPT"]]);
    database.exec("UPDATE heads SET size = 1 WHERE key = 'Core/B.txt'");
    const found = await worst(memory);
    expect(found.find(({ part }) => part === "heads")).toMatchObject({ level: "error", code: "E_STATE_CORRUPT" });
    expect(found.map(({ part }) => part)).not.toContain("clock"); // and the other parts were looked at all the same
    database.close();
  });

  it("files that cannot be memory, twins, and changes that nobody versioned; versions nothing", async () => {
    const { root, memory } = await healthy();
    writeFileSync(root.at("Data/bad?.txt"), "x");
    writeFileSync(root.at("Data/\u00e9.txt"), "composed");
    writeFileSync(root.at("Data/e\u0301.txt"), "decomposed");
    writeFileSync(root.at("Data/Core/B.txt"), "a stranger's\n");
    writeFileSync(root.at("Data/new.txt"), "new\n");
    const found = await worst(memory);
    expect(found.every(({ part }) => part === "data")).toBe(true);
    expect(found.map(({ code }) => String(code)).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
      "E_KEY_NAME",
      "E_KEY_TWIN",
      "E_KEY_TWIN",
      "null",
    ]);
    expect(found.at(-1)?.message).toMatch(/^2 files changed by others/);
    expect((await linesOf(root.changelog)).length).toBe(3);
  });

  it("keys that differ only in case", async () => {
    const { memory } = await healthy();
    await memory.append("core/b.txt", "other\n");
    await memory.flush();
    expect((await worst(memory)).map(({ part, code }) => [part, code])).toEqual([["data", "E_KEY_TWIN"]]);
  });

  it.each([
    ["altered", (text: string) => text.replace('"op":"replace"', '"op":"append"')],
    ["cut", (text: string) => `${text.split("\n")[0]}\n`],
    ["missing a line", (text: string) => text.split("\n").toSpliced(1, 1).join("\n")],
    ["removed", () => null],
  ])("a changelog that was %s is written anew from the state by --fix", async (_name, change) => {
    const { root, memory } = await healthy();
    await memory.doctor();
    const whole = readFileSync(root.changelog, "utf8");
    const changed = change(whole);
    if (changed === null) rmSync(root.changelog);
    else writeFileSync(root.changelog, changed);
    const found = await worst(memory);
    expect(found.map(({ part }) => part)).toContain("logs");
    const mended = await worst(memory, true);
    expect(mended.every(({ fixed, level }) => fixed || level === "warning")).toBe(true);
    expect(readFileSync(root.changelog, "utf8")).toBe(whole);
    await memory.append("Meta/A.txt", "three\n");
    await memory.close();
    await expectChain(root.changelog, 4);
  });

  it("writes a rotated changelog anew as one file, and keeps what was there", async () => {
    const root = makeRoot({ ...cloudOnly, logs: { rotate: "1KiB" } });
    const memory = await root.open({ targets: { cloud: createMemoryTarget() } });
    for (let n = 0; n < 8; n++) await memory.append("Meta/A.txt", `${n}\n`);
    await memory.flush();
    await memory.doctor();
    const rotated = Object.keys(root.files("logs")).find((name) => name.startsWith("memory_changelog.json.")) ?? "";
    writeFileSync(root.at("logs", rotated), readFileSync(root.at("logs", rotated), "utf8").replace('"place":1', '"place":7'));
    expect((await worst(memory)).map(({ part }) => part)).toEqual(["logs"]);
    expect((await worst(memory, true)).filter(({ level }) => level === "error").map(({ fixed }) => fixed)).toEqual([true]);
    expect(existsSync(root.at("logs", `${rotated}.before-aftersave`))).toBe(true);
    await memory.append("Meta/A.txt", "more\n");
    await memory.close();
    await expectChain(root.changelog, 9);
  });

  it("another program's lines in the changelog", async () => {
    const { root, memory } = await healthy();
    await memory.doctor();
    writeFileSync(root.changelog, `${readFileSync(root.changelog, "utf8")}{"timestamp":"now","file":"x"}\n`);
    await memory.append("Meta/A.txt", "three\n");
    const found = await worst(memory);
    expect(found.some(({ part, code, level }) => part === "logs" && code === "E_LOG_FOREIGN" && level === "error")).toBe(true);
  });

  it("a log that is a folder", async () => {
    const { root, memory } = await healthy();
    await memory.doctor();
    rmSync(root.at("logs/upload_log.json"));
    mkdirSync(root.at("logs/upload_log.json"));
    expect((await worst(memory)).map(({ part, code }) => [part, code])).toContainEqual(["logs", "E_LOG_PLACE"]);
  });

  it("lines that cannot be read, torn pieces, and a lock that a killed program left", async () => {
    const { root, memory } = await healthy();
    await memory.doctor();
    const log = root.at("logs/archive_log.json");
    writeFileSync(log, `not json\n${readFileSync(log, "utf8")}`);
    writeFileSync(`${log}.torn`, "torn");
    mkdirSync(`${log}.lock`);
    utimesSync(`${log}.lock`, 1, 1);
    const found = (await worst(memory)).filter(({ part }) => part === "logs").map(({ message }) => message);
    expect(found.some((message) => message.includes("1 line") && message.includes("not JSON"))).toBe(true);
    expect(found.some((message) => message.includes("archive_log.json.torn holds 4 bytes"))).toBe(true);
    expect(found.some((message) => message.includes(".lock was left"))).toBe(true);
    expect(found.join("\n")).not.toContain("not json");
    await memory.doctor({ fix: true });
    expect(existsSync(`${log}.lock`)).toBe(false);
  });

  it("a clock that is behind the newest save", async () => {
    const clock = clockAt("2026-06-01T00:00:00Z");
    const { memory } = await healthy({ clock });
    clock.set("2026-05-31T23:00:00Z");
    expect((await worst(memory)).map(({ part }) => part)).toEqual(["clock"]);
  });

  it("a cloud without a sign-in", async () => {
    const root = makeRoot(cloudOnly);
    const memory = await root.open();
    await memory.append("Meta/A.txt", "one\n");
    await memory.flush();
    const found = await worst(memory);
    expect(found.map(({ part, level, code }) => [part, level, code])).toEqual([
      ["targets", "error", "E_TOKEN_MISSING"],
      ["jobs", "warning", "E_TOKEN_MISSING"],
    ]);
    expect(found[0]?.cure).toBeTruthy();
  });

  it("a target that cannot be reached does not stop the others, and parked jobs say why", async () => {
    const root = makeRoot({
      targets: { near: { type: "gdrive", enabled: true }, far: { type: "gdrive", root: "Far/", enabled: true } },
    });
    const faults = withFaults([{ fault: "unreachable", times: 1000 }]);
    const memory = await root.open({ targets: { near: createMemoryTarget(), far: faults(createMemoryTarget()) } });
    await memory.append("Meta/A.txt", "one\n");
    await memory.append("Meta/B.txt", "two\n");
    await memory.flush();
    const found = await worst(memory);
    expect(found.map(({ part, code }) => [part, code])).toEqual([
      ["targets", "E_TARGET_UNREACHABLE"],
      ["jobs", "E_TARGET_UNREACHABLE"],
    ]);
    faults.clear();
    await memory.flush();
    expect(await worst(memory)).toEqual([]);
  });

  it("uploads parked since the place is another memory's are cured by another root or by joining", async () => {
    const { cloud } = await healthy();
    const other = await makeRoot(cloudOnly).open({ targets: { cloud } });
    await other.append("Meta/A.txt", "mine\n");
    await other.flush();
    const jobs = (await worst(other)).filter(({ part }) => part === "jobs");
    expect(jobs).toMatchObject([
      { code: "E_TARGET_IN_USE", cure: expect.stringMatching(/another `root`.*aftersave targets join cloud/) as string },
    ]);
  });

  it("conflicts say where theirs is kept, until --fix says that they were looked at", async () => {
    const { cloud, memory } = await healthy();
    cloud.edit("Meta/A.txt" as Parameters<typeof cloud.edit>[0], "theirs\n");
    await memory.append("Meta/A.txt", "three\n");
    await memory.flush();
    const [finding, ...more] = await worst(memory);
    expect(more).toEqual([]);
    const theirs = cloud.objects().find(({ bytes }) => Buffer.from(bytes).toString() === "theirs\n");
    expect(finding).toMatchObject({ part: "conflicts", code: "E_CONFLICT", fixed: false });
    expect(finding?.message).toContain(`Drive/MemoryVDB/${theirs?.key}`);
    expect(await memory.status()).toMatchObject({
      conflicts: 1,
      conflict_list: [{ target: "cloud", file: "Meta/A.txt", kept_as: theirs?.key, at: expect.any(String) as string }],
    });
    expect((await worst(memory, true)).map(({ fixed }) => fixed)).toEqual([true]);
    expect(await worst(memory)).toEqual([]);
    expect((await memory.status()).conflicts).toBe(0);
  });
});
