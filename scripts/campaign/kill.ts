/**
 * `kill -9` at each step of the journal and at random moments, against a record of what was accepted.
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Step } from "../../src/memory/journal.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { examine, type Examined } from "./check.ts";
import { startWriter, type Ended } from "./child.ts";
import type { Act, Did } from "./orders.ts";

/** Every act with the steps that it comes through. */
export const journal: readonly { readonly act: Act; readonly steps: readonly Step[] }[] = [
  { act: "first", steps: ["begun", "headed", "written", "accepted", "cleaned"] },
  { act: "append", steps: ["begun", "headed", "written", "accepted", "cleaned"] },
  { act: "replace", steps: ["begun", "archived", "headed", "written", "accepted", "cleaned"] },
  { act: "stream", steps: ["begun", "archived", "headed", "written", "accepted", "cleaned"] },
  { act: "archive", steps: ["begun", "archived", "written", "accepted", "cleaned"] },
  { act: "saved-growth", steps: ["begun", "headed", "written", "accepted", "cleaned"] },
  { act: "saved-whole", steps: ["begun", "archived", "headed", "written", "accepted", "cleaned"] },
  { act: "saved-removal", steps: ["begun", "archived", "written", "accepted", "cleaned"] },
];

/** A root that is killed again and again, and what must be in it by now. */
export function createVictim(writer: string, root: string) {
  const accepted: Did[] = [];

  /** Compares, and takes what an unanswered save became as accepted from now on. */
  const settle = async (ended: Ended): Promise<Examined> => {
    accepted.push(...ended.accepted);
    const examined = await examine(root, { accepted, unsure: ended.unsure });
    const known = new Set(accepted.map(({ version }) => version));
    for (const { version, file, sha256, size, archived_as } of examined.versions)
      if (!known.has(version)) accepted.push({ did: "append", version, file, sha256, size, archived_as });
    return examined;
  };

  return {
    accepted: () => accepted.length,
    /** Dies at `step` of `act`. Answers what is broken then. */
    async atStep(act: Act, step: Step, seed: number): Promise<readonly string[]> {
      const key = `Own/${act}-${step}.txt`;
      const first = act === "first" ? [] : [{ act: "append" as const, key }];
      const script = [...first, { act, key }];
      const ended = await startWriter(writer, { root, seed, count: 0, script, kill: { step, nth: 1 } }).ended;
      const { problems } = await settle(ended);
      return ended.signal === "SIGKILL"
        ? problems
        : [...problems, `the child did not come to ${step} of ${act}: ${ended.stderr}`];
    },
    /** Dies at a moment that `seed` chooses, up to `withinMs` after it began to save. */
    async atRandom(seed: number, withinMs: number): Promise<readonly string[]> {
      const running = startWriter(writer, { root, seed, count: 10_000 });
      await running.ready;
      await pause(seededRandom(seed ^ 0x5bd1e995)() * withinMs);
      running.kill();
      const ended = await running.ended;
      const { problems } = await settle(ended);
      return ended.signal === "SIGKILL" ? problems : [...problems, `the child ended by itself: ${ended.stderr}`];
    },
  };
}
