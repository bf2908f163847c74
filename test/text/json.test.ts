/** What changed, told by JSON path: the steps lead from one value to the other. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { anySeed } from "../../src/testing/random.ts";
import { diffJson, jsonOf, type Json, type PathChange } from "../../src/text/json.ts";

const seed = anySeed();

const { value } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom<Json>(null, true, 0, 1, "a", "b", ""),
    fc.array(tie("value"), { maxLength: 5 }),
    fc.dictionary(fc.constantFrom("a", "b", "a/b", "~", "", "__proto__", "0"), tie("value"), { maxKeys: 4 }),
  ),
}));

/** RFC 6902 without its library: one step, done to a copy. */
function apply(to: Json, change: PathChange): Json {
  const names = change.path
    .split("/")
    .slice(1)
    .map((name) => name.replaceAll("~1", "/").replaceAll("~0", "~"));
  const walk = (at: Json, rest: readonly string[]): Json => {
    const [name, ...more] = rest;
    if (name === undefined) {
      if (change.op !== "add") expect(at).toEqual(change.before);
      return change.op === "remove" ? null : change.after;
    }
    if (Array.isArray(at)) {
      const list = at as Json[];
      const n = Number(name);
      if (more.length > 0) return list.with(n, walk(list[n]!, more));
      if (change.op === "add") return list.toSpliced(n, 0, change.after);
      expect(list[n]).toEqual(change.before);
      return change.op === "remove" ? list.toSpliced(n, 1) : list.with(n, change.after);
    }
    const entries = new Map(Object.entries(at as Record<string, Json>));
    if (more.length === 0 && change.op === "add") expect(entries.has(name)).toBe(false);
    else expect(entries.has(name)).toBe(true);
    if (more.length === 0 && change.op === "remove") {
      expect(entries.get(name)).toEqual(change.before);
      entries.delete(name);
    } else entries.set(name, more.length === 0 && change.op === "add" ? change.after : walk(entries.get(name)!, more));
    return Object.fromEntries(entries);
  };
  return walk(to, names);
}

const plain = (of: Json): unknown => JSON.parse(JSON.stringify(of));

it(`the steps lead from one value to the other, one after the other (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(value, value, async (a, b) => {
      const [from, to] = [plain(a) as Json, plain(b) as Json];
      const changes = await diffJson(from, to);
      expect(plain(changes.reduce(apply, from))).toEqual(plain(to));
    }),
    { seed, numRuns: 1000 },
  );
});

it(`there is no step where nothing changed, however it is written (seed ${seed})`, async () => {
  await fc.assert(
    fc.asyncProperty(value, async (a) => {
      const turned = (of: Json): Json =>
        Array.isArray(of)
          ? of.map(turned)
          : typeof of === "object" && of !== null
            ? Object.fromEntries(
                Object.entries(of)
                  .toReversed()
                  .map(([name, each]) => [name, turned(each)]),
              )
            : of;
      expect(await diffJson(plain(a) as Json, turned(plain(a) as Json))).toEqual([]);
    }),
    { seed, numRuns: 500 },
  );
});

it("names places by JSON Pointer", async () => {
  expect(
    await diffJson(
      { mood: "calm", tags: ["a", "c"], "a/b~": { x: 1 }, gone: null },
      { mood: "glad", tags: ["a", "b", "c"], "a/b~": { x: 2 }, new: [] },
    ),
  ).toEqual([
    { path: "/mood", op: "change", before: "calm", after: "glad" },
    { path: "/tags/1", op: "add", after: "b" },
    { path: "/a~1b~0/x", op: "change", before: 1, after: 2 },
    { path: "/gone", op: "remove", before: null },
    { path: "/new", op: "add", after: [] },
  ]);
  expect(await diffJson(1, "1")).toEqual([{ path: "", op: "change", before: 1, after: "1" }]);
});

it("an element put in front of a list moves the others, and changes none", async () => {
  const list = Array.from({ length: 100 }, (_, id) => ({ id, text: `entry ${id}` }));
  expect(await diffJson(list, [{ id: -1 }, ...list])).toEqual([{ path: "/0", op: "add", after: { id: -1 } }]);
  expect(await diffJson(list, list.with(7, { id: 7, text: "edited" }))).toEqual([
    { path: "/7/text", op: "change", before: "entry 7", after: "edited" },
  ]);
});

it("takes for JSON only what it can tell the differences of", () => {
  expect(jsonOf("{")).toBeUndefined();
  expect(jsonOf("")).toBeUndefined();
  expect(jsonOf('{"a":1}\n{"a":2}\n')).toBeUndefined();
  expect(jsonOf("[12345678901234567890]")).toBeUndefined();
  expect(jsonOf("[".repeat(100_000) + "]".repeat(100_000))).toBeUndefined();
  expect(jsonOf('\uFEFF{"a":[1]}')).toEqual({ a: [1] });
});
