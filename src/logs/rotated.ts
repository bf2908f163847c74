/**
 * The names of rotated logs: `<log>.<YYYY-MM-DDTHH-mm-ssZ>`, then `…Z_2`, `…Z_3`.
 * @module
 */
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { asAftersaveError, errnoOf } from "../core/errors.ts";

const shape = /^\.(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)(?:_(\d+))?$/;

/** A time as it stands in the name of a rotated log. */
export const timeStamp = (time: Date) => `${time.toISOString().slice(0, 19).replaceAll(":", "-")}Z`;

/** Time and counter of a rotated log; `undefined` when `name` is not one of `log`. */
export function stampOf(log: string, name: string): { time: string; count: number } | undefined {
  const [, time, count] = (name.startsWith(basename(log)) && shape.exec(name.slice(basename(log).length))) || [];
  return time === undefined ? undefined : { time, count: Number(count ?? 1) };
}

/** The rotated files of a log, oldest first. */
export function inOrder(log: string, names: readonly string[]): string[] {
  return names
    .flatMap((name) => {
      const stamp = stampOf(log, name);
      return stamp === undefined ? [] : [{ name, ...stamp }];
    })
    .toSorted((a, b) => (a.time === b.time ? a.count - b.count : a.time < b.time ? -1 : 1))
    .map(({ name }) => join(dirname(log), name));
}

/** The rotated files of a log, oldest first. */
export async function rotatedFiles(log: string): Promise<string[]> {
  try {
    return inOrder(log, await readdir(dirname(log)));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw asAftersaveError(error, `looking for the rotated files of ${log}`);
  }
}
