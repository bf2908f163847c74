/**
 * `aftersave sync-file PATH…`: uploads now, and waits.
 * @module
 */
import type { Command } from "commander";
import { asAftersaveError, type FileResult } from "../../index.ts";
import { exitOfUploads } from "../exits.ts";
import { exits, pathOf, type Cli } from "../cli.ts";
import { metaOf, withMeta, type MetaOptions } from "../meta.ts";
import { warnOfOpenToken } from "../token-mode.ts";
import { outcomeWord } from "../words.ts";

const AT_ONCE = 4;

export function define(command: Command, cli: Cli): void {
  exits(
    withMeta(
      command
        .description("Uploads files to each of their targets now, waits, and logs the outcome.")
        .argument("<PATH...>", "memory files: paths, or keys (Meta/Notes.txt)")
        .option("-V, --version", "print the version"),
    ),
    {
      0: "every file is on every target",
      1: "none of it worked",
      2: "wrong usage, key or configuration; nothing was changed",
      3: "some of it worked, some did not",
      4: "not signed in at the target",
      5: "in conflict, held or blocked: a person must decide",
    },
  ).action(async (texts: string[], flags: MetaOptions) => {
    const memory = await cli.memory();
    const paths = texts.map((text) => pathOf(memory, text));
    await warnOfOpenToken(memory, cli);
    const results: FileResult[] = [];
    const next = paths.entries();
    const work = async () => {
      for (const [at, path] of next)
        results[at] = await memory
          .upload(path, metaOf(flags), { asked: true })
          .catch((error: unknown) => failed(error, memory.keyOf(path), paths.length));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    const bad = results.filter((result) => exitOfUploads(result.targets) !== 0);
    cli.out.answer(
      results.length === 1 ? results[0] : results,
      () => results.map((result) => say(result, cli)).join("\n"),
      () => bad.map((result) => say(result, cli)).join("\n"),
    );
    cli.exit = exitOfUploads(results.flatMap(({ targets }) => targets));
  });
}

/** A refused key among several paths hides nothing of what became of the others; a full disk is an outcome like any other. */
function failed(error: unknown, file: string, paths: number): FileResult {
  const { code, message, hint } = asAftersaveError(error, `uploading ${file}`);
  if (paths === 1 && code.startsWith("E_KEY")) throw error;
  const notes = hint === undefined ? message : `${message}. ${hint}`;
  const result = { status: "fail", attempts: 0, drive_path: null, notes, code } as const;
  return { file, ...result, targets: [{ target: "none", ...result }] };
}

const colour = { uploaded: "green", unchanged: "dim", conflict: "yellow", held: "yellow", failed: "red" } as const;

function say({ file, targets }: FileResult, { out }: Cli): string {
  const lines = targets.map((result) => {
    const word = outcomeWord(result);
    const where = result.drive_path === null ? "" : ` ${result.drive_path}`;
    const why = ["conflict", "held", "failed"].includes(word) ? `: ${result.notes}` : "";
    return `${out.paint(colour[word], word)} ${file} → ${result.target}${why === "" ? where : why}`;
  });
  return lines.join("\n");
}
