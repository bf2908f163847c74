/** Two machines that make one new file at the same moment: one stays, and nobody's bytes are lost. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { held, makeDriveRoot, problemsOn } from "../../../scripts/campaign/drive.ts";
import { removeRoot } from "../../../scripts/campaign/root.ts";
import { parseKey } from "../../../src/core/key.ts";
import { openMemory } from "../../../src/open.ts";
import { startDriveEmulator } from "../../../src/testing/drive-emulator.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { memoryOf, onDrive } from "./place.ts";

const KEY = parseKey("Meta/new.txt");
const AT = `MemoryVDB/${KEY}`;

const undo: Array<() => unknown> = [];
afterEach(async () => {
  for (const back of undo.splice(0).toReversed()) await back();
});

/** Two machines on one Drive whose search by name lags, so that neither finds what the other has just made. */
async function machines() {
  const on = await onDrive({ lag: { nameMs: 60_000 } });
  undo.push(() => on.close());
  await on.target.put(parseKey("Meta/first.txt"), sourceOf("x"), { expect: "absent" });
  const other = await on.another({ memory: memoryOf() });
  const here = () => on.drive.account.find(AT).filter(({ trashed }) => !trashed);
  const contents = () => here().map(({ id }) => on.drive.account.content(id).toString());
  return { ...on, other, here, contents };
}

describe("an audit", () => {
  it("of the same bytes puts the younger file into the trash, and the key is told", async () => {
    const { target, other, here, contents } = await machines();
    const first = await target.put(KEY, sourceOf("same"), { expect: "absent" });
    await other.put(KEY, sourceOf("same"), { expect: "absent" });
    expect(contents()).toEqual(["same", "same"]);
    expect(await target.audit?.()).toEqual([]);
    expect(await other.audit?.()).toEqual([KEY]);
    expect(here()).toMatchObject([{ id: first.id }]);
    expect((await other.stat(KEY))?.id).toBe(first.id);
    expect(await other.audit?.()).toEqual([]);
  });

  it("of other bytes keeps both until the older file has ours, and tells so as often as it is asked", async () => {
    const { target, other, here, contents } = await machines();
    const first = await target.put(KEY, sourceOf("theirs"), { expect: "absent" });
    await other.put(KEY, sourceOf("ours"), { expect: "absent" });
    expect(await other.audit?.()).toEqual([KEY]);
    expect(await other.audit?.()).toEqual([KEY]);
    expect(contents()).toEqual(["theirs", "ours"]);
    await other.put(KEY, sourceOf("ours"), { expect: first });
    expect(contents()).toEqual(["ours"]);
    expect(here()).toMatchObject([{ id: first.id }]);
    expect(await other.audit?.()).toEqual([]);
  });

  it("lets the younger go also when the older has come to hold our bytes by itself", async () => {
    const { target, other, contents } = await machines();
    const first = await target.put(KEY, sourceOf("theirs"), { expect: "absent" });
    await other.put(KEY, sourceOf("ours"), { expect: "absent" });
    expect(await other.audit?.()).toEqual([KEY]);
    await target.put(KEY, sourceOf("ours, later"), { expect: first });
    expect(await other.put(KEY, sourceOf("ours, later"), { expect: "absent" })).toMatchObject({ id: first.id });
    expect(contents()).toEqual(["ours, later"]);
    expect(await other.audit?.()).toEqual([]);
  });

  it("waits until the listing shows what was just made, and not for what was taken away again", async () => {
    const { drive, target, other, contents } = await machines();
    drive.settings.lag.parentMs = 150;
    await target.put(KEY, sourceOf("same"), { expect: "absent" });
    await other.put(KEY, sourceOf("same"), { expect: "absent" });
    expect(await other.audit?.()).toEqual([KEY]);
    expect(contents()).toEqual(["same"]);
    drive.settings.lag.parentMs = 60_000;
    await other.put(parseKey("Meta/gone.txt"), sourceOf("x"), { expect: "absent" });
    drive.account.delete("MemoryVDB/Meta/gone.txt");
    const begun = performance.now();
    await other.audit?.();
    expect(performance.now() - begun).toBeLessThan(2000);
  });
});

it("two machines with different bytes for one new key: the last save is there, the other one beside it", async () => {
  const drive = await startDriveEmulator({ lag: { nameMs: 60_000 } });
  undo.push(() => drive.close());
  const root = makeDriveRoot(drive);
  undo.push(() => removeRoot(root));
  const a = await openMemory({ root, retryBaseMs: 1 });
  undo.push(() => a.close());
  await a.append("Meta/first.txt", "x");
  const copy = mkdtempSync(join(tmpdir(), "aftersave-root-"));
  undo.push(() => removeRoot(copy));
  await a.flush();
  await a.status(); // its logs are written then
  cpSync(root, copy, { recursive: true });
  rmSync(join(copy, ".aftersave"), { recursive: true });
  const b = await openMemory({ root: copy, retryBaseMs: 1 });
  undo.push(() => b.close());
  await b.flush();
  await a.append(KEY, "a's");
  await b.append(KEY, "b's");
  await a.flush();
  await b.flush();
  const files = drive.account.tree().filter(({ folder, trashed, path }) => !folder && !trashed && !path.includes(".aftersave"));
  const contents = new Map(
    files.map(({ path, id }) => [path.replace(/_\d{4}-.*Z/, "_TIME"), drive.account.content(id).toString()]),
  );
  expect(files).toHaveLength(3);
  expect(contents.get(AT)).toBe("b's");
  expect(contents.get("MemoryVDB/Archive/Meta/new_TIME.txt")).toBe("a's");
  for (const memory of [a, b]) expect(await memory.status()).toMatchObject({ pending: 0, failed: 0 });
  expect(problemsOn(drive, held(copy)).filter((text) => !text.includes("Archive"))).toEqual([]);
});
