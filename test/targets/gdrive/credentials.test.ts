import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  addressFor,
  openCredentials,
  type Credentials,
  type CredentialsOptions,
} from "../../../src/targets/gdrive/credentials.ts";
import { json, serve } from "./loopback.ts";
import { emulator, ended, material, said, start } from "./sign-in.ts";

const HOUR = 3_600_000;
const tokensOf = (drive: { requests: readonly { api: string }[] }) =>
  drive.requests.filter(({ api }) => api === "oauth.token").length;

/** One small request of the driver's kind. */
async function ask(credentials: Credentials, method: "GET" | "POST" = "GET") {
  return credentials.client.request<Record<string, unknown>>({
    url: `https://www.googleapis.com/drive/v3/${method === "GET" ? "about?fields=user" : "files"}`,
    method,
    ...(method === "POST" ? { data: { name: "x" } } : {}),
  });
}

const bearer = (credentials: Credentials) => credentials.client.credentials.access_token;

/** A port that nobody answers stands for a proxy that must not be used. */
const DEAD = "http://127.0.0.1:9";
const saved = { ...process.env };
afterEach(() => void (process.env = { ...saved }));

describe("where requests go", () => {
  const places = { rootUrl: "http://127.0.0.1:4000/base/", tokenUrl: "http://127.0.0.1:4001/o/token" };
  const to = (url: string, where = places, google = false) => addressFor(new URL(url), where, google).href;

  it("leads Google's addresses to root_url and token_url, uploads and revoking included", () => {
    expect(to("https://www.googleapis.com/drive/v3/files?q=a%20b")).toBe("http://127.0.0.1:4000/base/drive/v3/files?q=a%20b");
    expect(to("https://www.googleapis.com/upload/drive/v2/files/1?uploadType=media")).toBe(
      "http://127.0.0.1:4000/base/upload/drive/v2/files/1?uploadType=media",
    );
    expect(to("https://oauth2.googleapis.com/token")).toBe("http://127.0.0.1:4001/o/token");
    expect(to("https://oauth2.googleapis.com/revoke")).toBe("http://127.0.0.1:4001/o/revoke");
    expect(to("http://127.0.0.1:4000/upload/session?id=1")).toBe("http://127.0.0.1:4000/upload/session?id=1");
    const google = { rootUrl: "https://www.googleapis.com/", tokenUrl: "https://oauth2.googleapis.com/token" };
    expect(to("https://www.googleapis.com/drive/v3/files", google)).toBe("https://www.googleapis.com/drive/v3/files");
  });

  it.each([
    "https://example.com/",
    "https://www.googleapis.com.example.com/drive/v3/files",
    "http://www.googleapis.com/drive/v3/files",
    "http://169.254.169.254/computeMetadata/v1/",
    "https://sts.googleapis.com/v1/token",
    "file:///etc/passwd",
  ])("refuses %s", (url) => {
    expect(() => to(url)).toThrow(/was refused/);
  });

  it("lets application default credentials reach other hosts of Google's, by https only", () => {
    expect(to("https://sts.googleapis.com/v1/token", places, true)).toBe("https://sts.googleapis.com/v1/token");
    expect(() => to("http://sts.googleapis.com/v1/token", places, true)).toThrow(/refused/);
    expect(() => to("https://googleapis.com.example.com/", places, true)).toThrow(/refused/);
  });

  it("refuses plain http to another machine, whatever paths.json got past its schema", () => {
    expect(() => to("https://www.googleapis.com/x", { ...places, rootUrl: "http://192.0.2.1/" })).toThrow(/refused/);
  });

  it("uses no proxy for a loopback address, and follows no redirect", async () => {
    Object.assign(process.env, { HTTPS_PROXY: DEAD, HTTP_PROXY: DEAD, https_proxy: DEAD, http_proxy: DEAD });
    const { url, seen } = await serve((request, response) => {
      if (request.path === "/token") json(response, 200, { access_token: "a", expires_in: 3600 });
      else json(response, 302, {}, { location: "http://127.0.0.1:9/elsewhere" });
    });
    const place = material({ rootUrl: url, tokenUrl: `${url}token` });
    place.write({ client_id: "id", refresh_token: "1//x" });
    await expect(ask(await openCredentials(place))).rejects.toMatchObject({ status: 302 });
    expect(seen.map(({ path }) => path)).toEqual(["/token", "/drive/v3/about"]);
  });
});

describe("a person's sign-in", () => {
  it("is missing: says so, with the command to run, without loading Google's library", () => {
    const place = material();
    const script = `
      import { openCredentials } from ${JSON.stringify(new URL("../../../src/targets/gdrive/credentials.ts", import.meta.url).pathname)};
      import { createRequire } from "node:module";
      const error = await openCredentials(${JSON.stringify(place)}).catch((thrown) => thrown);
      const loaded = Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes("googleapis")).length;
      console.log(JSON.stringify({ code: error.code, hint: error.hint, loaded }));
    `;
    const out = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], { encoding: "utf8" });
    expect(JSON.parse(out)).toMatchObject({
      code: "E_TOKEN_MISSING",
      hint: expect.stringContaining("aftersave connect cloud") as string,
      loaded: 0,
    });
  });

  it("uses a token that is alive without asking for another", async () => {
    const drive = await emulator();
    const place = material(drive);
    place.write(drive.authorizedUser({ expired: false }));
    expect((await ask(await openCredentials(place))).status).toBe(200);
    expect(drive.counts()["tokens"] ?? 0).toBe(0);
  });

  it.each([[true], [undefined]])(
    "renews one that has ended (expired: %s) once for many requests, and stores it merged",
    async (expired) => {
      const drive = await emulator();
      const place = material(drive);
      place.write({ ...drive.authorizedUser({ expired }), note: "mine" }, 0o644);
      const credentials = await openCredentials(place);
      await Promise.all([ask(credentials), ask(credentials), ask(credentials)]);
      expect(tokensOf(drive)).toBe(1);
      const file = place.read();
      expect(file).toMatchObject({
        note: "mine",
        refresh_token: expect.stringMatching(/^1\/\//) as string,
        access_token: bearer(credentials),
      });
      expect(Number(file["expiry_date"])).toBeGreaterThan(Date.now() + HOUR - 60_000);
      expect(place.mode()).toBe("600");
      await ask(await openCredentials(place));
      expect(tokensOf(drive)).toBe(1);
    },
  );

  it("takes its client from drive_client when the token file names none, and says when there is none", async () => {
    const drive = await emulator();
    const place = material(drive);
    const { refresh_token } = drive.authorizedUser();
    place.write({ refresh_token });
    await expect(openCredentials(place)).rejects.toMatchObject({
      kind: "auth",
      hint: expect.stringContaining("connect cloud") as string,
    });
    writeFileSync(place.clientFile, JSON.stringify(drive.clientFile()));
    expect((await ask(await openCredentials(place))).status).toBe(200);
  });

  it.each([401, 403])(
    "is never refreshed and sent again by the library after a %s, also if the endpoint names no lifetime",
    async (status) => {
      const { url, seen } = await serve((request, response) => {
        if (request.path === "/token") json(response, 200, { access_token: `a${seen.length}`, token_type: "Bearer" });
        else json(response, status, { error: { code: status, message: "no", errors: [{ reason: "x" }] } });
      });
      const place = material({ rootUrl: url, tokenUrl: `${url}token` });
      place.write({ client_id: "id", refresh_token: "1//x", access_token: "a" });
      const credentials = await openCredentials(place);
      await expect(ask(credentials, "POST")).rejects.toMatchObject({ status });
      expect(seen.map(({ path }) => path)).toEqual(["/token", "/drive/v3/files"]);
      expect((await credentials.about()).expiresAt).toBeGreaterThan(Date.now());
    },
  );

  it("after a 401, takes what another process has stored, and asks for a new one only when nobody has", async () => {
    const drive = await emulator();
    const place = material(drive);
    place.write(drive.authorizedUser({ expired: false }));
    const [mine, theirs] = [await openCredentials(place), await openCredentials(place)];
    drive.account.expireAccessTokens();
    await expect(ask(mine)).rejects.toMatchObject({ status: 401 });
    await theirs.renew();
    expect(tokensOf(drive)).toBe(1);
    await mine.renew();
    expect(tokensOf(drive)).toBe(1);
    expect(bearer(mine)).toBe(bearer(theirs));
    expect((await ask(mine)).status).toBe(200);
    drive.account.expireAccessTokens();
    await Promise.all([mine.renew(), mine.renew()]);
    expect(tokensOf(drive)).toBe(2);
    expect((await ask(mine)).status).toBe(200);
  });

  it("goes on with another sign-in that was made meanwhile, and says when it was removed", async () => {
    const drive = await emulator();
    const place = material(drive);
    place.write(drive.authorizedUser({ expired: false }));
    const credentials = await openCredentials(place);
    drive.account.revokeTokens();
    place.write(drive.authorizedUser({ app: "another" }));
    await credentials.renew();
    expect((await ask(credentials)).status).toBe(200);
    execFileSync("rm", [place.tokenFile]);
    await expect(credentials.renew()).rejects.toMatchObject({ code: "E_TOKEN_MISSING" });
  });

  it.each([
    ["revoked", "E_SIGN_IN_EXPIRED", "auth", { error: "invalid_grant" }, 400],
    ["of a client that was deleted", "E_SIGN_IN_CLIENT", "auth", { error: "invalid_client" }, 401],
    ["against the organisation's policy", "E_SIGN_IN_POLICY", "auth", { error: "admin_policy_enforced" }, 400],
    ["met by a broken server", "E_TARGET_TRANSIENT", "transient", "<html>", 503],
    ["met by one that wants less of it", "E_TARGET_THROTTLED", "throttled", { error: "rateLimitExceeded" }, 429],
    ["met by something else that answers", "E_TARGET_TRANSIENT", "transient", { hello: 1 }, 200],
  ])("%s: one call, and a fault of its own", async (_, code, kind, body, status) => {
    const { url, seen } = await serve((_request, response) => void json(response, status, body));
    const place = material({ rootUrl: url, tokenUrl: `${url}token` });
    place.write({ client_id: "id", client_secret: "GOCSPX-s", refresh_token: "1//very-secret" });
    const before = place.read();
    const credentials = await openCredentials(place);
    for (const work of [() => credentials.renew(), () => ask(credentials)]) {
      const error = await work().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ name: "TargetError", code, kind, hint: expect.any(String) as string });
      expect(JSON.stringify(error) + String((error as Error).stack)).not.toMatch(/very-secret|GOCSPX/);
    }
    expect(seen).toHaveLength(2);
    expect(place.read()).toEqual(before);
  });

  it("waits for the endpoint only so long, and says when nobody answers", async () => {
    const { url } = await serve(() => undefined);
    const slow = material({ rootUrl: url, tokenUrl: `${url}token` }, { timeoutMs: 50 });
    slow.write({ client_id: "id", refresh_token: "1//x" });
    await expect((await openCredentials(slow)).renew()).rejects.toMatchObject({ name: "TargetError", kind: "transient" });
    const nobody = material();
    nobody.write({ client_id: "id", refresh_token: "1//x" });
    await expect((await openCredentials(nobody)).renew()).rejects.toMatchObject({
      code: "E_TARGET_UNREACHABLE",
      kind: "transient",
    });
  });

  it("without a refresh token ends with its access token, and says so", async () => {
    const drive = await emulator();
    const place = material(drive);
    place.write({ access_token: drive.accessToken(), client_id: "id" });
    const credentials = await openCredentials(place);
    expect((await ask(credentials)).status).toBe(200);
    expect(await credentials.about()).toMatchObject({ refreshable: false, expiresAt: null });
    await expect(credentials.renew()).rejects.toMatchObject({ code: "E_SIGN_IN_EXPIRED" });
  });

  it("works in this process when its file cannot be written, and says so", async () => {
    const drive = await emulator();
    const place = material(drive, {
      claim: async () => {
        throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
      },
    });
    place.write(drive.authorizedUser());
    const credentials = await openCredentials(place);
    expect((await ask(credentials)).status).toBe(200);
    expect((await credentials.about()).unsaved).toMatch(/drive_token\.json could not be written \(ENOSPC\)/);
  });

  it("tells what doctor wants to know, and nothing secret", async () => {
    const drive = await emulator();
    const place = material(drive);
    place.write({ ...drive.authorizedUser({ expired: false }), signed_in_at: "2026-04-13T18:00:00.000Z" });
    const about = await (await openCredentials(place)).about();
    expect(about).toMatchObject({
      kind: "user",
      scopes: ["https://www.googleapis.com/auth/drive.file"],
      refreshable: true,
      file: place.tokenFile,
      signedInAt: Date.parse("2026-04-13T18:00:00.000Z"),
      othersCanRead: false,
      unsaved: null,
    });
    expect(JSON.stringify(about)).not.toMatch(/ya29|1\/\/|GOCSPX/);
  });
});

describe("service accounts and application default credentials", () => {
  const shared = { scope: "https://www.googleapis.com/auth/drive" };
  const emailOf = async (credentials: Credentials) =>
    ((await ask(credentials)).data["user"] as { emailAddress: string }).emailAddress;

  it("signs in with a key, whatever token_uri says, and renews", async () => {
    const drive = await emulator();
    const place = material(drive, shared);
    const key = drive.serviceAccount();
    place.write({ ...key, token_uri: "https://example.com/token" });
    const credentials = await openCredentials(place);
    expect(credentials.kind).toBe("service_account");
    expect(await emailOf(credentials)).toBe(key["client_email"]);
    const first = bearer(credentials);
    await credentials.renew();
    expect(bearer(credentials)).not.toBe(first);
    expect(await credentials.about()).toMatchObject({ kind: "service_account", account: key["client_email"], refreshable: true });
    expect(place.read()).toMatchObject({ type: "service_account", token_uri: "https://example.com/token" });
  });

  it("acts for a person, or says that it may not", async () => {
    const drive = await emulator();
    const place = material(drive, { ...shared, impersonate: drive.account.email });
    place.write(drive.serviceAccount());
    expect(await emailOf(await openCredentials(place))).toBe(drive.account.email);
    const nobody = { ...place, impersonate: "nobody@example.com" };
    await expect(ask(await openCredentials(nobody))).rejects.toMatchObject({ name: "TargetError", kind: "auth" });
  });

  it("asks a broken token endpoint once, where the library would ask four times", async () => {
    const drive = await emulator();
    const place = material(drive, shared);
    place.write(drive.serviceAccount());
    drive.faults.add({ when: { api: "oauth.token" }, do: { kind: "5xx-before" } });
    await expect(ask(await openCredentials(place))).rejects.toMatchObject({ name: "TargetError", kind: "transient" });
    expect(tokensOf(drive)).toBe(1);
  });

  it("refuses a key that is none before it is used, and a file of the other kind", async () => {
    const place = material();
    place.write({ type: "service_account", client_email: "a@b", private_key: "-----BEGIN PRIVATE KEY-----\nsecret\n" });
    const error = await openCredentials(place).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "E_SIGN_IN_CLIENT" });
    expect(String((error as Error).stack)).not.toContain("secret\n");
    place.write({ client_id: "id", refresh_token: "1//x" });
    await expect(openCredentials({ ...place, auth: "service_account" })).rejects.toMatchObject({ code: "E_AUTH" });
    place.write({ type: "external_account" });
    await expect(openCredentials(place)).rejects.toMatchObject({ code: "E_AUTH" });
  });

  it("takes the file that GOOGLE_APPLICATION_CREDENTIALS names, else gcloud's, and writes to neither", async () => {
    const drive = await emulator();
    const place = material(drive, { ...shared, auth: "adc" });
    const folder = dirname(place.tokenFile);
    const key = drive.serviceAccount();
    const named = join(folder, "key.json");
    writeFileSync(named, JSON.stringify(key));
    const env = { GOOGLE_APPLICATION_CREDENTIALS: named, HOME: folder };
    for (const auth of ["adc", "service_account"] as const)
      expect(await emailOf(await openCredentials({ ...place, auth, env }))).toBe(key["client_email"]);

    const known = join(folder, ".config/gcloud");
    mkdirSync(known, { recursive: true });
    const gcloud = JSON.stringify({ ...drive.authorizedUser({ scope: shared.scope }), quota_project_id: "p" });
    writeFileSync(join(known, "application_default_credentials.json"), gcloud);
    const adc = await openCredentials({ ...place, env: { HOME: folder } });
    expect(await emailOf(adc)).toBe(drive.account.email);
    expect(await adc.about()).toMatchObject({ kind: "adc", file: join(known, "application_default_credentials.json") });
    expect(adc.client.quotaProjectId).toBe("p");
    expect(execFileSync("cat", [join(known, "application_default_credentials.json")], { encoding: "utf8" })).toBe(gcloud);
    // a person's own sign-in is not replaced by a variable that is meant for other programs
    place.write(drive.authorizedUser());
    expect((await openCredentials({ ...place, auth: "user", env })).kind).toBe("user");
  });

  it("asks no metadata server, and no other host, while root_url is another than Google's", async () => {
    const drive = await emulator();
    const place = material(drive, { auth: "adc" });
    await expect(openCredentials(place)).rejects.toMatchObject({ code: "E_TOKEN_MISSING" });
    const named = join(dirname(place.tokenFile), "external.json");
    writeFileSync(named, JSON.stringify({ type: "external_account" }));
    const env = { GOOGLE_APPLICATION_CREDENTIALS: named };
    await expect(openCredentials({ ...place, env })).rejects.toMatchObject({ code: "E_TOKEN_MISSING" });
    await expect(openCredentials({ ...place, env: { GOOGLE_APPLICATION_CREDENTIALS: `${named}.no` } })).rejects.toMatchObject({
      code: "E_TOKEN_MISSING",
      message: expect.stringContaining(".no") as string,
    });
  });
});

describe("several processes", () => {
  it("renew at once: the file is whole and holds a token that works", async () => {
    const drive = await emulator({ latencyMs: 2 });
    const place = material(drive);
    place.write({ ...drive.authorizedUser(), note: "mine" });
    const before = place.read();
    const locks = join(dirname(place.tokenFile), "locks");
    const args = ["renew", place.tokenFile, locks, drive.rootUrl, drive.tokenUrl, "15"];
    const children = await Promise.all([start(...args), start(...args)]);
    const [codes] = await Promise.all([Promise.all(children.map(ended)), ...children.map((child) => said(child, "stored"))]);
    expect(codes).toEqual([0, 0]);
    expect(place.read()).toMatchObject({ ...before, access_token: expect.stringMatching(/^ya29/) as string });
    drive.resetLedger();
    expect((await ask(await openCredentials(place))).status).toBe(200);
    expect(tokensOf(drive)).toBe(0);
  });

  it("is killed between the endpoint's answer and the file: the old file is whole, the next one renews", async () => {
    const drive = await emulator();
    const place = material(drive);
    place.write(drive.authorizedUser());
    const before = place.read();
    drive.faults.add({ when: { api: "oauth.token", times: 1 }, do: { kind: "stall", afterBytes: 20 } });
    const child = await start(
      "renew",
      place.tokenFile,
      join(dirname(place.tokenFile), "locks"),
      drive.rootUrl,
      drive.tokenUrl,
      "1",
    );
    while (tokensOf(drive) === 0) await pause(2);
    child.kill("SIGKILL");
    await ended(child);
    expect(place.read()).toEqual(before);
    expect((await ask(await openCredentials(place satisfies CredentialsOptions))).status).toBe(200);
    expect(place.read()).toMatchObject({ ...before, access_token: expect.any(String) as string });
  });
});
