// Programs that many tests start: bundled once for a run of the tests, because a loader costs each of them a second.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, symlinkSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { inject } from "vitest";
import { bundlePrograms } from "../scripts/campaign/bundle.ts";
import { createClaims } from "../src/state/claims.ts";
import { clock } from "./state/clock.ts";

/** One test file of a run does `work`, unless `done` is there already; the others wait for it. */
export async function onceInRun(name: string, done: string, work: () => void | Promise<void>): Promise<void> {
  const claims = createClaims(join(inject("runFolder"), "locks"), clock);
  const release = await claims.take("setup", name);
  try {
    if (!existsSync(done)) await work();
  } finally {
    release();
    claims.close();
  }
}

const known = new Map<string, Promise<string>>();

async function bundle(program: string): Promise<string> {
  const name = createHash("sha256").update(program).digest("hex").slice(0, 16);
  const folder = join(inject("runFolder"), name);
  const out = join(folder, "dist", `${basename(program, ".ts")}.js`);
  await onceInRun(name, out, async () => {
    mkdirSync(folder, { recursive: true });
    if (!existsSync(join(folder, "node_modules"))) symlinkSync(resolve("node_modules"), join(folder, "node_modules"), "dir");
    await bundlePrograms({ [basename(program, ".ts")]: program }, join(folder, "dist"));
  });
  return out;
}

/** The path of a bundle of `program`, a TypeScript file. */
export function bundled(program: string): Promise<string> {
  const path = known.get(program) ?? bundle(program);
  known.set(program, path);
  return path;
}
