/** Google's own client for Python, unmodified, against the emulator. Each test is a process of its own. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDriveEmulator, type DriveEmulator } from "../../src/testing/drive-emulator.ts";
import { run, whyNot } from "./client.ts";
import { startGoogleHosts, type GoogleHosts } from "./google-hosts.ts";

const MiB = 1024 * 1024;
// Another Python that comes first in PATH does not see Debian's packages.
const PYTHON = "/usr/bin/python3";
const FOLDER = "application/vnd.google-apps.folder";
const hashOf = (algo: "md5" | "sha256", bytes: Uint8Array | string) => createHash(algo).update(bytes).digest("hex");

const why = whyNot(
  ["python3-googleapi", PYTHON, "-c", "import googleapiclient, google.oauth2"],
  ["openssl", "openssl", "version"],
);

interface File {
  readonly id: string;
  readonly name: string;
  readonly mimeType: string;
  readonly parents: readonly string[];
  readonly size?: string;
  readonly md5Checksum?: string;
  readonly sha256Checksum?: string;
  readonly headRevisionId?: string;
  readonly appProperties?: Readonly<Record<string, string>>;
}
interface Fetched {
  readonly base64: string;
  readonly pieces: number;
}
interface Revision {
  readonly id: string;
  readonly md5Checksum: string;
  readonly keepForever: boolean;
}
type Said<T> =
  { readonly answer: T } | { readonly status: number; readonly error: { readonly errors: readonly { reason: string }[] } };

describe.skipIf(why)(`Google's client for Python${why}`, () => {
  let drive: DriveEmulator;
  let google: GoogleHosts;
  let folder: string;
  let credentials: Readonly<Record<string, unknown>>;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "aftersave-python-"));
    drive = await startDriveEmulator();
    google = await startGoogleHosts(drive.rootUrl);
    credentials = { token: drive.accessToken() };
  });

  afterEach(async () => {
    await google.close();
    await drive.close();
    rmSync(folder, { recursive: true });
    expect(google.refused, "the client asked for other hosts").toEqual([]);
  });

  function local(name: string, bytes: Uint8Array | string): string {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  }

  /** One of the steps of drive.py. */
  async function says<T>(step: string, args: object): Promise<Said<T>> {
    const order = { discovery: "test/witness/drive-v3.json", credentials, step, args };
    const { code, stdout, stderr } = await run(PYTHON, ["test/witness/drive.py"], google.env, JSON.stringify(order));
    expect(code, stderr).toBe(0);
    return JSON.parse(stdout) as Said<T>;
  }
  async function gets<T>(step: string, args: object): Promise<T> {
    const said = await says<T>(step, args);
    if (!("answer" in said)) throw new Error(`${step}: ${JSON.stringify(said)}`);
    return said.answer;
  }

  const uploads = () => drive.requests.filter(({ path }) => path.startsWith("/upload/"));

  it("creates folders and files of one request, with ids that it reserved; a second time is a 409", async () => {
    const ids = await gets<string[]>("reserve", { count: 3 });
    expect(new Set(ids).size).toBe(3);
    const [root, text, binary] = ids;
    const made = await gets<File>("create", { body: { id: root, name: "MemoryVDB", mimeType: FOLDER } });
    expect(made).toMatchObject({ id: root, mimeType: FOLDER, parents: [drive.account.rootId] });
    expect(made.size).toBeUndefined();

    const bytes = Buffer.from(Array.from({ length: 256 }, (_, n) => n));
    const body = { id: binary, name: "it's \\ ünï 🦊.bin", parents: [root], appProperties: { key: "k" } };
    const file = await gets<File>("create", { body, path: local("binary", bytes) });
    expect(file).toMatchObject({ id: binary, name: body.name, size: "256", appProperties: { key: "k" } });
    expect([file.md5Checksum, file.sha256Checksum]).toEqual([hashOf("md5", bytes), hashOf("sha256", bytes)]);

    const readable = {
      body: { id: text, name: "Rules.txt", parents: [root] },
      path: local("text", "be kind\n"),
      mime: "text/plain",
    };
    await gets<File>("create", readable);
    expect(await says("create", readable)).toMatchObject({ status: 409 });
    expect(drive.account.tree().map(({ id, path }) => [id, path])).toEqual([
      [root, "MemoryVDB"],
      [binary, `MemoryVDB/${body.name}`],
      [text, "MemoryVDB/Rules.txt"],
    ]);
    expect(drive.account.content(binary ?? "").equals(bytes)).toBe(true);
    expect(drive.account.content(text ?? "").toString()).toBe("be kind\n");
  });

  it("lists page by page, in order, each file once", async () => {
    for (let n = 0; n < 7; n++) drive.account.addFile(`MemoryVDB/${n}.txt`, `${n}`);
    drive.account.addFile("Other/elsewhere.txt", "");
    drive.account.trash(drive.account.addFile("MemoryVDB/gone.txt", "").id);
    const [parent] = drive.account.find("MemoryVDB");
    const pages = await gets<string[][]>("list_pages", { q: `'${parent?.id}' in parents and trashed = false`, size: 3 });
    expect(pages).toEqual([["0.txt", "1.txt", "2.txt"], ["3.txt", "4.txt", "5.txt"], ["6.txt"]]);
  });

  it("asks with a query of more than 2,048 characters", async () => {
    drive.account.addFile("wanted.txt", "");
    const names = ["wanted", ...Array.from({ length: 150 }, (_, n) => `unwanted number ${n}`)];
    const q = names.map((name) => `name = '${name}.txt'`).join(" or ");
    expect(await gets("list_pages", { q, size: 100 })).toEqual([["wanted.txt"]]);
    expect(drive.requests.at(-1)).toMatchObject({ api: "files.list", query: { q } });
  });

  it("sends 9 MiB in chunks, makes it the next revision of a file, and believes what was acknowledged", async () => {
    const first = drive.account.addFile("MemoryVDB/big.bin", "small");
    const bytes = randomBytes(9 * MiB + 7);
    drive.faults.add({ when: { api: "upload.chunk", nth: 2 }, do: { kind: "partial-308", keep: MiB } });
    const sent = await gets<{ file: File; acknowledged: number[] }>("resumable", {
      id: first.id,
      body: {},
      path: local("big.bin", bytes),
      chunk: 4 * MiB,
    });
    expect(sent.acknowledged).toEqual([4 * MiB, 5 * MiB, 9 * MiB]);
    expect(sent.file).toMatchObject({ id: first.id, size: String(bytes.length), md5Checksum: hashOf("md5", bytes) });
    expect(uploads().map(({ api, status }) => `${api} ${status}`)).toEqual([
      "files.update 200",
      "upload.chunk 308",
      "upload.chunk 308",
      "upload.chunk 308",
      "upload.chunk 200",
    ]);
    expect(drive.account.content(first.id).equals(bytes)).toBe(true);
    expect(drive.account.find("MemoryVDB/big.bin")[0]?.revisions.map(({ md5 }) => md5)).toEqual([
      first.md5,
      hashOf("md5", bytes),
    ]);
  });

  it("downloads in pieces, byte for byte", async () => {
    const bytes = randomBytes(2.5 * MiB);
    const { id } = drive.account.addFile("big.bin", bytes);
    const { base64, pieces } = await gets<Fetched>("download", { id, chunk: MiB });
    expect(Buffer.from(base64, "base64").equals(bytes)).toBe(true);
    expect(pieces).toBe(3);
    expect(drive.requests.map(({ status }) => status)).toEqual([206, 206, 206]);
  });

  it("copies on the server, and what is not said stays as it was", async () => {
    const { id } = drive.account.addFile("MemoryVDB/Rules.txt", "be kind\n", { appProperties: { key: "k", live: "yes" } });
    const archive = drive.account.addFolder("MemoryVDB/Archive");
    const body = { name: "Rules_2026.txt", parents: [archive.id], appProperties: { live: null } };
    const copied = await gets<File>("copy", { id, body });
    expect(copied.id).not.toBe(id);
    expect(copied).toMatchObject({ md5Checksum: hashOf("md5", "be kind\n"), appProperties: { key: "k" } });
    drive.account.edit(id, "changed afterwards");
    expect(drive.account.content("MemoryVDB/Archive/Rules_2026.txt").toString()).toBe("be kind\n");
    expect(uploads()).toEqual([]);
  });

  it("lists revisions, keeps one for ever and reads it; one that is not kept is refused", async () => {
    const { id } = drive.account.addFile("Rules.txt", "one");
    await gets("update", { id, path: local("two", "two") });
    await gets("update", { id, path: local("three", "three") });
    const before = await gets<{ listed: Revision[] }>("revisions", { id });
    expect(before.listed.map(({ md5Checksum, keepForever }) => [md5Checksum, keepForever])).toEqual(
      ["one", "two", "three"].map((text) => [hashOf("md5", text), false]),
    );
    const [one, two] = before.listed;
    expect(await gets("pin", { id, revision: one?.id })).toEqual({ id: one?.id, keepForever: true });
    const after = await gets<{ got: Revision[] }>("revisions", { id });
    expect(after.got.map(({ keepForever }) => keepForever)).toEqual([true, false, false]);
    const { base64 } = await gets<Fetched>("revision_media", { id, revision: one?.id });
    expect(Buffer.from(base64, "base64").toString()).toBe("one");
    const refused = await says("revision_media", { id, revision: two?.id });
    expect(refused).toMatchObject({ status: 403, error: { errors: [{ reason: "download_restricted_for_revision" }] } });
  });

  it("asks for several files in one request", async () => {
    const [a, b] = ["a.txt", "b.txt"].map((name) => drive.account.addFile(name, name).id);
    expect(await gets("batch", { ids: [a, "unknown", b] })).toEqual({ [a ?? ""]: "a.txt", unknown: 404, [b ?? ""]: "b.txt" });
    expect(google.asked).toEqual(["POST www.googleapis.com/batch/drive/v3"]);
  });

  it("renews a token that has run out, once, and refuses to go on with one that was revoked", async () => {
    const { refresh_token, client_id, client_secret } = drive.authorizedUser({ scope: "https://www.googleapis.com/auth/drive" });
    credentials = { token: null, refresh_token, client_id, client_secret, token_uri: "https://oauth2.googleapis.com/token" };
    await gets("create", { body: { name: "MemoryVDB", mimeType: FOLDER } });
    expect(google.asked.map((line) => line.split("?")[0])).toEqual([
      "POST oauth2.googleapis.com/token",
      "POST www.googleapis.com/drive/v3/files",
    ]);
    drive.account.revokeTokens();
    await expect(gets("create", { body: { name: "MemoryVDB", mimeType: FOLDER } })).rejects.toThrow("invalid_grant");
    expect(drive.account.find("MemoryVDB")).toHaveLength(1);
  });
});
