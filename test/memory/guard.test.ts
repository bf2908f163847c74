/** What looks like damage is accepted and said, or held; ordinary work is left alone. */
import { truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { logLines } from "../../scripts/campaign/root.ts";
import type { HeldSave } from "../../src/memory/guard.ts";
import { codeOf, freshRoots, sha256 } from "./root.ts";

const roots = freshRoots();
const KEY = "Meta/Notes.md";

/** Notes as an agent keeps them: 3,279 bytes of headings, items and prose. */
const NOTES = Array.from(
  { length: 8 },
  (_, n) =>
    `## Part ${n}\n\nWhat is known of part ${n} stands here.\n\n${Array.from({ length: 8 }, (_, i) => `- fact ${n}.${i} is so and not otherwise`).join("\n")}\n\n`,
)
  .join("")
  .padEnd(3279, "A last line of prose. ");
const rulesOf = (alarms: readonly { rule: string }[]) => alarms.map(({ rule }) => rule);
const guarded = async (guard: unknown) => {
  const root = roots.make({ guard });
  const memory = await roots.open(root);
  return { root, memory, data: (key: string) => join(root, "Data", key) };
};

describe("a replace", () => {
  it("of 3,279 bytes by 584 is accepted, says so, and pins the version before it", async () => {
    const { memory, root, read } = await roots.fresh();
    const before = await memory.replace(KEY, NOTES);
    expect(before.size).toBe(3279);
    const receipt = await memory.replace(KEY, NOTES.slice(0, 584), { chat_name: "c" });
    expect(rulesOf(receipt.alarms)).toEqual(expect.arrayContaining(["shrink", "lines", "items", "headings"]));
    expect(receipt.alarms[0]?.says).toBe("584 of 3279 bytes are kept (17 %)");
    expect(receipt.warnings.join()).toContain(before.version);
    expect(receipt.warnings.join()).toContain(`aftersave undo ${receipt.version}`);
    expect(read(KEY)).toBe(NOTES.slice(0, 584));
    await memory.close();
    expect(logLines(root, "memory_changelog").at(-1)).toMatchObject({
      details: { alarms: receipt.alarms, about: [before.version] },
    });
    const again = await roots.open(root);
    expect(await again.unpin(before.version)).toMatchObject({ changed: true, guarded: true });
  });

  it("by as many bytes of nonsense is told by its lines", async () => {
    const { memory } = await roots.fresh();
    await memory.replace(KEY, NOTES);
    const { alarms } = await memory.replace(KEY, NOTES.replaceAll(/[a-z]/g, "x"));
    expect(rulesOf(alarms)).toContain("lines");
    expect(rulesOf(alarms)).not.toContain("shrink");
  });

  it("of a text in one line is told by its sentences", async () => {
    const { memory } = await roots.fresh();
    const prose = Array.from({ length: 40 }, (_, n) => `Sentence ${n} says something of its own.`).join(" ");
    await memory.replace(KEY, prose);
    expect(rulesOf((await memory.replace(KEY, prose.replaceAll(/[a-z]/g, "x"))).alarms)).toEqual(["lines"]);
    await memory.replace("Meta/other.md", prose);
    expect((await memory.replace("Meta/other.md", prose.replace("Sentence 7", "Sentence seven"))).alarms).toEqual([]);
  });

  it.each([
    ["a few words in many lines", NOTES.replace("fact 3.3", "fact three"), NOTES],
    ["lines that moved", NOTES.split("\n").toReversed().join("\n"), NOTES],
    ["boxes that were checked", "# To do\n" + "- [x] a thing\n".repeat(30), "# To do\n" + "- [ ] a thing\n".repeat(30)],
    ["other line ends and indents", NOTES.replaceAll("\n", "\r\n  "), NOTES],
    ["a note of three lines, anew", "other\nwords\nhere\n", "three\nlines\nonly\n"],
    ["more than there was", `${NOTES}${NOTES}`, NOTES],
    [
      "JSON in another layout",
      JSON.stringify({ a: [1, 2, { b: "x".repeat(900) }] }),
      JSON.stringify({ a: [1, 2, { b: "x".repeat(900) }] }, null, 8),
    ],
  ])("with %s says nothing", async (_, after, before) => {
    const { memory } = await roots.fresh();
    await memory.replace(KEY, before);
    expect((await memory.replace(KEY, after)).alarms).toEqual([]);
  });

  it("that leaves nothing, or breaks JSON, is told however small the file was", async () => {
    const { memory } = await roots.fresh();
    await memory.replace(KEY, "one\n");
    expect(rulesOf((await memory.replace(KEY, "")).alarms)).toEqual(["empty"]);
    await memory.replace(KEY, "one\n");
    expect(rulesOf((await memory.replace(KEY, " \n\n")).alarms)).toEqual(["empty"]);
    await memory.replace("Core/state.json", '{"a": 1}');
    expect(rulesOf((await memory.replace("Core/state.json", '{"a": 1')).alarms)).toEqual(["invalid"]);
    expect((await memory.replace("Core/state.json", '{"a": 2}')).alarms).toEqual([]);
    await memory.replace("Core/events.jsonl", '{"a": 1}');
    expect((await memory.replace("Core/events.jsonl", '{"a": 1}\n{"a": 2}\n')).alarms).toEqual([]);
  });

  it("of JSON is judged by what it says, not by its lines or values", async () => {
    const { memory } = await roots.fresh();
    const key = "Core/state.json";
    const state = (of: number, say: (n: number) => unknown) =>
      Object.fromEntries(Array.from({ length: of }, (_, n) => [`entry ${n}`, { at: say(n), text: `what is known of ${n}` }]));
    const save = async (value: unknown, indent = 2) => (await memory.replace(key, JSON.stringify(value, null, indent))).alarms;
    await save(state(50, (n) => n));
    expect(await save(state(50, (n) => `2026-04-${n}`))).toEqual([]); // every line that has a value of its own changed
    expect(await save(Array.from({ length: 50 }, (_, n) => ({ n })))).not.toEqual([]); // it is another thing now
    await memory.replace(key, JSON.stringify(state(50, (n) => n)));
    for (const indent of [0, 2, 16]) {
      const alarms = await save(
        state(12, (n) => n),
        indent,
      );
      expect(rulesOf(alarms)).toEqual(["shrink", "lines"]);
      expect(alarms[1]?.says).toBe("24 of 100 values are kept (24 %)");
      await memory.replace(key, JSON.stringify(state(50, (n) => n)));
    }
  });

  it("of a long file is measured too, whatever its length", async () => {
    const { memory, data, write } = await roots.fresh();
    const long = Array.from({ length: 300_000 }, (_, n) => `line ${n} of many\n`).join("");
    await memory.replace(KEY, long);
    expect(rulesOf((await memory.replace(KEY, long.slice(0, long.length / 3))).alarms)).toEqual(["shrink", "lines"]);
    await memory.replace(KEY, long);
    write("../other.txt", long.slice(0, 1000));
    expect(rulesOf((await memory.replace(KEY, { path: join(data(KEY), "../../../other.txt") })).alarms)).toContain("shrink");
  });

  it("is not looked at where the zone's policy is off, nor is an append anywhere", async () => {
    const { memory } = await guarded({ Meta: "off", "*": "hold" });
    await memory.replace(KEY, NOTES);
    expect((await memory.replace(KEY, "")).alarms).toEqual([]);
    await memory.append("Core/x.md", NOTES);
    expect((await memory.append("Core/x.md", "\0")).alarms).toEqual([]);
  });

  it("is judged by the shares that the zone sets", async () => {
    const { memory } = await guarded({ Meta: { keep_bytes: 0.9, keep_lines: 0, keep_items: 0, keep_headings: 0 } });
    await memory.replace(KEY, NOTES);
    expect(rulesOf((await memory.replace(KEY, NOTES.slice(0, 2800))).alarms)).toEqual(["shrink"]);
    const other = "Core/x.md";
    await memory.replace(other, NOTES);
    expect((await memory.replace(other, NOTES.slice(0, 2800))).alarms).toEqual([]);
  });
});

describe("a spree", () => {
  it("is a consolidation that archives 23 files, and nothing that several sessions do", async () => {
    const { memory } = await roots.fresh();
    for (let n = 0; n < 23; n++) await memory.replace(`Meta/${n}.md`, `file ${n}\n`);
    for (let n = 0; n < 12; n++) await memory.replace(`Core/${n}.md`, `file ${n}\n`);
    const alarms: string[] = [];
    for (let n = 0; n < 23; n++)
      alarms.push(rulesOf((await memory.archive(`Meta/${n}.md`, { session_id: "s", origin: "consolidation" })).alarms).join());
    expect(alarms).toEqual([...Array.from({ length: 9 }, () => ""), ...Array.from({ length: 14 }, () => "spree")]);
    for (let n = 0; n < 12; n++) expect((await memory.archive(`Core/${n}.md`, { session_id: `s${n}` })).alarms).toEqual([]);
  });

  it("is known to whoever opens the memory next, and over when its time is", async () => {
    let now = Date.parse("2026-04-13T18:00:00Z");
    const clock = { now: () => (now += 1000), sleep: () => Promise.resolve() };
    const root = roots.make({});
    const first = await roots.open(root, { clock });
    for (let n = 0; n < 12; n++) await first.replace(`Meta/${n}.md`, `file ${n}\n`);
    for (let n = 0; n < 9; n++) expect((await first.archive(`Meta/${n}.md`, { session_id: "s" })).alarms).toEqual([]);
    await first.close();
    const next = await roots.open(root, { clock });
    expect(rulesOf((await next.archive("Meta/9.md", { session_id: "s" })).alarms)).toEqual(["spree"]);
    now += 600_000;
    expect((await next.archive("Meta/10.md", { session_id: "s" })).alarms).toEqual([]);
  });

  it("is not an agent that goes through all its files and adds to them", async () => {
    const { memory } = await roots.fresh();
    for (let n = 0; n < 15; n++) await memory.replace(`Meta/${n}.md`, `file ${n}\n`);
    for (let n = 0; n < 15; n++) expect((await memory.replace(`Meta/${n}.md`, `file ${n}\nand more\n`)).alarms).toEqual([]);
    const alarms = [];
    for (let n = 0; n < 15; n++) alarms.push((await memory.replace(`Meta/${n}.md`, `file -${n}\n`)).alarms.length);
    expect(alarms).toEqual([...Array.from({ length: 9 }, () => 0), ...Array.from({ length: 6 }, () => 1)]);
  });

  it("is also the share of a zone's bytes, of at least three files", async () => {
    const { memory } = await roots.fresh();
    for (let n = 0; n < 6; n++) await memory.replace(`Meta/${n}.md`, NOTES);
    const alarms = [];
    for (let n = 0; n < 4; n++) alarms.push(rulesOf((await memory.archive(`Meta/${n}.md`)).alarms));
    expect(alarms).toEqual([[], [], ["spree"], ["spree"]]);
  });
});

/** A clock that stands still until it is told otherwise. */
const clockAt = (text: string) => {
  let now = Date.parse(text);
  return { now: () => now, sleep: () => Promise.resolve(), pass: (ms: number) => void (now += ms) };
};

describe("a file that begins anew a moment after it was removed", () => {
  it.each(["append", "replace"] as const)("is measured against what it held: %s", async (op) => {
    const { memory } = await roots.fresh();
    const before = await memory.replace(KEY, NOTES);
    await memory.archive(KEY, { session_id: "s" });
    const receipt = await memory[op](KEY, "tiny", { session_id: "s" });
    expect(rulesOf(receipt.alarms)).toContain("shrink");
    expect(receipt.warnings.join()).toContain(`(${before.version}) is pinned`);
    expect((await memory.append(KEY, "more\n")).alarms).toEqual([]);
    await memory.archive(KEY);
    expect((await memory[op](KEY, "other\n")).alarms).toEqual([]); // what was removed now was tiny
  });

  it("also when others did it", async () => {
    const { memory, data } = await guarded("hold");
    const before = await memory.replace(KEY, NOTES);
    unlinkSync(data(KEY));
    await memory.sweep();
    writeFileSync(data(KEY), "tiny");
    await memory.sweep();
    const [held] = await memory.held();
    expect(held).toMatchObject({ file: KEY, applied: true, size: 4 });
    expect(rulesOf(held?.alarms ?? [])).toContain("shrink");
    expect(await memory.unpin(before.version)).toMatchObject({ guarded: true });
  });

  it("is kept aside where saves are held, and can be accepted", async () => {
    const { memory } = await guarded("hold");
    await memory.replace(KEY, NOTES);
    await memory.archive(KEY);
    expect(await codeOf(memory.append(KEY, "tiny"))).toBe("E_HELD");
    const [held] = await memory.held();
    expect(held).toMatchObject({ op: "append", applied: false, size: 4, prev_sha256: null });
    expect((await memory.status()).files).toBe(0);
    expect(await memory.accept(held?.version ?? "")).toMatchObject({ receipt: { sha256: sha256("tiny") } });
    await memory.replace("Meta/other.md", NOTES);
    await memory.archive("Meta/other.md");
    expect(await codeOf(memory.append("Meta/other.md", NOTES))).toBe("accepted");
  });

  it("is said nothing of an hour later, nor when a person removed it", async () => {
    const clock = clockAt("2026-04-13T18:00:00Z");
    const memory = await roots.open(roots.make({}), { clock });
    await memory.replace(KEY, NOTES);
    await memory.archive(KEY);
    clock.pass(3_600_000);
    expect((await memory.append(KEY, "tiny")).alarms).toEqual([]);
    const { version } = await memory.replace("Meta/other.md", NOTES);
    await memory.undo({ versions: [version] });
    expect((await memory.append("Meta/other.md", "tiny")).alarms).toEqual([]);
  });
});

describe("a file that is worn away", () => {
  const sixty = Array.from({ length: 60 }, (_, n) => `line ${n} of what is known\n`);
  const of = (n: number) => sixty.slice(0, n).join("");
  const session = { session_id: "s" };

  it("is told by what it held before the first step", async () => {
    const { memory } = await guarded("hold");
    await memory.replace(KEY, of(60), session);
    await memory.replace(KEY, of(31), session);
    for (const n of [16, 9, 5, 3, 2, 1]) expect(await codeOf(memory.replace(KEY, of(n), session))).toBe("E_HELD");
    const [held] = await memory.held();
    expect(held?.alarms[0]?.says).toMatch(/^step by step, \d+ of \d+ bytes are kept by one session/);
    await memory.accept(held?.version ?? "");
    expect((await memory.replace(KEY, of(15), session)).alarms).toEqual([]); // a person decided: it begins anew
  });

  it("is told just as well when several sessions do it in turn, beside the most that it held", async () => {
    const { memory } = await roots.fresh();
    const full = await memory.replace(KEY, of(60));
    const by = (name: string) => ({ session_id: name });
    expect((await memory.replace(KEY, of(40), by("one"))).alarms).toEqual([]);
    const worn = await memory.replace(KEY, of(28), by("two"));
    expect(worn.alarms[0]?.says).toMatch(/^step by step, \d+ of \d+ bytes are kept by 2 sessions in turn \(4\d %\)$/);
    expect(worn.warnings.join()).toContain(`(${full.version}) is pinned`);
    expect((await memory.replace(KEY, of(20), by("three"))).alarms).toEqual([]); // it was told, and began anew

    const other = "Meta/other.md";
    await memory.replace(other, of(30));
    await memory.replace(other, of(20), by("one"));
    await memory.append(other, of(40), by("two"));
    await memory.replace(other, of(38), by("three"));
    const again = await memory.replace(other, of(24), by("four"));
    expect(again.alarms[0]?.says).toMatch(/ of \d{4} bytes are kept by 2 sessions in turn/);
  });

  it("is not one that several sessions edit and add to", async () => {
    const { memory } = await roots.fresh();
    let count = 60;
    await memory.replace(KEY, of(count));
    for (let n = 0; n < 12; n++) {
      const meta = { session_id: `s${n}` };
      if (n % 3 === 2) await memory.append(KEY, of(25), meta);
      else expect((await memory.replace(KEY, of((count -= n % 3 === 0 ? 10 : 1)), meta)).alarms).toEqual([]);
      if (n % 3 === 2) expect((await memory.replace(KEY, of((count = 60)), meta)).alarms).toEqual([]);
    }
  });

  it("is not one that was only laid out in less room", async () => {
    const { memory } = await roots.fresh();
    const facts = Array.from({ length: 60 }, (_, n) => ({ name: n, text: `fact ${n}` }));
    const save = async (value: unknown, indent: number, name: string) =>
      (await memory.replace("Core/facts.json", JSON.stringify(value, null, indent), { session_id: name })).alarms;
    expect(await save(facts, 8, "one")).toEqual([]);
    expect(await save(facts, 0, "two")).toEqual([]);
    expect(await save(facts.slice(2), 0, "three")).toEqual([]);
    expect(await save(facts.slice(18), 0, "three")).toEqual([]);
    expect((await save(facts.slice(34), 0, "four"))[0]?.says).toMatch(/^step by step/);
  });

  it("is told again only when as much is gone again, and not later", async () => {
    const clock = clockAt("2026-04-13T18:00:00Z");
    const memory = await roots.open(roots.make({}), { clock });
    await memory.replace(KEY, of(60));
    const steps = async (...to: number[]) => {
      const alarms = [];
      for (const n of to) alarms.push((await memory.replace(KEY, of(n), session)).alarms.length);
      return alarms;
    };
    expect(await steps(40, 32, 28, 27, 26)).toEqual([0, 0, 1, 0, 0]);
    await memory.replace(KEY, of(60));
    clock.pass(600_001);
    expect(await steps(40, 31)).toEqual([0, 0]);
    clock.pass(600_001);
    expect(await steps(28, 20)).toEqual([0, 0]);
  });
});

describe("hold", () => {
  it("keeps the new content aside, leaves the file as it was, and says which version waits", async () => {
    const { memory, root } = await guarded("hold");
    const seen: HeldSave[] = [];
    memory.on("held", (held) => seen.push(held));
    const before = await memory.replace(KEY, NOTES);
    const error = await memory.replace(KEY, "gone\n", { chat_name: "c", session_id: "s" }).catch((failure: unknown) => failure);
    expect(error).toMatchObject({ code: "E_HELD", exit: 5, details: { file: KEY, version: expect.any(String) } });
    const { version } = (error as { details: { version: string } }).details;
    const [held] = await memory.held();
    expect(held).toMatchObject({
      version,
      file: KEY,
      op: "replace",
      applied: false,
      sha256: sha256("gone\n"),
      size: 5,
      prev_sha256: before.sha256,
    });
    expect(held).toMatchObject({ actor: { chat_name: "c", session_id: "s" } });
    await Promise.resolve();
    expect(seen).toEqual([held]);
    expect(await memory.status()).toMatchObject({ held: 1, files: 1 });
    expect(memory.check(await memory.status())).toBe(5);
    await memory.close();
    expect(logLines(root, "memory_changelog").at(-1)).toMatchObject({ op: "hold", version, details: { applies: "replace" } });
  });

  it("keeps the same save once, however often it is tried", async () => {
    const { memory } = await guarded("hold");
    await memory.replace(KEY, NOTES);
    for (let n = 0; n < 3; n++) expect(await codeOf(memory.replace(KEY, "gone\n"))).toBe("E_HELD");
    expect(await memory.held()).toHaveLength(1);
  });

  it("of what stands in the file already: accepted, pinned, and nothing of it goes to a target", async () => {
    const { memory, data } = await guarded("hold");
    const before = await memory.replace(KEY, NOTES);
    await memory.flush();
    truncateSync(data(KEY), 100);
    const receipt = await memory.saved(KEY);
    expect(receipt).toMatchObject({ op: "external", uploads: [{ target: "drive", status: "held", code: "E_HELD" }] });
    expect(rulesOf(receipt.alarms)).toContain("shrink");
    expect(receipt.warnings.join()).toContain(`aftersave accept ${receipt.version}`);
    expect(await memory.unpin(before.version)).toMatchObject({ changed: true, guarded: true });
    expect(await memory.held()).toMatchObject([{ version: receipt.version, applied: true, op: "external" }]);
  });
});
