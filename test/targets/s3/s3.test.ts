import { afterAll, beforeAll, describe, test } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { type Place, targetCases } from "../../../src/testing/target-suite.ts";
import { type S3Emulator, type Settings, startS3 } from "./emulator.ts";
import { memoryOf, openAt } from "./place.ts";

const PART = 256 * 1024;

interface Service {
  readonly settings: Partial<Settings>;
  /** Groups of the suite that what it lacks has no part in; test/servers runs them all on such a service too. */
  readonly without: readonly string[];
}

const services: Record<string, Service> = {
  "as Amazon documents it": { settings: { pageSize: 7 }, without: [] },
  "with neither conditions nor checksums": {
    settings: { checksums: false, conditions: "refused", emptyEtagAtTheEnd: true },
    without: ["names", "list", "read", "abort"],
  },
};

describe.each(Object.entries(services))("S3 %s", (_, { settings, without }) => {
  let s3: S3Emulator;
  const known = new Map<string, string>();
  let places = 0;
  beforeAll(async () => {
    s3 = await startS3({ minPartBytes: PART, ...settings });
    // what the service can do is found out once, as it is for a user
    const target = await openAt(s3, { memory: memoryOf(known), root: "first/" });
    await target.put(parseKey("Core/First.txt"), sourceOf("first"));
    await target.close();
    for (const name of known.keys()) if (name !== "abilities") known.delete(name);
  });
  afterAll(() => s3.close());

  const open = async (): Promise<Place> => {
    const root = `place-${++places}/`;
    const opening = { memory: memoryOf(new Map(known)), root, tuning: { partBytes: PART, copyBytes: 2 * PART } };
    const target = await openAt(s3, opening);
    return {
      target,
      cleanup: () => target.close(),
      reopen: () => openAt(s3, opening),
      foreignWrite: (key, bytes) => s3.write(root + key, bytes),
    };
  };

  for (const { group, name, run } of targetCases({ manyEntries: 16, bigBytes: 2 * PART + 1 }))
    if (!without.includes(group))
      test(`${group}: ${name}`, async () => {
        const place = await open();
        try {
          await run(place);
        } finally {
          await place.cleanup();
        }
      });
});
