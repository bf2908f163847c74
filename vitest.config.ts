import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const common = { pool: "forks", testTimeout: 60_000, hookTimeout: 60_000 } as const;

export default defineConfig({
  test: {
    // many tests wait for disks and other processes, so two at once pay on two cores as well
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        test: {
          ...common,
          name: "suite",
          include: ["test/**/*.test.ts"],
          exclude: ["test/packaging/**"],
          globalSetup: "test/run.ts",
          setupFiles: "test/temporary.ts",
        },
      },
      // Its set-up builds and packs once, which the other tests do not need.
      {
        test: {
          ...common,
          name: "packaging",
          include: ["test/packaging/*.test.ts"],
          globalSetup: "test/packaging/pack.ts",
          testTimeout: 120_000,
        },
      },
    ],
  },
});
