/**
 * The driver on a real repository, for whoever has one. It fills a release of its own, which it empties again; GitHub
 * allows 500 writes an hour, so a whole run is slow and may have to wait.
 *
 *     AFTERSAVE_LIVE_GITHUB_REPO=me/scratch GH_TOKEN=… npx vitest run test/live/github.test.ts
 */
import { randomBytes } from "node:crypto";
import { describe, it } from "vitest";
import { stack, type Target } from "../../src/core/target.ts";
import { createGithubTarget } from "../../src/targets/github.ts";
import { sourceOf } from "../../src/testing/source.ts";
import { targetSuite } from "../../src/testing/target-suite.ts";
import { withRetry } from "../../src/wraps/retry.ts";
import { contextFor, memoryOf } from "../targets/github/place.ts";

const { AFTERSAVE_LIVE_GITHUB_REPO: repo } = process.env;
const MINUTES = 60_000;

if (!repo) it.skip("GitHub, live (SKIPPED: AFTERSAVE_LIVE_GITHUB_REPO names no repository)");
else
  describe("GitHub, live", () => {
    const tag = `aftersave-live-${randomBytes(4).toString("hex")}`;
    let cases = 0;
    const openIn = (root: string, memory = memoryOf()): Target =>
      stack(createGithubTarget(contextFor({ root, memory, env: process.env, options: { repo, tag } })), withRetry({}));
    targetSuite({
      test: (name, work) => it(name, work, 90 * MINUTES),
      options: { manyEntries: 12, bigBytes: 1024 * 1024, patienceMs: 60 * MINUTES },
      open: () => {
        const root = `${++cases}/`;
        const memory = memoryOf();
        const target = openIn(root, memory);
        return {
          target,
          cleanup: async () => {
            const sweeper = openIn(root);
            for await (const { key } of sweeper.list("")) await sweeper.remove(key);
            await Promise.all([sweeper.close(), target.close()]);
          },
          reopen: () => openIn(root, memory),
          foreignWrite: async (key, bytes) => {
            const stranger = openIn(root);
            await stranger.put(key, sourceOf(bytes));
            await stranger.close();
          },
        };
      },
    });
  });
