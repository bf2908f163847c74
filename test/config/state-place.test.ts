import { mkdir, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  assertStatePlace,
  badStatePlace,
  mountKind,
  networkKind,
  realPlace,
  syncedByName,
} from "../../src/config/state-place.ts";
import { refused, temporary } from "./root.ts";

describe("file systems", () => {
  const mountinfo = [
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw",
    "30 22 0:40 / /mnt/far rw - fuse.sshfs me@host:/ rw",
    "31 22 0:41 / /mnt/near rw - fuse.mergerfs a:b rw",
    "32 22 0:42 / /mnt/a\\040b rw master:1 - fuse.rclone drive: rw",
    "33 30 8:2 / /mnt/far/local rw - fuseblk /dev/sdb1 rw",
  ].join("\n");
  const read = () => Promise.resolve(mountinfo);
  const FUSE = 0x65735546;

  test.each([
    [0x6969, "/x", "nfs"],
    [0xff534d42, "/x", "cifs"],
    [-11317950, "/x", "cifs"],
    [0xfe534d42, "/x", "smb2"],
    [0x517b, "/x", "smb"],
    [0x01021997, "/x", "9p"],
    [0xef53, "/x", undefined],
    [0x01021994, "/x", undefined],
    [FUSE, "/x", undefined],
    [FUSE, "/mnt/far", "fuse.sshfs"],
    [FUSE, "/mnt/far/a/b", "fuse.sshfs"],
    [FUSE, "/mnt/farther", undefined],
    [FUSE, "/mnt/far/local/x", undefined],
    [FUSE, "/mnt/near/x", undefined],
    [FUSE, "/mnt/a b/x", "fuse.rclone"],
  ])("%i at %s: %s", async (type, path, kind) => expect(await networkKind(type, path, read)).toBe(kind));

  test("the mount table is read only about FUSE", async () => {
    const never = () => Promise.reject(new Error("read"));
    expect(await networkKind(0xef53, "/x", never)).toBeUndefined();
    await expect(networkKind(FUSE, "/x", never)).rejects.toThrow("read");
  });

  test("the later of two mounts on one point counts", () => {
    expect(mountKind("1 0 0:1 / /m rw - ext4 a rw\n2 1 0:2 / /m rw - nfs4 b rw", "/m/x")).toBe("nfs4");
    expect(mountKind("", "/m/x")).toBeUndefined();
  });
});

describe("names that sync clients give", () => {
  const home = homedir();
  test.each([
    [`${home}/Dropbox/memory/.aftersave`, "Dropbox"],
    [`${home}/Dropbox (Acme)/memory`, "Dropbox"],
    ["/home/deniz/OneDrive/x", "OneDrive"],
    ["/Users/mara/OneDrive - Acme/x", "OneDrive"],
    ["/mnt/c/Users/mara/OneDrive/x", "OneDrive"],
    ["/Users/mara/Google Drive/x", "Google Drive"],
    ["/Users/mara/Library/CloudStorage/GoogleDrive-me@x.test/My Drive/m", "Google"],
    ["/Users/mara/Library/CloudStorage/Dropbox/m", "Dropbox"],
    ["/Users/mara/Library/Mobile Documents/com~apple~CloudDocs/m", "iCloud Drive"],
    ["/Users/mara/iCloudDrive/m", "iCloud Drive"],
    ["/data/Proton Drive/me/x", "Proton Drive"],
    ["/Users/mara/Creative Cloud Files/x", "Creative Cloud"],
    ["/My Drive/x", "Google Drive"],
  ])("%s is %s", (path, what) => expect(syncedByName(path)?.what).toContain(what));

  test.each([
    `${home}/memory/.aftersave`,
    "/srv/drive/MemoryVDB/.aftersave",
    "/srv/memory/Drive/MemoryVDB",
    "/srv/memory/My Drive/x",
    "/srv/src/targets/Dropbox/x",
    "/srv/src/OneDrive/x",
    "/home/deniz/src/dropbox/x",
    "/home/deniz/Dropbox-notes/x",
    "/home/deniz/OneDrives/x",
    "/home/deniz/Google Drive notes/x",
    "/srv/Mobile Documents/x",
    "/Dropbox-client/x",
  ])("%s is none", (path) => expect(syncedByName(path)).toBeUndefined());
});

describe("what sync clients leave behind", () => {
  test.each([
    [".dropbox", "file", "Dropbox"],
    [".dropbox.cache", "folder", "Dropbox"],
    [".stfolder", "folder", "Syncthing"],
    [".tmp.drivedownload", "folder", "Google Drive"],
  ])("%s, a %s: %s", async (mark, kind, what) => {
    const folder = await temporary();
    const state = join(folder, "memory/.aftersave");
    await assertStatePlace(state, {});
    await (kind === "file" ? writeFile(join(folder, mark), "") : mkdir(join(folder, mark)));
    const error = await refused(assertStatePlace(state, {}));
    expect(error).toMatchObject({ code: "E_STATE_PLACE", exit: 2, details: { what, where: folder } });
    expect(error.hint).toContain("state_dir");
  });

  test("Dropbox's settings folder in the home folder is no mark", async () => {
    const folder = await temporary();
    await mkdir(join(folder, ".dropbox"));
    await assertStatePlace(join(folder, "memory"), {});
  });

  test("a link does not hide it", async () => {
    const [folder, synced] = [await temporary(), await temporary()];
    await mkdir(join(synced, ".dropbox.cache"));
    await symlink(synced, join(folder, "link"));
    expect(await badStatePlace(join(folder, "link/deep/state"), {})).toMatchObject({ what: "Dropbox", where: synced });
  });

  test("folders that the environment names are in a client's care", async () => {
    const folder = await temporary();
    expect(await badStatePlace(join(folder, "a/b"), { PROTON_DRIVE_SYNC_DIR: join(folder, "a") })).toMatchObject({
      what: "Proton Drive",
    });
    expect(await badStatePlace(join(folder, "ab"), { PROTON_DRIVE_SYNC_DIR: join(folder, "a") })).toBeUndefined();
    expect(await badStatePlace(join(folder, "ab"), { DROPBOX_SYNC_DIR: "" })).toBeUndefined();
  });
});

test("a place that is not there yet is resolved as far as it is", async () => {
  const folder = await temporary();
  await symlink(folder, join(folder, "link"));
  expect(await realPlace(join(folder, "link/a/b"))).toBe(join(folder, "a/b"));
  expect(await realPlace("/")).toBe("/");
});
