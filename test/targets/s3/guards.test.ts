import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import { bytesOf, sourceOf } from "../../../src/testing/source.ts";
import type { Fault } from "./emulator.ts";
import { onS3, PART } from "./on.ts";
import { memoryOf, ROOT } from "./place.ts";

const NOTE = parseKey("Core/Note.txt");
const AT = `${ROOT}${NOTE}`;
const big = Buffer.alloc(3 * PART + 5, "big ");

describe("what a service can do", () => {
  it("is found out once, remembered, and leaves nothing behind", async () => {
    const { s3, target, values, open } = await onS3();
    expect(target.traits.guardedPut).toBe(false);
    await target.put(NOTE, sourceOf("one"), { expect: "absent" });
    expect(target.traits.guardedPut).toBe(true);
    expect(s3.keys()).toEqual([AT]);
    expect(s3.uploads.size).toBe(0);
    const before = s3.asked.length;
    const again = await open();
    expect(again.traits.guardedPut).toBe(true);
    expect((await open({ options: { bucket: "another" } })).traits.guardedPut).toBe(false);
    await again.put(NOTE, sourceOf("two"));
    expect(s3.asked.length).toBe(before + 1);
    expect(JSON.parse(values.get("abilities") ?? "")).toMatchObject({
      abilities: { checksums: true, md5: true, create: true, replace: "quoted", complete: true, copy: true, remove: true },
    });
  });

  it.each([{ kms: true }, { versioned: true }, { checksums: false, kms: true, versioned: true }])(
    "is found out with %o too, and no version of what was tried is left",
    async (settings) => {
      const { s3, target } = await onS3(settings);
      await target.put(NOTE, sourceOf("one"));
      expect(target.traits.guardedPut).toBe(true);
      expect(await target.purge?.(NOTE)).toEqual([]);
      expect(s3.everKeys()).toEqual([]);
    },
  );

  it("is asked anew after a week, and what a kill left of it before is removed", async () => {
    const { s3, target, open } = await onS3();
    await target.put(NOTE, sourceOf("one"));
    s3.settings.conditions = "ignored"; // another service answers there by now
    const left = `${ROOT}.aftersave/probe-0123456789abcdef`;
    s3.write(left, Buffer.from("left"));
    for await (const { key } of target.list("")) expect(key).toBe(NOTE);
    const later = await open({ now: () => Date.now() + 8 * 86_400_000 });
    await later.put(NOTE, sourceOf("two"));
    expect(later.traits.guardedPut).toBe(false);
    expect(s3.keys()).toEqual([AT]);
  });

  it("is asked anew after the bucket began to keep versions", async () => {
    const { s3, target, values } = await onS3();
    await target.put(NOTE, sourceOf("one"));
    s3.settings.versioned = true;
    s3.settings.conditions = "ignored"; // as Ceph does then
    await target.put(NOTE, sourceOf("two"));
    expect(values.has("abilities")).toBe(false);
    const seen = await target.put(NOTE, sourceOf("three"));
    expect(target.traits.guardedPut).toBe(false);
    s3.write(AT, Buffer.from("theirs"));
    await expect(target.put(NOTE, sourceOf("four"), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
  });

  it.each([
    ["ignores conditions", { conditions: "ignored" }],
    ["ignores them at the end of uploads", { conditionsAtTheEnd: false }],
    ["refuses conditions", { conditions: "refused" }],
  ] as const)("one that %s is not called guarded, and is looked at before each write", async (_, settings) => {
    const { s3, target } = await onS3(settings);
    const seen = await target.put(NOTE, sourceOf("ours"));
    expect(target.traits.guardedPut).toBe(false);
    s3.write(AT, Buffer.from("theirs"));
    await expect(target.put(NOTE, sourceOf("more"), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    await expect(target.put(NOTE, sourceOf(big), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    expect(s3.bytesAt(AT)?.toString()).toBe("theirs");
  });
});

describe("someone else's write", () => {
  it("while parts are sent shows just before the end, where the end itself obeys no condition", async () => {
    const { s3, target } = await onS3({ conditionsAtTheEnd: false });
    const seen = await target.put(NOTE, sourceOf("seen"));
    let sent = 0;
    s3.fault = ({ action }) => {
      if (action === "s3:UploadPart" && ++sent === 4) s3.write(AT, Buffer.from("theirs"));
      return undefined;
    };
    await expect(target.put(NOTE, sourceOf(big), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    expect(s3.bytesAt(AT)?.toString()).toBe("theirs");
    expect((await target.stat(NOTE, { hash: true }))?.hash?.hex).toBe(createHash("md5").update("theirs").digest("hex"));
  });

  it.each([
    ["a small file", Buffer.from("ours")],
    ["a big one, while its parts are sent", big],
  ])("between the look and the write is refused by the service itself: %s", async (_, body) => {
    const { s3, target } = await onS3();
    const seen = await target.put(NOTE, sourceOf("seen"));
    const last = body.length > PART ? "s3:CompleteMultipartUpload" : "s3:PutObject";
    s3.fault = ({ action }) => {
      if (action === last) s3.write(AT, Buffer.from("theirs"));
      return undefined;
    };
    await expect(target.put(NOTE, sourceOf(body), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    expect(s3.bytesAt(AT)?.toString()).toBe("theirs");
  });

  it("a removal meanwhile is not-found, and a conflict that passed by is tried again", async () => {
    const { s3, target } = await onS3();
    const seen = await target.put(NOTE, sourceOf("seen"));
    let times = 0;
    s3.fault = ({ action }) =>
      action === "s3:PutObject" && ++times === 1 ? { status: 409, code: "ConditionalRequestConflict" } : undefined;
    const now = await target.put(NOTE, sourceOf("again"), { expect: seen });
    s3.fault = undefined;
    await target.remove(NOTE);
    await expect(target.put(NOTE, sourceOf("more"), { expect: now })).rejects.toMatchObject({ kind: "not-found" });
  });

  it("while a copy is made, or before a removal, changes neither", async () => {
    const { s3, target } = await onS3();
    const seen = await target.put(NOTE, sourceOf("seen"));
    s3.fault = ({ action }) => {
      if (action === "s3:CopyObject" || action === "s3:DeleteObject") s3.write(AT, Buffer.from("theirs"));
      return undefined;
    };
    await expect(target.copy(NOTE, parseKey("Copy.txt"), { expect: seen })).rejects.toMatchObject({ kind: "conflict" });
    expect(s3.keys()).toEqual([AT]);
    const theirs = await target.stat(NOTE);
    s3.write(AT, Buffer.from("others"));
    await expect(target.remove(NOTE, { expect: theirs })).rejects.toMatchObject({ kind: "conflict" });
    const others = await target.stat(NOTE);
    await expect(target.remove(NOTE, { expect: others })).rejects.toMatchObject({ kind: "conflict" });
    expect(s3.bytesAt(AT)?.toString()).toBe("theirs");
  });
});

describe("an answer that was lost", () => {
  const losing = (action: string, fault: Fault = "lost") => {
    let struck = false;
    return (one: { action: string }) => (one.action === action && !struck ? ((struck = true), fault) : undefined);
  };

  it.each([
    ["a new small file", "absent", Buffer.from("ours"), "s3:PutObject"],
    ["a replaced small file", "seen", Buffer.from("ours"), "s3:PutObject"],
    ["a new big file", "absent", big, "s3:CompleteMultipartUpload"],
    ["a replaced big file", "seen", big, "s3:CompleteMultipartUpload"],
    ["a part", "seen", big, "s3:UploadPart"],
  ] as const)("of our own conditional write is a success, not a conflict with ourselves: %s", async (_, how, body, action) => {
    const { s3, target, retrying } = await onS3();
    const seen = how === "seen" ? await target.put(NOTE, sourceOf("seen")) : "absent";
    if (how === "absent") await target.put(parseKey("Other.txt"), sourceOf("so that it is known what the service can do"));
    s3.fault = losing(action);
    const entry = await retrying.put(NOTE, sourceOf(body), { expect: seen });
    expect(entry.size).toBe(body.length);
    expect(s3.bytesAt(AT)?.equals(body)).toBe(true);
    expect(s3.uploads.size).toBe(0);
    const parts = s3.asked.filter((one) => one.action === "s3:UploadPart" && one.key === AT);
    if (body === big) expect(parts.length).toBe(4);
  });

  it("of a copy and of a removal too", async () => {
    const { s3, target, retrying } = await onS3();
    const seen = await target.put(NOTE, sourceOf("seen"));
    s3.fault = losing("s3:CopyObject");
    await retrying.copy(NOTE, parseKey("Copy.txt"), { expect: seen });
    s3.fault = losing("s3:DeleteObject");
    await retrying.remove(NOTE, { expect: seen });
    expect(s3.keys()).toEqual([`${ROOT}Copy.txt`]);
  });
});

describe("proof", () => {
  const kinds = {
    "checksums and MD5": {},
    "checksums, and ETags that are no MD5 (KMS)": { kms: true },
    "MD5 only": { checksums: false },
    "neither, and it says so (KMS)": { checksums: false, kms: true },
    "neither, without a word": { checksums: false, oddEtags: true },
  } as const;

  it.each(Object.entries(kinds))("holds with %s, and what was damaged on the way is never a success", async (_, settings) => {
    const { s3, target, open } = await onS3(settings);
    for (const body of [Buffer.from("small"), big]) {
      const entry = await target.put(NOTE, sourceOf(body));
      expect(entry.hash).toEqual({ algo: "sha256", hex: sourceOf(body).sha256 });
      expect(await target.stat(NOTE, { hash: true })).toEqual(entry);
      const stranger = await open({ memory: memoryOf() });
      const theirs = await stranger.stat(NOTE, { hash: true });
      expect(theirs?.rev).toBe(entry.rev);
      expect(theirs?.hash?.hex).toBe(
        createHash(theirs?.hash?.algo ?? "")
          .update(body)
          .digest("hex"),
      );
      s3.fault = ({ action }) => (action === "s3:PutObject" || action === "s3:UploadPart" ? "flip" : undefined);
      await expect(target.put(NOTE, sourceOf(Buffer.concat([body, Buffer.from("!")])))).rejects.toMatchObject({
        kind: expect.stringMatching(/^(corrupt|transient)$/) as string,
      });
      s3.fault = undefined;
      await target.remove(NOTE);
    }
  });

  it("tells no hash of what someone else put under an ETag that is none, unless it is asked to read", async () => {
    const { s3, target } = await onS3({ kms: true });
    await target.put(parseKey("First.txt"), sourceOf("so that it is known"));
    s3.write(AT, Buffer.from("theirs"));
    expect((await target.stat(NOTE))?.hash).toBeUndefined();
    expect((await target.stat(NOTE, { hash: true }))?.hash).toEqual({ algo: "sha256", hex: sourceOf("theirs").sha256 });
  });

  it("a listing tells the sha256 of what was proven here, and of nothing else", async () => {
    const { s3, target } = await onS3({ checksums: false });
    await target.put(NOTE, sourceOf("ours"));
    s3.write(`${ROOT}Theirs.txt`, Buffer.from("theirs"));
    const told: Array<[string, string | undefined]> = [];
    for await (const { key, hash } of target.list("")) told.push([key, hash?.hex]);
    expect(told).toEqual([
      [NOTE, sourceOf("ours").sha256],
      ["Theirs.txt", undefined],
    ]);
    s3.write(AT, Buffer.from("them"));
    for await (const { key, hash } of target.list("Core/")) expect([key, hash]).toEqual([NOTE, undefined]);
  });
});

it("bytes that end early are transient, and come whole with the next try", async () => {
  const { s3, target, retrying } = await onS3();
  await target.put(NOTE, sourceOf(big));
  let times = 0;
  s3.fault = ({ action, method }) => (action === "s3:GetObject" && method === "GET" && ++times === 1 ? "half" : undefined);
  await expect(target.read(NOTE, bytesOf)).rejects.toMatchObject({ kind: "transient" });
  times = 0;
  expect(Buffer.from(await retrying.read(NOTE, bytesOf)).equals(big)).toBe(true);
});
