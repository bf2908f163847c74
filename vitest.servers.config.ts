import { defineConfig } from "vitest/config";

/** Drivers against real servers, each started on 127.0.0.1 in a temporary folder. What is not installed is skipped, with its package's name. */
export default defineConfig({
  test: {
    include: ["test/servers/**/*.servers.ts"],
    globalSetup: "test/run.ts",
    pool: "forks",
    // servers are heavy, and what they do under load is another question
    maxWorkers: 1,
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
