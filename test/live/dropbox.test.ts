/**
 * The driver on a real Dropbox, for whoever has one. It writes below a folder of its own, which it removes again.
 *
 *     AFTERSAVE_LIVE_DROPBOX_TOKEN=sl.… npx vitest run test/live/dropbox.test.ts
 *
 * The token is an access token (App console, Settings, "Generated access token") with the scopes of docs/targets/dropbox.md.
 */
import { randomBytes } from "node:crypto";
import { afterAll, describe, it } from "vitest";
import { clearDropbox, openDropboxTarget } from "../../src/targets/dropbox.ts";
import { sourceOf } from "../../src/testing/source.ts";
import { targetSuite } from "../../src/testing/target-suite.ts";
import { contextFor, memoryOf } from "../targets/dropbox/place.ts";

const token = process.env["AFTERSAVE_LIVE_DROPBOX_TOKEN"];
const MINUTES = 60_000;
const MIB = 1024 * 1024;

if (!token) it.skip("Dropbox, live (SKIPPED: AFTERSAVE_LIVE_DROPBOX_TOKEN holds no access token)");
else
  describe("Dropbox, live", () => {
    const run = `aftersave-live-${randomBytes(4).toString("hex")}`;
    const options = { api_url: "https://api.dropboxapi.com/", content_url: "https://content.dropboxapi.com/" };
    let cases = 0;
    const contextIn = (root: string, memory = memoryOf()) => contextFor("", token, { root, memory, options });
    afterAll(() => clearDropbox(contextIn(run)));
    targetSuite({
      test: (name, work) => it(name, work, 15 * MINUTES),
      options: { bigBytes: 9 * MIB, patienceMs: 5 * MINUTES },
      open: () => {
        const root = `${run}/${++cases}/`;
        const memory = memoryOf();
        const target = openDropboxTarget(contextIn(root, memory), { partBytes: 4 * MIB });
        return {
          target,
          cleanup: () => target.close(),
          reopen: () => openDropboxTarget(contextIn(root, memory)),
          foreignWrite: async (key, bytes) => {
            const stranger = openDropboxTarget(contextIn(root));
            await stranger.put(key, sourceOf(bytes));
            await stranger.close();
          },
        };
      },
    });
  });
