// What the tests of erasing ask of a memory root: every byte that is anywhere.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import type { MemoryTarget } from "../../src/testing/index.ts";

/** Files below a folder in which `text` stands, raw bytes, in any form in which a file may have it. */
export function filesWith(folder: string, text: string): string[] {
  const forms = [text, JSON.stringify(text).slice(1, -1), Buffer.from(text, "utf16le").toString("latin1")];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const bytes = readFileSync(path);
      return forms.some((form) => bytes.includes(form)) || path.includes(text);
    });
}

export function expectGone(folder: string, ...texts: readonly string[]): void {
  for (const text of texts) expect(filesWith(folder, text), text).toEqual([]);
}

/** Objects of an in-memory target in which `text` stands. */
export const objectsWith = (place: MemoryTarget, text: string): string[] =>
  place
    .objects()
    .filter(({ key, bytes }) => key.includes(text) || Buffer.from(bytes).includes(text))
    .map(({ key }) => key);
