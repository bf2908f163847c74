import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, inject, it } from "vitest";
import { z } from "zod";

const Coverage = z.object({ result: z.array(z.object({ url: z.string() })) });
const dist = join(inject("packageFolder"), "dist");

/** The files of dist that a run loads, as V8 itself counted them. */
function loadedBy(...args: string[]): { files: string[]; bytes: number } {
  const folder = mkdtempSync(join(tmpdir(), "aftersave-loaded-"));
  const ended = spawnSync(process.execPath, args, {
    env: { ...process.env, NODE_V8_COVERAGE: folder, NODE_OPTIONS: "" },
    encoding: "utf8",
  });
  if (ended.status !== 0) throw new Error(`${args.join(" ")} ended with ${ended.status}\n${ended.stderr}`);
  const reports = readdirSync(folder).map((file) => Coverage.parse(JSON.parse(readFileSync(join(folder, file), "utf8"))));
  rmSync(folder, { recursive: true });
  const files = reports.flatMap(({ result }) => result.map(({ url }) => url)).filter((url) => url.startsWith("file:"));
  const paths = [...new Set(files.map((url) => fileURLToPath(url)))].filter((path) => path.startsWith(dist));
  return { files: paths, bytes: paths.reduce((sum, path) => sum + statSync(path).size, 0) };
}

const holds = (files: string[], mark: RegExp) => files.filter((file) => mark.test(readFileSync(file, "utf8")));

describe("what a command loads at start", () => {
  it.each(["--version", "--help"])("aftersave %s loads no SQLite, no schema library and little code", (option) => {
    const { files, bytes } = loadedBy(join(dist, "cli/main.js"), option);
    expect(files.length).toBeGreaterThan(0);
    expect(holds(files, /class PQueue|CREATE TABLE|ZodError/)).toEqual([]);
    expect(bytes).toBeLessThan(250_000);
  });

  it("the library loads no command line and no upload machinery until it is used", () => {
    const { files } = loadedBy("--input-type=module", "--eval", `await import(${JSON.stringify(join(dist, "index.js"))})`);
    expect(files.length).toBeGreaterThan(0);
    expect(holds(files, /class CommanderError/)).toEqual([]);
  });
});
