/**
 * Packages that users install themselves, because only some targets need them.
 * @module
 */
import { AftersaveError, errnoOf } from "../../core/errors.ts";

/**
 * What `load` imports. Throws `E_SDK_MISSING` with the command that installs it when `name` is not there.
 *
 * @param name The package, for example `@aws-sdk/client-s3`.
 * @param range The versions that this driver was tried with.
 * @param type The type of target that needs it, as in paths.json.
 */
export async function loadOptional<T>(name: string, range: string, type: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    if (errnoOf(error) !== "ERR_MODULE_NOT_FOUND" || !message.includes(`'${name}'`)) throw error;
    throw new AftersaveError("E_SDK_MISSING", `targets of type ${type} need the package ${name}, which is not installed`, {
      cause: error,
      hint: `Run \`npm i ${name}@${range}\` where aftersave is installed (\`npm i -g\` for a global one).`,
    });
  }
}
