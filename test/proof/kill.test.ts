/** Promise 1: an accepted save survives `kill -9` at any instant. `npm run campaign` does the same several hundred times. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { bundleChildren, type Bundle } from "../../scripts/campaign/bundle.ts";
import { calls, createVictim, journal, whyNoStrace } from "../../scripts/campaign/kill.ts";
import { makeRoot, removeRoot } from "../../scripts/campaign/root.ts";
import { anySeed } from "../../src/testing/random.ts";

const seed = anySeed();
let bundle: Bundle;
beforeAll(async () => {
  bundle = await bundleChildren();
});
afterAll(() => bundle.remove());

it.each(journal.map(({ act, steps }) => [act, steps] as const))("%s, killed at each step", async (act, steps) => {
  const root = makeRoot();
  const victim = createVictim(bundle.writer, root);
  for (const [n, step] of steps.entries())
    expect(await victim.atStep(act, step, seed + n), `${step}, seed ${seed + n}`).toEqual([]);
  removeRoot(root);
});

const none = whyNoStrace();
if (none !== undefined) process.stderr.write(`SKIPPED kills at system calls: ${none}\n`);

it.skipIf(none !== undefined).each(calls)("killed as it enters %s", async (call, times) => {
  const root = makeRoot();
  const victim = createVictim(bundle.writer, root);
  for (let nth = 1; nth <= times; nth += call === "pwrite64" ? 11 : times < 5 ? 1 : 3)
    expect(await victim.atCall(call, nth, seed + nth), `${nth}, seed ${seed + nth}`).toEqual([]);
  removeRoot(root);
});

it("killed at random moments, again and again, also during uploads, log export and the worker's run", async () => {
  const root = makeRoot();
  const victim = createVictim(bundle.writer, root);
  for (let n = 0; n < 16 || victim.accepted() <= 16; n++)
    expect(await victim.atRandom(seed + n, 150), `seed ${seed + n}`).toEqual([]);
  removeRoot(root);
});
