/**
 * `aftersave status`: whether the memory is safe, plainly.
 * @module
 */
import { join } from "node:path";
import type { Command } from "commander";
import type { Memory, Status, TargetStatus } from "../../index.ts";
import { exits, type Cli } from "../cli.ts";
import { ago, bytes, plural, sayWriters, took } from "../words.ts";

export function define(command: Command, cli: Cli): void {
  exits(
    command
      .description("Says whether the memory is safe: what is pending, failed or in conflict, and where each target stands.")
      .option("--check", "answer with the exit code whether all is safe"),
    {
      0: "done (with --check: all is safe)",
      1: "with --check: something failed, or has been pending for more than 15 minutes, or no target is enabled",
      2: "wrong usage or configuration",
      4: "with --check: not signed in at a target",
      5: "with --check: held, in conflict, kept here for a secret, another memory root owns a target's place, or the changelog was found altered: a person must decide",
    },
  ).action(async ({ check }: { check?: boolean }) => {
    const memory = await cli.memory();
    const status = await memory.status();
    const exit = memory.check(status);
    cli.out.answer(status, () => say(status, exit, memory, cli));
    if (check === true) cli.exit = exit;
  });
}

/** The one sentence that matters. */
function verdict(
  { files, pending, failed, conflicts, held, blocked, erasing, altered, unprotected_bytes, targets }: Status,
  exit: number,
): [boolean, string] {
  const enabled = Object.values(targets).filter((target) => target.enabled);
  if (erasing > 0)
    return [
      false,
      `${plural(erasing, "place")} at targets may still have what was erased: each \`aftersave flush\` tries again.`,
    ];
  if (files + pending + failed + blocked + unprotected_bytes === 0 && exit === 0) return [true, "Nothing is kept here yet."];
  if (enabled.length === 0) return [false, "Not safe: no target is enabled, all of it is on this machine only."];
  if (enabled.some(({ state }) => state === "signed_out")) return [false, "Not safe: a target is signed out."];
  if (conflicts + held > 0)
    return [false, `A person must decide: ${conflicts > 0 ? plural(conflicts, "conflict") : `${held} held`}.`];
  if (altered > 0) return [false, "A person must look: the changelog was found altered."];
  if (enabled.some(({ code }) => code === "E_TARGET_IN_USE"))
    return [false, "A person must decide: another memory root owns a target's place."];
  if (blocked > 0) return [false, `A person must decide: ${plural(blocked, "upload")} kept here, for what they hold.`];
  if (failed > 0) return [false, `Not safe: ${plural(failed, "upload")} failed.`];
  if (exit !== 0) return [false, "Not safe: uploads have been pending for too long, or a log cannot be written."];
  const handed = enabled.flatMap(({ handed_over }) => handed_over ?? []).join(" and ");
  if (enabled.every(({ same_device, handed_over }) => same_device === true && handed_over === null))
    return [false, "Mirrored on this disk only: that does not protect from the end of this disk."];
  if (pending > 0) return [false, `Not yet safe: ${plural(pending, "upload")} on the way.`];
  if (handed !== "" && enabled.every(({ same_device, handed_over }) => same_device === true || handed_over !== null))
    return [false, `Handed over to ${handed}: whether it arrives there is not seen from here.`];
  if (unprotected_bytes > 0) return [false, `Not safe: ${bytes(unprotected_bytes)} are on no other device.`];
  if (handed !== "")
    return [true, `Safe: every file is on another device, verified; what was handed over to ${handed} is not seen from here.`];
  return [true, "Safe: every file is on every target that it goes to, verified."];
}

function sayProven({ last_proven_restore_at: at, proven_restore: proven }: TargetStatus): string[] {
  if (at === null || proven === null) return [];
  return [`a restore of ${plural(proven.files, "file")} was proven ${ago(at)}, took ${took(proven.ms)}`];
}

function standing(target: TargetStatus): string {
  const { enabled, state, same_device, handed_over, last_success_at, pending, failed, code, writers } = target;
  if (!enabled) return "disabled";
  const words: Record<Exclude<TargetStatus["state"], "disabled">, string> = {
    ok: "ok",
    new: "nothing was sent to it yet",
    failing: code === "E_TARGET_IN_USE" ? `another memory root owns this place (${code})` : `failing (${code})`,
    unreachable: `cannot be reached (${code})`,
    signed_out: `signed out (${code})`,
  };
  return [
    state === "disabled" ? "" : words[state],
    ...(handed_over !== null
      ? [`handed over to ${handed_over}, not verified`]
      : same_device === true
        ? ["mirrored on this disk only"]
        : []),
    ...(last_success_at === null ? [] : [`last upload ${ago(last_success_at)}`]),
    ...(pending > 0 ? [`${pending} pending`] : []),
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...sayProven(target),
    ...sayWriters(writers),
  ].join(", ");
}

/** Where a target has `key`, as people find it. */
function placeAt({ config }: Memory, name: string, key: string): string {
  const target = config.targets.find((one) => one.name === name);
  const at = `${target?.root ?? ""}${key}`;
  return target?.type === "folder" ? join(String(target.options["path"]), at) : at;
}

const SHOWN = 5;

const contentOf = (whose: string | null) => (whose === null ? "someone else's content" : `what ${whose} saved meanwhile`);

/** Which files are in conflict, where theirs is, and what to do. */
function sayConflicts({ conflict_list: all }: Status, memory: Memory): string[] {
  if (all.length === 0) return [];
  return [
    ...all
      .slice(0, SHOWN)
      .map(
        ({ file, target, kept_as, whose }) =>
          `  ${file}: ${contentOf(whose)} is kept on ${target} as ${placeAt(memory, target, kept_as)}`,
      ),
    ...(all.length > SHOWN ? [`  and ${all.length - SHOWN} more: \`aftersave doctor\` names them all`] : []),
    "Compare theirs with ours, save what should stay, then run `aftersave doctor --fix` to say that you have looked.",
  ];
}

/** Which files the gate keeps here. */
function sayBlocked({ blocked_list: all }: Status): string[] {
  if (all.length === 0) return [];
  return [
    ...all
      .slice(0, SHOWN)
      .map(
        ({ file, target, code }) =>
          `  ${file} is not sent to ${target}${code === "E_ERASED" ? ": it holds what was erased" : ""}`,
      ),
    ...(all.length > SHOWN ? [`  and ${all.length - SHOWN} more`] : []),
    ...(all.some(({ code }) => code === "E_BLOCKED")
      ? ["`aftersave secrets` says what was found, where, and what can be done."]
      : []),
    ...(all.some(({ code }) => code === "E_ERASED")
      ? ["What was erased came back from outside: erase it again, or let it back in with `aftersave erase --lift ID`."]
      : []),
  ];
}

/** What to do about failed uploads. */
function next(targets: readonly TargetStatus[]): string {
  const codes = targets.filter(({ failed }) => failed > 0).map(({ code }) => code);
  if (codes.includes("E_TARGET_IN_USE"))
    return "Give this memory root another `drive_root` or target in paths.json, or run `aftersave targets join NAME`; then `aftersave flush`.";
  const statuses = new Set(codes.map((code) => (code === "E_TOKEN_MISSING" ? "token_missing" : "fail")));
  const filter = statuses.size === 1 ? ` --status ${[...statuses].join("")}` : "";
  return `See \`aftersave log uploads${filter}\`; \`aftersave flush\` tries again.`;
}

function say(status: Status, exit: number, memory: Memory, { out }: Cli): string {
  const { root, config } = memory;
  const { files, pending, failed, held_uploads, oldest_pending_at, unprotected_bytes, targets } = status;
  const [safe, sentence] = verdict(status, exit);
  const names = Object.keys(targets);
  const wide = Math.max(...names.map((name) => name.length));
  const kinds = Math.max(...Object.values(targets).map(({ type }) => type.length));
  return [
    out.paint(safe ? "green" : exit === 0 ? "yellow" : "red", sentence),
    `${root}: ${plural(files, "file")}` +
      (unprotected_bytes > 0 ? `, ${bytes(unprotected_bytes)} on no other device` : "") +
      (oldest_pending_at === null
        ? ""
        : pending + failed + held_uploads === 0
          ? `, its history since ${ago(oldest_pending_at)} is on no target yet`
          : `, the oldest unfinished upload is from ${ago(oldest_pending_at)}`),
    ...names.map((name) => {
      const target = targets[name] as TargetStatus;
      return `  ${name.padEnd(wide)}  ${target.type.padEnd(kinds)}  ${standing(target)}`;
    }),
    ...sayConflicts(status, memory),
    ...(status.held > 0
      ? ["`aftersave history --held` lists what the guard holds; `accept VERSION` or `reject VERSION` settles it."]
      : []),
    ...sayBlocked(status),
    ...(status.altered > 0
      ? ["`aftersave verify` says how the changelog was altered, and when; `aftersave doctor --fix` says that you have looked."]
      : []),
    ...(failed > 0 ? [next(Object.values(targets))] : []),
    ...(failed === 0 && oldest_pending_at !== null ? ["`aftersave flush` uploads now, and waits."] : []),
    ...config.warnings.map((warning) => `${out.paint("yellow", "note:")} ${warning}`),
    ...config.notActedOn.map(({ path, why }) => `${out.paint("yellow", "note:")} paths.json: ${path} has no effect: ${why}`),
  ].join("\n");
}
