/**
 * The long proof: kills, power cuts and crowds, against a record of what was accepted.
 *
 *     npm run campaign [-- --short] [--seed N] [--only kills|power|crowd]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { bundleChildren } from "./campaign/bundle.ts";
import { crowd } from "./campaign/crowd.ts";
import { calls, createVictim, journal, whyNoStrace } from "./campaign/kill.ts";
import { createOutage, whyNoVolume } from "./campaign/power.ts";
import { makeRoot, removeRoot } from "./campaign/root.ts";
import { anySeed } from "../src/testing/random.ts";

const { values } = parseArgs({
  options: { short: { type: "boolean", default: false }, seed: { type: "string" }, only: { type: "string" } },
});
const seed = values.seed === undefined ? anySeed() : Number(values.seed);
const size = values.short
  ? { rounds: 1, kills: 40, perRoot: 20, cuts: 6, perVolume: 3, lines: 100 }
  : { rounds: 4, kills: 240, perRoot: 20, cuts: 120, perVolume: 12, lines: 500 };

let [passed, failed, skipped] = [0, 0, 0];

async function check(name: string, work: () => Promise<readonly string[]>): Promise<void> {
  const problems = await work().catch((error: unknown) => [
    error instanceof Error ? (error.stack ?? error.message) : String(error),
  ]);
  if (problems.length === 0) passed++;
  else failed++;
  if (problems.length > 0) console.log(`FAILED ${name}\n  ${problems.slice(0, 20).join("\n  ")}`);
}

async function kills(writer: string): Promise<void> {
  for (let round = 0; round < size.rounds; round++) {
    const root = makeRoot();
    const victim = createVictim(writer, root);
    for (const { act, steps } of journal)
      for (const step of steps) {
        const own = seed + round * 1000 + steps.indexOf(step);
        await check(`kill at ${step} of ${act}, seed ${own}`, () => victim.atStep(act, step, own));
      }
    for (const [call, times] of whyNoStrace() === undefined ? calls : [])
      for (let nth = 1; nth <= times; nth++) {
        const own = seed + round * 1000 + nth;
        await check(`kill at ${call} ${nth}, seed ${own}`, () => victim.atCall(call, nth, own));
      }
    removeRoot(root);
  }
  const none = whyNoStrace();
  if (none !== undefined) {
    skipped += size.rounds * calls.reduce((sum, [, times]) => sum + times, 0);
    console.log(`SKIPPED kills at system calls: ${none}`);
  }
  for (let first = 0; first < size.kills; first += size.perRoot) {
    const root = makeRoot();
    const victim = createVictim(writer, root);
    for (let n = first; n < first + size.perRoot; n++) {
      await check(`kill at a random moment, ${n - first + 1} of its root, seed ${seed + n}`, () =>
        victim.atRandom(seed + n, n % 5 === 0 ? 600 : 120),
      );
    }
    console.log(`  ${first + size.perRoot} kills at random moments, the last root had ${victim.accepted()} saves`);
    removeRoot(root);
  }
}

async function power(writer: string): Promise<void> {
  for (const type of ["ext4", "xfs"] as const) {
    const why = whyNoVolume(type);
    if (why !== undefined) {
      skipped += size.cuts / 2;
      console.log(`SKIPPED power cuts on ${type}: ${why}`);
      continue;
    }
    for (let first = 0; first < size.cuts / 2; first += size.perVolume) {
      const stateElsewhere = (first / size.perVolume) % 2 === (type === "ext4" ? 0 : 1);
      const place = `${type}${stateElsewhere ? ", state elsewhere" : ""}`;
      const outage = createOutage(writer, type, stateElsewhere);
      try {
        for (let n = first; n < first + size.perVolume; n++) {
          const own = seed + n + (type === "xfs" ? 500_000 : 0);
          await check(`power cut on ${place}, ${n - first + 1} of its volume, seed ${own}`, () =>
            outage.cut(own, n % 4 === 0 ? 900 : 200),
          );
        }
        console.log(`  ${first + size.perVolume} power cuts on ${place}, the last volume had ${outage.accepted()} saves`);
      } finally {
        outage.remove();
      }
    }
  }
}

const parts = {
  kills,
  power,
  crowd: (writer: string) => check(`8 processes, ${size.lines} appends each`, () => crowd(writer, 8, size.lines)),
};

console.log(`campaign${values.short ? " (short)" : ""}, seed ${seed}`);
const bundle = await bundleChildren();
try {
  for (const [name, part] of Object.entries(parts)) {
    if (values.only !== undefined && values.only !== name) continue;
    console.log(name);
    await part(bundle.writer);
  }
} finally {
  bundle.remove();
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed > 0 ? 1 : 0;
