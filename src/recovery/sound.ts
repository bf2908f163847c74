/**
 * Opening a state that can be trusted: a damaged one is set aside, and one that knows less than the changelog is rebuilt
 * from it, by one process while the others wait.
 * @module
 */
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { AftersaveError } from "../core/errors.ts";
import type { ArchiveFolder } from "../core/key.ts";
import { isWhole, type Version } from "../core/version.ts";
import { readLog, tailLog, type LogLine } from "../logs/read.ts";
import { createClaims } from "../state/claims.ts";
import { hasState, openState, setStateAside, STATE_FILE, type State } from "../state/state.ts";
import { salvageEvidence, type Noticed } from "../state/evidence.ts";
import { salvage } from "../state/restore.ts";
import { couldBeOurOwn } from "./believed.ts";
import type { RebuildParts, RebuildReport } from "./rebuild.ts";

export interface SoundParts {
  readonly stateDir: string;
  readonly clock: Clock;
  readonly changelog: string;
  readonly archive: ArchiveFolder;
  /** Set the state file aside, damaged or not. */
  readonly anew: boolean;
  readonly parts: (state: State) => RebuildParts;
}

export interface Sound {
  readonly state: State;
  /** What was set aside or rebuilt, one sentence each. */
  readonly notices: string[];
}

/** Throws what `openState` throws, bar `E_STATE_CORRUPT`; and `E_BUSY` when a damaged state is still used by another process. */
export async function openSound({ stateDir, clock, changelog, archive, anew, parts }: SoundParts): Promise<Sound> {
  const notices: string[] = [];
  const sound = async () => {
    const trusted = await openTrusted(stateDir, clock); // a newer version's state is refused, also when it is to be set aside
    if (!anew) return trusted;
    await trusted?.close();
    return undefined;
  };
  const first = await sound();
  const { state, aside } = first
    ? { state: first, aside: null }
    : await replaceState({ stateDir, clock, changelog, archive, sound });
  if (aside !== null) notices.push(`the state file was ${anew ? "moved" : "damaged; it was moved"} to ${aside}`);
  try {
    const built = parts(state);
    if (await isBehind(built)) {
      const release = await state.claims.take("rebuild", "rebuild", { waitMs: 600_000 });
      try {
        const { rebuild } = await import("./rebuild.ts");
        if (await isBehind(built)) {
          const begun = await state.restore.underWay(); // what began it has noted it
          const taken = begun ? undefined : await takenFrom(built, (await state.saves.last())?.place ?? 0, null);
          if (taken) await state.evidence.note({ at: new Date(clock.now()).toISOString(), ...taken });
          notices.push(sayRebuilt(await rebuild(built, null)));
        }
      } finally {
        release();
      }
    }
    return { state, notices };
  } catch (error) {
    await state.close();
    throw error;
  }
}

/** The state, unless it is damaged where every save needs it. */
async function openTrusted(stateDir: string, clock: Clock): Promise<State | undefined> {
  const unlessCorrupt = (error: unknown): undefined => {
    if (!(error instanceof AftersaveError) || error.code !== "E_STATE_CORRUPT") throw error;
  };
  const state = await openState(stateDir, clock).catch(unlessCorrupt);
  try {
    await state?.saves.last();
    await state?.saves.intents();
    return state;
  } catch (error) {
    await state?.close();
    return unlessCorrupt(error);
  }
}

/** One process sets the file aside; another that met the same damage finds a sound one when it is its turn. */
async function replaceState({
  stateDir,
  clock,
  changelog,
  archive,
  sound,
}: Pick<SoundParts, "stateDir" | "clock" | "changelog" | "archive"> & { sound: () => Promise<State | undefined> }): Promise<{
  state: State;
  aside: string | null;
}> {
  const claims = createClaims(join(stateDir, "locks"), clock);
  const release = await claims.take("rebuild", "rebuild", { waitMs: 600_000 });
  try {
    const mended = await sound();
    if (mended) return { state: mended, aside: null };
    const damaged = hasState(stateDir) ? join(stateDir, STATE_FILE) : null;
    const [kept, taken] = [damaged === null ? [] : salvageEvidence(damaged), await takenFrom({ changelog, archive }, 0, damaged)];
    const aside = damaged === null ? null : setStateAside(stateDir, new Date(clock.now()).toISOString());
    const state = await openState(stateDir, clock);
    await state.restore.begin(aside); // whoever opens it from now on ends the rebuild first
    await state.evidence.carry(kept);
    if (taken) await state.evidence.note({ at: new Date(clock.now()).toISOString(), ...taken });
    return { state, aside };
  } finally {
    release();
    claims.close();
  }
}

/** Whether the changelog file goes on where the state ends, or a rebuild did not come to its end. */
async function isBehind({ state, changelog, archive }: Pick<RebuildParts, "state" | "changelog" | "archive">): Promise<boolean> {
  if (await state.restore.underWay()) return true;
  const placed = await newest(changelog, ({ place }) => typeof place === "number"); // read before the state: a save meanwhile makes the state the newer one
  const last = await state.saves.last();
  if (!placed || Number(placed.value["place"]) <= (last?.place ?? 0)) return false;
  const { parseChangelogLine } = await import("../logs/verify.ts");
  const whole = (value: unknown): Version | undefined => {
    const version = parseChangelogLine(value);
    return version && isWhole(version) && couldBeOurOwn(version, archive) ? version : undefined;
  };
  const line = await newest(changelog, (value) => whole(value) !== undefined);
  if (!line || Number(line.value["place"]) <= (last?.place ?? 0)) return false;
  if (!last) return true;
  let isOurHistory = false;
  for await (const { value } of readLog(changelog, { withRotated: true }))
    if (!isOurHistory && value["place"] === last.place) {
      if (value["sum"] !== last.sum) return false; // another history under this name is not ours to take over
      isOurHistory = true;
    } else if (isOurHistory && Number(value["place"]) > last.place) {
      const version = parseChangelogLine(value);
      if (version && isWhole(version)) return couldBeOurOwn(version, archive); // the rebuild ends at the first that is not
    }
  return false;
}

/** Lines of the file behind `last` that the damaged state file does not know either: the changelog alone vouches for them. */
async function takenFrom(
  { changelog, archive }: Pick<RebuildParts, "changelog" | "archive">,
  last: number,
  damaged: string | null,
): Promise<Omit<Noticed, "at"> | undefined> {
  const { parseChangelogLine } = await import("../logs/verify.ts");
  const sums = new Map<number, string>();
  const known = damaged === null ? undefined : salvage(damaged, 0);
  let next = known?.next();
  for (; next?.done === false; next = known?.next()) sums.set(next.value.place, next.value.sum);
  const stateIsThere = last > 0 || (sums.size > 0 && next?.done === true && next.value);
  let lines = 0;
  let first: { path: string; line: number; place: number } | undefined;
  for await (const { path, line, value } of readLog(changelog, { withRotated: true })) {
    const version = parseChangelogLine(value);
    if (!version || !isWhole(version) || version.place <= last || sums.get(version.place) === version.sum) continue;
    if (!couldBeOurOwn(version, archive)) {
      if (last > 0) break;
      continue;
    }
    lines++;
    first ??= { path, line, place: version.place };
  }
  return first && { what: stateIsThere ? "unknown" : "regained", lines, ...first };
}

async function newest(changelog: string, where: (value: LogLine["value"]) => boolean): Promise<LogLine | undefined> {
  try {
    return (await tailLog(changelog, 1, { withRotated: true, where }))[0];
  } catch (error) {
    if (error instanceof AftersaveError && error.code === "E_LOG_PLACE") return undefined; // the export tells of a log that is none
    throw error;
  }
}

const count = (n: number, what: string) => `${n} ${what}${n === 1 ? "" : "s"}`;

const sayRebuilt = ({ versions, heads, lost, broken }: RebuildReport): string =>
  `the state was rebuilt from the changelog: ${count(versions, "version")}, ${count(heads, "file")}` +
  (lost.length > 0 ? `; the last accepted content of ${lost.join(", ")} was not found` : "") +
  (broken ? `; the changelog is broken: ${broken}` : "");
