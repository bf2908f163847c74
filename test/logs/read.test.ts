import { appendFileSync, mkdirSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  followLog,
  matchesLine,
  readLog,
  tailLog,
  type BadLine,
  type LogLine,
  type NumberedLine,
  type Why,
} from "../../src/logs/read.ts";
import { setAsideTorn } from "../../src/logs/repair.ts";
import { freshFolder } from "./folder.ts";

const folder = freshFolder();
const made = (content: string | Buffer = "") => {
  const path = folder.next();
  mkdirSync(dirname(path));
  writeFileSync(path, content);
  return path;
};
async function all(path: string, options: { from?: number; withRotated?: boolean } = {}) {
  const good: NumberedLine[] = [];
  const bad: BadLine[] = [];
  for await (const line of readLog(path, { ...options, onBad: (b) => bad.push(b) })) good.push(line);
  return { good, bad };
}

type Kind = [text: Buffer, why: Why | null];
const kinds: Kind[] = (
  [
    ['{"a":1}', null],
    ['  {"b":"\u2028ö\\n"}  ', null],
    ['{"c":{"d":[1]}}\r', null],
    ["{}", null],
    ["", "blank"],
    [" \t\r", "blank"],
    ["null", "not an object"],
    ["[]", "not an object"],
    ["0", "not an object"],
    ["1,2", "not JSON"],
    ['{"a":1},{"b":2}', "not JSON"],
    ['0,"blank"', "not JSON"],
    ["]", "not JSON"],
    ['{"a":', "not JSON"],
    ["\0\0\0", "not JSON"],
    ['\uFEFF{"a":1}', "not JSON"],
  ] as [string, Why | null][]
).map(([text, why]): Kind => [Buffer.from(text), why]);
kinds.push([Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), "not UTF-8"]);

describe("readLog", () => {
  it("accounts for every line: yielded, or counted as bad with its number and why", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...kinds), { maxLength: 40 }), fc.boolean(), async (picked, ended) => {
        const mixed = picked.map(([text], index) => (index === 0 && text[0] === 0xef ? text.subarray(3) : text));
        const path = made(
          Buffer.concat(mixed.flatMap((text, i) => (i < mixed.length - 1 || ended ? [text, Buffer.from("\n")] : [text]))),
        );
        const whys = picked.map(([text, why], index): Why | null => {
          if (index === 0 && text[0] === 0xef) return null;
          const last = !ended && index === picked.length - 1;
          return last && why === "not JSON" && !/^(1,2|\{"a":1\},|0,)/.test(text.toString()) ? "torn" : why;
        });
        // An unended last line of no bytes is no line.
        if (!ended && mixed.at(-1)?.length === 0) whys.pop();
        const { good, bad } = await all(path);
        expect(bad.map(({ line, why }) => [line, why])).toEqual(whys.flatMap((why, i) => (why === null ? [] : [[i + 1, why]])));
        let offset = 0;
        const wanted = mixed.flatMap((text, i) => {
          const at = { line: i + 1, offset, value: whys[i] === null ? (JSON.parse(text.toString()) as unknown) : undefined };
          offset += text.length + 1;
          return at.value === undefined ? [] : [at];
        });
        expect(good).toEqual(wanted.map((line) => ({ path, ...line })));
      }),
      { numRuns: 300 },
    );
  });

  it("takes a byte order mark off the first line, begins where it is told to, and finds nothing where nothing is", async () => {
    const path = made('\uFEFF{"a":1}\n{"b":2}\n');
    expect((await all(path)).good.map(({ value }) => value)).toEqual([{ a: 1 }, { b: 2 }]);
    expect((await all(path, { from: 11 })).good).toEqual([{ path, line: 1, offset: 11, value: { b: 2 } }]);
    expect(await all(folder.next())).toEqual({ good: [], bad: [] });
    await expect(all(dirname(path))).rejects.toMatchObject({ code: "E_LOG_PLACE" });
  });

  it("skips a line of 64 MiB in little time and memory, and reads on", async () => {
    const path = made('{"a":1}\n');
    const file = await open(path, "a");
    for (let n = 0; n < 64; n += 1) await file.write(Buffer.alloc(1024 * 1024, "x"));
    await file.write('\n{"b":2}\n');
    await file.close();
    const before = process.memoryUsage().rss;
    const began = performance.now();
    const { good, bad } = await all(path);
    expect(good.map(({ value }) => value)).toEqual([{ a: 1 }, { b: 2 }]);
    expect(bad).toEqual([{ path, line: 2, why: "too long" }]);
    expect(performance.now() - began).toBeLessThan(5000);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
    expect((await tailLog(path, 2)).map(({ value }) => value)).toEqual([{ a: 1 }, { b: 2 }]);
  });

  it("needs no more memory for a longer log, and lets go when the reader stops early", async () => {
    const path = made(`${JSON.stringify({ pad: "x".repeat(200) })}\n`.repeat(400_000));
    let n = 0;
    let most = 0;
    const before = process.memoryUsage().heapUsed;
    for await (const _ of readLog(path))
      if ((n += 1) % 10_000 === 0) most = Math.max(most, process.memoryUsage().heapUsed - before);
    expect(n).toBe(400_000);
    expect(most).toBeLessThan(60 * 1024 * 1024);
    for await (const { line } of readLog(path)) if (line === 3) break;
  });

  it("reads rotated files first, oldest first, and no others", async () => {
    const path = made('{"n":5}\n');
    for (const [n, name] of [
      ".2026-11-20T21-07-00Z_10",
      ".2026-11-20T21-07-00Z",
      ".2026-11-19T00-00-00Z",
      ".2026-11-20T21-07-00Z_2",
    ].entries())
      writeFileSync(path + name, `{"n":"${["d", "b", "a", "c"][n]}"}\n`);
    for (const name of [".torn", ".before-aftersave", ".2026-11-20T21-07-00Z.gz", "l.2026-11-20T21-07-00Z"])
      writeFileSync(path + name, '{"n":0}\n');
    const { good } = await all(path, { withRotated: true });
    expect(good.map(({ value }) => value["n"])).toEqual(["a", "b", "c", "d", 5]);
    expect((await tailLog(path, 3, { withRotated: true })).map(({ value }) => value["n"])).toEqual(["c", "d", 5]);
  });
});

describe("tailLog", () => {
  it("answers the end of what readLog yields", async () => {
    const line = fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(...kinds) },
      fc.constant<Kind>([Buffer.from(`{"l":"${"y".repeat(300_000)}"}`), null]),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 12 }), fc.nat(6), fc.boolean(), async (picked, n, ended) => {
        const content = picked.map(([text]) => text.toString("latin1")).join("\n") + (ended ? "\n" : "");
        const path = made(Buffer.from(content, "latin1"));
        const { good } = await all(path);
        const last = n === 0 ? [] : good.slice(-n).map(({ offset, value }) => ({ path, offset, value }));
        expect(await tailLog(path, n)).toEqual(last);
        const some = good.filter(({ value }) => "a" in value).slice(n === 0 ? good.length : -n);
        expect((await tailLog(path, n, { where: (value) => "a" in value })).map(({ offset }) => offset)).toEqual(
          some.map(({ offset }) => offset),
        );
      }),
      { numRuns: 150 },
    );
  });
});

describe("followLog", () => {
  it.each([
    ["told by the system", 60_000],
    ["looking now and then", 5],
  ])("yields what is appended, through a torn end, rotation and truncation; %s", async (_how, everyMs) => {
    const path = made('{"old":1}\n');
    const stop = new AbortController();
    const lines = followLog(path, stop.signal, { everyMs, from: 10 });
    const next = async () => ((await lines.next()).value as LogLine | undefined)?.value;
    const first = next();
    appendFileSync(path, '{"n":1}\n{"n":');
    expect(await first).toEqual({ n: 1 });
    appendFileSync(path, "2}\n");
    expect(await next()).toEqual({ n: 2 });
    appendFileSync(path, '{"torn');
    await setAsideTorn(path);
    appendFileSync(path, '{"n":3}\n');
    expect(await next()).toEqual({ n: 3 });
    appendFileSync(path, '{"n":4}\n');
    renameSync(path, `${path}.2026-11-20T21-07-00Z`);
    writeFileSync(path, '{"n":5}\n');
    expect([await next(), await next()]).toEqual([{ n: 4 }, { n: 5 }]);
    const later = next();
    truncateSync(path);
    writeFileSync(path, "{}\n");
    expect(await later).toEqual({});
    const never = next();
    stop.abort();
    expect(await never).toBeUndefined();
  });

  it("begins with the first line of a log that does not exist yet", async () => {
    const path = folder.next();
    const stop = new AbortController();
    const lines = followLog(path, stop.signal, { everyMs: 5, from: 0 });
    const first = lines.next();
    mkdirSync(dirname(path));
    writeFileSync(path, '{"n":1}\n');
    expect((await first).value).toEqual({ path, offset: 0, value: { n: 1 } });
    stop.abort();
    expect((await lines.next()).done).toBe(true);
  });
});

describe("matchesLine", () => {
  const line = { timestamp: "2026-11-20T21:07:00.123Z", file: "Meta/A.txt", status: "fail", chat_name: "Build" };
  it("passes what fits all parts that are given, and compares times as times", () => {
    expect(matchesLine(line, {})).toBe(true);
    expect(matchesLine(line, { file: "Meta/A.txt", status: "fail", chat: "Build" })).toBe(true);
    expect(matchesLine(line, { file: "Meta/A" })).toBe(false);
    expect(matchesLine(line, { file: "Meta/A.txt", status: "success" })).toBe(false);
    expect(matchesLine(line, { chat: "build" })).toBe(false);
    expect(matchesLine(line, { since: new Date("2026-11-20T22:07:00.123+01:00") })).toBe(true);
    expect(matchesLine(line, { since: new Date("2026-11-20T21:07:00.124Z") })).toBe(false);
    expect(matchesLine({ timestamp: "yesterday" }, { since: new Date(0) })).toBe(false);
  });
});
