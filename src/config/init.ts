/**
 * The start of a memory root.
 * @module
 */
import { createHash } from "node:crypto";
import { mkdir, open, rm } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { asAftersaveError, errnoOf } from "../core/errors.ts";
import { CONFIG_FILE, loadConfig } from "./load.ts";
import { badStatePlace } from "./state-place.ts";

export interface InitOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** The types that the registry has drivers for, should a `paths.json` be there already. */
  readonly targetTypes?: readonly string[];
}

export interface Initialised {
  readonly root: string;
  /** Paths relative to the root; folders end in a slash. */
  readonly created: readonly string[];
  readonly kept: readonly string[];
}

/** Strict JSON, so that any program can read it: comments are the values of `//` keys. */
function start(stateDir: string | undefined): string {
  const file = {
    "//": "The memory root of aftersave. Every key is explained in docs/paths-json.md; a // key is a comment.",
    local_data_dir: "Data/",
    llama_input_path: "llama/input.txt",
    llama_output_path: "llama/output.json",
    memory_changelog: "logs/memory_changelog.json",
    upload_log: "logs/upload_log.json",
    archive_log: "logs/archive_log.json",
    drive_root: "Drive/MemoryVDB/",
    ...(stateDir === undefined ? {} : { state_dir: stateDir }),
    targets: {
      "//": "Nothing leaves this machine until a target elsewhere is enabled.",
      drive: {
        "//": "A mirror on this disk, at <path>/<drive_root>. Point path at another disk to be safe from this one.",
        type: "folder",
        enabled: true,
        path: "./",
      },
      cloud: {
        "//": "Google Drive: set enabled to true, then run `aftersave connect cloud` (docs/targets/gdrive.md).",
        type: "gdrive",
        enabled: false,
      },
    },
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

/** Where the state goes when the root itself cannot hold it: on the machine's own disk, one folder per root. */
function stateElsewhere(root: string): string {
  const id = createHash("sha256").update(root).digest("hex").slice(0, 8);
  return `~/.local/state/aftersave/${basename(root)}-${id}/`;
}

/** Writes `text` to a file that does not exist yet; answers false, and changes nothing, if it does. */
async function writeNew(path: string, text: string): Promise<boolean> {
  const handle = await open(path, "wx").catch((error: unknown) => {
    if (errnoOf(error) === "EEXIST") return undefined;
    throw error;
  });
  if (!handle) return false;
  try {
    await handle.writeFile(text);
    await handle.sync();
    return true;
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

/**
 * Makes `folder` a memory root: `paths.json`, the data folder with `Core` and `Meta`, and the folder of the logs.
 * Changes nothing that exists; a `paths.json` that is there is obeyed, and refused like by any other command.
 */
export async function initRoot(folder: string, { env = process.env, targetTypes = [] }: InitOptions = {}): Promise<Initialised> {
  const root = resolve(folder);
  const created: string[] = [];
  const kept: string[] = [];
  const note = (isNew: boolean, what: string) => void (isNew ? created : kept).push(what);
  try {
    await mkdir(root, { recursive: true });
    const unfit = await badStatePlace(join(root, ".aftersave"), env);
    note(await writeNew(join(root, CONFIG_FILE), start(unfit && stateElsewhere(root))), CONFIG_FILE);
    const { dataDir, logs } = await loadConfig({ root, cwd: root, env, targetTypes });
    const folders = new Set([
      join(dataDir, "Core"),
      join(dataDir, "Meta"),
      ...[logs.changes, logs.uploads, logs.archives].map((log) => dirname(log)),
    ]);
    folders.delete(root);
    for (const path of folders)
      note((await mkdir(path, { recursive: true })) !== undefined, `${relative(root, path).split(sep).join("/")}/`);
  } catch (error) {
    throw asAftersaveError(error, `making ${root} a memory root`);
  }
  return { root, created, kept };
}
