import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseKey } from "../../src/core/key.ts";
import { actorOf, chain, changelogLine, sumOf, type Version, type VersionFacts } from "../../src/core/version.ts";
import { parseChangelogLine, verifyChain } from "../../src/logs/verify.ts";

const facts = (n: number): VersionFacts => ({
  ...actorOf({ chat_name: "Build", context_tags: ["llama"], reason: n % 2 === 0 ? "test" : undefined }),
  version: `01K${String(n).padStart(23, "0")}`,
  op: n % 3 === 0 ? "replace" : "append",
  file: parseKey("Meta/A.txt"),
  sha256: n.toString(16).padStart(64, "0"),
  size: n,
  prev_sha256: null,
  archived_as: n % 3 === 0 ? parseKey("Archive/Meta/A_2026-11-20T21-07-00Z.txt") : null,
  timestamp: "2026-11-20T21:07:00.123Z",
  details: null,
});
function history(length: number): Version[] {
  const made: Version[] = [];
  for (let n = 1; n <= length; n += 1) made.push(chain(facts(n), n, made.at(-1)?.sum ?? null, n.toString(16).padStart(32, "0")));
  return made;
}
const read = (versions: readonly unknown[]) => versions.map((v) => JSON.parse(JSON.stringify(v)) as Record<string, unknown>);
const resummed = (v: Version): Version => ({ ...v, sum: sumOf(v) });
const versions = history(8);
const link = (v: Version | undefined) => v && { place: v.place, sum: v.sum };

describe("parseChangelogLine", () => {
  it("reads back what changelogLine writes, and nothing else", () => {
    for (const version of versions) expect(parseChangelogLine(JSON.parse(changelogLine(version)))).toEqual(version);
    for (const other of [null, [], "x", {}, { timestamp: "2025-05-10T10:00:00", file: "Meta/A.txt" }])
      expect(parseChangelogLine(other)).toBeUndefined();
    expect(parseChangelogLine({ ...versions[0], more: 1 })).toBeUndefined();
    expect(parseChangelogLine({ ...versions[0], size: "1" })).toBeUndefined();
  });
});

describe("verifyChain", () => {
  it("holds for what was written, with the original's lines in front and between", async () => {
    const lines = [{ file: "old" }, ...read(versions.slice(0, 3)), { timestamp: "2025" }, ...read(versions.slice(3))];
    expect(await verifyChain(lines, link(versions[7]))).toEqual({
      verified: 8,
      foreign: 2,
      last: link(versions[7]),
      broken: null,
    });
    expect(await verifyChain([])).toEqual({ verified: 0, foreign: 0, last: null, broken: null });
  });

  it.each<[string, unknown[], { what: string; place: number; line: number }]>([
    [
      "a changed field",
      versions.map((v) => (v.place === 4 ? { ...v, chat_name: "Other" } : v)),
      { what: "altered", place: 4, line: 4 },
    ],
    [
      "a field that was added",
      versions.map((v) => (v.place === 4 ? { ...v, note: "" } : v)),
      { what: "altered", place: 4, line: 4 },
    ],
    [
      "a changed field with a fresh sum",
      versions.map((v) => (v.place === 4 ? resummed({ ...v, size: 1 }) : v)),
      { what: "altered", place: 4, line: 5 },
    ],
    ["a line that is gone", versions.filter((v) => v.place !== 4), { what: "removed", place: 4, line: 4 }],
    ["a beginning that is gone", versions.slice(2), { what: "removed", place: 1, line: 1 }],
    ["a line twice", [...versions.slice(0, 4), ...versions.slice(3)], { what: "inserted", place: 4, line: 5 }],
    ["two lines that changed places", [versions[0], versions[2], versions[1]], { what: "removed", place: 2, line: 2 }],
    ["an end that is gone", versions.slice(0, 6), { what: "removed", place: 7, line: 7 }],
    [
      "a forged last line",
      versions.map((v) => (v.place === 8 ? resummed({ ...v, size: 1 }) : v)),
      { what: "altered", place: 8, line: 8 },
    ],
    ["a line behind the last", history(9), { what: "inserted", place: 9, line: 9 }],
  ])("names %s", async (_name, lines, broken) => {
    expect((await verifyChain(read(lines), link(versions[7]))).broken).toEqual(broken);
  });

  it("sees any single change of any field of any line", async () => {
    const fields = Object.keys(read(versions)[0] ?? {});
    await fc.assert(
      fc.asyncProperty(fc.nat(7), fc.constantFrom(...fields), fc.jsonValue(), async (at, field, value) => {
        const lines = read(versions);
        const line = lines[at] ?? {};
        fc.pre(JSON.stringify(line[field]) !== JSON.stringify(value));
        line[field] = value;
        const { broken, verified } = await verifyChain(lines);
        expect(broken).not.toBeNull();
        expect(verified).toBeLessThanOrEqual(at);
      }),
      { numRuns: 500 },
    );
  });
});
