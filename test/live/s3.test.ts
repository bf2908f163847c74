/**
 * The driver on a real bucket, for whoever has one. It writes below a prefix of its own, which it empties again.
 *
 *     AFTERSAVE_LIVE_S3_BUCKET=my-bucket AWS_REGION=eu-central-1 npx vitest run test/live/s3.test.ts
 *
 * Further variables: `AFTERSAVE_LIVE_S3_ENDPOINT`, `AFTERSAVE_LIVE_S3_PROFILE`, and the customary `AWS_…`.
 */
import { randomBytes } from "node:crypto";
import { describe, it } from "vitest";
import type { Target } from "../../src/core/target.ts";
import { sourceOf } from "../../src/testing/source.ts";
import { targetSuite } from "../../src/testing/target-suite.ts";
import { memoryOf, openAt } from "../targets/s3/place.ts";

const {
  AFTERSAVE_LIVE_S3_BUCKET: bucket,
  AFTERSAVE_LIVE_S3_ENDPOINT: endpoint,
  AFTERSAVE_LIVE_S3_PROFILE: profile,
} = process.env;
const MINUTES = 60_000;
const MIB = 1024 * 1024;

if (!bucket) it.skip("S3, live (SKIPPED: AFTERSAVE_LIVE_S3_BUCKET names no bucket)");
else
  describe("S3, live", () => {
    const run = `aftersave-live-${randomBytes(4).toString("hex")}`;
    const known = new Map<string, string>();
    let cases = 0;
    const openIn = (root: string, memory = memoryOf(new Map(known))): Promise<Target> =>
      openAt(
        { endpoint: endpoint ?? "", accessKeyId: "", secretAccessKey: "", bucket },
        { memory, root, env: process.env, options: { endpoint, profile }, tuning: { partBytes: 5 * MIB } },
      );
    targetSuite({
      test: (name, work) => it(name, work, 15 * MINUTES),
      options: { bigBytes: 10 * MIB + 1, patienceMs: 5 * MINUTES },
      open: async () => {
        const root = `${run}/${++cases}/`;
        const memory = memoryOf(new Map(known));
        const target = await openIn(root, memory);
        return {
          target,
          cleanup: async () => {
            const abilities = await memory.get("abilities");
            if (abilities !== undefined) known.set("abilities", abilities);
            const sweeper = await openIn(root);
            for await (const { key } of sweeper.list("")) await sweeper.purge?.(key);
            await Promise.all([sweeper.close(), target.close()]);
          },
          reopen: () => openIn(root, memory),
          foreignWrite: async (key, bytes) => {
            const stranger = await openIn(root, memoryOf(new Map(known)));
            await stranger.put(key, sourceOf(bytes));
            await stranger.close();
          },
        };
      },
    });
  });
