/** Promise 7: lines are never torn, interleaved or lost, whatever number of processes write; and no save either. */
import { expect, it } from "vitest";
import { bundleChildren } from "../../scripts/campaign/bundle.ts";
import { crowd } from "../../scripts/campaign/crowd.ts";

it(
  "eight processes, 500 appends each to one file: nothing is lost or torn, in the file or in the logs",
  { timeout: 180_000 },
  async () => {
    const bundle = await bundleChildren();
    try {
      expect(await crowd(bundle.writer, 8, 500)).toEqual([]);
    } finally {
      bundle.remove();
    }
  },
);
