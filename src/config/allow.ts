/**
 * The one thing that is written to `paths.json` of a memory root: what a person allows by its fingerprint. Everything else in the
 * file stays as it is, comments and spaces included.
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

/** Adds `fingerprint` to `secrets_allowed` of a valid `paths.json`; false when it stands there already. */
export async function allowFingerprint(file: string, fingerprint: string): Promise<boolean> {
  const { applyEdits, modify, parse } = await import("jsonc-parser");
  try {
    const text = await readFile(file, "utf8");
    const body = text.replace(/^\uFEFF/, "");
    const { secrets_allowed: known = [] } = parse(body, [], { allowTrailingComma: true }) as { secrets_allowed?: string[] };
    if (known.includes(fingerprint)) return false;
    const eol = body.includes("\r\n") ? "\r\n" : "\n";
    const formattingOptions = { insertSpaces: true, tabSize: 2, eol };
    const edits =
      known.length > 0
        ? modify(body, ["secrets_allowed", known.length], fingerprint, { isArrayInsertion: true, formattingOptions })
        : modify(body, ["secrets_allowed"], [fingerprint], { formattingOptions });
    await rewrite(file, text.slice(0, text.length - body.length) + applyEdits(body, edits));
    return true;
  } catch (error) {
    throw asAftersaveError(error, `adding a fingerprint to ${file}`);
  }
}
