/**
 * The driver on a real server, for whoever has one. It writes into a folder of its own, which it removes.
 *
 *     AFTERSAVE_LIVE_WEBDAV_URL=https://cloud.example/remote.php/dav/files/me/ AFTERSAVE_LIVE_WEBDAV_USER=me \
 *       AFTERSAVE_WEBDAV_PASSWORD=… npx vitest run test/live/webdav.test.ts
 */
import { randomBytes } from "node:crypto";
import { afterAll, describe, it } from "vitest";
import { clearWebdav } from "../../src/targets/webdav.ts";
import { sourceOf } from "../../src/testing/source.ts";
import { targetSuite } from "../../src/testing/target-suite.ts";
import { contextFor, memoryOf, openAt } from "../targets/webdav/place.ts";

const { AFTERSAVE_LIVE_WEBDAV_URL: url, AFTERSAVE_LIVE_WEBDAV_USER: user, AFTERSAVE_WEBDAV_PASSWORD: password } = process.env;
const MINUTES = 60_000;
const MIB = 1024 * 1024;

if (!url) it.skip("WebDAV, live (SKIPPED: AFTERSAVE_LIVE_WEBDAV_URL names no folder)");
else
  describe("WebDAV, live", () => {
    const run = `aftersave-live-${randomBytes(4).toString("hex")}/`;
    const signedIn = { options: { user }, password };
    let cases = 0;
    afterAll(() => clearWebdav(contextFor(url, { ...signedIn, root: run })));
    targetSuite({
      test: (name, work) => it(name, work, 15 * MINUTES),
      options: { bigBytes: 5 * MIB + 1, patienceMs: 5 * MINUTES },
      open: async () => {
        const opening = { ...signedIn, root: `${run}${++cases}/`, memory: memoryOf() };
        const target = await openAt(url, opening);
        return {
          target,
          cleanup: () => target.close(),
          reopen: () => openAt(url, opening),
          foreignWrite: async (key, bytes) => {
            const stranger = await openAt(url, { ...opening, memory: memoryOf() });
            await stranger.put(key, sourceOf(bytes));
            await stranger.close();
          },
        };
      },
    });
  });
