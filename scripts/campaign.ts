/**
 * The long proof: kills, power cuts and crowds, of saves and of what brings back and forgets, against a record of what was accepted; and what Drive may do to uploads.
 *
 *     npm run campaign [-- --short] [--seed N] [--only kills|back|power|crowd|suite|uploads|machines|deaths|halfway]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { createBackVictim, deeds } from "./campaign/back.ts";
import { bundleChildren, type Bundle } from "./campaign/bundle.ts";
import { crowd } from "./campaign/crowd.ts";
import { driveCrowd } from "./campaign/drive-crowd.ts";
import { createDriveVictim, moments, type Moment, resumedShare } from "./campaign/drive-kill.ts";
import { suiteUnder, troubles } from "./campaign/drive-suite.ts";
import { faultyUploads } from "./campaign/drive-uploads.ts";
import { calls, createVictim, journal, whyNoStrace } from "./campaign/kill.ts";
import { createOutage, whyNoVolume } from "./campaign/power.ts";
import { makeRoot, removeRoot } from "./campaign/root.ts";
import { anySeed } from "../src/testing/random.ts";

const { values } = parseArgs({
  options: { short: { type: "boolean", default: false }, seed: { type: "string" }, only: { type: "string" } },
});
const seed = values.seed === undefined ? anySeed() : Number(values.seed);
const size = values.short
  ? { rounds: 1, kills: 40, perRoot: 20, backs: 3, cuts: 6, perVolume: 3, lines: 100, uploads: 1000, deaths: 3, crowds: 1 }
  : {
      rounds: 4,
      kills: 240,
      perRoot: 20,
      backs: 60,
      cuts: 120,
      perVolume: 12,
      lines: 500,
      uploads: 10_000,
      deaths: 60,
      crowds: 6,
    };

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

/** Restores, undos, prunes, erasures and decisions that are killed; every root has all of them. */
async function back(program: string): Promise<void> {
  const none = whyNoStrace();
  if (none !== undefined) console.log(`no kills at system calls here: ${none}`);
  let kills = 0;
  for (let round = 0; round < size.backs; round++) {
    const victim = await createBackVictim(program, seed + round, none === undefined);
    for (const [n, deed] of deeds.entries()) {
      const own = seed + round * 1000 + n * 2;
      await check(`kill of ${deed}, round ${round}, seed ${own}`, () => victim.at(deed, own));
    }
    kills += victim.kills();
    victim.remove();
  }
  console.log(`  ${kills} kills of ${size.backs * deeds.length * 2} runs that bring back, settle, prune and erase`);
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

/** The target suite on the Drive driver, under each trouble by itself. */
async function suite(): Promise<void> {
  for (const trouble of troubles) {
    if (values.short && trouble.wait !== undefined) {
      skipped++;
      console.log(`SKIPPED ${trouble.name}: it takes minutes`);
    } else await check(`target suite under ${trouble.name}, seed ${seed}`, () => suiteUnder(trouble, seed));
  }
}

async function machines(program: string): Promise<void> {
  const lags = [{}, { nameMs: 3000 }, { nameMs: 3000, parentMs: 1000 }];
  for (let round = 0; round < size.crowds; round++)
    for (const lag of lags)
      for (const processes of [2, 8])
        for (const apart of [false, true]) {
          const what = `${processes} ${apart ? "machines" : "processes"} at once, lag ${JSON.stringify(lag)}`;
          const drive = { seed: seed + round, lag };
          await check(`${what}, seed ${seed + round}`, () =>
            driveCrowd(program, { processes, machines: apart, files: 5, drive }),
          );
        }
}

async function deaths(program: string): Promise<void> {
  for (let round = 0; round < size.deaths; round++) {
    const victim = await createDriveVictim(program, seed + round);
    for (const [n, moment] of (Object.keys(moments) as Moment[]).entries()) {
      const own = seed + round * 100 + n;
      await check(`kill during ${moment}, round ${round}, seed ${own}`, () => victim.at(moment, own));
    }
    await victim.remove();
  }
  console.log(`  ${size.deaths * Object.keys(moments).length} kills during uploads`);
}

async function halfway(program: string): Promise<readonly string[]> {
  const { share, problems } = await resumedShare(program, 64 * 2 ** 20);
  console.log(`  64 MiB, killed half-way: ${share.toFixed(4)} times its bytes`);
  return share > 1.1 ? [...problems, `${share} times its bytes were sent`] : problems;
}

const parts: Readonly<Record<string, (bundle: Bundle) => Promise<void>>> = {
  kills: ({ writer }) => kills(writer),
  back: (bundle) => back(bundle.back),
  power: ({ writer }) => power(writer),
  crowd: ({ writer }) => check(`8 processes, ${size.lines} appends each`, () => crowd(writer, 8, size.lines)),
  suite,
  uploads: () =>
    check(`${size.uploads} faulty uploads, seed ${seed}`, () => faultyUploads(size.uploads, size.uploads / 20, seed)),
  machines: ({ drive }) => machines(drive),
  deaths: ({ drive }) => deaths(drive),
  halfway: ({ drive }) => check("64 MiB, killed half-way", () => halfway(drive)),
};

console.log(`campaign${values.short ? " (short)" : ""}, seed ${seed}`);
const bundle = await bundleChildren();
try {
  for (const [name, part] of Object.entries(parts)) {
    if (values.only !== undefined && values.only !== name) continue;
    console.log(name);
    await part(bundle);
  }
} finally {
  bundle.remove();
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exitCode = failed > 0 ? 1 : 0;
