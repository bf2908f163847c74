import fc from "fast-check";
import picomatch from "picomatch";
import { describe, expect, test } from "vitest";
import { archiveKey, parseKey } from "../../src/core/key.ts";
import { originOf, type Route, routeMatcher, targetsFor } from "../../src/core/route.ts";

const ARCHIVE = "Archive/";
const route = (match: string, targets: string[] | null): Route => ({
  match,
  targets,
  matches: routeMatcher(match, picomatch(match, { dot: true }), ARCHIVE),
});
const on = (...names: string[]) => names.map((name) => ({ name, enabled: true }));
const off = (...names: string[]) => names.map((name) => ({ name, enabled: false }));

describe("targetsFor", () => {
  const targets = [...on("a", "b"), ...off("c")];
  test.each<[string, Route[], string, string[]]>([
    ["without routes, every enabled target", [], "Meta/x", ["a", "b"]],
    ["a route that names none in particular", [route("**", null)], "Meta/x", ["a", "b"]],
    ["the named ones", [route("**", ["b"])], "Meta/x", ["b"]],
    ["a disabled one gets nothing", [route("**", ["b", "c"])], "Meta/x", ["b"]],
    ["an empty list keeps the file here", [route("Meta/**", [])], "Meta/x", []],
    ["the first match wins", [route("Meta/**", ["a"]), route("**", ["b"])], "Meta/x", ["a"]],
    ["no match falls back to all", [route("Meta/**", ["a"])], "Core/x", ["a", "b"]],
    ["dotfiles are files", [route("Meta/**", ["a"])], "Meta/.x/.y", ["a"]],
    ["a star stays in its segment", [route("Meta/*", ["a"])], "Meta/x/y", ["a", "b"]],
    ["a sibling prefix is another zone", [route("Meta/**", ["a"])], "Metadata/x", ["a", "b"]],
    ["case counts", [route("meta/**", ["a"])], "Meta/x", ["a", "b"]],
    ["braces", [route("{Meta,Core}/**", ["a"])], "Core/x", ["a"]],
  ])("%s", (_, routes, key, expected) => expect(targetsFor(key, routes, targets)).toEqual(expected));

  const copy = "Archive/Meta/x_2026-11-20T21-07-00Z_2.txt";
  test.each<[string, Route[], string, string[]]>([
    ["goes where its file goes", [route("Meta/**", ["a"])], copy, ["a"]],
    ["also by extension", [route("Meta/*.txt", ["a"])], copy, ["a"]],
    ["also by exact name", [route("Meta/x.txt", ["a"])], copy, ["a"]],
    ["stays here when its file does", [route("Meta/**", []), route("**", ["a"])], copy, []],
    ["of a file at the top", [route("x", [])], "Archive/Root/x_2026-11-20T21-07-00Z", []],
    ["does not slip through a pattern that excludes its zone", [route("!(Meta)/**", ["a"]), route("**", [])], copy, []],
    ["goes elsewhere by a route of its own, named first", [route("Archive/**", ["b"]), route("Meta/**", ["a"])], copy, ["b"]],
    ["an archive route named later does not undo an earlier one", [route("Meta/**", []), route("Archive/**", ["b"])], copy, []],
    ["a route for the archive says nothing of files", [route("Archive/**", ["b"])], "Meta/x.txt", ["a", "b"]],
  ])("an archive copy %s", (_, routes, key, expected) => expect(targetsFor(key, routes, targets)).toEqual(expected));

  test("answers only enabled targets, each once, in their order", () => {
    const name = fc.constantFrom("a", "b", "c", "d");
    const routes = fc.array(
      fc.record({ match: fc.constantFrom("**", "Meta/**", "Archive/**", "*.txt"), named: fc.option(fc.array(name)) }),
    );
    const some = fc.uniqueArray(fc.record({ name, enabled: fc.boolean() }), { selector: (t) => t.name });
    fc.assert(
      fc.property(routes, some, fc.constantFrom("Meta/x", "a.txt", copy), (rules, list, key) => {
        const answer = targetsFor(
          key,
          rules.map((r) => route(r.match, r.named)),
          list,
        );
        const enabled = list.filter((t) => t.enabled).map((t) => t.name);
        expect(answer).toEqual(enabled.filter((n) => answer.includes(n)));
      }),
    );
  });
});

describe("originOf", () => {
  test.each(["Meta/x.txt", "x.txt", ".env", "Meta/a/b.tar.gz", "Meta/x_2026-11-20T21-07-00Z.txt", "Meta/.e.f"])("%s", (text) => {
    const key = parseKey(text);
    expect(originOf(key, ARCHIVE)).toBe(key);
    expect(originOf(archiveKey(key, "2027-01-02T03:04:05.678Z", 1, ARCHIVE), ARCHIVE)).toBe(key);
    expect(originOf(archiveKey(key, "2027-01-02T03:04:05.678Z", 17, "Old/Archive/"), "Old/Archive/")).toBe(key);
  });

  test("a file in the archive that is no copy keeps its name", () => {
    expect(originOf("Archive/Meta/notes.txt", ARCHIVE)).toBe("Meta/notes.txt");
  });
});
