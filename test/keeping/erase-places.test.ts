import { describe, expect, it, onTestFinished } from "vitest";
import { makeDriveRoot } from "../../scripts/campaign/drive.ts";
import { removeRoot } from "../../scripts/campaign/root.ts";
import { forward } from "../../src/core/target.ts";
import { TargetError } from "../../src/core/errors.ts";
import { openMemory } from "../../src/open.ts";
import { createMemoryTarget, startDriveEmulator, type DriveEmulator } from "../../src/testing/index.ts";
import { codeOf } from "../memory/root.ts";
import { histories } from "../mirror/place.ts";
import { makeRoot } from "../recovery/root.ts";
import { expectGone, objectsWith } from "./erase-root.ts";

const SECRET = "sesame-open-yourself";

/** Items of an emulated Drive, in the trash too, any of whose revisions, names or properties have the text. */
const onDrive = (drive: DriveEmulator, text: string): string[] =>
  drive.account.tree().flatMap((item) => {
    const said = JSON.stringify({ ...item, revisions: undefined }).includes(text);
    const held = item.folder ? [] : item.revisions.filter(({ id }) => drive.account.content(item.id, id).includes(text));
    return said || held.length > 0 ? [`${item.path}${item.trashed ? " (trash)" : ""}`] : [];
  });

describe("Drive", () => {
  it("forgets revisions, the trash, copies kept aside and what the history said", async () => {
    const drive = await startDriveEmulator();
    const root = makeDriveRoot(drive);
    const memory = await openMemory({ root, retryBaseMs: 1 });
    onTestFinished(async () => {
      await memory.close();
      await drive.close();
      removeRoot(root);
    });
    await memory.append("Meta/A.txt", `one ${SECRET}\n`, { reason: `for ${SECRET}` });
    await memory.flush();
    await memory.append("Meta/A.txt", "two\n");
    await memory.flush();
    await memory.replace("Meta/A.txt", "three\n"); // the text is in an older revision and in the archive copy only
    await memory.flush();
    await memory.append("Meta/B.txt", "b\n");
    await memory.flush();
    const [old] = drive.account.find("MemoryVDB/Meta/A.txt");
    const [first] = old?.revisions ?? []; // a person keeps our first revision in Drive
    const kept = await fetch(`${drive.rootUrl}drive/v3/files/${old?.id}/revisions/${first?.id}`, {
      method: "PATCH",
      headers: { authorization: `Bearer ${drive.accessToken()}`, "content-type": "application/json" },
      body: JSON.stringify({ keepForever: true }),
    });
    expect(kept.status).toBe(200);
    const [b] = drive.account.find("MemoryVDB/Meta/B.txt");
    drive.account.edit(b?.id ?? "", `theirs ${SECRET}`);
    await memory.append("Meta/B.txt", "bb\n");
    await memory.flush(); // theirs is kept aside
    await memory.append("Meta/C.txt", "clean\n");
    await memory.flush();
    expect(onDrive(drive, SECRET).length).toBeGreaterThan(2);

    const receipt = await memory.erase({ match: SECRET });
    expect(receipt.pending).toBe(0);
    expect(receipt.copies.some(({ what, notes }) => what === "mirror" && /Google keeps/.test(notes ?? ""))).toBe(true);
    expect(receipt.copies).toContainEqual(expect.objectContaining({ what: "kept aside", outcome: "removed" }));
    await memory.flush();
    expect(onDrive(drive, SECRET)).toEqual([]);
    expectGone(root, SECRET);
    const [a] = drive.account.find("MemoryVDB/Meta/A.txt");
    expect(drive.account.content(a?.id ?? "").toString()).toBe("three\n");
    const { pending, failed, conflicts } = await memory.status();
    expect({ pending, failed, conflicts }).toEqual({ pending: 0, failed: 0, conflicts: 0 });

    const [c] = drive.account.find("MemoryVDB/Meta/C.txt");
    drive.account.trash(c?.id ?? "");
    await memory.erase({ key: "Meta/C.txt" });
    expect(onDrive(drive, "clean")).toEqual([]);
    expect(onDrive(drive, "C.txt")).toEqual([]);
  });
});

it("a revision that someone else wrote in between is named, and goes with its file", async () => {
  const root = makeRoot({ targets: { drive: { type: "folder", enabled: true, path: "./mirror" } } });
  const place = createMemoryTarget();
  const target = forward(place, {
    put: async (key, body, guard) => ({
      ...(await place.put(key, body, guard)),
      ...(key === "Meta/B.txt" && { displaced: { rev: "77" } }),
    }),
  });
  const memory = await root.open({ targets: { drive: target } });
  await memory.append("Meta/A.txt", `one ${SECRET}\n`);
  await memory.append("Meta/B.txt", "b\n");
  await memory.flush();
  const named = (remains: readonly { what: string; cure: string }[]) =>
    remains.filter(({ what }) => what.startsWith("revision ")).map(({ what }) => what);
  expect(named((await memory.erase({ match: SECRET })).remains)).toEqual(["revision 77 of Meta/B.txt on drive"]);
  await memory.flush();
  expect((await memory.status()).conflicts).toBe(1);
  for (const dry_run of [true, false])
    expect(named((await memory.erase({ key: "Meta/B.txt" }, { dry_run })).remains)).toEqual([]);
  expect((await memory.status()).conflicts).toBe(0);
});

describe("a target that cannot be reached", () => {
  it("owes it, takes nothing of that key meanwhile, and is done with the next flush", async () => {
    const root = makeRoot({ targets: { drive: { type: "folder", enabled: true, path: "./mirror" } } });
    const place = createMemoryTarget();
    let away = false;
    const gone = () => {
      if (away) throw new TargetError("transient", "nobody is there", { code: "E_TARGET_UNREACHABLE" });
    };
    const target = forward(place, {
      stat: async (key, look) => (gone(), place.stat(key, look)),
      put: async (key, body, guard) => (gone(), place.put(key, body, guard)),
      remove: async (key, guard) => (gone(), place.remove(key, guard)),
    });
    const memory = await root.open({ targets: { drive: target } });
    await memory.append("Meta/A.txt", `one ${SECRET}\n`);
    await memory.append("Meta/Z.txt", "z\n");
    await memory.flush();
    away = true;
    const receipt = await memory.erase({ match: SECRET });
    expect(receipt.pending).toBeGreaterThan(0);
    expect(receipt.copies).toContainEqual(
      expect.objectContaining({ where: "drive", outcome: "pending", code: "E_TARGET_UNREACHABLE" }),
    );
    expectGone(root.path, SECRET);
    await memory.flush();
    expect(objectsWith(place, SECRET)).not.toEqual([]);
    expect((await memory.status()).erasing).toBe(receipt.pending);
    away = false;
    await memory.flush();
    expect(objectsWith(place, SECRET)).toEqual([]);
    expect(place.objects().find(({ key }) => key === "Meta/A.txt")?.bytes).toEqual(new Uint8Array(Buffer.from("one [erased]\n")));
    const { pending, conflicts, erasing } = await memory.status();
    expect({ pending, conflicts, erasing }).toEqual({ pending: 0, conflicts: 0, erasing: 0 });
    const [history = ""] = [...histories(place).values()];
    expect(history.trim().split("\n")).toHaveLength(3);
    expect(objectsWith(place, "z\n")).toEqual(["Meta/Z.txt"]);
  });
});

describe("tombstones", () => {
  it("are listed, and lifted when they were a mistake", async () => {
    const root = makeRoot();
    const memory = await root.open();
    await memory.append("Meta/A.txt", `one ${SECRET}\n`);
    const { erasure } = await memory.erase({ match: SECRET });
    expect(await memory.erasures()).toMatchObject([{ erasure, by: "match", pending: 0 }]);
    expect(await codeOf(memory.replace("Meta/B.txt", SECRET))).toBe("E_ERASED");
    await memory.liftErasure((erasure ?? "").slice(-5));
    expect(await codeOf(memory.replace("Meta/B.txt", SECRET))).toBe("accepted");
    expect(await codeOf(memory.liftErasure("ABCDEF"))).toBe("E_NOT_FOUND");
  });
});
