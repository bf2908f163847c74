#!/usr/bin/env node
/**
 * The program `sync-file PATH…`: the same as `aftersave sync-file PATH…`.
 * @module
 */
import * as module from "node:module";

(module as { enableCompileCache?: () => unknown }).enableCompileCache?.(); // before anything else is loaded, or it is not cached
const { run } = await import("./run.ts");
process.exitCode = await run(["sync-file", ...process.argv.slice(2)], import.meta.url);
