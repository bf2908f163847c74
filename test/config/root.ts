import { mkdtemp, readdir, realpath, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { type Config, loadConfig } from "../../src/config/load.ts";
import { AftersaveError } from "../../src/core/errors.ts";

/** A temporary folder that goes when the test ends. */
export async function temporary(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "aftersave-config-")));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A memory root with this `paths.json`: an object, or the text itself. */
export async function rootWith(content: unknown): Promise<string> {
  const root = await temporary();
  await writeFile(
    join(root, "paths.json"),
    typeof content === "string" || content instanceof Uint8Array ? content : JSON.stringify(content),
  );
  return root;
}

export const load = (root: string, env: NodeJS.ProcessEnv = {}): Promise<Config> =>
  loadConfig({ root, cwd: root, env, targetTypes: ["folder", "gdrive"] });

/** The error that `act` is refused with. */
export async function refused(act: Promise<unknown>): Promise<AftersaveError> {
  try {
    await act;
  } catch (error) {
    if (error instanceof AftersaveError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

/** Every path below `folder` with its size and times: what a write of any kind would change. */
export async function picture(folder: string): Promise<string[]> {
  const names = (await readdir(folder, { recursive: true })).toSorted();
  const lines = await Promise.all(
    ["", ...names].map(async (name) => {
      const { size, mtimeMs, ctimeMs, ino } = await stat(join(folder, name));
      return [name, size, mtimeMs, ctimeMs, ino].join(" ");
    }),
  );
  return lines;
}

/** Text with `part` in it, where a whole object is compared. */
export const containing = (part: string): unknown => expect.stringContaining(part);
