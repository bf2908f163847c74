import { openFolderTarget } from "../../src/targets/folder.ts";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { posix, win32, join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Machine, type Preset, searchFolder } from "../../src/config/presets.ts";
import { syncedByName } from "../../src/config/state-place.ts";
import { load, refused, rootWith, temporary } from "./root.ts";

interface Made {
  readonly env?: NodeJS.ProcessEnv;
  readonly files?: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
}

/** A machine that has these folders, and those above them. */
function machine(
  platform: "win32" | "darwin" | "linux",
  folders: readonly string[],
  { env = {}, files = {}, links = {} }: Made = {},
): Machine {
  const { dirname, basename } = platform === "win32" ? win32 : posix;
  const all = new Set<string>();
  for (const folder of [...folders, ...Object.keys(links)]) for (let at = folder; !all.has(at); at = dirname(at)) all.add(at);
  return {
    platform,
    home: { win32: "C:\\Users\\me", darwin: "/Users/me", linux: "/home/me" }[platform],
    env,
    isFolder: (path) => Promise.resolve(all.has(path)),
    list: (folder) =>
      Promise.resolve([...all].filter((path) => dirname(path) === folder && path !== folder).map((path) => basename(path))),
    read: (file) => Promise.resolve(files[file]),
    real: (folder) => Promise.resolve(links[folder] ?? folder),
  };
}

const mac = "/Users/me/Library/CloudStorage";
const info = (...paths: string[]) =>
  JSON.stringify({ personal: { path: paths[0], host: 1 }, ...(paths[1] && { business: { path: paths[1] } }) });

const table: [what: string, preset: Preset, machine: Machine, found: string[]][] = [
  ["Dropbox on Linux", "dropbox", machine("linux", ["/home/me/Dropbox"]), ["/home/me/Dropbox"]],
  ["Dropbox on macOS", "dropbox", machine("darwin", [`${mac}/Dropbox`]), [`${mac}/Dropbox`]],
  [
    "Dropbox on macOS under two names",
    "dropbox",
    machine("darwin", [`${mac}/Dropbox`], { links: { "/Users/me/Dropbox": `${mac}/Dropbox` } }),
    [`${mac}/Dropbox`],
  ],
  ["Dropbox on Windows", "dropbox", machine("win32", ["C:\\Users\\me\\Dropbox"]), ["C:\\Users\\me\\Dropbox"]],
  [
    "Dropbox where it tells itself, and an old folder that is not it",
    "dropbox",
    machine("linux", ["/data/box", "/home/me/Dropbox"], { files: { "/home/me/.dropbox/info.json": info("/data/box") } }),
    ["/data/box"],
  ],
  [
    "Dropbox where it tells itself on Windows",
    "dropbox",
    machine("win32", ["D:\\Box"], {
      env: { APPDATA: "C:\\Users\\me\\AppData\\Roaming", LOCALAPPDATA: "C:\\Users\\me\\AppData\\Local" },
      files: { "C:\\Users\\me\\AppData\\Local\\Dropbox\\info.json": info("D:\\Box") },
    }),
    ["D:\\Box"],
  ],
  [
    "Dropbox of two accounts",
    "dropbox",
    machine("linux", ["/home/me/Dropbox (Personal)", "/home/me/Dropbox (Firm)"], {
      files: { "/home/me/.dropbox/info.json": info("/home/me/Dropbox (Personal)", "/home/me/Dropbox (Firm)") },
    }),
    ["/home/me/Dropbox (Personal)", "/home/me/Dropbox (Firm)"],
  ],
  [
    "Dropbox that tells a folder that is gone",
    "dropbox",
    machine("linux", ["/home/me/Dropbox"], { files: { "/home/me/.dropbox/info.json": info("/gone") } }),
    ["/home/me/Dropbox"],
  ],
  [
    "Dropbox whose info.json is damaged",
    "dropbox",
    machine("linux", ["/home/me/Dropbox"], { files: { "/home/me/.dropbox/info.json": "{" } }),
    ["/home/me/Dropbox"],
  ],
  [
    "DROPBOX_SYNC_DIR before all, there or not",
    "dropbox",
    machine("linux", ["/home/me/Dropbox"], { env: { DROPBOX_SYNC_DIR: "/mnt/box" } }),
    ["/mnt/box"],
  ],
  ["a settings folder is no Dropbox", "dropbox", machine("linux", ["/home/me/.dropbox", "/home/me/Dropbox.old"]), []],
  [
    "Google Drive on macOS",
    "google-drive",
    machine("darwin", [`${mac}/GoogleDrive-me@x.y/My Drive`]),
    [`${mac}/GoogleDrive-me@x.y/My Drive`],
  ],
  [
    "Google Drive in German",
    "google-drive",
    machine("darwin", [`${mac}/GoogleDrive-me@x.y/Meine Ablage`, `${mac}/GoogleDrive-me@x.y/Geteilte Ablagen`]),
    [`${mac}/GoogleDrive-me@x.y/Meine Ablage`],
  ],
  [
    "Google Drive of two accounts",
    "google-drive",
    machine("darwin", [`${mac}/GoogleDrive-a@x.y/My Drive`, `${mac}/GoogleDrive-b@x.y/My Drive`]),
    [`${mac}/GoogleDrive-a@x.y/My Drive`, `${mac}/GoogleDrive-b@x.y/My Drive`],
  ],
  ["Google Drive as a drive of Windows", "google-drive", machine("win32", ["G:\\My Drive"]), ["G:\\My Drive"]],
  [
    "Google Drive mirrored on Windows",
    "google-drive",
    machine("win32", ["C:\\Users\\me\\My Drive (me@x.y)"]),
    ["C:\\Users\\me\\My Drive (me@x.y)"],
  ],
  [
    "Google Drive in a folder",
    "google-drive",
    machine("linux", ["/home/me/Google Drive/My Drive"]),
    ["/home/me/Google Drive/My Drive"],
  ],
  ["GOOGLE_DRIVE_SYNC_DIR", "google-drive", machine("linux", [], { env: { GOOGLE_DRIVE_SYNC_DIR: "/mnt/g" } }), ["/mnt/g"]],
  [
    "OneDrive as Windows tells it, twice the same",
    "onedrive",
    machine("win32", ["D:\\OneDrive", "C:\\Users\\me\\OneDrive"], {
      env: { OneDrive: "D:\\OneDrive", OneDriveConsumer: "D:\\OneDrive" },
    }),
    ["D:\\OneDrive"],
  ],
  [
    "OneDrive at home and at work",
    "onedrive",
    machine("win32", ["C:\\Users\\me\\OneDrive", "C:\\Users\\me\\OneDrive - Firm"], {
      env: { OneDriveConsumer: "C:\\Users\\me\\OneDrive", OneDriveCommercial: "C:\\Users\\me\\OneDrive - Firm" },
    }),
    ["C:\\Users\\me\\OneDrive", "C:\\Users\\me\\OneDrive - Firm"],
  ],
  [
    "OneDrive on macOS, without the libraries that others share",
    "onedrive",
    machine("darwin", [`${mac}/OneDrive-Personal`, `${mac}/OneDrive-SharedLibraries-Firm`]),
    [`${mac}/OneDrive-Personal`],
  ],
  ["OneDrive on Linux", "onedrive", machine("linux", ["/home/me/OneDrive"]), ["/home/me/OneDrive"]],
  ["Creative Cloud", "adobe", machine("darwin", ["/Users/me/Creative Cloud Files"]), ["/Users/me/Creative Cloud Files"]],
  [
    "Creative Cloud of an account on Windows",
    "adobe",
    machine("win32", ["C:\\Users\\me\\Creative Cloud Files Personal Account me@x.y"]),
    ["C:\\Users\\me\\Creative Cloud Files Personal Account me@x.y"],
  ],
  ["ADOBE_CLOUD_SYNC_DIR", "adobe", machine("linux", [], { env: { ADOBE_CLOUD_SYNC_DIR: "/mnt/a" } }), ["/mnt/a"]],
  [
    "Proton Drive on macOS",
    "proton",
    machine("darwin", [`${mac}/ProtonDrive-me@proton.me-folder`]),
    [`${mac}/ProtonDrive-me@proton.me-folder`],
  ],
  [
    "Proton Drive on Windows, not the folder around it",
    "proton",
    machine("win32", ["C:\\Users\\me\\Proton Drive\\me@proton.me\\My files"]),
    ["C:\\Users\\me\\Proton Drive\\me@proton.me\\My files"],
  ],
  ["PROTON_DRIVE_SYNC_DIR", "proton", machine("linux", [], { env: { PROTON_DRIVE_SYNC_DIR: "/mnt/p" } }), ["/mnt/p"]],
];

test.each(table)("finds %s", async (_, preset, on, found) => {
  expect((await searchFolder(preset, on)).found).toEqual(found);
});

describe.each(["dropbox", "google-drive", "onedrive", "adobe", "proton"] as const)("%s", (preset) => {
  test.each(["win32", "darwin", "linux"] as const)(
    "is not found on an empty %s, which says where it looked",
    async (platform) => {
      const on = machine(platform, [{ win32: "C:\\Users\\me", darwin: "/Users/me", linux: "/home/me" }[platform]]);
      const { found, looked } = await searchFolder(preset, on);
      expect(found).toEqual([]);
      expect(looked).toContain(on.home);
    },
  );
});

test("a folder that is found is one that no state may lie in", async () => {
  for (const [, preset, on, found] of table)
    if (on.platform !== "win32" && Object.keys(on.env).length === 0)
      for (const folder of found.filter((one) => one.startsWith(on.home)))
        expect(syncedByName(posix.join(folder, "state")), `${preset}: ${folder}`).toBeDefined();
});

describe("in paths.json", () => {
  const withPreset = (more: object) => rootWith({ targets: { box: { type: "folder", preset: "dropbox", ...more } } });

  test("the folder that the variable names is the target's", async () => {
    const place = await temporary();
    const { targets } = await load(await withPreset({ enabled: true }), { DROPBOX_SYNC_DIR: place });
    expect(targets[0]?.options).toEqual({ preset: "dropbox", path: place, client: "Dropbox" });
  });

  test("a path wins", async () => {
    const place = await temporary();
    const { targets } = await load(await withPreset({ enabled: true, path: place }), { DROPBOX_SYNC_DIR: "/elsewhere" });
    expect(targets[0]?.options["path"]).toBe(place);
  });

  test("none may come back, and no save waits for it; several are told where the target is enabled", async () => {
    const home = await temporary();
    const env = { HOME: process.env["HOME"] };
    process.env["HOME"] = home;
    try {
      const { targets, warnings } = await load(await withPreset({ enabled: true }));
      expect(warnings).toEqual([expect.stringContaining("no folder of Dropbox")]);
      const [box] = targets;
      expect(box?.options).not.toHaveProperty("path");
      expect(() => openFolderTarget("mem/", box!.options, { now: () => 0 })).toThrow(
        expect.objectContaining({
          code: "E_TARGET_UNREACHABLE",
          message: expect.stringMatching(/looked at .*info\.json/) as string,
        }),
      );
      expect((await load(await withPreset({ enabled: false }))).warnings.join()).not.toContain("Dropbox");

      for (const name of ["Dropbox (A)", "Dropbox (B)"]) await mkdir(join(home, name));
      await symlink(join(home, "Dropbox (A)"), join(home, "Dropbox"));
      const several = await refused(load(await withPreset({ enabled: true })));
      expect(several.message).toContain("Dropbox (B)");
      expect(several.message.match(/Dropbox \(A\)|\/Dropbox"/g), "one folder with two names is one").toHaveLength(1);
      expect((await load(await withPreset({ enabled: false }))).targets[0]?.options).not.toHaveProperty("path");

      await mkdir(join(home, ".dropbox"));
      await writeFile(join(home, ".dropbox/info.json"), info(join(home, "Dropbox (B)")));
      expect((await load(await withPreset({ enabled: true }))).targets[0]?.options["path"]).toBe(join(home, "Dropbox (B)"));
    } finally {
      process.env["HOME"] = env.HOME;
    }
  });
});
