/**
 * What is written to `paths.json` of a memory root: what a person allows by its fingerprint, and (enable.ts) whether a target is
 * enabled. Everything else in the file stays as it is, comments and spaces included.
 * @module
 */
import { randomBytes } from "node:crypto";
import { open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { asAftersaveError, saidOf } from "../core/errors.ts";

/** Replaces a file by one with this text, and the same mode; through a link, the file that it leads to. */
async function rewrite(path: string, text: string): Promise<void> {
  const file = await realpath(path);
  const own = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  const handle = await open(own, "wx", (await stat(file)).mode & 0o7777).catch((error: unknown) => {
    throw saidOf(error, own, file);
  });
  try {
    await handle.writeFile(text);
    await handle.sync();
    await handle.close();
    await rename(own, file);
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(own, { force: true });
    throw saidOf(error, own, file);
  }
}

export interface Edits {
  /** What the text says. */
  readonly parse: () => unknown;
  /** The text with one value changed, formatted as the file is; `isInsertion`: a new item of a list. */
  readonly change: (path: (string | number)[], value: unknown, isInsertion?: boolean) => string;
}

/**
 * Changes a valid `paths.json` as `edit` says; false when that says nothing. `doing` begins the message of a fault of the system.
 */
export async function edited(
  file: string,
  doing: string,
  edit: (text: string, edits: Edits) => Promise<string | undefined> | string | undefined,
): Promise<boolean> {
  const { applyEdits, modify, parse } = await import("jsonc-parser");
  try {
    const text = await readFile(file, "utf8");
    const body = text.replace(/^\uFEFF/, "");
    const formattingOptions = { insertSpaces: true, tabSize: 2, eol: body.includes("\r\n") ? "\r\n" : "\n" };
    const next = await edit(body, {
      parse: (): unknown => parse(body, [], { allowTrailingComma: true }),
      change: (path, value, isArrayInsertion = false) =>
        applyEdits(body, modify(body, path, value, { isArrayInsertion, formattingOptions })),
    });
    if (next === undefined) return false;
    await rewrite(file, text.slice(0, text.length - body.length) + next);
    return true;
  } catch (error) {
    throw asAftersaveError(error, `${doing} in ${file}`);
  }
}

/** Adds `fingerprint` to `secrets_allowed` of a valid `paths.json`; false when it stands there already. */
export function allowFingerprint(file: string, fingerprint: string): Promise<boolean> {
  return edited(file, "adding a fingerprint", (_, { parse, change }) => {
    const { secrets_allowed: known = [] } = parse() as { secrets_allowed?: string[] };
    if (known.includes(fingerprint)) return undefined;
    return known.length > 0
      ? change(["secrets_allowed", known.length], fingerprint, true)
      : change(["secrets_allowed"], [fingerprint]);
  });
}
