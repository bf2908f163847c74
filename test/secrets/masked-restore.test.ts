// A masked copy is none of the version: it is told so, and nothing takes it for one.
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { run } from "../cli/program.ts";
import { createMemoryTarget } from "../../src/testing/index.ts";
import { makeRoot } from "../recovery/root.ts";

const TOKEN = "ghp_Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3d";

test("verify counts it as excused; a restore names it, takes the rest, and leaves it where it is", async () => {
  const root = makeRoot({ secrets: "mask" });
  const bare = makeRoot({ secrets: "mask", targets: { drive: { type: "folder", enabled: true, path: root.at("mirror") } } });
  const memory = await root.open();
  await memory.append("Meta/A.txt", `one ${TOKEN}\n`);
  await memory.append("Meta/B.txt", "b\n");
  await memory.flush();
  const { target, findings } = await memory.verify({ target: "drive", restore: true });
  expect(findings).toEqual([]);
  expect(target?.restore).toMatchObject({ proven: true, files: 1, excused: 1 });

  const { code, stdout, stderr } = await run(["restore", "--from", "drive", "--yes"], { cwd: bare.path });
  expect(code).toBe(3);
  expect(stdout + stderr).toMatch(/Meta\/A\.txt: .*masked.*not taken.*by hand/s);
  expect(existsSync(bare.at("Data/Meta/A.txt"))).toBe(false);
  expect(readFileSync(bare.at("Data/Meta/B.txt"), "utf8")).toBe("b\n");
  await (await bare.open()).flush();
  expect(readFileSync(root.at("mirror/Drive/MemoryVDB/Meta/A.txt"), "utf8")).toBe(`one ${"*".repeat(TOKEN.length)}\n`);
});

test("the plan names it where the target tells hashes as it lists", async () => {
  const place = createMemoryTarget();
  const memory = await makeRoot({ secrets: "mask" }).open({ targets: { drive: place } });
  const { version } = await memory.append("Meta/A.txt", `one ${TOKEN}\n`);
  await memory.flush();
  const bare = await makeRoot({ secrets: "mask" }).open({ targets: { drive: place } });
  const { missing, files } = await bare.restoreFrom("drive", { dryRun: true });
  expect({ missing, files }).toMatchObject({ missing: [{ file: "Meta/A.txt", version, why: "other" }], files: 0 });
});
