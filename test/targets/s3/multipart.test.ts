import { describe, expect, it } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import type { Source } from "../../../src/core/target.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { partBytesFor } from "../../../src/targets/s3/multipart.ts";
import { onS3, PART } from "./on.ts";
import { ROOT } from "./place.ts";

const BIG = parseKey("Core/Big.bin");
const AT = `${ROOT}${BIG}`;
const bytes = Buffer.from(Array.from({ length: 10 * PART + 77 }, (_, at) => (at * 31 + (at >> 9)) & 0xff));
const partsSent = (asked: ReadonlyArray<{ action: string; key: string }>) =>
  asked.filter(({ action, key }) => action === "s3:UploadPart" && key === AT).length;

/** A body that breaks after so many bytes. */
const breaking = (after: number): Source => ({
  ...sourceOf(bytes),
  async *open() {
    yield bytes.subarray(0, after);
    await Promise.resolve();
    throw new Error("the disk of the sender failed");
  },
});

describe("a big file", () => {
  it.each([{ checksums: true }, { checksums: false }, { pageSize: 2 }, { kms: true }])(
    "goes on where it broke off, in a new process too: %o",
    async (settings) => {
      const { s3, target, open, values } = await onS3(settings);
      await expect(target.put(BIG, breaking(6 * PART + 9))).rejects.toThrow("the disk of the sender failed");
      expect(s3.keys()).toEqual([]);
      const before = partsSent(s3.asked);
      expect(before).toBeGreaterThan(4);
      await target.close();
      const told: number[] = [];
      const entry = await (await open()).put(BIG, sourceOf(bytes), { onProgress: (sent) => told.push(sent) });
      expect(entry.hash?.hex).toBe(sourceOf(bytes).sha256);
      expect(s3.bytesAt(AT)?.equals(bytes)).toBe(true);
      // with an ETag and no checksum that says what a part holds it is sent again
      expect(partsSent(s3.asked)).toBe(11);
      expect(told).toEqual(told.toSorted((a, b) => a - b));
      expect(told.at(-1)).toBe(bytes.length);
      expect([...values.keys()].filter((name) => name.startsWith("upload/"))).toEqual([]);
    },
  );

  it("sends a part again that the service has otherwise, and begins anew when it has forgotten the upload", async () => {
    const { s3, target } = await onS3();
    await expect(target.put(BIG, breaking(4 * PART + 9))).rejects.toThrow();
    const [upload] = [...s3.uploads.values()];
    upload?.parts.set(1, { bytes: Buffer.alloc(PART), etag: "0".repeat(32), sum: "AAAA" });
    await expect(target.put(BIG, breaking(6 * PART + 9))).rejects.toThrow();
    expect(upload?.parts.get(1)?.bytes.equals(bytes.subarray(0, PART))).toBe(true);
    (s3.uploads as Map<string, unknown>).clear();
    await target.put(BIG, sourceOf(bytes));
    expect(s3.bytesAt(AT)?.equals(bytes)).toBe(true);
  });

  it("an upload that the service forgets half-way is begun anew, once", async () => {
    const { s3, target } = await onS3();
    await target.put(parseKey("First.txt"), sourceOf("x"));
    let sent = 0;
    s3.fault = ({ action }) => {
      if (action === "s3:UploadPart" && ++sent === 3) (s3.uploads as Map<string, unknown>).clear();
      return undefined;
    };
    await target.put(BIG, sourceOf(bytes));
    expect(s3.bytesAt(AT)?.equals(bytes)).toBe(true);
    s3.fault = ({ action }) => {
      if (action === "s3:UploadPart") (s3.uploads as Map<string, unknown>).clear();
      return undefined;
    };
    await expect(target.put(BIG, sourceOf(bytes.toReversed()))).rejects.toMatchObject({ kind: "not-found" });
    expect(s3.bytesAt(AT)?.equals(bytes)).toBe(true);
  });

  it("gives up the upload of bytes that are wrong, or of a content that is another by now", async () => {
    const { s3, target } = await onS3();
    await expect(target.put(BIG, { ...sourceOf(bytes), sha256: sourceOf("").sha256 })).rejects.toMatchObject({ kind: "corrupt" });
    expect(s3.uploads.size).toBe(0);
    await expect(target.put(BIG, breaking(5 * PART))).rejects.toThrow();
    expect(s3.uploads.size).toBe(1);
    await target.put(BIG, sourceOf(bytes.toReversed()));
    expect(s3.uploads.size).toBe(0);
    expect(s3.bytesAt(AT)?.equals(bytes.toReversed())).toBe(true);
  });

  it("after a conflict no part is sent again", async () => {
    const { s3, target } = await onS3();
    const seen = await target.put(BIG, sourceOf("seen"));
    s3.fault = ({ action }) => {
      if (action === "s3:CompleteMultipartUpload") s3.write(AT, Buffer.from("theirs"));
      return undefined;
    };
    await expect(target.put(BIG, sourceOf(bytes), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    s3.fault = undefined;
    await target.put(BIG, sourceOf(bytes), { expect: await target.stat(BIG) });
    expect(partsSent(s3.asked)).toBe(11);
  });

  it("an end that came through before a kill is recognised, not sent again", async () => {
    const { s3, target, values, open } = await onS3();
    const seen = await target.put(BIG, sourceOf("seen"));
    // the end came through; the answer did not, and what happened after it is the kill
    s3.fault = ({ action, method }) =>
      action === "s3:CompleteMultipartUpload" ? "lost" : method === "HEAD" && partsSent(s3.asked) === 11 ? "cut" : undefined;
    await expect(target.put(BIG, sourceOf(bytes), { expect: seen })).rejects.toMatchObject({ kind: "transient" });
    expect(values.get(`upload/${BIG}`)).toContain("ending");
    s3.fault = undefined;
    const entry = await (await open()).put(BIG, sourceOf(bytes), { expect: seen });
    expect(entry.hash?.hex).toBe(sourceOf(bytes).sha256);
    expect(partsSent(s3.asked)).toBe(11);
  });

  it("what nobody went on with for a week is given up, ours and what a kill left at the service", async () => {
    const { s3, target, open, values } = await onS3();
    await expect(target.put(BIG, breaking(5 * PART))).rejects.toThrow();
    await target.put(parseKey("Other.bin"), sourceOf(bytes));
    expect(s3.uploads.size).toBe(1);
    const orphan = {
      key: `${ROOT}Gone.bin`,
      summed: false,
      meta: {},
      at: new Date(Date.now() - 8 * 86_400_000),
      parts: new Map(),
    };
    const elsewhere = { ...orphan, key: "Elsewhere/Gone.bin" };
    for (const [id, one] of Object.entries({ orphan, elsewhere })) (s3.uploads as Map<string, unknown>).set(id, one);
    const later = await open({ now: () => Date.now() + 8 * 86_400_000 });
    await later.put(parseKey("Third.bin"), sourceOf(bytes));
    expect([...s3.uploads.values()].map(({ key }) => key)).toEqual(["Elsewhere/Gone.bin"]);
    expect([...values.keys()].filter((name) => name.startsWith("upload/"))).toEqual([]);
  });

  it("an abort ends it at once and keeps what was sent", async () => {
    const { s3, target } = await onS3();
    await target.put(parseKey("First.txt"), sourceOf("x"));
    const stop = new AbortController();
    s3.fault = ({ action }) => (action === "s3:UploadPart" && partsSent(s3.asked) === 4 ? (stop.abort(), "cut") : undefined);
    await expect(target.put(BIG, sourceOf(bytes), { signal: stop.signal })).rejects.toMatchObject({ name: "AbortError" });
    expect(s3.uploads.size).toBe(1);
    s3.fault = undefined;
    await target.put(BIG, sourceOf(bytes));
    expect(partsSent(s3.asked)).toBeLessThanOrEqual(12);
  });

  it("has parts that are as few as S3 allows", () => {
    const MIB = 1024 * 1024;
    expect(partBytesFor(100 * MIB, 8 * MIB)).toBe(8 * MIB);
    expect(partBytesFor(80_000 * MIB, 8 * MIB)).toBe(8 * MIB);
    expect(partBytesFor(80_000 * MIB + 1, 8 * MIB)).toBe(9 * MIB);
    expect(Math.ceil((5 * 1024 * 1024 * MIB) / partBytesFor(5 * 1024 * 1024 * MIB, 8 * MIB))).toBeLessThanOrEqual(10_000);
  });
});

describe("forgetting", () => {
  const NOTE = parseKey("Core/Note.txt");
  const NOTE_AT = `${ROOT}${NOTE}`;

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
    expect(s3.versionsAt(NOTE_AT)).toBe(5);
    expect(s3.uploads.size).toBe(1);
    expect(await target.purge?.(NOTE)).toEqual([]);
    expect(s3.versionsAt(NOTE_AT)).toBe(0);
    expect(s3.uploads.size).toBe(0);
    expect([...values.keys()].filter((name) => name.endsWith(NOTE))).toEqual([]);
    expect(s3.keys()).toEqual([`${NOTE_AT}.bak`]);
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
    expect(s3.versionsAt(NOTE_AT)).toBe(2); // and a marker
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
});
