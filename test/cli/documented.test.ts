/** docs/cli-json.md names the fields that commands really answer, no more and no fewer. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import { ask, makeRoot, run } from "./program.ts";

const doc = readFileSync(resolve("docs/cli-json.md"), "utf8");

/** The names in the first `{…}` of a piece of the document, nested ones left out. */
function named(piece: string | undefined): string[] {
  const from = piece?.indexOf("`{") ?? -1;
  if (piece === undefined || from < 0) return [];
  let [depth, flat] = [0, ""];
  for (const sign of piece.slice(from + 1)) {
    if (sign === "{" || sign === "[") depth++;
    if (depth === 1) flat += sign;
    if (sign === "}" || sign === "]") depth--;
    if (depth === 0) break;
  }
  return flat
    .replace(/[{}]/g, "")
    .split(",")
    .map((name) => name.split(":")[0]?.trim() ?? "")
    .filter((name) => name !== "")
    .toSorted();
}
const row = (start: string) => doc.split("\n").find((line) => line.startsWith(`| ${start}`));
const section = (title: string) => doc.split(`\n### ${title}\n`)[1]?.split("\n## ")[0]?.split("\n### ")[0];
const entriesOf = (answer: unknown) => (answer as { entries: { versions?: unknown[] }[] }).entries;
const keys = (answer: unknown) => Object.keys(answer as object).toSorted();

it("has a row or a section for every command", async () => {
  const { stdout } = await run(["--help"]);
  const commands = [...stdout.matchAll(/^ {2}([a-z][a-z-]+) {2,}\S/gm)].map(([, name]) => name ?? "");
  expect(commands.length).toBeGreaterThan(20);
  for (const name of commands.filter((name) => name !== "help"))
    expect(new RegExp("`" + name + "[` ]").test(doc), `docs/cli-json.md says what ${name} answers`).toBe(true);
});

it("names the fields of what is answered", async () => {
  const root = makeRoot({});
  const at = { cwd: root };
  await run(["append", "Meta/A.txt", "one\n", "--session", "s"], at);
  await run(["replace", "Meta/A.txt", "two\nthree\n", "--session", "s"], at);
  const cases: [string[], string | undefined][] = [
    [["show", "Meta/A.txt"], row("`show")],
    [["blame", "Meta/A.txt"], row("`blame`")],
    [["history"], row("`history`")],
    [["status"], section("`status`")],
    [["sweep"], row("`sweep`")],
    [["pin", "Meta/A.txt@-1"], row("`pin VERSION`")],
    [["prune", "--dry-run"], row("`prune --dry-run`")],
    [["prune", "--yes"], row("`prune`")],
    [["verify"], row("`verify`")],
    [["undo", "--dry-run"], row("`undo [VERSION…]`")],
    [["undo", "--yes"], row("`undo [VERSION…]`")],
    [["flush"], row("`flush`")],
    [["restore", "--from", "drive", "--dry-run"], row("`restore --from TARGET`")],
    [["erase", "Meta/A.txt", "--dry-run"], row("`erase`")],
    [["targets", "enable", "drive"], row("`targets enable NAME`")],
    [["check", "drive"], row("`check TARGET`")],
  ];
  for (const [args, piece] of cases) {
    const { answer } = await ask(args, at);
    expect(keys(answer), args.join(" ")).toEqual(named(piece));
  }
});

it("names the fields of an entry of the history", async () => {
  const root = makeRoot({});
  const at = { cwd: root };
  await run(["append", "Meta/A.txt", "one\n"], at);
  const pieces = section("`history`")?.split("with `--open`") ?? [];
  const entries = entriesOf((await ask(["history"], at)).answer);
  expect(keys(entries[0])).toEqual(named(pieces[0]?.slice(pieces[0].indexOf("`{"))));
  const opened = entriesOf((await ask(["history", "--open"], at)).answer);
  const versions = section("`history`")?.split("`versions`, newest first: ")[1];
  expect(keys(opened[0]?.versions?.[0])).toEqual(named(versions));
});
