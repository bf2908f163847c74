import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type DriveEmulator, type DriveEmulatorOptions, startDriveEmulator } from "../../src/testing/index.ts";
import { bundled } from "../bundled.ts";
import { type Answer, call, FOLDER, json } from "./drive-emulator.helper.ts";

const FILE_SCOPE = "https://www.googleapis.com/auth/drive.file";

let now: number;
let drive: DriveEmulator;
const start = (options: DriveEmulatorOptions = {}) => startDriveEmulator({ seed: 5, clock: { now: () => now }, ...options });
beforeEach(async () => {
  now = Date.parse("2026-11-21T00:00:00Z");
  drive = await start();
});
afterEach(() => drive.close());

interface Tokens {
  readonly access_token?: string;
  readonly refresh_token?: string;
  readonly expires_in?: number;
  readonly scope?: string;
  readonly error?: string;
}
const token = async (form: Record<string, string>): Promise<Tokens & { status: number }> => {
  const response = await fetch(drive.tokenUrl, { method: "POST", body: new URLSearchParams(form) });
  return { status: response.status, ...((await response.json()) as Tokens) };
};
const refresh = (file: object) => token({ ...(file as Record<string, string>), grant_type: "refresh_token" });
const about = async (bearer: string) => (await call(drive, "GET", "drive/v3/about?fields=user", { token: bearer })).status;
const reason = ({ status, text }: Answer): string => {
  const { error } = JSON.parse(text) as { error?: { errors: Array<{ reason: string }> } };
  return `${status} ${error?.errors[0]?.reason ?? ""}`.trim();
};

describe("tokens", () => {
  test("are refreshed, expire, and a new one does not end the old", async () => {
    const file = drive.authorizedUser();
    expect(Object.keys(file)).toEqual(["type", "client_id", "client_secret", "refresh_token"]);
    const first = await refresh(file);
    expect(first).toMatchObject({ status: 200, expires_in: 3600, scope: FILE_SCOPE });
    expect(first.refresh_token).toBeUndefined();
    const second = await refresh(file);
    expect([await about(first.access_token!), await about(second.access_token!)]).toEqual([200, 200]);
    now += 3600_000;
    expect(await about(second.access_token!)).toBe(401);
    expect(await about((await refresh(file)).access_token!)).toBe(200);
    expect(reason(await call(drive, "GET", "drive/v3/files", { token: "" }))).toBe("401 authError");
    expect(drive.counts()).toMatchObject({ tokens: 3, "oauth.token": 3 });
  });

  test("come with a file when asked, alive or dead", async () => {
    const [alive, dead] = [drive.authorizedUser({ expired: false }), drive.authorizedUser({ expired: true })];
    expect([await about(String(alive["access_token"])), await about(String(dead["access_token"]))]).toEqual([200, 401]);
    expect(Number(alive["expiry_date"])).toBe(now + 3600_000);
    expect(Number(dead["expiry_date"])).toBeLessThan(now);
    expect((await refresh(dead)).status).toBe(200);
  });

  test("are revoked: by the app, by the person, by a fault; a wrong client gets nothing", async () => {
    const file = drive.authorizedUser();
    const { access_token: held = "" } = await refresh(file);
    expect(await refresh({ ...file, client_secret: "guessed" })).toMatchObject({ status: 401, error: "invalid_client" });
    const revoke = (value: string) => fetch(`${drive.rootUrl}revoke?token=${encodeURIComponent(value)}`, { method: "POST" });
    expect((await revoke(held)).status).toBe(200);
    expect((await revoke(held)).status).toBe(400);
    expect(await refresh(file)).toMatchObject({ status: 400, error: "invalid_grant" });
    expect(await about(held)).toBe(401);
    const other = drive.authorizedUser();
    drive.faults.add({ when: { api: "oauth.token", times: 1 }, do: { kind: "invalid-grant" } });
    expect(await refresh(other)).toMatchObject({ error: "invalid_grant" });
    const { access_token: bearer = "" } = await refresh(other);
    drive.account.expireAccessTokens();
    expect([await about(bearer), (await refresh(other)).status]).toEqual([401, 200]);
    drive.account.revokeTokens();
    expect(await refresh(other)).toMatchObject({ error: "invalid_grant" });
  });
});

describe("the authorization endpoint", () => {
  const verifier = randomBytes(48).toString("base64url");
  const ask = async (more: Record<string, string> = {}) => {
    const client = (drive.clientFile() as { installed: Record<string, string> }).installed;
    const query = new URLSearchParams({
      client_id: client["client_id"]!,
      redirect_uri: "http://127.0.0.1:5555/back",
      response_type: "code",
      scope: FILE_SCOPE,
      state: "s1",
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
      ...more,
    });
    const answer = await call(drive, "GET", `${drive.authUrl}?${query.toString()}`, { token: "" });
    const location = answer.headers.get("location");
    return { client, status: answer.status, back: location === null ? undefined : new URL(location) };
  };
  const redeem = (client: Record<string, string>, code: string, more: Record<string, string> = {}) =>
    token({
      grant_type: "authorization_code",
      client_id: client["client_id"]!,
      redirect_uri: "http://127.0.0.1:5555/back",
      code,
      code_verifier: verifier,
      ...more,
    });

  test("sends a code back, which works once, with its verifier", async () => {
    const { client, status, back } = await ask();
    expect([status, back!.origin, back!.searchParams.get("state")]).toEqual([302, "http://127.0.0.1:5555", "s1"]);
    const code = back!.searchParams.get("code")!;
    const tokens = await redeem(client, code);
    expect(tokens).toMatchObject({ status: 200, scope: FILE_SCOPE });
    expect(await about(tokens.access_token!)).toBe(200);
    expect((await refresh({ ...client, refresh_token: tokens.refresh_token! })).status).toBe(200);
    expect(await redeem(client, code)).toMatchObject({ status: 400, error: "invalid_grant" });
    const again = async () => (await ask()).back!.searchParams.get("code")!;
    expect(await redeem(client, await again(), { code_verifier: "x".repeat(43) })).toMatchObject({ error: "invalid_grant" });
    expect(await redeem(client, await again(), { redirect_uri: "http://127.0.0.1:1/" })).toMatchObject({
      error: "redirect_uri_mismatch",
    });
    const late = await again();
    now += 11 * 60_000;
    expect(await redeem(client, late)).toMatchObject({ error: "invalid_grant" });
  });

  test("a person may refuse, or grant less", async () => {
    drive.account.setConsent("deny");
    const { back } = await ask();
    expect([back!.searchParams.get("error"), back!.searchParams.get("state")]).toEqual(["access_denied", "s1"]);
    drive.account.setConsent("allow", "openid");
    const less = await ask();
    const { access_token: bearer = "" } = await redeem(less.client, less.back!.searchParams.get("code")!);
    expect(reason(await call(drive, "GET", "drive/v3/files", { token: bearer }))).toBe("403 insufficientPermissions");
  });

  test("only loopback, only known clients", async () => {
    expect(await ask({ redirect_uri: "https://example.com/" })).toMatchObject({ status: 400, back: undefined });
    expect(await ask({ client_id: "stranger" })).toMatchObject({ status: 401, back: undefined });
    expect((await ask({ response_type: "token" })).back!.searchParams.get("error")).toBe("unsupported_response_type");
  });
});

describe("scopes", () => {
  test("drive.file sees what the app made, and nothing else", async () => {
    const { account } = drive;
    const byHand = account.addFile("MemoryVDB/hand.md", "x", { byUser: true });
    const foreign = account.addFile("theirs.md", "x", { app: "another" });
    const own = account.addFile("own.md", "x");
    const small = drive.accessToken({ scope: FILE_SCOPE });
    const seen = async (bearer: string) =>
      (JSON.parse((await call(drive, "GET", "drive/v3/files?fields=files(name)", { token: bearer })).text) as { files: object[] })
        .files.length;
    expect([await seen(small), await seen(drive.accessToken())]).toEqual([1, 4]);
    const ask = async (method: string, id: string, body?: string) =>
      reason(await call(drive, method, `drive/v3/files/${id}`, { token: small, ...(body !== undefined && { body }) }));
    expect(await ask("GET", own.id)).toBe("200");
    expect(await ask("GET", byHand.id)).toBe("404 notFound");
    expect(await ask("PATCH", byHand.id, "{}")).toBe("403 appNotAuthorizedToFile");
    expect(await ask("GET", foreign.id)).toBe("404 notFound");
    expect(await ask("GET", "root")).toBe("200");
    const make = async (parent: string) =>
      reason(
        await call(drive, "POST", "drive/v3/files", { token: small, body: JSON.stringify({ name: "n", parents: [parent] }) }),
      );
    expect(await make(byHand.parents[0]!)).toBe("404 notFound");
    expect(await make("root")).toBe("200");
    const changes = JSON.parse((await call(drive, "GET", "drive/v3/changes?pageToken=1", { token: small })).text) as {
      changes: object[];
    };
    expect(changes.changes).toHaveLength(2);
    account.setScope("https://www.googleapis.com/auth/drive");
    expect(await ask("GET", byHand.id)).toBe("200");
  });

  test("the root can be hidden from drive.file; a file lands in it all the same", async () => {
    await drive.close();
    drive = await start({ rootHidden: true });
    const small = drive.accessToken({ scope: FILE_SCOPE });
    expect(reason(await call(drive, "GET", "drive/v3/files/root", { token: small }))).toBe("404 notFound");
    expect((await call(drive, "POST", "drive/v3/files", { token: small, body: '{"name":"n"}' })).status).toBe(200);
    expect((await call(drive, "GET", "drive/v3/files/root")).status).toBe(200);
  });

  test("a token that may only read cannot write", async () => {
    const reading = drive.accessToken({ scope: "https://www.googleapis.com/auth/drive.readonly" });
    expect((await call(drive, "GET", "drive/v3/files", { token: reading })).status).toBe(200);
    const { status, text } = await call(drive, "POST", "drive/v3/files", { token: reading, body: "{}" });
    expect([status, text.includes("ACCESS_TOKEN_SCOPE_INSUFFICIENT")]).toEqual([403, true]);
  });
});

describe("service accounts and shared drives", () => {
  /** Google's own library signs the assertion; its address is fixed there and is rewritten here. */
  const signIn = async (key: object, subject?: string): Promise<string> => {
    const { auth } = await import("googleapis/build/src/apis/drive/index.js");
    const { client_email: email, private_key: secret } = key as { client_email: string; private_key: string };
    const jwt = new auth.JWT({
      email,
      key: secret,
      scopes: ["https://www.googleapis.com/auth/drive"],
      ...(subject !== undefined && { subject }),
    });
    jwt.transporter.interceptors.request.add({
      resolved: (request) => {
        request.url = new URL(String(request.url).replace("https://oauth2.googleapis.com/token", drive.tokenUrl));
        return Promise.resolve(request);
      },
    });
    return (await jwt.authorize()).access_token!;
  };
  const create = async (bearer: string, parent: string | undefined, query = "") =>
    reason(
      await call(drive, "POST", `drive/v3/files${query}`, {
        token: bearer,
        body: JSON.stringify({ name: "sa", ...(parent !== undefined && { parents: [parent] }) }),
      }),
    );

  test("an account without storage can only use what belongs to others", async () => {
    now = Date.now();
    const key = drive.serviceAccount();
    const bearer = await signIn(key);
    const shared = drive.account.addFolder("for the robot");
    drive.account.share(shared.id, String(key["client_email"]));
    const theirs = drive.account.addFile("for the robot/theirs", "1");
    expect(await create(bearer, undefined)).toBe("403 storageQuotaExceeded");
    expect(await create(bearer, shared.id)).toBe("403 storageQuotaExceeded");
    const update = await call(drive, "PATCH", `upload/drive/v3/files/${theirs.id}?uploadType=media`, {
      token: bearer,
      body: "2",
    });
    expect(update.status).toBe(200);
    expect(reason(await call(drive, "PATCH", `drive/v3/files/${theirs.id}`, { token: bearer, body: '{"trashed":true}' }))).toBe(
      "403 insufficientFilePermissions",
    );
    const { id } = drive.account.addSharedDrive("Team", "writer");
    expect(await create(bearer, id)).toBe("403 storageQuotaExceeded");
    expect(await create(bearer, id, "?supportsAllDrives=true")).toBe("200");
    expect(drive.account.find("//Team/sa")).toHaveLength(1);
    expect(await create(await signIn(drive.serviceAccount({ storage: true })), undefined)).toBe("200");
  });

  test("speaks for a user where an admin allows it; a forged or old assertion gets nothing", async () => {
    now = Date.now();
    const key = drive.serviceAccount();
    const bearer = await signIn(key, drive.account.email);
    const me = JSON.parse((await call(drive, "GET", "drive/v3/about?fields=user", { token: bearer })).text) as { user: object };
    expect(me.user).toMatchObject({ emailAddress: drive.account.email });
    await expect(signIn(key, "nobody@example.com")).rejects.toThrow("invalid_grant");
    drive.account.setDelegation(false);
    await expect(signIn(key, drive.account.email)).rejects.toThrow("unauthorized_client");
    const other = drive.serviceAccount();
    await expect(signIn({ ...key, private_key: other["private_key"] })).rejects.toThrow("invalid_grant");
    now += 2 * 3600_000;
    await expect(signIn(key)).rejects.toThrow("invalid_grant");
  });

  test("a shared drive needs the parameters that say so, and gives the rights it gives", async () => {
    const { id } = drive.account.addSharedDrive("Team", "writer");
    const file = drive.account.addFile("//Team/dir/f", "1");
    const bearer = drive.accessToken();
    const get = async (query: string) => reason(await call(drive, "GET", `drive/v3/files/${file.id}${query}`, { token: bearer }));
    expect([await get(""), await get("?supportsAllDrives=true")]).toEqual(["404 notFound", "200"]);
    const list = async (query: string) => {
      const answer = await call(drive, "GET", `drive/v3/files?fields=files(name,driveId)&${query}`, { token: bearer });
      return answer.status === 200 ? (JSON.parse(answer.text) as { files: object[] }).files.length : answer.status;
    };
    expect(await list("")).toBe(0);
    expect(await list("supportsAllDrives=true&includeItemsFromAllDrives=true")).toBe(2);
    expect(await list(`corpora=drive&driveId=${id}&supportsAllDrives=true&includeItemsFromAllDrives=true`)).toBe(2);
    expect(await list(`corpora=drive&driveId=${id}`)).toBe(400);
    const fields = "owners,ownedByMe,driveId,capabilities(canEdit,canTrash,canDelete)";
    expect(await json(drive, "GET", `drive/v3/files/${file.id}?supportsAllDrives=true&fields=${fields}`)).toEqual({
      driveId: id,
      capabilities: { canEdit: true, canTrash: false, canDelete: false },
    });
    const remove = await call(drive, "DELETE", `drive/v3/files/${file.id}?supportsAllDrives=true`);
    expect(reason(remove)).toBe("403 insufficientFilePermissions");
    expect(await json(drive, "GET", "drive/v3/drives")).toMatchObject({ drives: [{ id, name: "Team" }] });
    expect(await json(drive, "GET", `drive/v3/drives/${id}?fields=name,capabilities(canAddChildren)`)).toEqual({
      name: "Team",
      capabilities: { canAddChildren: true },
    });
    expect(reason(await call(drive, "GET", "drive/v3/drives/0Anone"))).toBe("404 notFound");
    const reading = drive.account.addSharedDrive("Library", "reader");
    expect(await create(bearer, reading.id, "?supportsAllDrives=true")).toBe("403 insufficientFilePermissions");
    const closed = drive.account.addSharedDrive("Closed", { "other@example.com": "organizer" });
    expect(await create(bearer, closed.id, "?supportsAllDrives=true")).toBe("404 notFound");
  });
});

test("the account from the other side", () => {
  const { account } = drive;
  const file = account.addFile("a/b/c.md", "1", { byUser: true });
  expect(account.tree().map(({ path, folder }) => [path, folder])).toEqual([
    ["a", true],
    ["a/b", true],
    ["a/b/c.md", false],
  ]);
  expect(account.rename("a/b/c.md", "d.md").path).toBe("a/b/d.md");
  expect(account.move(file.id, "a").path).toBe("a/d.md");
  expect(account.move("a/d.md", "/").path).toBe("d.md");
  expect(account.trash("a").trashed).toBe(true);
  expect(account.find("a/b")).toMatchObject([{ trashed: true }]);
  expect(account.untrash(account.find("a")[0]!.id).trashed).toBe(false);
  account.delete("a");
  expect(account.tree()).toHaveLength(1);
  expect(() => account.edit("a", "x")).toThrow("there is no a on this Drive");
  expect(() => account.addFile("//Nowhere/x", "x")).toThrow("no shared drive");
  expect(account.addFolder("again").mimeType).toBe(FOLDER);
});

describe("in a process of its own", () => {
  let child: ChildProcess | undefined;
  afterEach(() => child?.kill("SIGKILL"));

  test("everything is switched and seen over HTTP", async () => {
    const script = await bundled(join(import.meta.dirname, "drive-emulator.child.ts"));
    child = spawn(process.execPath, [script, JSON.stringify({ seed: 9 })], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const [line] = (await once(createInterface(child.stdout!), "line")) as [string];
    const remote = JSON.parse(line) as { rootUrl: string; accessToken: string; seed: number };
    expect(remote.seed).toBe(9);
    const control = async (method: string, path: string, body?: object) => {
      const response = await fetch(`${remote.rootUrl}__emulator/${path}`, {
        method,
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return (await response.json()) as Record<string, unknown>;
    };
    const account = async (name: string, ...args: unknown[]) => (await control("POST", "account", { do: name, args }))["result"];
    const create = () =>
      fetch(`${remote.rootUrl}drive/v3/files`, {
        method: "POST",
        body: "{}",
        headers: { authorization: `Bearer ${remote.accessToken}` },
      });

    await account("addFile", "a/f", { base64: Buffer.from([0, 255]).toString("base64") });
    expect(await control("GET", "tree")).toMatchObject({ tree: [{ path: "a" }, { path: "a/f", size: 2 }] });
    expect(await account("content", "a/f")).toEqual({ base64: "AP8=" });
    const edit = { kind: "foreign-edit", call: { do: "edit", args: ["a/f", "edited"] } };
    await control("POST", "faults", {
      faults: [
        { when: { api: "files.create", nth: 1 }, do: edit },
        { when: {}, do: { kind: "5xx-before" } },
      ],
    });
    expect([(await create()).status, (await create()).status]).toEqual([200, 503]);
    expect(await account("find", "a/f")).toMatchObject([{ size: 6 }]);
    await control("DELETE", "faults");
    expect((await create()).status).toBe(200);
    expect(await control("GET", "requests")).toMatchObject({
      counts: { "files.create": 3 },
      requests: [{}, { fault: "5xx-before" }, {}],
    });
    await control("DELETE", "requests");
    expect(await control("GET", "requests")).toMatchObject({ requests: [] });
    expect(await control("POST", "settings", { latencyMs: 5, lag: { nameMs: 7 } })).toMatchObject({
      latencyMs: 5,
      lag: { nameMs: 7 },
    });
    expect(await account("authorizedUser", { expired: false })).toMatchObject({ type: "authorized_user" });
    expect(await control("POST", "account", { do: "constructor" })).toMatchObject({
      error: { message: "Error: there is no account method constructor" },
    });
    child.stdin!.end();
    expect(await once(child, "exit")).toEqual([0, null]);
  });
});
