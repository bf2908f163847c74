/**
 * Build step: the licences of the packages that are really in the bundle, in one file beside it.
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { TsdownPlugin } from "tsdown";
import { z } from "zod";

const manifest = z.object({
  name: z.string(),
  version: z.string(),
  license: z.string(),
  author: z.string().optional().catch(undefined),
});

/** The folder of the package that a bundled module comes from; undefined for our own. */
function packageFolder(id: string): string | undefined {
  return /^\0?(.*[\\/]node_modules[\\/](?:@[^\\/]+[\\/])?[^\\/]+)/.exec(id)?.[1];
}

/**
 * The licence as the package ships it; for one that ships only its name and author, the standard text of that name.
 * With neither the build fails: we may not pass it on.
 */
function licenceOf(folder: string): string {
  const { name, version, license, author } = manifest.parse(JSON.parse(readFileSync(join(folder, "package.json"), "utf8")));
  const shipped = readdirSync(folder).find((entry) => /^(licen[cs]e|copying)/i.test(entry));
  if (shipped === undefined && author === undefined)
    throw new Error(`${name}@${version} names neither a licence file nor an author`);
  const text =
    shipped === undefined
      ? `Copyright (c) ${author}\n\n${readFileSync(join("scripts/licence-texts", `${license}.txt`), "utf8")}`
      : readFileSync(join(folder, shipped), "utf8");
  return `${name}@${version} (${license})\n\n${text.trim()}\n`;
}

/** Writes `THIRD-PARTY-LICENSES.txt` into the output folder. */
export function licences(): TsdownPlugin {
  return {
    name: "third-party-licences",
    generateBundle(_options, bundle) {
      const modules = Object.values(bundle).flatMap((output) => (output.type === "chunk" ? output.moduleIds : []));
      const folders = new Set(modules.map(packageFolder).filter((folder) => folder !== undefined));
      const texts = [...folders].map(licenceOf).toSorted((a, b) => a.localeCompare(b));
      this.emitFile({
        type: "asset",
        fileName: "THIRD-PARTY-LICENSES.txt",
        source: `aftersave contains these packages, each under its own licence.\n\n${texts.join(`\n${"-".repeat(80)}\n\n`)}`,
      });
    },
  };
}
