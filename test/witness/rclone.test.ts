/** rclone's drive backend, unmodified, against the emulator: what it does must be right by its own lights and in the emulator's books. */
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDriveEmulator, type DriveEmulator, type RequestRecord, type TreeItem } from "../../src/testing/drive-emulator.ts";
import { run, whyNot, type Ended } from "./client.ts";
import { startGoogleHosts, type GoogleHosts } from "./google-hosts.ts";

const MiB = 1024 * 1024;
const md5 = (bytes: Uint8Array | string) => createHash("md5").update(bytes).digest("hex");

const texts: Readonly<Record<string, string>> = {
  "Root.txt": "directly in it",
  "Core/Rules.txt": "be kind\n",
  "Core/empty.txt": "",
  "Core/deep/er/still.md": "# deep",
  'Meta/it\'s a "name" \\ with ünï 🦊.txt': "quoted",
  "Meta/rules.txt": "small",
  "Meta/Rules.txt": "CAPITAL",
  ...Object.fromEntries(Array.from({ length: 13 }, (_, n) => [`Many/file ${n}.md`, `the ${n}th`])),
};
const names = Object.keys(texts).toSorted();

const why = whyNot(["rclone", "rclone", "version"], ["openssl", "openssl", "version"]);

describe.skipIf(why)(`rclone's drive backend${why}`, () => {
  let drive: DriveEmulator;
  let google: GoogleHosts;
  let folder: string;
  let local: string;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "aftersave-rclone-"));
    local = join(folder, "local");
    for (const [name, text] of Object.entries(texts)) put(join(local, name), text);
    drive = await startDriveEmulator();
    google = await startGoogleHosts(drive.rootUrl);
    signIn({ expired: false });
  });

  afterEach(async () => {
    await google.close();
    await drive.close();
    rmSync(folder, { recursive: true });
    expect(google.refused, "rclone asked for other hosts").toEqual([]);
  });

  function put(path: string, bytes: Uint8Array | string): void {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }

  /** rclone's own configuration, with a token that is still good or that has run out. */
  function signIn(options: { expired: boolean; scope?: "drive" | "drive.file" }): void {
    const { expired, scope = "drive" } = options;
    const file = drive.authorizedUser({ scope: `https://www.googleapis.com/auth/${scope}`, expired });
    const said = (name: string) => String(file[name]);
    const expiry = new Date(Number(file["expiry_date"])).toISOString();
    const token = { access_token: said("access_token"), refresh_token: said("refresh_token"), token_type: "Bearer", expiry };
    const client = [`client_id = ${said("client_id")}`, `client_secret = ${said("client_secret")}`];
    const lines = ["[gd]", "type = drive", `scope = ${scope}`, ...client];
    writeFileSync(join(folder, "rclone.conf"), [...lines, `token = ${JSON.stringify(token)}`, ""].join("\n"));
  }

  const rclone = async (...args: readonly string[]): Promise<Ended> =>
    run("rclone", args, {
      RCLONE_LOW_LEVEL_RETRIES: "1",
      RCLONE_RETRIES: "1",
      // Unset, it waits 100 ms per request.
      RCLONE_DRIVE_PACER_MIN_SLEEP: "1ms",
      RCLONE_DRIVE_PACER_BURST: "1000",
      ...google.env,
      RCLONE_CA_CERT: google.caFile,
      RCLONE_CONFIG: join(folder, "rclone.conf"),
    });

  /** It must succeed; answers what it says. */
  async function does(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await rclone(...args);
    expect(code, `rclone ${args.join(" ")}: ${stderr}`).toBe(0);
    return stdout;
  }

  const there = (prefix = "") => drive.account.tree().filter(({ path, trashed }) => !trashed && path.startsWith(prefix));
  const filesThere = (prefix: string): readonly TreeItem[] => there(prefix).filter(({ folder }) => !folder);
  const idOf = (path: string) => drive.account.find(path).map(({ id }) => id);
  const contentOf = (path: string) => drive.account.content(path);
  const pathsOf = (items: readonly TreeItem[]) => items.map(({ path }) => path).toSorted();

  /** The requests that `work` makes, by the emulator's books. */
  async function asked(work: () => Promise<unknown>): Promise<readonly RequestRecord[]> {
    const before = drive.requests.length;
    await work();
    return drive.requests.slice(before);
  }
  const writes = (requests: readonly RequestRecord[]) =>
    requests.filter(({ kind }) => kind === "write" || kind === "upload").map(({ api }) => api);
  const uploads = (requests: readonly RequestRecord[]) => requests.filter(({ path }) => path.startsWith("/upload/"));

  it("mkdir makes each folder of the way once, also the second time", async () => {
    await does("mkdir", "gd:MemoryVDB/Archive/Meta");
    const again = await asked(() => does("mkdir", "gd:MemoryVDB/Archive/Meta"));
    expect(there().map(({ path, folder }) => [path, folder])).toEqual([
      ["MemoryVDB", true],
      ["MemoryVDB/Archive", true],
      ["MemoryVDB/Archive/Meta", true],
    ]);
    expect(writes(again)).toEqual([]);
  });

  it("copy of a nested tree brings every byte, and the second time sends nothing", async () => {
    await does("copy", local, "gd:MemoryVDB");
    expect(
      filesThere("MemoryVDB/")
        .map(({ path }) => path.slice("MemoryVDB/".length))
        .toSorted(),
    ).toEqual(names);
    for (const { id, path, md5: hash } of filesThere("MemoryVDB/")) {
      const text = texts[path.slice("MemoryVDB/".length)] ?? "";
      expect(drive.account.content(id).toString(), path).toBe(text);
      expect(hash, path).toBe(md5(text));
    }
    const before = drive.account.tree();
    const requests = await asked(() => does("copy", local, "gd:MemoryVDB"));
    expect(requests.length).toBeGreaterThan(0);
    expect(writes(requests)).toEqual([]);
    expect(drive.account.tree()).toEqual(before);
  });

  it("a changed file becomes the next revision of the same file, alone", async () => {
    await does("copy", local, "gd:MemoryVDB");
    const [before] = drive.account.find("MemoryVDB/Core/Rules.txt");
    put(join(local, "Core/Rules.txt"), "be kind, always\n");
    expect(writes(await asked(() => does("copy", local, "gd:MemoryVDB")))).toEqual(["files.update"]);
    const [after, ...twins] = drive.account.find("MemoryVDB/Core/Rules.txt");
    expect(twins).toEqual([]);
    expect(after?.id).toBe(before?.id);
    expect(after?.revisions.map(({ md5: hash }) => hash)).toEqual([md5("be kind\n"), md5("be kind, always\n")]);
  });

  it("check agrees with what is there, and finds what somebody else edited", async () => {
    await does("copy", local, "gd:MemoryVDB");
    await does("check", local, "gd:MemoryVDB");
    await does("check", "--download", local, "gd:MemoryVDB");
    drive.account.edit("MemoryVDB/Core/Rules.txt", "be evil\n");
    const { code, stderr } = await rclone("check", local, "gd:MemoryVDB");
    expect(code).toBe(1);
    expect(stderr).toContain("Core/Rules.txt: md5 differ");
    expect(stderr).toContain("1 differences found");
  });

  it("lsjson shows the hashes, sizes and times of what is here", async () => {
    await does("copy", local, "gd:MemoryVDB");
    interface Line {
      readonly Path: string;
      readonly Size: number;
      readonly ModTime: string;
      readonly ID: string;
      readonly Hashes: { readonly md5: string; readonly sha256?: string };
    }
    const lines = JSON.parse(await does("lsjson", "-R", "--files-only", "--hash", "gd:MemoryVDB")) as Line[];
    expect(lines.map(({ Path }) => Path).toSorted()).toEqual(names);
    for (const { Path, Size, ModTime, ID, Hashes } of lines) {
      const text = texts[Path] ?? "";
      expect(Hashes.md5, Path).toBe(md5(text));
      expect(Size, Path).toBe(Buffer.byteLength(text));
      expect(new Date(ModTime).getTime(), Path).toBe(Math.floor(statSync(join(local, Path)).mtimeMs));
      expect(drive.account.tree().find(({ id }) => id === ID)?.path).toBe(`MemoryVDB/${Path}`);
    }
  });

  it("20 MiB go up in chunks and come back, byte for byte", async () => {
    const bytes = randomBytes(20 * MiB);
    put(join(local, "big.bin"), bytes);
    const requests = await asked(() => does("copyto", join(local, "big.bin"), "gd:MemoryVDB/big.bin"));
    expect(uploads(requests).map(({ api, status }) => `${api} ${status}`)).toEqual([
      "files.create 200",
      "upload.chunk 308",
      "upload.chunk 308",
      "upload.chunk 200",
    ]);
    expect(uploads(requests)[0]?.query["uploadType"]).toBe("resumable");
    expect(contentOf("MemoryVDB/big.bin").equals(bytes)).toBe(true);
    await does("copyto", "gd:MemoryVDB/big.bin", join(folder, "back.bin"));
    expect(readFileSync(join(folder, "back.bin")).equals(bytes)).toBe(true);
  });

  it("an upload whose answer was lost is found again, and does not become two files", async () => {
    await does("mkdir", "gd:MemoryVDB/Core");
    drive.faults.add({ when: { api: "files.create", nth: 1 }, do: { kind: "reply-lost" } });
    const requests = await asked(() => does("copy", join(local, "Core"), "gd:MemoryVDB/Core", "--retries", "3"));
    expect(requests.map(({ fault }) => fault)).toContain("reply-lost");
    expect(pathsOf(filesThere("MemoryVDB/"))).toEqual(
      names.filter((name) => name.startsWith("Core/")).map((name) => `MemoryVDB/${name}`),
    );
  });

  it("moveto gives a file and a folder another place and leaves them who they are", async () => {
    await does("copy", local, "gd:MemoryVDB");
    const before = ["Core/Rules.txt", "Core/deep", "Core/deep/er/still.md"].map((path) => idOf(`MemoryVDB/${path}`));
    const requests = await asked(async () => {
      await does("moveto", "gd:MemoryVDB/Core/Rules.txt", "gd:MemoryVDB/Meta/Old 'rules'.txt");
      await does("moveto", "gd:MemoryVDB/Core/deep", "gd:MemoryVDB/Moved/deep");
    });
    expect(uploads(requests)).toEqual([]);
    expect(["Meta/Old 'rules'.txt", "Moved/deep", "Moved/deep/er/still.md"].map((path) => idOf(`MemoryVDB/${path}`))).toEqual(
      before,
    );
    expect(filesThere("MemoryVDB/")).toHaveLength(names.length);
  });

  it("copyto from there to there is made there", async () => {
    await does("copy", local, "gd:MemoryVDB");
    const requests = await asked(() => does("copyto", "gd:MemoryVDB/Core/Rules.txt", "gd:MemoryVDB/Archive/Rules.txt"));
    expect(writes(requests)).toEqual(["files.create", "files.copy"]);
    expect(uploads(requests)).toEqual([]);
    expect(contentOf("MemoryVDB/Archive/Rules.txt").toString()).toBe("be kind\n");
    expect(contentOf("MemoryVDB/Core/Rules.txt").toString()).toBe("be kind\n");
  });

  it("delete puts into the trash, cleanup empties it, purge takes the folder along", async () => {
    await does("copy", local, "gd:MemoryVDB");
    await does("delete", "gd:MemoryVDB/Many");
    expect(filesThere("MemoryVDB/Many/")).toEqual([]);
    expect(drive.account.find("MemoryVDB/Many/file 3.md").map(({ trashed }) => trashed)).toEqual([true]);
    const listed = await does("lsf", "-R", "--files-only", "gd:MemoryVDB");
    expect(listed.split("\n").filter(Boolean).toSorted()).toEqual(names.filter((name) => !name.startsWith("Many/")));
    await does("cleanup", "gd:");
    expect(idOf("MemoryVDB/Many/file 3.md")).toEqual([]);
    await does("purge", "gd:MemoryVDB");
    expect(there()).toEqual([]);
  });

  it("dedupe merges folders of one name, drops equal twins and keeps the newest of the others", async () => {
    const at = (second: number) => ({ modifiedTime: Date.UTC(2026, 0, 1, 0, 0, second) });
    for (const [n, name] of ["one.txt", "two.txt"].entries()) {
      const twin = drive.account.addFolder("MemoryVDB/Twin");
      drive.account.addFile(`MemoryVDB/Twin${n}.txt`, name, at(n));
      drive.account.move(drive.account.addFile(`MemoryVDB/${name}`, name, at(n)).id, twin.id);
    }
    for (const n of [1, 2]) drive.account.addFile("MemoryVDB/equal.txt", "the same", at(n));
    for (const n of [1, 3, 2]) drive.account.addFile("MemoryVDB/other.txt", `of second ${n}`, at(n));
    expect(drive.account.find("MemoryVDB/Twin")).toHaveLength(2);
    await does("dedupe", "--dedupe-mode", "newest", "gd:MemoryVDB");
    expect(there().filter(({ path }) => path === "MemoryVDB/Twin")).toHaveLength(1);
    expect(
      filesThere("MemoryVDB/Twin/")
        .map(({ path }) => path)
        .toSorted(),
    ).toEqual(["MemoryVDB/Twin/one.txt", "MemoryVDB/Twin/two.txt"]);
    expect(filesThere("MemoryVDB/equal.txt")).toHaveLength(1);
    expect(filesThere("MemoryVDB/other.txt").map(({ id }) => drive.account.content(id).toString())).toEqual(["of second 3"]);
  });

  it("a token that has run out is renewed at Google's token endpoint", async () => {
    signIn({ expired: true, scope: "drive.file" });
    await does("copyto", join(local, "Root.txt"), "gd:MemoryVDB/Root.txt");
    expect(google.asked.filter((line) => line === "POST oauth2.googleapis.com/token")).toHaveLength(1);
    expect(contentOf("MemoryVDB/Root.txt").toString()).toBe("directly in it");
  });

  it("about knows how much room is left", async () => {
    drive.account.setStorage(1_000_000);
    drive.account.addFile("x.bin", Buffer.alloc(1234));
    expect(JSON.parse(await does("about", "--json", "gd:"))).toMatchObject({ total: 1_000_000, used: 1234 });
  });
});
