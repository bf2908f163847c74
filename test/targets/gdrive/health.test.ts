/** What doctor says of an account and of what lies there, before an upload fails of it. */
import { describe, expect, it } from "vitest";
import { examineDrive } from "../../../src/targets/gdrive/health.ts";
import type { DriverContext, Symptom } from "../../../src/targets/shared/driver.ts";
import type { DriveEmulatorOptions } from "../../../src/testing/drive-emulator.ts";
import { memoryOf } from "./place.ts";
import { emulator, material } from "./sign-in.ts";

const ROOT = "MemoryVDB";

/** Folders that the driver made there and knows, and the doctor that looks at them. */
async function setting(folders: readonly string[], options: DriveEmulatorOptions = {}) {
  const drive = await emulator(options);
  const place = material(drive);
  place.write(drive.authorizedUser());
  const known = new Map<string, string>();
  for (const path of folders) {
    const { id } = drive.account.addFolder(path, { app: "app" });
    known.set(`folder/${path}`, JSON.stringify({ id, made: true }));
  }
  const { name, tokenFile, clientFile, env, claim, clock, auth, rootUrl: root_url, tokenUrl: token_url, scope } = place;
  const context: DriverContext = {
    name,
    tokenFile,
    clientFile,
    env,
    clock,
    timeoutMs: null,
    memory: memoryOf(known),
    root: `Drive/${ROOT}/`,
    options: { auth, root_url, token_url, scope, writes_per_second: "off", write_burst: 20 },
    claim: (what) => (what === "token" ? claim(what) : Promise.resolve(() => undefined)),
  };
  const examine = async (waiting = 0) => {
    const found: Symptom[] = [];
    const told = examineDrive(context, waiting);
    for (let next = await told.next(); next.done !== true; next = await told.next()) found.push(next.value);
    return found;
  };
  return { drive, place, examine };
}

const heads = (found: readonly Symptom[]) =>
  found.map(({ level, message, cure }) => `${level ?? "warning"}: ${message}. ${cure}`);

describe("folders", () => {
  const folders = [ROOT, `${ROOT}/Core`, `${ROOT}/Core/Deep`, `${ROOT}/Meta`];

  it("that are there: nothing to tell", async () => {
    const { examine } = await setting(folders);
    expect(await examine()).toEqual([]);
  });

  it("the mirror's own in the trash is told once, and not denied", async () => {
    const { drive, examine } = await setting(folders);
    drive.account.trash(ROOT);
    expect(heads(await examine())).toEqual([
      expect.stringMatching(/^warning: the mirror's folder MemoryVDB lies in the trash.*Take it out.*doctor --fix/),
    ]);
    drive.account.delete(drive.account.find(ROOT)[0]?.id ?? "");
    expect(heads(await examine())).toEqual([expect.stringMatching(/MemoryVDB is not on Drive any more\. Run .*doctor --fix/)]);
  });

  it("one below it, in the trash or gone, is told, and not what lies in it", async () => {
    const { drive, examine } = await setting(folders);
    drive.account.trash(`${ROOT}/Core`);
    drive.account.delete(`${ROOT}/Meta`);
    expect(heads(await examine())).toEqual([
      expect.stringContaining("MemoryVDB/Core lies in the trash"),
      expect.stringContaining("MemoryVDB/Meta is not on Drive any more"),
    ]);
  });

  it("renamed: uploads go on into it, and nothing else is claimed", async () => {
    const { drive, examine } = await setting(folders);
    drive.account.rename(ROOT, "Mine");
    expect(heads(await examine())).toEqual([expect.stringContaining("MemoryVDB was renamed or moved on Drive")]);
  });
});

describe("storage", () => {
  it.each([
    [0, 0, /^warning: the storage of the Google account of cloud is full/],
    [5 << 20, 0, /^warning: .* has only 5 MiB left/],
    [5 << 20, 6 << 20, /^error: .* has 5 MiB left where 6 MiB wait/],
    [0, 1, /^error: .* has 0 MiB left where 1 MiB wait/],
  ])("%d bytes left, %d wait", async (left, waiting, said) => {
    const { examine } = await setting([ROOT], { storageBytes: left });
    expect(heads(await examine(waiting))).toEqual([expect.stringMatching(said)]);
  });
});

describe("the sign-in", () => {
  it("that allows less than it did is told, although the file does not know", async () => {
    const { drive, examine } = await setting([ROOT]);
    drive.account.setScope("https://www.googleapis.com/auth/drive.metadata.readonly");
    expect(await examine()).toEqual([
      expect.objectContaining({
        code: "E_SIGN_IN_SCOPE",
        level: "error",
        cure: expect.stringContaining("connect cloud") as string,
      }),
    ]);
  });

  it("that was revoked is told although the access token still goes", async () => {
    const { place, examine } = await setting([ROOT]);
    place.write({ ...place.read(), refresh_token: "1//gone" });
    await expect(examine()).rejects.toMatchObject({ code: "E_SIGN_IN_EXPIRED" });
  });
});
