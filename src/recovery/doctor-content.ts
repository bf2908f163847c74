/**
 * The doctor's look at content: kept copies, archive copies, and the files in the data folder.
 * @module
 */
import { rm, stat } from "node:fs/promises";
import { errnoOf } from "../core/errors.ts";
import { ARCHIVE_MARK, foldKey, type Key } from "../core/key.ts";
import { digestOfFile } from "../memory/content.ts";
import { lookAt } from "../memory/live.ts";
import type { Receipt } from "../memory/receipt.ts";
import { sweep } from "../memory/sweep.ts";
import type { Head } from "../state/saves.ts";
import { faultOf, plural, type DoctorParts, type Found } from "./finding.ts";
import { archiveFiles, otherFiles, revive } from "./rebuild.ts";
import { BRING_BACK, lostHeads } from "./verify-local.ts";

/** Each key's accepted content is kept, and nothing else is in its folder. */
export async function* checkHeads(parts: DoctorParts): AsyncGenerator<Found, string> {
  const { state, heads, fix, config } = parts;
  const files = await heads.files(); // before the state: what is made meanwhile is in neither
  const used = new Set((await state.saves.intents()).flatMap((intent) => [intent.old?.base, intent.new?.base]));
  for (const which of ["open", "rejected", "accepted"] as const)
    for (const { version, applied } of await state.decisions.held(which)) {
      used.add(version);
      if (which === "open" && !applied) yield* checkHeld(parts, version);
    }
  const sound = new Map<string, Head>();
  let n = 0;
  for await (const head of state.saves.heads()) {
    n++;
    used.add(head.base);
    try {
      await state.saves.head(head.key);
      if (await heads.holds(head)) sound.set(head.sha256, head);
      else yield* damagedHead(parts, head, fix);
    } catch (error) {
      yield faultOf(error, `reading the kept copy of ${head.key}`);
    }
  }
  for await (const { file, version } of lostHeads(parts))
    yield {
      level: "error",
      code: "E_CONTENT_GONE",
      message: `what ${file} holds by the history (${version}) is not kept here`,
      cure: BRING_BACK,
    };
  for (const { path } of files.filter(({ base }) => !used.has(base))) yield* checkOrphan(parts, path, sound);
  return `${plural(n, "file")} kept below ${config.stateDir}`;
}

/** What a version that waits for a decision would make the content is kept. */
async function* checkHeld({ state, heads }: DoctorParts, version: string): AsyncGenerator<Found, void> {
  const kept = await state.saves.whereabouts(version);
  if (!kept || (await heads.holds(kept.content))) return;
  yield {
    level: "error",
    code: "E_CONTENT_GONE",
    message: `the content of the held version ${version} is missing or damaged`,
    cure: `Reject it (\`aftersave reject ${version}\`), and save that content again if you have it.`,
  };
}

async function* damagedHead(parts: DoctorParts, head: Head, fix: boolean): AsyncGenerator<Found, void> {
  const { archive } = parts.config;
  const now = await parts.state.saves.head(head.key);
  if (now?.base !== head.base || now.size !== head.size) return; // it was saved meanwhile
  const release = fix ? await parts.state.claims.tryTake("save", foldKey(head.key)) : undefined;
  try {
    const fixed = release !== undefined && (await revive(parts, head.key, head, () => otherFiles({ ...parts, archive })));
    yield {
      level: "error",
      code: "E_IO",
      message: `the kept copy of ${head.key} is missing or damaged`,
      cure: fix
        ? "No file holds this content any more; save the file again, and restore it from a target if the live file is wrong."
        : "Run `aftersave doctor --fix`: it is made again from the live file, or from an archive copy that holds the same.",
      fixed,
    };
  } finally {
    release?.();
  }
}

/** A kept copy that no key uses: removed only when the same bytes are elsewhere. */
async function* checkOrphan(
  { state, heads, places, fix }: DoctorParts,
  path: string,
  sound: ReadonlyMap<string, Head>,
): AsyncGenerator<Found, void> {
  try {
    const { nlink } = await stat(path);
    const sha256 = (await digestOfFile(path))?.sha256 ?? "";
    const head = sound.get(sha256);
    let held = nlink > 1 || (head !== undefined && heads.path(head.base) !== path);
    for (const copy of held ? [] : await state.saves.archivesOf(sha256))
      held ||= (await digestOfFile(places.pathOf(copy.key)))?.sha256 === sha256;
    if (held && fix) await rm(path, { force: true });
    yield held
      ? {
          message: `${path} belongs to no file, and the same bytes are kept elsewhere`,
          cure: "Run `aftersave doctor --fix` to remove it.",
          fixed: fix,
        }
      : {
          message: `${path} belongs to no file, and nothing else holds its content`,
          cure: "Look at it; save what you need under its key, then remove it by hand.",
        };
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") yield faultOf(error, `looking at ${path}`); // else it was in use until now
  }
}

/** Archive copies are what was archived. */
export async function* checkArchive({ state, places, config }: DoctorParts): AsyncGenerator<Found, string> {
  const known = new Set<string>();
  for await (const { key, sha256, pruned } of state.saves.archiveCopies()) {
    if (pruned) continue;
    known.add(key);
    try {
      const digest = await digestOfFile(places.pathOf(key));
      if (digest?.sha256 === sha256) continue;
      yield {
        level: "error",
        code: "E_ARCHIVE_CHANGED",
        message: `the archive copy ${key} ${digest ? "is no longer what was archived" : "is gone"}`,
        cure: digest
          ? "Move it away, then run `aftersave restore --from TARGET`; what was there has the sha256 that the archive log names."
          : BRING_BACK,
      };
    } catch (error) {
      yield faultOf(error, `reading the archive copy ${key}`);
    }
  }
  const strays = (await archiveFiles(places, config.archive)).filter(({ key }) => !known.has(key) && ARCHIVE_MARK.test(key));
  const [first] = strays;
  if (first && !(await state.saves.archiveCopy(first.key)))
    yield {
      message: `${plural(strays.length, "archive copy", "archive copies")} of no known save (${first.key}${strays.length > 1 ? ", …" : ""})`,
      cure: "They are left as they are and are not mirrored; `aftersave doctor --rebuild` takes them over.",
    };
  return `${plural(known.size, "copy", "copies")}, all as archived`;
}

/** Files that cannot be memory, twins, and changes that no save has noticed yet. Nothing is versioned. */
export async function* checkData({ state, places }: DoctorParts): AsyncGenerator<Found, string> {
  const changed: Key[] = [];
  const look = async (text: string): Promise<Receipt> => {
    const { key, path } = places.savable(places.keyOf(text));
    if ((await lookAt(path, await state.saves.head(key))).kind !== "same") changed.push(key);
    return { unchanged: true } as Receipt;
  };
  const { checked, refused } = await sweep({ saved: look }, state.saves.heads(), places);
  for (const { path, error } of refused)
    yield { message: `${path}: ${error.message}`, cure: error.hint ?? null, code: error.code, level: "warning" };
  const folded = new Map<string, Key>();
  for await (const { key } of state.saves.heads()) {
    const twin = folded.get(foldKey(key));
    if (twin !== undefined)
      yield {
        code: "E_KEY_TWIN",
        message: `${twin} and ${key} differ only in case`,
        cure: "Rename one of them: a target that ignores case can hold only one.",
      };
    folded.set(foldKey(key), key);
  }
  if (changed.length > 0)
    yield {
      message: `${plural(changed.length, "file")} changed by others since the last save (${changed.slice(0, 3).join(", ")}${changed.length > 3 ? ", …" : ""})`,
      cure: "Run `aftersave sweep` to version them.",
    };
  return `${plural(checked, "file")}, none that cannot be memory`;
}
