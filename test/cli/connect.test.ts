// Signing in as a person does it: the program in a process of its own, a browser that opens what it prints.
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { type DriveEmulator, type DriveEmulatorOptions, startDriveEmulator } from "../../src/testing/drive-emulator.ts";
import { ask, makeRoot, programOf, put, read, run, start, type RunOptions } from "./program.ts";

interface Setting {
  readonly root: string;
  readonly drive: DriveEmulator;
  /** What nobody may ever read on a screen. */
  readonly secrets: () => string[];
}

async function setting(target: Record<string, unknown> = {}, options: DriveEmulatorOptions = {}): Promise<Setting> {
  const drive = await startDriveEmulator(options);
  onTestFinished(() => drive.close());
  const cloud = { type: "gdrive", root_url: drive.rootUrl, token_url: drive.tokenUrl, attempts: 1, ...target };
  const root = makeRoot({ targets: { cloud, disk: { type: "folder", path: "./" } } });
  put(root, "drive_client.json", JSON.stringify(drive.clientFile()));
  const inFile = (name: string) =>
    existsSync(join(root, name)) ? [...read(root, name).matchAll(/"(ya29[^"]+|1\/\/[^"]+|GOCSPX[^"]+|-----BEGIN[^"]+)"/g)] : [];
  return { root, drive, secrets: () => ["drive_token.json", "drive_client.json"].flatMap(inFile).map((found) => found[1] ?? "") };
}

/** `connect`, with someone who opens the address that is printed. */
async function connect(
  { root, secrets }: Setting,
  args: readonly string[] = [],
  options: RunOptions = {},
  browse = fetch as (address: string) => Promise<unknown>,
) {
  const child = start(["--root", root, "connect", "cloud", ...args], options);
  let [stdout, stderr] = ["", ""];
  let browsing: Promise<unknown> | undefined;
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => {
    stderr += data.toString();
    const address = /^http:\S+(?=\n)/m.exec(stderr)?.[0];
    if (address !== undefined && args.includes("--no-browser")) browsing ??= browse(address);
  });
  const [code] = (await once(child, "close")) as [number | null];
  await browsing;
  for (const secret of secrets()) expect(stdout + stderr).not.toContain(secret);
  expect(stdout + stderr).not.toMatch(/\n\s+at .*[:(]/);
  return { code, stdout, stderr };
}

const left = (drive: DriveEmulator) =>
  drive.account.tree().map(({ path, trashed }) => `${path}${trashed ? " in the trash" : ""}`);

describe("connect", () => {
  it("signs in, proves it, says where files land and what to do next; disconnect ends it", async () => {
    const it = await setting();
    // Google's library can be told to print every request with its token
    const { code, stdout, stderr } = await connect(it, ["--no-browser"], { env: { GOOGLE_SDK_NODE_LOGGING: "*" } });
    expect([code, stderr]).toEqual([0, expect.stringContaining("Open this address")]);
    expect(stdout).toContain(`as ${it.drive.account.email} (drive.file)`);
    expect(stdout).toContain("files land in Drive/MemoryVDB/");
    expect(stdout).toContain('set "enabled": true at targets.cloud');
    expect((statSync(join(it.root, "drive_token.json")).mode & 0o777).toString(8)).toBe("600");
    expect(it.secrets()).toHaveLength(4);
    // a probe came, was read and went
    expect(it.drive.counts()).toMatchObject({ "files.download": 1 });
    expect(left(it.drive).filter((path) => path.includes("probe"))).toEqual([]);
    expect(left(it.drive)).toContain("MemoryVDB");

    const [refresh = ""] = it.secrets().filter((secret) => secret.startsWith("1//"));
    const out = await run(["--root", it.root, "disconnect", "cloud"]);
    expect(out).toMatchObject({ code: 0, stdout: expect.stringContaining("access is revoked") as string });
    expect(out.stdout + out.stderr).not.toContain(refresh);
    expect(existsSync(join(it.root, "drive_token.json"))).toBe(false);
    expect(existsSync(join(it.root, "drive_client.json"))).toBe(true);
    expect(left(it.drive)).toContain("MemoryVDB");
    const again = await ask(["--root", it.root, "disconnect", "cloud"]);
    expect(again).toMatchObject({ code: 0, answer: { target: "cloud", removed: false, revoked: "nothing" } });
  });

  it("--json answers one document, the address goes to stderr also with --quiet; an enabled target has its uploads named", async () => {
    const it = await setting({ enabled: true });
    await run(["--root", it.root, "append", "Meta/A.txt", "x"]);
    const { code, stdout, stderr } = await connect(it, ["--no-browser", "--json", "--quiet"]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/o\/oauth2\/v2\/auth\?/m);
    expect(JSON.parse(stdout)).toEqual({
      target: "cloud",
      type: "gdrive",
      enabled: true,
      folder: "Drive/MemoryVDB/",
      sign_in: {
        kind: "user",
        account: it.drive.account.email,
        scopes: ["https://www.googleapis.com/auth/drive.file"],
        file: join(it.root, "drive_token.json"),
      },
    });
    const { stdout: said } = await connect(it, ["--no-browser"]);
    expect(said).toContain("1 upload waiting: `aftersave flush` sends it now.");
    expect(await run(["--root", it.root, "flush"])).toMatchObject({ code: 0 });
    expect(left(it.drive)).toContain("MemoryVDB/Meta/A.txt");
  });

  it("opens the browser; where there is none it says so and waits all the same", async () => {
    const it = await setting();
    const bin = join(it.root, "bin");
    mkdirSync(bin);
    const node = JSON.stringify(process.execPath);
    writeFileSync(join(bin, "xdg-open"), `#!/bin/sh\nexec ${node} -e 'fetch(process.argv[1])' "$1"\n`);
    chmodSync(join(bin, "xdg-open"), 0o755);
    const linux = process.platform === "linux"; // elsewhere a real browser would come up
    const env = { PATH: `${bin}:${process.env["PATH"]}` };
    if (linux)
      expect(await connect(it, [], { env })).toMatchObject({ code: 0, stdout: expect.stringContaining("proven") as string });
    const none = await connect(
      it,
      linux ? ["--timeout", "0.5"] : ["--timeout", "0.5", "--no-browser"],
      { env: { PATH: join(it.root, "logs") } },
      async () => undefined,
    );
    expect(none).toMatchObject({ code: 4, stderr: expect.stringContaining("nobody signed in to cloud") as string });
    if (linux) expect(none.stderr).toContain("no browser could be opened");
  });

  it("without an OAuth client shows the way to one and ends with 4; --client copies a download to its place", async () => {
    const it = await setting({}, {});
    const download = put(it.root, "download.json", read(it.root, "drive_client.json"));
    writeFileSync(
      join(it.root, "paths.json"),
      read(it.root, "paths.json").replace("{", '{"drive_client":"private/client.json",'),
    );
    const { code, stderr } = await connect(it, ["--no-browser"]);
    expect(code).toBe(4);
    for (const part of ["console.cloud.google.com", "Desktop app", "private/client.json", "--client FILE"])
      expect(stderr).toContain(part);
    expect((await ask(["--root", it.root, "connect", "cloud"])).answer.error).toMatchObject({ code: "E_TOKEN_MISSING" });
    expect(await ask(["--root", it.root, "connect", "cloud", "--client", `${download}.no`])).toMatchObject({
      code: 2,
      answer: { error: { code: "E_USAGE", data: "Nothing was changed." } },
    });
    expect((await connect(it, ["--no-browser", "--client", download])).code).toBe(0);
    expect((statSync(join(it.root, "private/client.json")).mode & 0o777).toString(8)).toBe("600");
  });

  // `script` (util-linux) gives the program a terminal
  it.runIf(process.platform === "linux" && existsSync("/usr/bin/script"))(
    "asks for the client on a terminal, where Ctrl-C is what it always is",
    async () => {
      const it = await setting();
      const download = join(it.root, "my client.json");
      renameSync(join(it.root, "drive_client.json"), download);
      for (const [keys, code] of [
        ["\u0003", 4],
        ["\n", 4],
        [`'${download}'\n`, 0],
      ] as const) {
        const args = [process.execPath, programOf(), "--root", it.root, "connect", "cloud", "--no-browser"];
        // `script` has the command run by $SHELL; a shell that stayed in front would die of the Ctrl-C itself
        const command = `exec ${args.map((arg) => `'${arg}'`).join(" ")}`;
        const env = { ...process.env, NODE_OPTIONS: "", SHELL: "/bin/sh" };
        const terminal = spawn("/usr/bin/script", ["-qec", command, "/dev/null"], { env });
        let shown = "";
        let typed = false;
        let opening: Promise<unknown> | undefined;
        terminal.stdout.on("data", (data: Buffer) => {
          shown += data.toString();
          if (!typed && shown.includes("JSON file: ")) typed = terminal.stdin.write(keys);
          const address = /^http:\S+auth\?\S+(?=\r?\n)/m.exec(shown)?.[0];
          if (address !== undefined) opening ??= fetch(address);
        });
        expect(await once(terminal, "close")).toEqual([code, null]);
        await opening;
        expect(shown).toContain("https://console.cloud.google.com/");
      }
      expect((statSync(join(it.root, "drive_client.json")).mode & 0o777).toString(8)).toBe("600");
    },
  );

  it("Ctrl-C ends the waiting: exit 4, nothing stored, no port left", async () => {
    const it = await setting();
    const child = start(["--root", it.root, "connect", "cloud", "--no-browser"]);
    const [data] = (await once(child.stderr, "data")) as [Buffer];
    const redirect = new URL(/^http:\S+/m.exec(data.toString())?.[0] ?? "").searchParams.get("redirect_uri") ?? "";
    expect((await fetch(redirect)).status).toBe(404);
    let rest = "";
    child.stderr.on("data", (more: Buffer) => (rest += more.toString()));
    child.kill("SIGINT");
    expect(await once(child, "close")).toEqual([4, null]);
    expect(rest).toContain("was interrupted");
    await expect(fetch(redirect)).rejects.toThrow();
    expect(readdirSync(it.root)).not.toContain("drive_token.json");
  });

  it("keeps the sign-in when the proof fails, and says so with the cure and the exit code", async () => {
    const it = await setting();
    it.drive.faults.add({
      when: ({ kind, api }) => kind === "write" && api !== "files.generateIds",
      do: { kind: "storage-full" },
    });
    const { code, stderr } = await connect(it, ["--no-browser"]);
    expect(code).toBe(1);
    expect(stderr).toContain("the sign-in to cloud is stored, but its proof failed");
    expect(stderr).toContain("(E_TARGET_QUOTA)");
    expect(existsSync(join(it.root, "drive_token.json"))).toBe(true);
  });

  it("with auth: service_account opens no browser: it checks the key and proves the target", async () => {
    const it = await setting({ auth: "service_account" });
    put(it.root, "drive_token.json", JSON.stringify(it.drive.serviceAccount()));
    const poor = await connect(it);
    expect(poor).toMatchObject({ code: 1, stderr: expect.stringContaining("E_NO_STORAGE") as string });
    const key = it.drive.serviceAccount({ storage: true });
    put(it.root, "drive_token.json", JSON.stringify(key));
    const { code, stdout, stderr } = await connect(it);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toContain(`as ${String(key["client_email"])}`);
    expect(await run(["--root", it.root, "disconnect", "cloud"])).toMatchObject({ code: 2 });
    expect(JSON.parse(read(it.root, "drive_token.json"))).toEqual(key);
  });

  it.runIf(process.platform !== "win32")("a sign-in that others can read is used by uploads, with one warning", async () => {
    const it = await setting({ enabled: true });
    const token = put(it.root, "drive_token.json", JSON.stringify(it.drive.authorizedUser()));
    const [one, two] = [put(it.root, "Data/Meta/A.txt", "a"), put(it.root, "Data/Meta/B.txt", "b")];
    const warned = async (mode: number, ...args: string[]) => {
      chmodSync(token, mode);
      const { code, stdout, stderr } = await run(["--root", it.root, ...args]);
      expect([code, stdout]).toEqual([0, expect.any(String)]);
      return stderr.split(`${token} can be read by others`).length - 1;
    };
    expect(await warned(0o644, "--json", "sync-file", one, two)).toBe(1);
    expect(await warned(0o644, "--quiet", "flush")).toBe(1);
    expect(await warned(0o600, "flush")).toBe(0);
    expect(left(it.drive)).toEqual(expect.arrayContaining(["MemoryVDB/Meta/A.txt", "MemoryVDB/Meta/B.txt"]));
  });

  it("of a folder is the proof alone; of what is not there a refusal", async () => {
    const { root } = await setting();
    const { code, answer } = await ask(["--root", root, "connect", "disk"]);
    expect([code, answer]).toEqual([
      0,
      { target: "disk", type: "folder", enabled: false, sign_in: null, folder: join(root, "Drive/MemoryVDB/") },
    ]);
    expect(readdirSync(join(root, "Drive"), { recursive: true }).filter((name) => String(name).includes("probe"))).toEqual([]);
    expect(await ask(["--root", root, "connect", "clod"])).toMatchObject({
      code: 2,
      answer: { error: { code: "E_TARGET_UNKNOWN" } },
    });
    expect(await ask(["--root", root, "disconnect", "disk"])).toMatchObject({ code: 2, answer: { error: { code: "E_USAGE" } } });
    expect(await ask(["--root", root, "connect", "disk", "--timeout", "soon"])).toMatchObject({
      code: 2,
      answer: { error: { code: "E_USAGE" } },
    });
  });
});
