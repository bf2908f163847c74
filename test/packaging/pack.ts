import { execFileSync, type StdioOptions } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { z } from "zod";

declare module "vitest" {
  export interface ProvidedContext {
    /** The folder that was packed: what `npm publish` would see. */
    packageFolder: string;
    tarball: string;
    packed: { path: string; size: number; mode: number }[];
  }
}

const PackReport = z.tuple([
  z.object({
    filename: z.string(),
    files: z.array(z.object({ path: z.string(), size: z.number(), mode: z.number() })),
  }),
]);

/** Builds and packs once, into a temporary folder, so that a test never sees an old `dist`. */
export function setup({ provide }: TestProject): () => void {
  const root = mkdtempSync(join(tmpdir(), "aftersave-pack-"));
  const folder = join(root, "package");
  mkdirSync(folder);
  for (const file of ["package.json", "README.md", "LICENSE", "CHANGELOG.md"]) cpSync(file, join(folder, file));
  const quiet: { stdio: StdioOptions; encoding: "utf8" } = { stdio: ["ignore", "pipe", "inherit"], encoding: "utf8" };
  execFileSync(
    process.execPath,
    ["node_modules/tsdown/dist/run.mjs", "--out-dir", join(folder, "dist"), "--log-level", "error"],
    quiet,
  );
  const report = execFileSync("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", root], {
    ...quiet,
    cwd: folder,
  });
  const [{ filename, files }] = PackReport.parse(JSON.parse(report));
  provide("packageFolder", folder);
  provide("tarball", join(root, filename));
  provide("packed", files);
  return () => rmSync(root, { recursive: true });
}
