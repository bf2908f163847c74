import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { initRoot } from "../../src/config/init.ts";
import { load, picture, refused, rootWith, temporary } from "./root.ts";

const init = (folder: string) => initRoot(folder, { env: {} });
const folders = ["Data/Core/", "Data/Meta/", "logs/"];

test("a new root: strict JSON, folders, one enabled target on this disk", async () => {
  const root = join(await temporary(), "not/there/yet");
  expect(await init(root)).toEqual({ root, created: ["paths.json", ...folders], kept: [] });
  expect((await readdir(root, { recursive: true })).toSorted()).toEqual(["Data", "Data/Core", "Data/Meta", "logs", "paths.json"]);
  const file = JSON.parse(await readFile(join(root, "paths.json"), "utf8")) as Record<string, unknown>;
  expect(file).toHaveProperty("//");
  const config = await load(root);
  expect(config.targets).toMatchObject([
    { name: "drive", type: "folder", enabled: true, options: { path: root } },
    { name: "cloud", type: "gdrive", enabled: false },
  ]);
  expect(config).toMatchObject({ notActedOn: [], warnings: [] });
});

test("a second time changes nothing", async () => {
  const root = await temporary();
  await init(root);
  const before = await picture(root);
  expect(await init(root)).toEqual({ root, created: [], kept: ["paths.json", ...folders] });
  expect(await picture(root)).toEqual(before);
});

test("what is there is kept, also another layout", async () => {
  const root = await rootWith({
    local_data_dir: "Memory/",
    upload_log: "u.json",
    memory_changelog: "m.json",
    archive_log: "a/a.json",
  });
  await mkdir(join(root, "Memory/Core"), { recursive: true });
  await writeFile(join(root, "Memory/Core/Rules.txt"), "rules\n");
  const text = await readFile(join(root, "paths.json"), "utf8");
  expect(await init(root)).toEqual({ root, created: ["Memory/Meta/", "a/"], kept: ["paths.json", "Memory/Core/"] });
  expect(await readFile(join(root, "paths.json"), "utf8")).toBe(text);
  expect(await readFile(join(root, "Memory/Core/Rules.txt"), "utf8")).toBe("rules\n");
});

test("a paths.json that is refused stops it before anything is made", async () => {
  const root = await rootWith("{ not json");
  const before = await picture(root);
  expect((await refused(init(root))).code).toBe("E_CONFIG_SYNTAX");
  expect(await picture(root)).toEqual(before);
});

test("a link in place of paths.json is not written through", async () => {
  const [root, elsewhere] = [await temporary(), await temporary()];
  await symlink(join(elsewhere, "x.json"), join(root, "paths.json"));
  await refused(init(root));
  expect(await readdir(elsewhere)).toEqual([]);
});

test("in a synchronised folder the state goes to this machine's own disk", async () => {
  const [root, twin] = [await temporary(), await temporary()];
  const states = await Promise.all(
    [root, twin].map(async (folder) => {
      const inner = join(folder, "memory");
      await mkdir(join(folder, ".dropbox.cache"));
      await init(inner);
      return (await load(inner)).stateDir;
    }),
  );
  for (const state of states) expect(state).toMatch(/\.local\/state\/aftersave\/memory-[0-9a-f]{8}\/?$/);
  expect(states[0]).not.toBe(states[1]);
  expect(basename(join(root, "memory"))).toBe("memory");
});

test("a file where the root should be is one clear error", async () => {
  const folder = await temporary();
  await writeFile(join(folder, "file"), "x");
  const error = await refused(init(join(folder, "file")));
  expect(error.message).toContain(join(folder, "file"));
  expect(await readFile(join(folder, "file"), "utf8")).toBe("x");
});
