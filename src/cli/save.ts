/**
 * What the three saves share: their options, and the telling of a receipt.
 * @module
 */
import type { Command } from "commander";
import { AftersaveError, EXIT, type Memory, type Receipt, type SaveOptions } from "../index.ts";
import { uploadInBackground } from "./background.ts";
import { exits, type Cli } from "./cli.ts";
import { exitOfUploads } from "./exits.ts";
import { withMeta, type MetaOptions } from "./meta.ts";
import { sayReceipt } from "./words.ts";

export interface SaveFlags extends MetaOptions {
  readonly ifSha256?: string;
  readonly wait?: boolean;
  readonly merge?: boolean;
  readonly file?: string;
}

export const asSave = (command: Command): Command =>
  exits(
    withMeta(command)
      .option("--if-sha256 <hex>", 'save only if the file holds this now ("absent": only if there is none)')
      .option("--wait", "wait until every target has it, or cannot have it"),
    {
      0: "accepted (with --wait: and on every target)",
      1: "failed, for instance because --if-sha256 did not hold; with --wait: no target has it",
      2: "wrong usage, key or configuration; nothing was changed",
      3: "with --wait: some targets have it, some do not",
      4: "with --wait: not signed in at a target",
      5: "held by the guard, or accepted into a file that is: a person must decide; with --wait also: in conflict",
    },
  );

export function saveOptions({ ifSha256, merge }: SaveFlags): SaveOptions {
  const how = merge === true ? { merge } : {};
  if (ifSha256 === undefined && merge === true)
    throw new AftersaveError("E_USAGE", "--merge needs --if-sha256", {
      hint: "Give the sha256 of the content that the new one was computed from; a receipt shows it.",
    });
  if (ifSha256 === undefined) return {};
  if (ifSha256 === "absent") return { if_sha256: null, ...how };
  if (/^[0-9a-f]{64}$/i.test(ifSha256)) return { if_sha256: ifSha256.toLowerCase(), ...how };
  throw new AftersaveError("E_USAGE", `--if-sha256 is neither a sha256 nor "absent": ${ifSha256}`, {
    hint: "A sha256 is 64 hex digits; a receipt and `aftersave log changes` show it.",
  });
}

/** Whether the file of an accepted save holds what waits for a person's decision. */
export const isHeld = async (memory: Memory, { file, warnings }: Receipt): Promise<boolean> =>
  warnings.length > 0 && (await memory.held()).some((held) => held.applied && held.file === file);

/** Tells the receipt of an accepted save, and sees to its uploads: now (`--wait`), else in the background. */
export async function accepted(cli: Cli, memory: Memory, receipt: Receipt, { wait }: SaveFlags): Promise<void> {
  const held = (await isHeld(memory, receipt)) ? EXIT.undecided : EXIT.ok;
  const warns = receipt.alarms.length + receipt.warnings.length > 0;
  if (wait !== true) {
    if (!receipt.unchanged) await uploadInBackground(cli, memory);
    cli.exit = held;
    const said = () => sayReceipt(receipt, cli.out.paint);
    cli.out.answer(receipt, said, () => (warns ? said() : ""));
    return;
  }
  const signal = cli.interrupted();
  const settled = await memory.settle(receipt, { asked: true, signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
    cli.out.warn("stopped waiting: the save is accepted, `aftersave flush` uploads it");
    return receipt;
  });
  const said = () => sayReceipt(settled, cli.out.paint);
  cli.exit = exitOfUploads(settled.uploads) || held;
  cli.out.answer(settled, said, () => (cli.exit === EXIT.ok && !warns ? "" : said()));
}
