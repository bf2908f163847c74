/**
 * Where everything lies: turns the paths of `paths.json` into absolute ones and refuses those that get in each
 * other's way. Names that differ only in case count as the same, since a memory root moves between systems.
 * @module
 */
import { stat } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join, relative, resolve } from "node:path";
import { AftersaveError, errnoOf, type ErrorCode } from "../core/errors.ts";
import { foldKey, OWN_FOLDER, parseKey } from "../core/key.ts";
import type { Problem } from "./problems.ts";
import { show } from "./problems.ts";
import { realPlace } from "./state-place.ts";

export type Report = (path: string, expected: string, found: string, code?: ErrorCode) => void;

/** Collects into `problems`. */
export function reporter(problems: Problem[]): Report {
  return (path, expected, found, code = "E_CONFIG") => void problems.push({ code, path, expected, found });
}

/** An absolute path, which may lie anywhere; `~/` is the home folder. */
export function anywhere(root: string, text: string): string {
  return /^~(?=$|[\\/])/.test(text) ? join(homedir(), text.slice(1)) : resolve(root, text);
}

/** An absolute path below the memory root; one that is not is reported. Backslashes count as slashes everywhere. */
export function within(root: string, text: string, path: string, report: Report): string {
  const absolute = anywhere(root, text.replaceAll("\\", "/"));
  const rest = relative(root, absolute);
  if (rest === "" || /^\.\.($|[\\/])/.test(rest) || isAbsolute(rest)) report(path, "a path below the memory root", show(text));
  return absolute;
}

/** A folder as a key prefix such as `Archive/` (empty for no folder); what is no such folder is reported. */
export function prefixOf(text: string, path: string, report: Report): string | undefined {
  const segments = text.replaceAll("\\", "/").replace(/\/$/, "").split("/");
  const plain = segments
    .filter((segment, i) => segment !== "." && !(segment === "" && segments.length === 1 && i === 0))
    .join("/");
  if (plain === "") return "";
  try {
    const key = parseKey(plain);
    if (foldKey(key.split("/")[0] ?? "") !== OWN_FOLDER) return `${key}/`;
    report(path, `a folder other than ${OWN_FOLDER}, which is aftersave's own`, show(text));
  } catch (error) {
    if (!(error instanceof AftersaveError)) throw error;
    report(path, "a relative folder whose names every system can hold", `${show(text)} (${error.message})`);
  }
  return undefined;
}

export interface Mirror {
  /** Where it stands in the file, e.g. `targets.drive`. */
  readonly path: string;
  readonly enabled: boolean;
  /** The folder that the target's `path` names. */
  readonly base: string;
  /** The folder of the mirror itself. */
  readonly folder: string;
}

export interface Places {
  readonly file: string;
  readonly data: string;
  readonly state: string;
  readonly backups: string;
  /** By their key in the file. */
  readonly logs: Readonly<Record<string, string>>;
  /** Other single files: credentials and the LLaMA's, by their key in the file. */
  readonly secrets: Readonly<Record<string, string>>;
  readonly others: Readonly<Record<string, string>>;
  readonly mirrors: readonly Mirror[];
}

const inside = (inner: string, outer: string) => inner === outer || inner.startsWith(outer.endsWith("/") ? outer : `${outer}/`);

/**
 * Reports every place that gets in the way of another, is of the wrong kind, or would carry a secret away. Places that
 * are `wrong` already are left out, so that one mistake is one problem.
 */
export async function checkPlaces(places: Places, wrong: ReadonlySet<string>, report: Report): Promise<void> {
  const real = async (path: string) => foldKey((await realPlace(path)).replaceAll("\\", "/"));
  const all = async (paths: Readonly<Record<string, string>>) => {
    const right = Object.entries(paths).filter(([name]) => !wrong.has(name));
    return Promise.all(right.map(async ([name, path]) => [name, await real(path)] as const));
  };
  const [file, logs, secrets, others] = await Promise.all([
    real(places.file),
    all(places.logs),
    all(places.secrets),
    all(places.others),
  ]);
  const data = wrong.has("local_data_dir") ? undefined : await real(places.data);
  const inData = (path: string) => data !== undefined && inside(path, data);

  let state = wrong.has("state_dir") ? undefined : await real(places.state);
  const beside = [[file, "paths.json"] as const, [data, "local_data_dir"] as const];
  const stateWrong = state && (inData(state) ? "one inside local_data_dir" : holder(state, beside));
  if (stateWrong !== undefined) {
    report("state_dir", "a folder of its own", stateWrong);
    state = undefined;
  }
  const inState = (path: string) => state !== undefined && inside(path, state);
  if (!wrong.has("backup_dir") && inData(await real(places.backups)))
    report("backup_dir", "a folder outside local_data_dir", "one inside it");
  for (const [name, secret] of secrets)
    if (inData(secret)) report(name, "a file outside local_data_dir, whose files are mirrored", "one inside it");

  const taken = new Map([[file, "paths.json"], ...[...secrets, ...others].map(([name, path]) => [path, name] as const)]);
  for (const [name, log] of logs) {
    const owner = taken.get(log);
    if (owner !== undefined) report(name, "a file of its own", `the same file as ${owner}`);
    else if (inData(log)) report(name, "a file outside local_data_dir, whose files are memory", "one inside it");
    else if (inState(log)) report(name, "a file outside state_dir", "one inside it");
    taken.set(log, name);
  }

  const mirrored = new Map<string, string>();
  for (const mirror of places.mirrors.filter(({ path }) => !wrong.has(`${path}.root`))) {
    const [base, folder] = await Promise.all([real(mirror.base), real(mirror.folder)]);
    const things = [...logs, ...secrets, ...others].map(([name, path]) => [path, name] as const);
    const twin = mirror.enabled ? mirrored.get(folder) : undefined;
    if (mirror.enabled) mirrored.set(folder, mirror.path);
    if (inData(base)) report(`${mirror.path}.path`, "a folder outside local_data_dir", "one inside it");
    else {
      const found =
        (inData(folder) ? "one inside local_data_dir" : undefined) ??
        (inState(folder) ? "one inside state_dir" : undefined) ??
        holder(folder, [[data, "local_data_dir"], [state, "state_dir"], [file, "paths.json"], ...things]) ??
        (twin === undefined ? undefined : `the same folder as ${twin}`);
      if (found !== undefined) report(mirror.path, "a path and root that give the mirror a folder of its own", found);
    }
  }
  await checkKinds(places, wrong, report);
}

/** A target on Google Drive, as paths.json has it after defaults. */
export interface DriveMirror {
  /** Where it stands in the file, e.g. `targets.drive`. */
  readonly path: string;
  /** Where its root stands in the file: its own `root`, or `drive_root`. */
  readonly rootPath: string;
  readonly enabled: boolean;
  /** As a key prefix. */
  readonly root: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** Reports mirrors on Drive that are no folder of their own, and settings that nobody acts on. */
export function checkDrives(mirrors: readonly DriveMirror[], wrong: ReadonlySet<string>, report: Report): void {
  const taken = new Map<string, string>();
  const told = new Set<string>();
  for (const { path, rootPath, enabled, root, options } of mirrors) {
    const { auth, impersonate, shared_drive: shared, root_url: address } = options;
    if (auth === "user" && impersonate !== undefined)
      report(`${path}.impersonate`, 'nothing with "auth": "user": only a service account acts for someone', show(impersonate));
    if (wrong.has(rootPath) || (!enabled && rootPath === "drive_root")) continue;
    const [first, ...rest] = root.split("/").filter((name) => name !== "");
    const below = first === "Drive" || first === "My Drive" ? rest : first === undefined ? [] : [first, ...rest];
    if (below.length === 0) {
      if (!told.has(rootPath)) report(rootPath, "a folder of its own on Drive, such as Drive/MemoryVDB/", show(root));
      told.add(rootPath);
      continue;
    }
    if (!enabled) continue;
    // a shared drive is one place, whoever writes to it
    const account = shared === undefined ? [auth, impersonate] : shared;
    const place = JSON.stringify([new URL(String(address)).href, account, below]);
    const twin = taken.get(place);
    if (twin !== undefined)
      report(path, "a root, shared_drive or account that give the mirror a place of its own", `the same place as ${twin}`);
    else taken.set(place, path);
  }
}

/** Says what `folder` holds of `things`, if anything. */
function holder(folder: string, things: ReadonlyArray<readonly [path: string | undefined, name: string]>): string | undefined {
  const held = things.find(([path]) => path !== undefined && inside(path, folder));
  return held && `one that also holds ${held[1]}`;
}

async function checkKinds(places: Places, wrong: ReadonlySet<string>, report: Report): Promise<void> {
  const kindOf = async (path: string) => {
    try {
      const found = await stat(path);
      return found.isDirectory() ? "a folder" : found.isFile() ? "a file" : "neither a file nor a folder";
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      return errnoOf(error) === "ENOTDIR" ? "a path through a file" : `a path that cannot be looked at (${errnoOf(error)})`;
    }
  };
  const right = (paths: Readonly<Record<string, string>>) => Object.entries(paths).filter(([name]) => !wrong.has(name));
  for (const [name, log] of right(places.logs)) {
    const kind = await kindOf(log);
    if (kind !== undefined && kind !== "a file") report(name, "a file, or nothing yet", kind, "E_LOG_PLACE");
  }
  for (const [name, folder] of right({ local_data_dir: places.data, state_dir: places.state })) {
    const kind = await kindOf(folder);
    if (kind !== undefined && kind !== "a folder") report(name, "a folder, or nothing yet", kind);
  }
}
