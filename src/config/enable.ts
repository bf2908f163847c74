/**
 * Enables and disables a target in `paths.json`. Everything else in the file stays as it is, comments and spaces included, and nothing
 * is written that could not be used.
 * @module
 */
import { join } from "node:path";
import { AftersaveError } from "../core/errors.ts";
import { nearestOf } from "../core/nearest.ts";
import { edited } from "./allow.ts";
import { CONFIG_FILE, type Config, findRoot, loadConfig, type LoadOptions } from "./load.ts";

export interface Enabled {
  readonly config: Config;
  /** False when it was so already. */
  readonly changed: boolean;
}

/** What stands for the targets of a file that names none. */
const IMPLIED: Readonly<Record<string, unknown>> = { drive: { type: "gdrive", enabled: true } };

/**
 * Sets `enabled` of the target `name`. Throws `E_TARGET_UNKNOWN`, and what `loadConfig` throws of the file as it would be: also a file that
 * cannot be used because of this target can be put right so.
 */
export async function setEnabled(options: Omit<LoadOptions, "instead">, name: string, enabled: boolean): Promise<Enabled> {
  const file = join(await findRoot(options), CONFIG_FILE);
  let config: Config | undefined;
  const changed = await edited(file, `setting "enabled" of ${name}`, async (text, { parse, change }) => {
    const all: unknown = parse();
    const named = isObject(all) && isObject(all["targets"]) ? all["targets"] : undefined;
    const targets = named ?? IMPLIED;
    const target = targets[name];
    if (!isObject(target)) {
      await loadConfig({ ...options, instead: Buffer.from(text) }); // a file that cannot be read names no targets: that is to be said
      throw unknown(name, Object.keys(targets));
    }
    const same = (target["enabled"] ?? false) === enabled;
    const next = same
      ? text
      : named
        ? change(["targets", name, "enabled"], enabled)
        : change(["targets"], { [name]: { ...target, enabled } });
    config = await loadConfig({ ...options, instead: Buffer.from(next) });
    return same ? undefined : next;
  });
  return { config: config as Config, changed };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function unknown(name: string, names: readonly string[]): AftersaveError {
  const nearest = nearestOf(name, names);
  const meant = nearest === undefined ? "" : ` Did you mean ${nearest}?`;
  return new AftersaveError("E_TARGET_UNKNOWN", `no target is named ${JSON.stringify(name)}`, {
    hint: `paths.json has: ${names.join(", ") || "none"}.${meant}`,
  });
}
