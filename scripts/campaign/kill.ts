/**
 * `kill -9` at each step of the journal and at random moments, against a record of what was accepted.
 * @module
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Step } from "../../src/memory/journal.ts";
import { seededRandom } from "../../src/testing/random.ts";
import { examine, type Examined } from "./check.ts";
import { startWriter, type Ended } from "./child.ts";
import type { Act, Did } from "./orders.ts";
import { run } from "./power.ts";

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

/** System calls of a save, with how often the script below comes to each in one thread at least. */
export const calls: readonly (readonly [call: string, times: number])[] = [
  ["write", 4],
  ["rename", 3],
  ["link", 2],
  ["unlink", 3],
  ["fsync", 8],
  ["fdatasync", 6],
  ["utimensat", 3],
  ["pwrite64", 60],
];

/** Why calls cannot be intercepted here; undefined when they can. */
export function whyNoStrace(): string | undefined {
  try {
    run("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1000", "true");
    return undefined;
  } catch (error) {
    return `strace cannot inject faults here: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`;
  }
}

/** A root that is killed again and again, and what must be in it by now. */
export function createVictim(writer: string, root: string) {
  const accepted: Did[] = [];

  /** Compares, and takes what an unanswered save became as accepted from now on. */
  const settle = async (ended: Ended): Promise<Examined> => {
    accepted.push(...ended.accepted);
    // a kill can stop the stranger between emptying its file and writing it: what lay there is versioned as theirs
    const foreign = (key: string) => key.startsWith("Foreign/");
    const examined = await examine(root, { accepted, unsure: ended.unsure, foreign });
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
    /** Dies as it enters a system call for the nth time in one of its threads, before the call is done. */
    async atCall(call: string, nth: number, seed: number): Promise<readonly string[]> {
      const key = `Calls/${call}-${nth}.txt`;
      const script = (["append", "append", "replace", "stream", "saved-growth", "archive", "append"] as const).map((act, n) => ({
        act,
        key,
        size: n === 1 ? 1_700_000 : 2000, // the second is written in several pieces
      }));
      // writes are counted where they tell most: in the live file, and in the state
      const path =
        call === "write" ? join(root, "Data", key) : call === "pwrite64" ? join(root, ".aftersave/state.db-wal") : undefined;
      const only = path === undefined ? [] : ["-P", path];
      const inject = `inject=${call}:signal=SIGKILL:when=${nth}`;
      const strace = ["strace", "-f", "-qq", "-o", "/dev/null", ...only, "-e", `trace=${call}`, "-e", inject];
      const ended = await startWriter(writer, { root, seed, count: 0, script }, strace).ended;
      const { problems } = await settle(ended);
      const isKilled = ended.signal === "SIGKILL" || ended.code === 137;
      return isKilled ? problems : [...problems, `the child did not come to ${call} ${nth}: ${ended.stderr}`];
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
