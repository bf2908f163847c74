/** Promises 1, 3, 4 and 7 at an emulated Drive: one key is one file there, whatever fails. `npm run campaign` does the same at length. */
import { setImmediate as turn } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleChildren, type Bundle } from "../../scripts/campaign/bundle.ts";
import { driveCrowd } from "../../scripts/campaign/drive-crowd.ts";
import { createDriveVictim, moments, type Moment } from "../../scripts/campaign/drive-kill.ts";
import { faultyUploads } from "../../scripts/campaign/drive-uploads.ts";
import { makeRoot, removeRoot } from "../../scripts/campaign/root.ts";
import { forward } from "../../src/core/target.ts";
import { openMemory } from "../../src/open.ts";
import { createMemoryTarget } from "../../src/testing/index.ts";
import { anySeed } from "../../src/testing/random.ts";

const seed = anySeed();

it("hundreds of uploads, with 5 % lost answers, 5 % rate limits and 2 % server errors, end with one file per key and the right hash", async () => {
  expect(await faultyUploads(240, 60, seed), `seed ${seed}`).toEqual([]);
});

it("one process of a memory at a time looks for a target's marker and puts it", async () => {
  const place = createMemoryTarget();
  const marker = ".aftersave/root.json";
  const turns: string[] = [];
  const as = (who: string) =>
    forward(place, {
      async stat(key, look) {
        if (key !== marker) return place.stat(key, look);
        turns.push(who);
        for (let n = 0; n < 100; n++) await turn(); // time enough for another one
        return place.stat(key, look);
      },
      put(key, body, guard) {
        if (key === marker) turns.push(who);
        return place.put(key, body, guard);
      },
    });
  const root = makeRoot();
  const memories = await Promise.all(["a", "b"].map((who) => openMemory({ root, targets: { drive: as(who) } })));
  try {
    await Promise.all(memories.map((memory, n) => memory.append(`Own/${n}.txt`, `${n}`)));
    await Promise.all(memories.map((memory, n) => memory.upload(`Own/${n}.txt`)));
    expect(turns).toHaveLength(2);
    expect(new Set(turns).size).toBe(1);
  } finally {
    for (const memory of memories) await memory.close();
    removeRoot(root);
  }
});

describe("processes", () => {
  let bundle: Bundle;
  beforeAll(async () => {
    bundle = await bundleChildren("drive");
  });
  afterAll(() => bundle.remove());

  it.each([
    ["two processes of one memory", 2, false],
    ["four processes of one memory", 4, false],
    ["two machines", 2, true],
    ["three machines", 3, true],
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
