import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { TargetError } from "../../../src/core/errors.ts";
import { parseKey } from "../../../src/core/key.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { onDropbox, PART } from "./place.ts";

const KEY = parseKey("models/big.bin");
const AT = "/Drive/MemoryVDB/models/big.bin";
const big = (parts: number) => new Uint8Array(randomBytes(parts * PART + 100));

test("a big body goes in parts, told as they are acknowledged, and its session is forgotten", async () => {
  const { box, target, values } = await onDropbox();
  const bytes = big(3);
  const told: number[] = [];
  await target.put(KEY, sourceOf(bytes), { expect: "absent", onProgress: (sent) => told.push(sent) });
  expect(box.read(AT)?.equals(bytes)).toBe(true);
  expect(told).toEqual([0, PART, 2 * PART, 3 * PART, bytes.length, bytes.length]);
  expect([...values.keys()]).toEqual([`proof/${KEY}`]);
});

test.each(["before", "after"] as const)(
  "goes on where it broke off in another process; the part was lost %s it arrived",
  async (cut) => {
    const { box, target, open } = await onDropbox();
    const bytes = big(5);
    const route = "files/upload_session/append_v2";
    box.faults.push({ route, meanwhile: () => undefined, times: 2 }, { route, cut });
    await expect(target.put(KEY, sourceOf(bytes), { expect: "absent" })).rejects.toMatchObject({ kind: "transient" });
    await target.close();
    const before = box.received();
    await open().put(KEY, sourceOf(bytes), { expect: "absent" });
    expect(box.read(AT)?.equals(bytes)).toBe(true);
    // two parts are not sent again, and the third only to learn that it is there
    expect(box.received() - before).toBe(bytes.length - 2 * PART);
    expect(box.sessions.size).toBe(1);
  },
);

test("bytes that changed since are sent anew, all of them", async () => {
  const { box, target, open, retrying } = await onDropbox();
  const bytes = big(4);
  const route = "files/upload_session/append_v2";
  box.faults.push({ route, meanwhile: () => undefined, times: 2 }, { route, cut: "before" });
  // what is sent here is not what it promises, and nobody learns of it before the break
  const other = bytes.slice();
  other[10] = (other[10] ?? 0) ^ 1;
  const lying = { ...sourceOf(bytes), open: sourceOf(other).open };
  await expect(target.put(KEY, lying, { expect: "absent" })).rejects.toMatchObject({ kind: "transient" });
  await expect(open().put(KEY, sourceOf(bytes), { expect: "absent" })).rejects.toMatchObject({ kind: "transient" });
  await retrying.put(KEY, sourceOf(bytes), { expect: "absent" });
  expect(box.read(AT)?.equals(bytes)).toBe(true);
});

test("a session that Dropbox has dropped is made anew", async () => {
  const { box, target, retrying } = await onDropbox();
  const bytes = big(4);
  box.faults.push({ route: "files/upload_session/finish", cut: "before" });
  await expect(target.put(KEY, sourceOf(bytes), { expect: "absent" })).rejects.toBeInstanceOf(TargetError);
  box.sessions.clear();
  await retrying.put(KEY, sourceOf(bytes), { expect: "absent" });
  expect(box.read(AT)?.equals(bytes)).toBe(true);
});

test("a session older than Dropbox keeps it is not tried", async () => {
  let now = 0;
  const { box, target } = await onDropbox({}, { now: () => now });
  const bytes = big(2);
  box.faults.push({ route: "files/upload_session/finish", cut: "before" });
  await expect(target.put(KEY, sourceOf(bytes))).rejects.toBeInstanceOf(TargetError);
  now = 6.5 * 24 * 3_600_000;
  await target.put(KEY, sourceOf(bytes));
  expect(box.sessions.size).toBe(2);
});

test.each(["absent", "seen", "anything"] as const)("an end whose answer was lost is a success, expecting %s", async (what) => {
  const { box, target, open } = await onDropbox();
  const first = what === "absent" ? undefined : await target.put(KEY, sourceOf("first"));
  const expected = what === "absent" ? "absent" : what === "seen" ? first : undefined;
  const bytes = big(2);
  box.faults.push({ route: "files/upload_session/finish", cut: "after" });
  await expect(target.put(KEY, sourceOf(bytes), { expect: expected })).rejects.toMatchObject({ kind: "transient" });
  const before = box.received();
  const entry = await open().put(KEY, sourceOf(bytes), { expect: expected });
  expect(entry).toMatchObject({ size: bytes.length, hash: { algo: "sha256", hex: sourceOf(bytes).sha256 } });
  expect(box.received()).toBe(before);
});

test("a conflict at the end keeps what was sent", async () => {
  const { box, target } = await onDropbox();
  const bytes = big(3);
  box.faults.push({ route: "files/upload_session/finish", meanwhile: () => box.write(AT, Buffer.from("them")) });
  await expect(target.put(KEY, sourceOf(bytes), { expect: "absent" })).rejects.toMatchObject({ kind: "conflict" });
  expect(box.read(AT)?.toString()).toBe("them");
  const before = box.received();
  await target.put(KEY, sourceOf(bytes), { expect: await target.stat(KEY) });
  expect(box.received()).toBe(before);
  expect(box.read(AT)?.equals(bytes)).toBe(true);
});

test("a conflict that shows before is told before anything is sent", async () => {
  const { box, target } = await onDropbox();
  box.write(AT, Buffer.from("them"));
  await expect(target.put(KEY, sourceOf(big(3)), { expect: "absent" })).rejects.toMatchObject({ kind: "conflict" });
  expect(box.received()).toBe(0);
});
