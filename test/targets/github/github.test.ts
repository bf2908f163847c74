import { afterAll, beforeAll, describe, test } from "vitest";
import { targetSuite } from "../../../src/testing/target-suite.ts";
import { type Github, type Settings, startGithub } from "./emulator.ts";
import { memoryOf, openAt, writeAt } from "./place.ts";

const services: Record<string, Partial<Settings>> = {
  "as github.com is": { pageSize: 7 },
  "as an Enterprise server without digests is": { digests: false },
};

describe.each(Object.entries(services))("GitHub %s", (_, settings) => {
  let hub: Github;
  let cases = 0;
  beforeAll(async () => {
    hub = await startGithub(settings);
  });
  afterAll(() => hub.close());

  targetSuite({
    test,
    options: { manyEntries: 30, bigBytes: 600_000 },
    open: () => {
      const root = `case-${++cases}/`;
      const opening = { root, memory: memoryOf() };
      const target = openAt(hub, opening);
      return {
        target,
        cleanup: async () => {
          hub.assets.clear();
          await target.close();
        },
        reopen: () => openAt(hub, opening),
        foreignWrite: (key, bytes) => writeAt(hub, root + key, bytes),
      };
    },
  });
});
