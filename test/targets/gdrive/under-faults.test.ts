/**
 * The target suite under Drive's faults: each of them at length in `npm run campaign`, here what writes under the mixture, and
 * for what costs time (waiting for a time limit) the cases that it is about.
 */
import { expect, it } from "vitest";
import { suiteUnder, troubles } from "../../../scripts/campaign/drive-suite.ts";
import { anySeed } from "../../../src/testing/random.ts";

const seed = anySeed();

it.each([
  ["at once", /^(put|copy|remove|races|repeats|batches): /],
  ["etags that move", /^(put|copy|remove): /],
  ["pieces", /./],
  ["stall", /^(put|repeats): /],
])("%s", async (name, only) => {
  const trouble = troubles.find((one) => one.name.includes(name));
  expect(trouble).toBeDefined();
  if (trouble) expect(await suiteUnder({ only, ...trouble }, seed), `${trouble.name}, seed ${seed}`).toEqual([]);
});
