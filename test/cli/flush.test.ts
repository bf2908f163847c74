/** What `flush` answers when it is stopped on the way. */
import { Command } from "commander";
import { expect, test } from "vitest";
import type { Cli } from "../../src/cli/cli.ts";
import { define } from "../../src/cli/commands/flush.ts";
import { AftersaveError, type DrainOptions, type Outcome } from "../../src/index.ts";

const outcome = (file: string, status: Outcome["status"]): Outcome => ({
  file,
  target: "drive",
  status,
  attempts: 1,
  drive_path: null,
  notes: "",
  ...(status === "success" ? {} : { code: "E_TARGET_TRANSIENT" }),
  version: null,
  sha256: null,
  size: null,
});

/** Flushes `outcomes` of `jobs`, then meets a full disk; with `blind` the state cannot be asked any more either. */
async function flush(jobs: number, outcomes: readonly Outcome[], blind = false) {
  const full = new AftersaveError("E_NO_SPACE", "the disk is full", { hint: "Free some space." });
  let asked = 0;
  const answers: unknown[] = [];
  const told: string[] = [];
  const left = jobs - outcomes.filter(({ status }) => status === "success").length;
  const cli = {
    exit: 0,
    debug: false,
    told: [],
    interrupted: () => new AbortController().signal,
    memory: async () => ({
      config: { targets: [] },
      async status() {
        if (asked++ > 0 && blind) throw full;
        return { pending: asked > 1 ? left : jobs, failed: 0, blocked: 0, held_uploads: 0, erasing: 0 };
      },
      async flush({ onOutcome }: DrainOptions) {
        for (const each of outcomes) onOutcome?.(each);
        throw full;
      },
    }),
    out: {
      answer: (value: unknown) => void answers.push(value),
      fail: (text: string) => void told.push(text),
      progress: () => undefined,
      paint: (_: string, text: string) => text,
    },
  };
  const command = new Command("flush");
  define(command, cli as unknown as Cli);
  await command.parseAsync([], { from: "user" });
  return { answers, told: told.join("\n"), exit: cli.exit };
}

const error = { code: "E_NO_SPACE", message: "the disk is full", hint: "Free some space." };

test.each([false, true])(
  "what was uploaded before the disk was full is counted, exit 3; state readable: not %s",
  async (blind) => {
    const done = [outcome("a", "success"), outcome("b", "fail")];
    const { answers, told, exit } = await flush(5, done, blind);
    expect(answers).toEqual([{ uploaded: 1, skipped: 0, failed: 1, pending: 3, held: 0, erasing: 0, error }]);
    expect(exit).toBe(3);
    expect(told).toContain("the disk is full\n  Free some space.\n  (E_NO_SPACE)");
    expect(told).not.toContain("Nothing was changed");
  },
);

test("when nothing was uploaded the error's own exit code counts", async () => {
  expect(await flush(2, [])).toMatchObject({
    answers: [{ uploaded: 0, skipped: 0, failed: 0, pending: 2, held: 0, erasing: 0, error }],
    exit: 1,
  });
});
