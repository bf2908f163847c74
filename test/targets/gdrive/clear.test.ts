/** Trying out Google Drive leaves nothing there, and touches nothing else. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import { openMemory } from "../../../src/open.ts";
import { sourceOf, startDriveEmulator } from "../../../src/testing/index.ts";

test("a trial's folder goes at once, with all that lies in it, also what an earlier one left", async () => {
  const drive = await startDriveEmulator({});
  onTestFinished(() => drive.close());
  const root = mkdtempSync(join(tmpdir(), "aftersave-trial-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const cloud = { type: "gdrive", enabled: true, root_url: drive.rootUrl, token_url: drive.tokenUrl };
  writeFileSync(join(root, "paths.json"), JSON.stringify({ targets: { cloud } }));
  writeFileSync(join(root, "drive_token.json"), JSON.stringify(drive.authorizedUser()), { mode: 0o600 });
  const memory = await openMemory({ root, env: {} });
  onTestFinished(() => memory.close());
  await memory.append("Meta/A.txt", "mine\n");
  await memory.flush();
  const left = () =>
    drive.account
      .tree()
      .map(({ path }) => path)
      .toSorted();
  const before = left();

  const killed = await memory.trial("cloud");
  await expect(memory.trial("cloud"), "one at a time").rejects.toMatchObject({ code: "E_BUSY" });
  const { target, foreignWrite, cleanup } = await killed.place();
  const seen = await target.put(parseKey("Core/Deep/B.txt"), sourceOf("b"), { expect: "absent" });
  await foreignWrite(parseKey("Core/Deep/B.txt"), new TextEncoder().encode("theirs"));
  await expect(target.put(parseKey("Core/Deep/B.txt"), sourceOf("c"), { expect: seen })).rejects.toMatchObject({
    kind: "conflict",
  });
  await cleanup();
  await killed.close();
  expect(left().length).toBeGreaterThan(before.length + 2);

  const next = await memory.trial("cloud");
  await next.clear();
  await next.close();
  expect(left()).toEqual(before);
});
