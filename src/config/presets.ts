/**
 * Where desktop clients of sync services keep their folder. What is said of the machine is handed in, so that every system can be
 * told on any.
 * @module
 */
import { posix, win32 } from "node:path";
import type { PRESETS } from "./schema-targets.ts";

export type Preset = (typeof PRESETS)[number];

/** What is known of the machine. None of the functions throws: what cannot be looked at is not there. */
export interface Machine {
  readonly platform: NodeJS.Platform;
  /** The home folder. */
  readonly home: string;
  readonly env: NodeJS.ProcessEnv;
  readonly isFolder: (path: string) => Promise<boolean>;
  /** The names in a folder; none where there is no such folder. */
  readonly list: (folder: string) => Promise<readonly string[]>;
  /** A small text; undefined where there is none. */
  readonly read: (file: string) => Promise<string | undefined>;
  /** The folder that a path leads to through links, so that one folder with two names counts once. */
  readonly real: (folder: string) => Promise<string>;
}

/** A way down from a folder: names as they are, or what names look like. */
type Way = readonly (string | RegExp)[];

interface Client {
  /** As people call it. */
  readonly name: string;
  /** The person's own word: it names the folder, whatever is found elsewhere. */
  readonly variable?: string;
  /** What the client itself sets. */
  readonly own?: readonly string[];
  /** Below the home folder, on every system. Also what makes a folder there one that no state may lie in. */
  readonly home: readonly Way[];
  /** Below macOS's ~/Library/CloudStorage. */
  readonly cloudStorage: readonly Way[];
  /** At the top of a Windows drive of the client's own. */
  readonly drive?: Way;
}

/** Google names the folder in the account's language. */
const MY_DRIVE =
  /^(My Drive|Meine Ablage|Mon Drive|Mi unidad|Il mio Drive|Meu Drive|O meu disco|Mijn Drive|マイドライブ|내 드라이브|我的云端硬盘)( \(.+\))?$/;

export const clients: Readonly<Record<Preset, Client>> = {
  dropbox: {
    name: "Dropbox",
    variable: "DROPBOX_SYNC_DIR",
    home: [[/^Dropbox( \(.+\))?$/]],
    cloudStorage: [[/^Dropbox(-.+)?$/]],
  },
  "google-drive": {
    name: "Google Drive",
    variable: "GOOGLE_DRIVE_SYNC_DIR",
    home: [["Google Drive", MY_DRIVE], [MY_DRIVE], [/^Google ?Drive$/]],
    cloudStorage: [[/^GoogleDrive-.+$/, MY_DRIVE]],
    drive: [MY_DRIVE],
  },
  onedrive: {
    name: "OneDrive",
    own: ["OneDrive", "OneDriveConsumer", "OneDriveCommercial"],
    home: [[/^OneDrive( - .+)?$/]],
    cloudStorage: [[/^OneDrive-(?!SharedLibraries-).+$/]],
  },
  adobe: {
    name: "Creative Cloud",
    variable: "ADOBE_CLOUD_SYNC_DIR",
    home: [[/^Creative Cloud Files( .+)?$/]],
    cloudStorage: [[/^CreativeCloud-.+$/]],
  },
  proton: {
    name: "Proton Drive",
    variable: "PROTON_DRIVE_SYNC_DIR",
    home: [["Proton Drive", /@/, "My files"], ["Proton Drive", "My files"], [/^Proton ?Drive$/]],
    cloudStorage: [[/^ProtonDrive-.+$/]],
  },
};

/** Environment variables that name a client's folder, with the client's name. */
export const syncVariables: ReadonlyArray<readonly [variable: string, client: string]> = Object.values(clients).flatMap(
  ({ name, variable, own = [] }) => [...(variable === undefined ? [] : [variable]), ...own].map((one) => [one, name] as const),
);

export interface Searched {
  /** The client's folders: none, the one, or several to choose from. */
  readonly found: readonly string[];
  /** Where was looked, as people read it. */
  readonly looked: readonly string[];
}

/** Where Dropbox tells its own folders. */
async function fromInfo({ platform, home, env, read }: Machine): Promise<{ told: string[]; looked: string[] }> {
  const { join } = platform === "win32" ? win32 : posix;
  const files =
    platform === "win32"
      ? [env["APPDATA"], env["LOCALAPPDATA"]].flatMap((base) => (base ? [join(base, "Dropbox", "info.json")] : []))
      : [join(home, ".dropbox", "info.json")];
  const told: string[] = [];
  for (const file of files) {
    const text = await read(file);
    if (text === undefined) continue;
    told.push(...pathsIn(text));
  }
  return { told, looked: files };
}

/** The folders that Dropbox's info.json names, by kind of account; none in a text that is not what is expected. */
function pathsIn(text: string): string[] {
  let info: unknown;
  try {
    info = JSON.parse(text);
  } catch {
    return []; // another program's file, or one that is just being written: the usual places are looked at
  }
  if (typeof info !== "object" || info === null) return [];
  return Object.values(info).flatMap((account: unknown) => {
    const path = typeof account === "object" && account !== null && "path" in account ? account.path : undefined;
    return typeof path === "string" && path !== "" ? [path] : [];
  });
}

/** Finds the folder of a desktop client. The person's own variable decides; then what the client says itself; then the usual places. */
export async function searchFolder(preset: Preset, machine: Machine): Promise<Searched> {
  const { platform, home, env, isFolder, list, real } = machine;
  const { join } = platform === "win32" ? win32 : posix;
  const { variable, own = [], home: usual, cloudStorage, drive } = clients[preset];
  const named = variable === undefined ? undefined : env[variable];
  // also where it is not there: a disk that is away is waited for, as with `path`
  if (named) return { found: [named], looked: [`$${variable}`] };

  /** One folder under several names counts once; one that only holds another of them is not meant. */
  const distinct = async (paths: readonly string[]) => {
    const byReal = new Map<string, string>();
    for (const path of paths) {
      const at = await real(path);
      if (!byReal.has(at)) byReal.set(at, path);
    }
    const outer = (at: string, other: string) =>
      other !== at && other.startsWith(at.endsWith("/") || at.endsWith("\\") ? at : join(at, "/"));
    return [...byReal].filter(([at]) => ![...byReal.keys()].some((other) => outer(at, other))).map(([, path]) => path);
  };
  const existing = async (paths: readonly string[]) => {
    const there: string[] = [];
    for (const path of new Set(paths)) if (await isFolder(path)) there.push(path);
    return distinct(there);
  };

  const info = preset === "dropbox" ? await fromInfo(machine) : { told: [], looked: [] };
  const set = own.flatMap((name) => (env[name] ? [env[name]] : []));
  const told = await existing([...info.told, ...set]);
  const looked = [...info.looked, ...(variable === undefined ? [] : [`$${variable}`]), ...own.map((name) => `$${name}`)];
  if (told.length > 0) return { found: told, looked };

  async function down(folder: string, [step, ...rest]: Way): Promise<string[]> {
    if (step === undefined) return [folder];
    const names = typeof step === "string" ? [step] : (await list(folder)).filter((name) => step.test(name)).toSorted();
    const found: string[] = [];
    for (const name of names) if (await isFolder(join(folder, name))) found.push(...(await down(join(folder, name), rest)));
    return found;
  }

  const storage = join(home, "Library", "CloudStorage");
  const letters = "DEFGHIJKLMNOPQRSTUVWXYZ".split("").map((letter) => `${letter}:\\`);
  const tries: (readonly [from: string, way: Way])[] = [
    ...(platform === "darwin" ? cloudStorage.map((way) => [storage, way] as const) : []),
    ...(platform === "win32" && drive ? letters.map((top) => [top, drive] as const) : []),
    ...usual.map((way) => [home, way] as const),
  ];
  const there: string[] = [];
  for (const [from, way] of tries) there.push(...(await down(from, way)));
  const places = [
    ...(platform === "darwin" ? [storage] : []),
    ...(platform === "win32" && drive ? ["the drives D: to Z:"] : []),
    home,
  ];
  return { found: await distinct(there), looked: [...looked, ...places] };
}
