/**
 * `aftersave secrets [KEY]`, `secrets allow FINGERPRINT`, `secrets keep KEY`: what the gate found, and what becomes of it.
 * @module
 */
import type { Command } from "commander";
import { AftersaveError, type FileSecrets, type Memory } from "../../index.ts";
import { uploadInBackground } from "../background.ts";
import { exits, type Cli } from "../cli.ts";
import { plural } from "../words.ts";

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description(
        "Lists the files that are kept on this machine because they seem to hold a secret: which rule, line and column, and a " +
          "fingerprint that says nothing of the value. With KEY: what is found in that file. `allow FINGERPRINT` lets a value that is no " +
          "secret leave, `keep KEY` keeps the file here for good and asks no more until it is saved again.",
      )
      .argument("[KEY]", "a memory file or an archive copy; or allow, or keep")
      .argument("[VALUE]", "with allow: a fingerprint; with keep: a memory file or an archive copy"),
    { 0: "done, or nothing is kept here", 1: "failed", 2: "wrong usage or configuration; nothing was changed" },
  ).action(async (first: string | undefined, second: string | undefined) => {
    const action = first === "allow" || first === "keep" ? first : "list";
    if ((action === "list") !== (second === undefined))
      throw new AftersaveError("E_USAGE", action === "list" ? "one file at a time" : `${action} what?`, {
        hint: "Use `aftersave secrets [KEY]`, `aftersave secrets allow FINGERPRINT` or `aftersave secrets keep KEY`.",
      });
    const memory = await cli.memory();
    if (action === "allow") await allow(second ?? "", memory, cli);
    else if (action === "keep") await keep(second ?? "", memory, cli);
    else list(await memory.secrets(first), first, cli);
  });
}

function list(files: readonly FileSecrets[], asked: string | undefined, { out }: Cli): void {
  const nothing = asked === undefined ? "No file is kept from the targets." : "Nothing that looks like a secret is in it.";
  const shown = files.filter(({ count }) => count > 0);
  const one = ({ file, policy, count, findings, blocked_at }: FileSecrets): string[] => [
    `${out.paint("bold", file)}: ${plural(count, "finding")}, policy ${policy}` +
      (blocked_at.length > 0 ? `, ${out.paint("red", "not sent")} to ${blocked_at.join(", ")}` : ""),
    ...findings.map(
      ({ rule, line, column, fingerprint }) => `  ${rule} at line ${line}, column ${column}  ${out.paint("dim", fingerprint)}`,
    ),
    ...(count > findings.length ? [`  and ${count - findings.length} more`] : []),
  ];
  const next = shown.some(({ blocked_at }) => blocked_at.length > 0)
    ? [
        "Take a secret out and save again; an archive copy that holds one leaves only when it is allowed.",
        "`aftersave secrets allow FINGERPRINT` lets one leave, `aftersave secrets keep KEY` keeps the file here and asks no more.",
      ]
    : [];
  out.answer(files, () => (shown.length === 0 ? nothing : [...shown.flatMap(one), ...next].join("\n")));
}

async function allow(fingerprint: string, memory: Memory, cli: Cli): Promise<void> {
  const known = (await memory.secrets()).flatMap(({ findings }) => findings.map((finding) => finding.fingerprint));
  const allowed = memory.config.secrets.allowed.includes(fingerprint);
  if (!allowed && !known.includes(fingerprint))
    // what was given is not repeated: it may be the secret itself
    throw new AftersaveError("E_USAGE", "no file that is kept here has a finding with this fingerprint", {
      hint: "`aftersave secrets` lists them: a fingerprint is 16 hex digits, and never the value itself.",
    });
  const { allowFingerprint } = await import("../../config/allow.ts");
  const added = !allowed && (await allowFingerprint(memory.config.file, fingerprint));
  await uploadInBackground(cli, memory);
  cli.out.answer({ fingerprint, file: memory.config.file, added }, () =>
    added
      ? `allowed: ${fingerprint} stands in secrets_allowed of ${memory.config.file} now; what it kept here is uploaded next`
      : `${fingerprint} was allowed already`,
  );
}

async function keep(text: string, memory: Memory, cli: Cli): Promise<void> {
  const file = memory.keyOf(text);
  const targets = await memory.keepHere(file);
  cli.out.answer({ file, targets }, () =>
    targets.length === 0
      ? `${file} is not among the files that are kept from the targets; nothing was changed`
      : `${file} stays on this machine; it is not sent to ${targets.join(", ")} until it is saved again`,
  );
}
