import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const configuration = [".oxlintrc.json", ".dependency-cruiser.cjs", "tsconfig.json", "package.json", "scripts/lint-rules.js"];

/** A tree of its own that stands under the project's configuration. */
export interface Tree {
  /** Runs a tool of the project in the tree and returns what it prints, whether or not it finds fault. */
  run(tool: string, ...options: string[]): string;
  remove(): void;
}

/** Writes `files` (path → text) into a temporary folder beside copies of the project's lint configuration. */
export function plant(files: Record<string, string>): Tree {
  const root = mkdtempSync(join(tmpdir(), "aftersave-lint-"));
  for (const file of configuration) cpSync(file, join(root, file), { recursive: true });
  symlinkSync(join(process.cwd(), "node_modules"), join(root, "node_modules"));
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), text);
  }
  return {
    run(tool, ...options) {
      try {
        return execFileSync(join("node_modules/.bin", tool), options, { cwd: root, encoding: "utf8", stdio: "pipe" });
      } catch (error) {
        const { stdout } = error as { stdout?: string };
        if (stdout === undefined || stdout === "") throw error;
        return stdout;
      }
    },
    remove: () => rmSync(root, { recursive: true }),
  };
}
