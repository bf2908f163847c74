/**
 * What would make an upload to Drive fail, told before it does. Changes nothing on Drive; a person's sign-in is renewed.
 * @module
 */
import { asAftersaveError } from "../../core/errors.ts";
import type { DriverContext, Symptom } from "../shared/driver.ts";
import { FOLDER, type DriveApi, type DriveFile, type Storage } from "./api.ts";
import type { About } from "./credentials.ts";
import { absent, byAge, quoted } from "./folders.ts";
import { openApi, optionsOf, rootOf } from "./open.ts";
import { isBlob } from "./shelf.ts";

interface HealthParts {
  readonly context: DriverContext;
  readonly api: DriveApi;
  /** The folders from the top of the drive to the mirror's root. */
  readonly root: readonly string[];
  /** Bytes that wait to be sent. */
  readonly waiting: number;
}

const DAY = 86_400_000;
const MIB = 1 << 20;
const LITTLE = 100 * MIB;
const FILE_SCOPE = "https://www.googleapis.com/auth/drive.file";
const FULL_SCOPE = "https://www.googleapis.com/auth/drive";
const SKEW_MS = 120_000;
const FOLDERS = 50;
const AT_ONCE = 8;
/** Of a folder in the driver's memory. */
const PREFIX = "folder/";

interface Known {
  readonly there: ReadonlyMap<string, string>;
  readonly isGone: (path: string) => boolean;
}

/** Yields what is wrong; returns one sentence of facts. What stops it altogether is thrown. */
export async function* examineDrive(context: DriverContext, waiting: number): AsyncGenerator<Symptom, string> {
  const { api, credentials } = await openApi(context);
  const stored = await credentials?.about();
  if (stored) yield* checkSignIn(context, stored);
  // a new token's answer says what is granted now, which the file does not know, and whether it still is
  if (stored?.kind === "user" && stored.refreshable) await credentials?.renew();
  const about = await credentials?.about();
  if (about) yield* checkGranted(context, about);
  const storage = await api.about();
  yield* checkClock(context, storage.serverTime);
  const parts: HealthParts = { context, api, waiting, root: await rootOf(context, api) };
  const { shared_drive: drive } = optionsOf(context);
  yield* drive === undefined ? checkStorage(parts, storage, about) : checkSharedDrive(parts, drive);
  yield* checkFolders(parts);
  const who = storage.email ?? about?.account ?? "an account";
  const left = storage.limit === null ? "" : `, ${Math.floor((storage.limit - storage.usage) / MIB)} MiB left`;
  return `${context.name}: signed in as ${who}${left}`;
}

function* checkSignIn(context: DriverContext, about: About): Generator<Symptom> {
  const { name, clock } = context;
  if (about.othersCanRead)
    yield {
      level: "warning",
      message: `${about.file} can be read by others on this machine`,
      cure: `Run \`chmod 600 ${about.file}\`.`,
    };
  if (!about.refreshable)
    yield {
      level: "warning",
      code: "E_SIGN_IN_EXPIRED",
      message: `the sign-in of ${name} cannot renew itself and ends ${about.expiresAt === null ? "soon" : `at ${new Date(about.expiresAt).toISOString()}`}`,
      cure: `Run \`aftersave connect ${name}\`.`,
    };
  const age = about.signedInAt === null ? undefined : (clock.now() - about.signedInAt) / DAY;
  if (about.kind === "user" && age !== undefined && age > 5 && age < 8)
    yield {
      level: "warning",
      message: `the sign-in of ${name} is ${Math.floor(age)} days old: while its Google project is in testing mode, it ends after 7 days`,
      cure: "If the consent screen says Testing, publish the app (docs/targets/gdrive.md), then sign in once more.",
    };
}

function* checkGranted(context: DriverContext, about: About): Generator<Symptom> {
  const { name } = context;
  const { scope } = optionsOf(context);
  if (about.unsaved !== null)
    yield {
      level: "warning",
      message: `a fresh token could not be stored: ${about.unsaved}`,
      cure: "Make the token file and its folder writable.",
    };
  if (about.scopes.length > 0 && ![scope, FULL_SCOPE].some((wanted) => about.scopes.includes(wanted)))
    yield {
      level: "error",
      code: "E_SIGN_IN_SCOPE",
      message: `the sign-in of ${name} does not have the scope ${scope}`,
      cure: `Run \`aftersave connect ${name}\` and leave every box on Google's consent page ticked.`,
    };
}

function* checkClock({ clock }: DriverContext, theirs: number | null): Generator<Symptom> {
  if (theirs === null || Math.abs(clock.now() - theirs) < SKEW_MS) return;
  const off = Math.round((clock.now() - theirs) / 1000);
  yield {
    level: "warning",
    message: `this machine's clock is ${Math.abs(off)} s ${off > 0 ? "ahead of" : "behind"} Google's`,
    cure: "Set the clock: Google refuses service accounts whose clock is off, and tokens are renewed too late.",
  };
}

function* checkStorage(
  { context: { name }, waiting }: HealthParts,
  storage: Storage,
  about: About | undefined,
): Generator<Symptom> {
  if (about?.kind === "service_account" && storage.limit === 0)
    yield {
      level: "error",
      code: "E_NO_STORAGE",
      message: `${about.account ?? "a service account"} has no storage of its own, so no new file can be made`,
      cure: "Name a shared drive (`shared_drive`), let it act for a person (`impersonate`), or sign in as a person.",
    };
  else if (storage.limit !== null && storage.limit - storage.usage < Math.max(waiting, LITTLE)) {
    const left = Math.max(0, storage.limit - storage.usage);
    const short = left < waiting;
    yield {
      level: short ? "error" : "warning",
      ...(short ? { code: "E_TARGET_QUOTA" as const } : {}),
      message: short
        ? `the Google account of ${name} has ${Math.floor(left / MIB)} MiB left where ${Math.ceil(waiting / MIB)} MiB wait`
        : left === 0
          ? `the storage of the Google account of ${name} is full: nothing that is new can be sent there`
          : `the Google account of ${name} has only ${Math.floor(left / MIB)} MiB left`,
      cure: "Free some space in Drive, Gmail or Photos (the trash counts too), or get more.",
    };
  }
}

async function* checkSharedDrive({ api, context: { name } }: HealthParts, id: string): AsyncGenerator<Symptom> {
  try {
    const drive = await api.sharedDrive(id);
    if (!drive.canAddChildren)
      yield {
        level: "error",
        code: "E_TARGET_FORBIDDEN",
        message: `the account may not add files to the shared drive ${JSON.stringify(drive.name)}`,
        cure: "Ask a manager of that drive for the role Contributor or higher.",
      };
  } catch (error) {
    const { message, code } = asAftersaveError(error, `looking at the shared drive of ${name}`);
    yield {
      level: "error",
      code,
      message: `the shared drive ${id} cannot be seen: ${message}`,
      cure: "Check `shared_drive` in paths.json, and that the account is a member of that drive.",
    };
  }
}

/** The folders that uploads go to by their ids: what is gone is yielded; returns the paths of what is there, by id. */
async function* checkKnown(api: DriveApi, root: readonly string[], { memory }: DriverContext): AsyncGenerator<Symptom, Known> {
  const paths: (readonly [path: string, id: string])[] = [];
  for (const [name, value] of await memory.list(PREFIX)) {
    const { id, made } = JSON.parse(value) as { id: string; made: boolean };
    if (made) paths.push([name.slice(PREFIX.length), id]);
  }
  const top = root.join("/");
  const [there, gone] = [new Map<string, string>(), [] as string[]];
  const within = (path: string, folder: string) => folder === "" || path === folder || path.startsWith(`${folder}/`);
  const known = paths.filter(([path]) => within(path, top) || within(top, path)).toSorted(([a], [b]) => (a < b ? -1 : 1));
  for (let at = 0; at < known.length; at += AT_ONCE) {
    const some = known.slice(at, at + AT_ONCE);
    const found = await Promise.all(some.map(([, id]) => api.get(id).catch(absent)));
    for (const [i, [path, id]] of some.entries()) {
      if (gone.some((folder) => within(path, folder))) continue; // told with the folder that it lies in
      const folder = found[i];
      if (folder && !folder.trashed) {
        there.set(path, id);
        continue;
      }
      gone.push(path);
      const again = "run `aftersave doctor --fix`, which has everything below it sent again";
      yield {
        message: `the mirror's folder ${path} ${folder ? "lies in the trash of Drive" : "is not on Drive any more"}`,
        cure: folder ? `Take it out of the trash, or ${again}.` : `${again[0]?.toUpperCase()}${again.slice(1)}.`,
      };
    }
  }
  return { there, isGone: (path) => gone.some((folder) => within(path, folder)) };
}

/** The way to the mirror, and the mirror itself: what lies in the trash, is read-only, or is there twice. */
async function* checkFolders({ api, root, context }: HealthParts): AsyncGenerator<Symptom> {
  const { scope, shared_drive: top = "root" } = optionsOf(context);
  const known = yield* checkKnown(api, root, context);
  let level = new Map([[top, ""]]);
  let depth = 0;
  while (level.size > 0) {
    const below = new Map<string, string>();
    for (const [parent, path] of [...level].slice(0, FOLDERS)) {
      const wanted = depth < root.length ? root[depth] : undefined;
      const query = `${quoted(parent)} in parents${wanted === undefined ? "" : ` and name = ${quoted(wanted)}`}`;
      const items: DriveFile[] = [];
      for await (const item of api.search(`${query} and trashed = false`))
        if (wanted === undefined || (item.name === wanted && item.mimeType === FOLDER)) items.push(item);
      yield* twinsIn(items, path);
      const folders = items.filter(({ mimeType }) => mimeType === FOLDER).toSorted(byAge);
      const way = root.slice(0, depth + 1).join("/");
      if (wanted !== undefined && folders.length === 0 && !known.isGone(way)) {
        const moved = known.there.get(way);
        const seen =
          scope === FILE_SCOPE ? " that this app made (a folder made by hand cannot be seen with the scope drive.file)" : "";
        yield moved === undefined
          ? {
              level: "warning",
              message: `there is no folder ${way} on Drive${seen} yet`,
              cure: "The first upload makes it.",
            }
          : {
              level: "warning",
              message: `the folder ${way} was renamed or moved on Drive; uploads still go into it (id ${moved})`,
              cure: "Give it its name and place back, so that it is found by whoever looks for it by name.",
            };
        if (moved !== undefined) below.set(moved, way);
      }
      for (const folder of folders) {
        const at = path === "" ? folder.name : `${path}/${folder.name}`;
        if (folder.canAddChildren === false)
          yield {
            level: "error",
            code: "E_TARGET_FORBIDDEN",
            message: `the account may not add files to ${at}`,
            cure: "Ask the folder's owner for edit rights, or give the target another `root` in paths.json.",
          };
        if (![...below.values()].includes(at)) below.set(folder.id, at);
      }
    }
    depth++;
    level = below;
  }
}

function* twinsIn(items: readonly DriveFile[], path: string): Generator<Symptom> {
  const byName = new Map<string, DriveFile[]>();
  for (const item of items) {
    const mark = `${item.mimeType === FOLDER ? "folder" : isBlob(item) ? "file" : item.mimeType} ${item.name}`;
    byName.set(mark, [...(byName.get(mark) ?? []), item]);
  }
  for (const twins of byName.values()) {
    const [oldest, ...younger] = twins.toSorted(byAge);
    if (!oldest || younger.length === 0) continue;
    const at = path === "" ? oldest.name : `${path}/${oldest.name}`;
    yield {
      level: "warning",
      message: `there ${younger.length === 1 ? "is a second" : `are ${younger.length} more`} ${oldest.mimeType === FOLDER ? "folder" : "file"} named ${at} on Drive; the oldest one is used (id ${oldest.id})`,
      cure: `Look at the younger (id ${younger.map(({ id }) => id).join(", ")}), move what you need out of it, and put it in the trash.`,
    };
  }
}
