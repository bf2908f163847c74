import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { seededRandom, anySeed } from "../../src/testing/random.ts";
import { sha256 } from "../memory/root.ts";
import { DAY, keepingRoots } from "./root.ts";

const roots = keepingRoots();
const first = anySeed();

test.each([0, 1, 2, 3, 4, 5])(`random saves, pins and prunes lose no version (seed ${first} + %i)`, async (nth) => {
  const random = seededRandom(first + nth);
  const upTo = (n: number) => 1 + Math.floor(random() * n);
  const rule = () => ({
    keep_last: upTo(3),
    ...(random() < 0.5 && { keep_daily: upTo(3) }),
    ...(random() < 0.3 && { keep_tag: ["t"] }),
  });
  const targets = { ...(random() < 0.7 && { drive: rule() }), ...(random() < 0.7 && { usb: rule() }) };
  const { memory, clock, path, places } = await roots.fresh({ "*": { ...rule(), on_targets: targets } });
  const keys = ["Meta/A.txt", "Core/B.txt"];
  const known = new Map<string, { key: string; sha256: string }>();
  const pinned = new Set<string>();

  for (let n = 0; n < 60; n++) {
    const key = keys[upTo(2) - 1] as string;
    clock.pass(upTo(DAY));
    const what = random();
    const tags = random() < 0.2 ? ["t"] : [];
    if (what < 0.3) {
      const { version, sha256: hash } = await memory.append(key, `${n} more\n`, { tags });
      known.set(version, { key, sha256: hash as string });
    } else if (what < 0.75) {
      const { version, sha256: hash } = await memory.replace(key, `${n} `.repeat(upTo(9)), { tags });
      known.set(version, { key, sha256: hash as string });
    } else if (what < 0.8) {
      const version = [...known.keys()].at(-upTo(known.size));
      if (version !== undefined) pinned.add((await memory.pin(version)).version);
    } else if (what < 0.9) await memory.flush();
    else expect((await memory.prune()).left).toEqual([]);
  }
  await memory.flush();
  const plan = await memory.planPrune();
  expect((await memory.prune()).left).toEqual([]);
  expect((await memory.planPrune()).removes).toEqual([]);

  for (const [version, { key, sha256: hash }] of known) {
    const pieces: Uint8Array[] = [];
    for await (const piece of (await memory.show(key, { version })).open()) pieces.push(piece);
    expect(sha256(Buffer.concat(pieces)), version).toBe(hash);
  }
  for (const { at, copy, version, kept_by } of plan.versions) {
    if (copy === null) continue;
    const there =
      at === "here" ? existsSync(path(copy)) : places[at as "drive" | "usb"].objects().some(({ key }) => key === copy);
    expect(there, `${version} ${at} ${kept_by.join()}`).toBe(kept_by.length > 0);
    if (pinned.has(version)) expect(kept_by).toContain("pinned");
  }
});
