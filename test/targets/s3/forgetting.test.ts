import { expect, it } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { onS3, PART } from "./on.ts";
import { ROOT } from "./place.ts";

const NOTE = parseKey("Core/Note.txt");
const AT = `${ROOT}${NOTE}`;

it("all versions and markers go, and parts of uploads, of this key and no other", async () => {
  const { s3, target, values } = await onS3({ versioned: true, pageSize: 2 });
  for (const content of ["one", "two", "three"]) await target.put(NOTE, sourceOf(content));
  await target.remove(NOTE);
  await target.put(NOTE, sourceOf("four"));
  await target.put(parseKey("Core/Note.txt.bak"), sourceOf("a sibling"));
  async function* open() {
    yield Buffer.alloc(2 * PART);
    await Promise.resolve();
    throw new Error("killed");
  }
  await expect(target.put(NOTE, { ...sourceOf(Buffer.alloc(3 * PART)), open })).rejects.toThrow("killed");
  expect(s3.versionsAt(AT)).toBe(5);
  expect(s3.uploads.size).toBe(1);
  expect(await target.purge?.(NOTE)).toEqual([]);
  expect(s3.versionsAt(AT)).toBe(0);
  expect(s3.uploads.size).toBe(0);
  expect([...values.keys()].filter((name) => name.endsWith(NOTE))).toEqual([]);
  expect(s3.keys()).toEqual([`${AT}.bak`]);
});

it("what object lock keeps is told, with its time", async () => {
  const { s3, target } = await onS3({ versioned: true });
  await target.put(NOTE, sourceOf("one"));
  s3.settings.lockedUntil = new Date("2099-01-02T03:04:05.000Z");
  await target.put(NOTE, sourceOf("two"));
  const kept = await target.purge?.(NOTE);
  expect(kept).toEqual([
    expect.stringMatching(/^the version of 20.*Note\.txt: object lock keeps it until 2099-01-02T03:04:05/) as string,
  ]);
  expect(s3.versionsAt(AT)).toBe(2); // and a marker
  expect(await target.stat(NOTE)).toBeUndefined();
});

it("a key that may not look for versions says what it cannot know", async () => {
  const { s3, target } = await onS3({ versioned: true, denied: ["s3:ListBucketVersions"] });
  await target.put(NOTE, sourceOf("one"));
  expect(await target.purge?.(NOTE)).toEqual([expect.stringContaining("s3:ListBucketVersions") as string]);
  expect(await target.stat(NOTE)).toBeUndefined();
  s3.settings.denied = ["s3:DeleteObject"];
  await expect(target.purge?.(NOTE)).rejects.toMatchObject({ code: "E_TARGET_FORBIDDEN" });
});
