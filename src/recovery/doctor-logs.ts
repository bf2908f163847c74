/**
 * The doctor's look at the logs: readable, whole, and the changelog the one that was written.
 * @module
 */
import { rmdir } from "node:fs/promises";
import { AftersaveError } from "../core/errors.ts";
import { changelogLine } from "../core/version.ts";
import { readLog, type Why } from "../logs/read.ts";
import { isAsWritten, parseChangelogLine, verifyChain, type ChainReport } from "../logs/verify.ts";
import type { Evidence } from "../state/evidence.ts";
import { LOGS, type LogName } from "../state/outbox.ts";
import { sayEvidence } from "./evidence.ts";
import { addedTo } from "./verify-local.ts";
import { faultOf, plural, statOf, type DoctorParts, type Found } from "./finding.ts";

/** The state's versions as lines of the changelog, which an erased one is not in the state. */
async function* linesOf({ saves }: DoctorParts["state"]): AsyncGenerator {
  for await (const version of saves.versions()) yield JSON.parse(changelogLine(version)) as unknown;
}

/** As long as a lock folder of the common convention may stand untouched. */
const STALE_MS = 10_000;

const sayBroken = ({ broken }: ChainReport) =>
  broken ? `line ${broken.line} shows that place ${broken.place} was ${broken.what}` : "";

/** The versions in the state are the ones that were accepted. */
export async function* checkHistory({ state }: DoctorParts): AsyncGenerator<Found, string> {
  const report = await verifyChain(linesOf(state));
  if (report.broken)
    yield {
      level: "error",
      code: "E_STATE_CORRUPT",
      message: `the chain of versions in the state is broken: ${sayBroken(report)}`,
      cure: "Run `aftersave doctor --rebuild`. If it stays so, that version was altered in the changelog too: every other one stands.",
    };
  return `${plural(report.verified, "version")} in one unbroken chain`;
}

export async function* checkLogs(parts: DoctorParts): AsyncGenerator<Found, string> {
  const { config, logs, state } = parts;
  const last = await state.saves.last();
  const seen = await state.evidence.list(); // what this very look finds out nobody has looked at
  const drained = () =>
    logs.drain({ sync: true }).then(
      () => undefined,
      (error: unknown) => faultOf(error, "writing the logs"),
    );
  const fault = await drained();
  for (const { message } of logs.notices)
    yield { message, cure: "Nothing to do; look at what was set aside if you miss something." };
  yield* checkEvidence(parts, seen);
  let lines = 0;
  for (const log of LOGS)
    try {
      lines += yield* checkLog(parts, log);
    } catch (error) {
      yield faultOf(error, `reading ${config.logs[log]}`);
    }
  if (last) yield* checkChain(parts, last);
  if (fault) yield { ...fault, fixed: parts.fix && (await drained()) === undefined };
  return `${plural(lines, "line")} readable, the changelog's chain is whole`;
}

/** What was noticed of the changelog stays until someone says with `--fix` that they have looked. */
async function* checkEvidence({ state, clock, note, fix }: DoctorParts, seen: readonly Evidence[]): AsyncGenerator<Found, void> {
  const shown = new Set(seen.map(({ id }) => id));
  for (const one of await state.evidence.list()) {
    const { level, what, why, next } = sayEvidence(one);
    const fixed = fix && shown.has(one.id);
    if (fixed) {
      note({ at: new Date(clock.now()).toISOString(), event: "evidence cleared", evidence: one });
      await state.evidence.clear([one.id]);
    }
    yield { level, code: "E_LOG_ALTERED", message: what, cure: `${why} ${next}`, fixed };
  }
}

async function* checkLog({ config, clock, fix }: DoctorParts, log: LogName): AsyncGenerator<Found, number> {
  const path = config.logs[log];
  const bad = new Map<Why, number>();
  let lines = 0;
  for await (const _ of readLog(path, { withRotated: true, onBad: ({ why }) => bad.set(why, (bad.get(why) ?? 0) + 1) })) lines++;
  for (const [why, n] of bad)
    if (why !== "blank")
      yield {
        message: `${plural(n, "line")} of ${path} cannot be read (${why})`,
        cure: "They are passed over. The other lines are not affected.",
      };
  const torn = await statOf(`${path}.torn`);
  if (torn)
    yield {
      message: `${path}.torn holds ${plural(torn.size, "byte")} that a crash or a power cut tore off`,
      cure: "What was accepted has been written again. Remove the file when you have looked at it.",
    };
  const lock = await statOf(`${path}.lock`);
  const age = lock ? clock.now() - lock.mtimeMs : 0;
  if (lock?.isDirectory() && age > STALE_MS) {
    const fixed = fix && (await rmdir(`${path}.lock`).then(() => true));
    yield {
      message: `${path}.lock was left ${plural(Math.floor(age / 1000), "second")} ago by a program that was killed`,
      cure: "It stops nobody. Remove the folder, or run `aftersave doctor --fix`.",
      fixed,
    };
  }
  return lines;
}

/** Lines that were accepted since `last` was read are not looked at: their export may be under way. */
async function* linesUntil(path: string, place: number): AsyncGenerator {
  for await (const { value, text } of readLog(path, { withRotated: true, withText: true })) {
    if (Number(value["place"]) > place) return;
    const version = "place" in value ? parseChangelogLine(value) : undefined;
    yield version && !isAsWritten(version, text) ? { place: version.place } : value; // says more than is parsed: nobody's word
  }
}

async function* checkChain(
  { config, state, logs, clock, note, fix }: DoctorParts,
  last: { place: number; sum: string },
): AsyncGenerator<Found, void> {
  const path = config.logs.changes;
  const look = () => verifyChain(linesUntil(path, last.place), last);
  const stateIsWhole = async () => (await verifyChain(linesOf(state))).broken === null;
  const mend = async (why: string) => {
    await logs.rewrite();
    note({ at: new Date(clock.now()).toISOString(), event: "changelog written anew", why, path });
    return (await look()).broken === null;
  };
  const report = await look();
  if (report.broken) {
    const isWhole = await stateIsWhole();
    yield {
      level: "error",
      code: "E_IO",
      message: `${path} is not what was written: ${sayBroken(report)}`,
      cure: isWhole
        ? "Run `aftersave doctor --fix`: it is written anew from the state; what is there now is moved beside it."
        : "The state's own chain is broken there too, so it cannot be written anew; every other line stands.",
      fixed: fix && isWhole && (await mend(sayBroken(report))),
    };
  }
  const why = await strangersIn(path, state, config.root);
  if (why !== undefined)
    yield {
      ...faultOf(
        new AftersaveError("E_LOG_FOREIGN", `another program or a person wrote to ${path}: ${why}`, {
          hint:
            "Run `aftersave doctor --fix`: it is written anew from the state, and what is there now is moved beside it. If another program goes on writing it, " +
            "give aftersave a changelog of its own: set memory_changelog in paths.json to another name.",
        }),
        "",
      ),
      fixed: fix && (await stateIsWhole()) && (await mend(why)) && (await strangersIn(path, state, config.root)) === undefined,
    };
}

/** What stands in the changelog behind our first line and is none of ours; what stands before are the original's lines, which we continue. */
async function strangersIn(path: string, state: DoctorParts["state"], root: string): Promise<string | undefined> {
  const behind: number[] = [];
  let ours = false;
  let count = 0;
  let first: number | undefined;
  const add = (line: number) => {
    count++;
    first ??= line;
  };
  const onBad = ({ why, line }: { why: Why; line: number }) => {
    if (ours && why !== "blank" && why !== "torn") add(line);
  };
  const known = (await state.saves.last())?.place ?? 0;
  for await (const { value, line } of readLog(path, { withRotated: true, onBad })) {
    if ("place" in value) ours = true;
    else if (ours) add(line);
    if (ours && Number(value["place"]) > known) behind.push(Number(value["place"]), line);
  }
  const newest = (await state.saves.last())?.place ?? 0; // lines that were accepted while the file was read
  for (let at = 0; at < behind.length; at += 2) if ((behind[at] ?? 0) > newest) add(behind[at + 1] ?? 0);
  if (count > 0) return `${plural(count, "line")} there among or behind ours, the first is line ${first}`;
  const added = await addedTo({ state, root, changelog: path });
  if (!added) return undefined;
  return added.line === null ? "other line ends, or a mark at its beginning" : `line ${added.line} is not ours`;
}
