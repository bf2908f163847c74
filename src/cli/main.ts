#!/usr/bin/env node
/**
 * The program `aftersave`.
 * @module
 */
import * as module from "node:module";

(module as { enableCompileCache?: () => unknown }).enableCompileCache?.(); // before anything else is loaded, or it is not cached
const { run } = await import("./run.ts");
process.exitCode = await run(process.argv.slice(2), import.meta.url);
