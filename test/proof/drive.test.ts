/** Promises 1, 3, 4 and 7 at an emulated Drive: one key is one file there, whatever fails. `npm run campaign` does the same at length. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleChildren, type Bundle } from "../../scripts/campaign/bundle.ts";
import { driveCrowd } from "../../scripts/campaign/drive-crowd.ts";
import { createDriveVictim, moments, type Moment } from "../../scripts/campaign/drive-kill.ts";
import { faultyUploads } from "../../scripts/campaign/drive-uploads.ts";
import { anySeed } from "../../src/testing/random.ts";

const seed = anySeed();

it("hundreds of uploads, with 5 % lost answers, 5 % rate limits and 2 % server errors, end with one file per key and the right hash", async () => {
  expect(await faultyUploads(360, 60, seed), `seed ${seed}`).toEqual([]);
});

describe("processes", () => {
  let bundle: Bundle;
  beforeAll(async () => {
    bundle = await bundleChildren("drive");
  });
  afterAll(() => bundle.remove());

  it.each([
    ["two processes of one memory", 2, false],
    ["eight processes of one memory", 8, false],
    ["two machines", 2, true],
    ["four machines", 4, true],
  ] as const)("%s that begin on an empty Drive at once leave no twins", async (_, processes, machines) => {
    expect(await driveCrowd(bundle.drive, { processes, machines, files: 6, drive: { seed } }), `seed ${seed}`).toEqual([]);
  });

  it.each([
    ["processes", false],
    ["machines", true],
  ])("five new files saved by two %s at once leave no twin, though names are found 3 s late", async (_, machines) => {
    const drive = { seed, lag: { nameMs: 3000 } };
    expect(await driveCrowd(bundle.drive, { processes: 2, machines, files: 5, drive }), `seed ${seed}`).toEqual([]);
  });

  it("killed in creates, updates, folders, pieces of a big file and the renewal of a token: a flush makes it right", async () => {
    const victim = await createDriveVictim(bundle.drive, seed);
    try {
      for (const [n, moment] of (Object.keys(moments) as Moment[]).entries())
        expect(await victim.at(moment, seed + n), `${moment}, seed ${seed}`).toEqual([]);
    } finally {
      await victim.remove();
    }
  });
});
