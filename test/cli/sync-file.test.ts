/** What `sync-file` answers when a path is refused or a disk is full while others are uploaded. */
import { Command } from "commander";
import { expect, test } from "vitest";
import type { Cli } from "../../src/cli/cli.ts";
import { define } from "../../src/cli/commands/sync-file.ts";
import { AftersaveError, type ErrorCode, type FileResult } from "../../src/index.ts";

const done = { status: "success", attempts: 1, drive_path: "Drive/x", notes: "" } as const;

/** Syncs `files`; those in `faults` are refused so. */
async function sync(files: readonly string[], faults: Readonly<Record<string, ErrorCode>>) {
  const answers: unknown[] = [];
  const cli = {
    exit: 0,
    memory: async () => ({
      config: { dataDir: "", targets: [] },
      checkedKeyOf: (text: string) => text,
      keyOf: (path: string) => path,
      async upload(file: string): Promise<FileResult> {
        const code = faults[file];
        if (code !== undefined) throw new AftersaveError(code, "no", { hint: "Do." });
        return { file, ...done, targets: [{ target: "drive", ...done }] };
      },
    }),
    out: { answer: (value: unknown) => void answers.push(value) },
  };
  const command = new Command("sync-file");
  define(command, cli as unknown as Cli);
  await command.parseAsync(files, { from: "user" });
  return { answers, exit: cli.exit };
}

const failed = { status: "fail", attempts: 0, drive_path: null, notes: "no. Do." } as const;

test("a key refused on the way hides nothing of what became of the others", async () => {
  const { answers, exit } = await sync(["a", "b"], { b: "E_KEY_TWIN" });
  const bad = { ...failed, code: "E_KEY_TWIN" };
  expect(answers).toEqual([
    [
      { file: "a", ...done, targets: [{ target: "drive", ...done }] },
      { file: "b", ...bad, targets: [{ target: "none", ...bad }] },
    ],
  ]);
  expect(exit).toBe(3);
  expect((await sync(["a", "b"], { a: "E_KEY_TWIN", b: "E_KEY_FOLDER" })).exit).toBe(1);
});

test("a full disk is an outcome; the refused key of one path is an error", async () => {
  expect(await sync(["a"], { a: "E_NO_SPACE" })).toMatchObject({ answers: [{ ...failed, code: "E_NO_SPACE" }], exit: 1 });
  await expect(sync(["a"], { a: "E_KEY_TWIN" })).rejects.toMatchObject({ code: "E_KEY_TWIN" });
});
