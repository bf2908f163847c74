/**
 * Many processes that append to one file.
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { examine } from "./check.ts";
import { startWriter } from "./child.ts";
import { removeRoot, makeRoot } from "./root.ts";

const KEY = "Shared/log.txt";

/** What is broken after `processes` have appended `count` lines each, at once. */
export async function crowd(writer: string, processes: number, count: number): Promise<readonly string[]> {
  const root = makeRoot();
  try {
    const ids = Array.from({ length: processes }, (_, n) => `p${n}`);
    const ends = await Promise.all(
      ids.map((id) => startWriter(writer, { root, seed: 1, count: 0, lines: { id, key: KEY, count } }).ended),
    );
    const problems = ends.filter(({ code }) => code !== 0).map(({ code, stderr }) => `a writer ended with ${code}: ${stderr}`);
    const lines = readFileSync(join(root, "Data", KEY), "utf8").split("\n");
    if (lines.pop() !== "") problems.push("the last line is torn");
    for (const id of ids) {
      const own = lines.filter((line) => line.startsWith(`${id} `));
      const isWhole = own.every((line, n) => line === `${id} ${n} ${"x".repeat((n * 37) % 300)}`);
      if (own.length !== count || !isWhole) problems.push(`${id} has ${own.length} of ${count} lines, or not in its order`);
    }
    if (lines.length !== processes * count) problems.push(`${lines.length} lines where ${processes * count} were appended`);
    const { problems: more, versions } = await examine(root, { accepted: [], anything: true });
    if (versions.length !== processes * count || versions.some(({ op }) => op !== "append"))
      problems.push(`${versions.length} versions for ${processes * count} appends`);
    return [...problems, ...more];
  } finally {
    removeRoot(root);
  }
}
