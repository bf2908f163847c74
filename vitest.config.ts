import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The longest first, so that no worker ends alone; without an earlier run the default goes by size, and these are short. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) =>
      /proof.(crowd|kill|drive)|cli.looking|logs.append|gdrive.under-faults|erase-kill/.test(moduleId);
    // oxlint-disable-next-line unicorn/no-array-sort -- a sequencer's, which changes nothing
    const sorted = await super.sort(files);
    return [...sorted.filter(isLong), ...sorted.filter((file) => !isLong(file))];
  }
}

const common = { pool: "forks", testTimeout: 60_000, hookTimeout: 60_000 } as const;

export default defineConfig({
  test: {
    // many tests wait for disks and other processes, so two at once pay on two cores as well; three were no faster
    maxWorkers: Math.max(2, availableParallelism() - 1),
    sequence: { sequencer: LongestFirst },
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
