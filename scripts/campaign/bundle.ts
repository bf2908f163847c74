/**
 * The child processes of the proofs in one bundle, because hundreds of them are started.
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "tsdown";

export interface Bundle {
  /** Paths of the children's programs: one that saves, one that saves and uploads to Drive, one that brings back and forgets. */
  readonly writer: string;
  readonly drive: string;
  readonly back: string;
  remove(): void;
}

/** Bundles TypeScript programs, by name, into `folder`; the native SQLite stays outside, to be found from there. */
export async function bundlePrograms(entry: Readonly<Record<string, string>>, folder: string): Promise<void> {
  await build({
    config: false,
    cwd: join(import.meta.dirname, "../.."),
    entry: { ...entry },
    outDir: folder,
    clean: false,
    format: "esm",
    platform: "node",
    target: "node20.19",
    fixedExtension: false,
    dts: false,
    report: false,
    shims: true,
    logLevel: "error",
    deps: { neverBundle: [/^better-sqlite3$/], onlyBundle: false },
    inputOptions: { resolve: { mainFields: ["module", "main"] }, experimental: { attachDebugInfo: "none" } },
  });
}

/** Built inside the project, so that the native SQLite is found from there. */
export async function bundleChildren(only?: "writer" | "drive" | "back"): Promise<Bundle> {
  const project = join(import.meta.dirname, "../..");
  const cache = join(project, "node_modules/.cache");
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "aftersave-proof-"));
  const names = ["writer", "drive", "back"].filter((name) => name === (only ?? name));
  await bundlePrograms(Object.fromEntries(names.map((name) => [name, `scripts/campaign/${name}.child.ts`])), folder);
  return {
    writer: join(folder, "writer.js"),
    drive: join(folder, "drive.js"),
    back: join(folder, "back.js"),
    remove: () => rmSync(folder, { recursive: true }),
  };
}
