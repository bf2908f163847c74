/**
 * What is wrong, why, and what to do. Looks at every part, changes nothing unless asked to mend, and then only what
 * loses nothing. One check that fails never stops the others.
 * @module
 */
import { chmod, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { ownKey, type Key } from "../core/key.ts";
import { checkArchive, checkData, checkHeads } from "./doctor-content.ts";
import { checkHistory, checkLogs } from "./doctor-logs.ts";
import { faultOf, plural, statOf, type Check, type DoctorParts, type DoctorTarget, type Finding, type Found } from "./finding.ts";

export type { Finding } from "./finding.ts";

const CHECKS: Readonly<Record<string, Check>> = {
  config: checkConfig,
  permissions: checkPermissions,
  locks: checkLocks,
  state: checkState,
  history: checkHistory,
  heads: checkHeads,
  archive: checkArchive,
  saves: checkSaves,
  data: checkData,
  logs: checkLogs,
  clock: checkClock,
  targets: checkTargets,
  writers: checkWriters,
  conflicts: checkConflicts,
  jobs: checkJobs,
};

/** Looks at everything. A part in which nothing is wrong answers one finding of level `ok`. */
export async function examine(parts: DoctorParts): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [part, check] of Object.entries(CHECKS)) {
    const add = (found: Found) => findings.push({ level: "warning", cure: null, code: null, fixed: false, ...found, part });
    const before = findings.length;
    try {
      const found = check(parts);
      let next = await found.next();
      for (; next.done !== true; next = await found.next()) add(next.value);
      if (findings.length === before) add({ level: "ok", message: next.value });
    } catch (error) {
      add(faultOf(error, `checking the ${part}`));
    }
  }
  return findings;
}

async function* checkConfig({ config }: DoctorParts): AsyncGenerator<Found, string> {
  for (const message of config.warnings) yield { message, cure: `See ${config.file}.` };
  for (const { path, why } of config.notActedOn)
    yield { message: `${path} has no effect: ${why}`, cure: `Remove it from ${config.file}, or leave it for a later version.` };
  return `${config.file} is valid; the state is kept in ${config.stateDir}`;
}

async function* checkPermissions({ config, fix }: DoctorParts): AsyncGenerator<Found, string> {
  if (process.platform === "win32") return "access is governed by Windows";
  for (const [path, mode, why] of [
    [config.stateDir, 0o700, "it holds copies of every memory file"],
    [config.driveToken, 0o600, "whoever reads it can use the account"],
    [config.driveClient, 0o600, "it holds the sign-in's client secret"],
  ] as const) {
    const found = await statOf(path);
    if (!found || (found.mode & 0o077) === 0) continue;
    if (fix) await chmod(path, mode);
    const message = `${path} can be read by others (mode ${(found.mode & 0o777).toString(8)}): ${why}`;
    yield { message, cure: `Run \`chmod ${mode.toString(8)} ${path}\`, or \`aftersave doctor --fix\`.`, fixed: fix };
  }
  return "state and credentials are readable by their owner only";
}

async function* checkLocks({ state }: DoctorParts): AsyncGenerator<Found, string> {
  const held = await state.claims.held();
  for (const { kind, pids } of held.filter(({ kind }) => kind !== "worker")) {
    const who = pids.length > 0 ? `process ${pids.join(", ")}` : "another process";
    yield {
      message: `${who} holds a claim on ${kind} now`,
      cure: "Nothing to do if it ends soon; if it stays, look whether that process is stopped, and end it.",
    };
  }
  return held.length > 0 ? "a background worker runs; every other claim can be taken" : "every claim can be taken";
}

async function* checkState({ state, config }: DoctorParts): AsyncGenerator<Found, string> {
  const damage = await state.check();
  if (damage.length > 0)
    yield {
      level: "error",
      code: "E_STATE_CORRUPT",
      message: `the state file is damaged: ${damage.slice(0, 3).join("; ")}${damage.length > 3 ? ` and ${damage.length - 3} more` : ""}`,
      cure: "Run `aftersave doctor --rebuild`: it sets the file aside and rebuilds it from files, archive and logs.",
    };
  if (state.journalMode !== "wal")
    yield {
      message: `the state's journal mode is ${state.journalMode} where wal was asked for`,
      cure: `Set "state_dir" to a folder on this machine's own disk; it is ${config.stateDir} now.`,
    };
  return `sound (${state.library}, journal mode ${state.journalMode}, ${plural(await state.saves.countHeads(), "file")})`;
}

async function* checkSaves({ state, recover, fix }: DoctorParts): AsyncGenerator<Found, string> {
  const left = await state.saves.intents();
  if (left.length === 0) return "no save was left unfinished";
  if (fix) await recover();
  const still = new Set((await state.saves.intents()).map(({ version }) => version));
  for (const { key, op, version, timestamp } of left)
    yield {
      message: `a save (${op} of ${key}, ${timestamp}) has not come to its end`,
      cure: "It is under way, or its process died: the next save of this file, or `aftersave doctor --fix`, settles it.",
      fixed: fix && !still.has(version),
    };
  return "";
}

async function* checkClock({ state, clock }: DoctorParts): AsyncGenerator<Found, string> {
  const last = await state.saves.last();
  const ahead = last ? Date.parse(last.timestamp) - clock.now() : 0;
  if (last && ahead > 2_000)
    yield {
      message: `the clock is ${plural(Math.ceil(ahead / 1000), "second")} behind the newest save (${last.timestamp})`,
      cure: "Set the system's clock. The order of the history does not depend on it; times and names of archive copies do.",
    };
  return "not behind the newest save";
}

const LITTLE = 100 << 20;

async function* checkTargets(parts: DoctorParts): AsyncGenerator<Found, string> {
  const enabled = parts.targets.filter((target) => target.enabled);
  const facts: string[] = [];
  for (const target of enabled) {
    const { name, sameDevice, localPath } = target;
    if (sameDevice === true)
      yield {
        message: `${name} lies on the memory root's own disk: a mirror on the same disk is no protection`,
        cure: "Enable a target on another disk or in a cloud as well.",
      };
    const { found, fact } = await look(parts, target);
    yield* found;
    facts.push(fact);
    const sent = parts.fix && !found.some(({ level }) => level === "error") ? await target.mend() : 0;
    if (sent > 0)
      yield {
        level: "warning",
        message: `${plural(sent, "file")} of ours ${sent === 1 ? "is" : "are"} gone from ${name} and ${sent === 1 ? "waits" : "wait"} to be sent again`,
        cure: "Run `aftersave flush`.",
        fixed: true,
      };
    const { code } = await parts.state.ledger.target(name);
    if (code !== null && code !== "E_CONFLICT" && !found.some((one) => one.code === code))
      yield { message: `the last upload to ${name} failed`, code, cure: "See the jobs below, or `aftersave log uploads`." };
    if (localPath !== undefined) yield* checkSpace(parts, name, localPath);
  }
  return enabled.length === 0 ? "none is enabled" : facts.join("; ");
}

/** Who writes where, as far as it was seen: no target is asked. */
async function* checkWriters({ state, targets }: DoctorParts): AsyncGenerator<Found, string> {
  const shared: string[] = [];
  for (const { name, enabled } of targets) {
    const [writers, code] = [await state.segments.writers(name), await state.segments.fault(name)];
    if (enabled && code !== null)
      yield {
        message: `the history could not be sent to ${name}`,
        code,
        cure: "The next worker tries again; `aftersave flush` tries now.",
      };
    if (writers.length > 1)
      shared.push(`${name}: ${writers.length} writers (${writers.map(({ host, writer }) => host ?? writer).join(", ")})`);
  }
  return shared.length === 0 ? "no other writer was seen at a target" : shared.join("; ");
}

/** Asks the target how it is, or for one small thing, once; nothing is written. */
async function look({ state }: DoctorParts, { name, open, examine }: DoctorTarget): Promise<{ found: Found[]; fact: string }> {
  const found: Found[] = [];
  try {
    if (!examine) await (await open()).stat(ownKey("root.json"), { tries: { used: 1, most: 1 } });
    else {
      const told = examine((await state.ledger.unprotected([name])).bytes);
      for (let next = await told.next(); ; next = await told.next()) {
        if (next.done) return { found, fact: next.value };
        found.push(next.value);
      }
    }
  } catch (error) {
    found.push(faultOf(error, `reaching ${name}`));
  }
  return { found, fact: `${name}: reached` };
}

async function* checkSpace({ state }: DoctorParts, name: string, path: string): AsyncGenerator<Found, void> {
  let at = path;
  while (!(await statOf(at)) && dirname(at) !== at) at = dirname(at);
  const { bavail, bsize } = await statfs(at);
  const free = bavail * bsize;
  const { bytes } = await state.ledger.unprotected([name]);
  if (free >= Math.max(bytes, LITTLE)) return;
  yield {
    level: free < bytes ? "error" : "warning",
    message: `${name} has ${Math.floor(free / (1 << 20))} MiB free where ${Math.ceil(bytes / (1 << 20))} MiB wait to be mirrored`,
    cure: `Free some space on the disk of ${path}.`,
    code: free < bytes ? "E_TARGET_QUOTA" : null,
  };
}

async function* checkConflicts({ state, targets, fix }: DoctorParts): AsyncGenerator<Found, string> {
  const conflicts = await state.ledger.conflicts();
  for (const { target, key, kept_as, at, whose } of conflicts) {
    const what = whose === null ? `someone else's content of ${key}` : `what ${whose} had saved of ${key}`;
    const place = targets.find(({ name }) => name === target)?.pathOf(kept_as) ?? kept_as;
    yield {
      message: `${what} was on ${target} (${new Date(at).toISOString()}); it is kept there as ${place}`,
      cure: "Compare it with ours, save what should stay, then run `aftersave doctor --fix` to say that you have looked.",
      code: "E_CONFLICT",
      fixed: fix,
    };
  }
  if (fix && conflicts.length > 0) await state.ledger.acknowledgeConflicts();
  return "none that nobody has looked at";
}

async function* checkJobs({ state }: DoctorParts): AsyncGenerator<Found, string> {
  const parked = new Map<string, { n: number; key: Key; found: Found }>();
  let waiting = 0;
  for await (const { state: status, target, key, code, notes, can_pass } of state.jobs.all()) {
    if (status === "pending") waiting++;
    if (status !== "failed") continue;
    const id = JSON.stringify([target, code, can_pass]);
    const known = parked.get(id);
    if (known) known.n++;
    else
      parked.set(id, {
        n: 1,
        key,
        found: {
          level: can_pass ? "warning" : "error",
          code,
          message: `to ${target}: ${notes}`,
          cure:
            code === "E_TARGET_IN_USE"
              ? `Give ${target} another \`root\` in paths.json, or run \`aftersave targets join ${target}\` to share that place; then \`aftersave flush\`.`
              : can_pass
                ? "The next worker tries again; `aftersave flush` tries now."
                : "Do what the message says, then `aftersave flush`.",
        },
      });
  }
  for (const { n, key, found } of parked.values())
    yield { ...found, message: `${plural(n, "upload")} parked (${key}${n > 1 ? ", …" : ""}) ${found.message}` };
  return waiting === 0 ? "nothing waits to be uploaded" : `${plural(waiting, "upload")} on the way`;
}
