/** A rotation that is killed has taken a name and moved nothing there: an empty rotated file is no end of the changelog. */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { expectChain, makeRoot } from "../recovery/root.ts";

it("a changelog that is written anew goes on behind the rotated file that has lines", async () => {
  const root = makeRoot();
  const memory = await root.open();
  for (let n = 0; n < 3; n++) await memory.append("a.txt", `${n}\n`);
  await memory.close();
  const rotated = `${root.changelog}.2026-01-01T00-00-00Z`;
  renameSync(root.changelog, rotated);
  const next = await root.open();
  await next.append("a.txt", "3\n");
  await next.close();
  writeFileSync(`${root.changelog}.2026-01-02T00-00-00Z`, "");
  rmSync(root.changelog);

  const again = await root.open();
  await again.append("a.txt", "4\n");
  expect((await again.log("changes")).map(({ place }) => place)).toEqual([1, 2, 3, 4, 5]);
  expect(readFileSync(root.changelog, "utf8").trimEnd().split("\n")).toHaveLength(2);
  await again.close();
  await expectChain(root.changelog, 5);
});
