import { afterAll, beforeAll, describe, test } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { targetSuite } from "../../../src/testing/target-suite.ts";
import { memoryOf, openAt } from "./place.ts";
import { type Dav, type Settings, startDav } from "./server.ts";

const SMALL = 64 * 1024;

/** The whole suite once; what other servers do otherwise is asked of them, and all of it of the real ones (`npm run test:servers`). */
const differing = /^(put|copy|remove|names): /;

const servers: Record<string, Partial<Settings>> = {
  "with conditions (Apache, Nextcloud)": {},
  "without conditions, ETags and fine times (nginx), with Digest": {
    conditions: false,
    etags: false,
    dates: true,
    auth: "digest",
  },
  "that shows half a PUT and ignores case": { conditions: false, showsHalf: true, ignoresCase: true },
};

describe.each(Object.entries(servers))("WebDAV %s", (_, settings) => {
  let dav: Dav;
  const known = new Map<string, string>();
  let cases = 0;
  beforeAll(async () => {
    dav = await startDav(settings);
    // what the server can do is found out once, as it is for a user
    const target = await openAt(dav.url, { memory: memoryOf(known), root: "first/" });
    await target.put(parseKey("Core/First.txt"), sourceOf("first"));
    await target.close();
  });
  afterAll(() => dav.close());

  targetSuite({
    test: (name, run) => (Object.keys(settings).length === 0 || differing.test(name) ? test(name, run) : undefined),
    options: { manyEntries: 16, bigBytes: 3 * SMALL + 1 },
    open: async () => {
      const root = `case-${++cases}/`;
      const abilities = (known.get("abilities") ?? "").replace("first/", root);
      const opening = { memory: memoryOf(new Map([["abilities", abilities]])), root, tuning: { smallBytes: SMALL } };
      const target = await openAt(dav.url, opening);
      return {
        target,
        cleanup: () => target.close(),
        reopen: () => openAt(dav.url, opening),
        foreignWrite: (key, bytes) => dav.write(root + key, bytes),
      };
    },
  });
});
