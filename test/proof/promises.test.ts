/** docs/promises.md names tests; each of them exists. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";

const page = readFileSync("docs/promises.md", "utf8");
const flat = (text: string) => text.replaceAll(/\s+/g, " ");

it("has the eleven promises, each with a test", () => {
  const parts = page.split(/^## /m).slice(1);
  expect(parts.map((part) => Number.parseInt(part, 10))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  for (const part of parts) expect(part).toMatch(/`test\/[a-z/-]+\.test\.ts`/);
});

it.each(
  [...flat(page).matchAll(/`(test\/[^`]+\.test\.ts)`: ("[^`]*?)(?= - `| Not | ## |$)/g)].map(([, file, titles]) => [
    file!,
    titles!,
  ]),
)("%s has the tests that are named", (file, titles) => {
  const source = flat(readFileSync(file, "utf8"));
  const named = [...titles.matchAll(/"([^"]+)"/g)].map(([, title]) => title!);
  expect(named.length).toBeGreaterThan(0);
  for (const title of named) expect(source.includes(title), title).toBe(true);
});
