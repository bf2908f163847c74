/**
 * Whether a folder can hold the state. SQLite's locks and shared memory need a disk of this machine, and a sync
 * client would copy the state while it is being written.
 * @module
 */
import { existsSync, statSync } from "node:fs";
import { readFile, realpath, statfs } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, parse, resolve, sep } from "node:path";
import { AftersaveError, errnoOf } from "../core/errors.ts";
import { clients, syncVariables } from "./presets.ts";

export interface BadPlace {
  /** What makes the place unfit, e.g. `Dropbox` or `nfs`. */
  readonly what: string;
  /** The folder that shows it. */
  readonly where: string;
}

/** File systems whose bytes live on another machine, by the number that Linux's statfs reports. */
const networkMagic: Record<number, string> = {
  0x6969: "nfs",
  0x517b: "smb",
  0xff534d42: "cifs",
  0xfe534d42: "smb2",
  0x01021997: "9p",
  0x5346414f: "afs",
  0x6b414653: "afs",
  0x00c36400: "ceph",
  0x73757245: "coda",
  0x564c: "ncp",
  0x0bd00bd3: "lustre",
  0x47504653: "gpfs",
  0x19830326: "beegfs",
  0xaad7aaea: "panfs",
  0x786f4256: "vboxsf",
  0xbacbacbc: "vmhgfs",
};
const FUSE = 0x65735546;
/** FUSE is not a verdict: ntfs-3g, mergerfs or bindfs are local. These kinds are not. */
const networkFuse =
  /^fuse\.(sshfs|rclone|s3fs|s3ql|gcsfuse|goofys|glusterfs|curlftpfs|davfs2?|juicefs|blobfuse2?|google-drive-ocamlfuse|onedriver|gvfsd-fuse|mount-s3|cephfs|ceph-fuse|moosefs|seaweedfs|vmhgfs-fuse|portal)$/;

/** `path`, links followed as far as it exists. */
export async function realPlace(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    const up = dirname(path);
    if (up === path || !["ENOENT", "ENOTDIR", "EACCES", "ELOOP"].includes(errnoOf(error))) throw error;
    return join(await realPlace(up), path.slice(up.length));
  }
}

function* upwards(path: string): Generator<string> {
  for (let at = path; ; at = dirname(at)) {
    yield at;
    if (dirname(at) === at) return;
  }
}

/** The kind of the mount that holds `path`, from the text of /proc/self/mountinfo. Pure. */
export function mountKind(mountinfo: string, path: string): string | undefined {
  let best: { point: string; kind: string } | undefined;
  for (const line of mountinfo.split("\n")) {
    const [left = "", right = ""] = line.split(" - ");
    const point = left
      .split(" ")[4]
      ?.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    const kind = right.split(" ")[0];
    if (!point || !kind || !(point === "/" || path === point || path.startsWith(`${point}/`))) continue;
    if (!best || point.length >= best.point.length) best = { point, kind };
  }
  return best?.kind;
}

/** The network file system that a statfs number stands for, if it does. `mountinfo` is asked only about FUSE. */
export async function networkKind(type: number, path: string, mountinfo: () => Promise<string>): Promise<string | undefined> {
  if (type >>> 0 !== FUSE) return networkMagic[type >>> 0];
  const kind = mountKind(await mountinfo(), path);
  return kind !== undefined && networkFuse.test(kind) ? kind : undefined;
}

async function onNetwork(path: string): Promise<BadPlace | undefined> {
  if (path.startsWith("\\\\")) return { what: "a network share", where: parse(path).root };
  if (process.platform !== "linux") return undefined;
  for (const where of upwards(path)) {
    const type = await statfs(where).then(
      (found) => found.type,
      (error: unknown) => {
        if (["ENOENT", "ENOTDIR"].includes(errnoOf(error))) return undefined;
        throw error;
      },
    );
    if (type === undefined) continue;
    const what = await networkKind(type, where, () => readFile("/proc/self/mountinfo", "utf8"));
    return what === undefined ? undefined : { what, where };
  }
  return undefined;
}

/** Folder names that only a sync client gives. */
const unmistakable: Record<string, string> = {
  "Google Drive": "Google Drive",
  GoogleDrive: "Google Drive",
  "iCloud Drive": "iCloud Drive",
  iCloudDrive: "iCloud Drive",
  "Proton Drive": "Proton Drive",
  "Creative Cloud Files": "Creative Cloud",
};
/** Names that also other folders have: they count only where the client puts them, in a home folder or at the top of a drive. */
const atHome: ReadonlyArray<readonly [RegExp, string]> = Object.values(clients).flatMap(({ name, home }) =>
  home.flatMap(([pattern, ...rest]) => (pattern instanceof RegExp && rest.length === 0 ? [[pattern, name] as const] : [])),
);
/** What clients leave inside the folder that they look after. Dropbox's `.dropbox` is a file there; `~/.dropbox` is its settings folder. */
const marks: ReadonlyArray<readonly [string, "file" | "folder", string]> = [
  [".dropbox", "file", "Dropbox"],
  [".dropbox.cache", "folder", "Dropbox"],
  [".849C9593-D756-4E56-8D6E-42412F2A707B", "file", "OneDrive"],
  [".tmp.drivedownload", "folder", "Google Drive"],
  [".tmp.driveupload", "folder", "Google Drive"],
  [".stfolder", "folder", "Syncthing"],
];

function isHomeOrDrive(folder: string): boolean {
  const posix = folder.replaceAll("\\", "/");
  return (
    folder === homedir() || dirname(folder) === folder || /^(\/home|\/Users|([A-Za-z]:|\/mnt\/[a-z])\/Users)\/[^/]+$/.test(posix)
  );
}

/** The sync client whose folder `path` lies in, told from names alone. Pure. */
export function syncedByName(path: string): BadPlace | undefined {
  for (const where of upwards(path)) {
    const name = where.slice(dirname(where).length).replace(/^[\\/]/, "");
    const parent = dirname(where);
    const posix = parent.replaceAll("\\", "/");
    if (posix.endsWith("/Library/CloudStorage")) return { what: name.split("-")[0] ?? name, where };
    if (posix.endsWith("/Library") && name === "Mobile Documents") return { what: "iCloud Drive", where };
    const what = unmistakable[name] ?? (isHomeOrDrive(parent) ? atHome.find(([pattern]) => pattern.test(name))?.[1] : undefined);
    if (what !== undefined) return { what, where };
  }
  return undefined;
}

function syncedByMark(path: string): BadPlace | undefined {
  for (const where of upwards(path))
    for (const [mark, kind, what] of marks) {
      const found = existsSync(join(where, mark)) && statSync(join(where, mark));
      if (found && (kind === "file" ? found.isFile() : found.isDirectory())) return { what, where };
    }
  return undefined;
}

async function syncedBySettings(path: string, env: NodeJS.ProcessEnv): Promise<BadPlace | undefined> {
  for (const [variable, what] of syncVariables) {
    const folder = env[variable];
    if (!folder) continue;
    const where = await realPlace(resolve(folder));
    if (path === where || path.startsWith(where.endsWith(sep) ? where : where + sep)) return { what, where };
  }
  return undefined;
}

/** Why `folder` cannot hold the state, or `undefined` when it can. It need not exist. */
export async function badStatePlace(folder: string, env: NodeJS.ProcessEnv = process.env): Promise<BadPlace | undefined> {
  const path = await realPlace(resolve(folder));
  return (await onNetwork(path)) ?? syncedByName(path) ?? syncedByMark(path) ?? (await syncedBySettings(path, env));
}

/** What a message says of a bad place. */
export const sayPlace = ({ what, where }: BadPlace): string => `a place on ${what} (${where})`;

/** Refuses, with `E_STATE_PLACE` and the cure, a folder on a network file system or in a sync client's care. */
export async function assertStatePlace(folder: string, env: NodeJS.ProcessEnv = process.env): Promise<void> {
  const bad = await badStatePlace(folder, env);
  if (!bad) return;
  throw new AftersaveError("E_STATE_PLACE", `the state cannot be kept in ${folder}, ${sayPlace(bad)}`, {
    hint: 'Set "state_dir" to a folder on this machine\'s own disk, for example "~/.local/state/aftersave/<name>".',
    details: { ...bad },
  });
}
