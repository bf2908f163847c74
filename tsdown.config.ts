import { defineConfig } from "tsdown";
import { licences } from "./scripts/licences.ts";

/** SDKs that users install themselves, for the targets that need one (`peerDependencies`, all optional). */
const optional = [/^@aws-sdk\//, /^webdav$/, /^@octokit\//];

/** What users install: one bundle with lazy chunks. Only what cannot be bundled (native SQLite) stays a dependency. */
export default defineConfig({
  entry: {
    index: "src/index.ts",
    "testing/index": "src/testing/index.ts",
    "cli/main": "src/cli/main.ts",
    "cli/sync-file": "src/cli/sync-file.ts",
  },
  format: "esm",
  platform: "node",
  target: "node20.19",
  fixedExtension: false,
  deps: { neverBundle: [/^better-sqlite3$/, ...optional], onlyBundle: false },
  report: false,
  // write-file-atomic names its temporary files after __filename.
  shims: true,
  // jsonc-parser's `main` is a UMD file whose parts no bundler finds.
  inputOptions: { resolve: { mainFields: ["module", "main"] }, experimental: { attachDebugInfo: "none" } },
  dts: { entry: ["src/index.ts", "src/testing/index.ts"] },
  plugins: [licences()],
});
