import { chmodSync, existsSync, lstatSync, readdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { createClaims } from "../../../src/state/claims.ts";
import {
  adoptClientFile,
  readClientFile,
  readTokenFile,
  storeRenewed,
  storeSignIn,
} from "../../../src/targets/gdrive/token-file.ts";
import { removeTokenFile } from "../../../src/targets/shared/secret-file.ts";
import { ended, material, said, start } from "./sign-in.ts";

const SECRET = "1//0-a-very-secret-thing";
const at = Date.parse("2026-04-13T18:00:00.000Z");
const client = { id: "id.apps.googleusercontent.com", secret: "GOCSPX-x", web: false, authUrl: undefined };
const renewed = { accessToken: "ya29.new", expiresAt: at };

describe("reading", () => {
  it("is undefined where there is no file, also below a file", async () => {
    const place = material();
    expect(await readTokenFile(place.tokenFile)).toBeUndefined();
    place.write({});
    expect(await readTokenFile(join(place.tokenFile, "below"))).toBeUndefined();
  });

  it.each([
    [
      "what connect writes",
      { type: "authorized_user", access_token: "a", expiry_date: at, scope: "s t", signed_in_at: "2026-04-13T18:00:00.000Z" },
    ],
    ["Google's authorized_user", { type: "authorized_user" }],
    [
      "Python's token.json",
      { token: "a", token_uri: "https://oauth2.googleapis.com/token", scopes: ["s", "t"], expiry: "2026-04-13T18:00:00.000000Z" },
    ],
    ["Python's, of a version that names no time zone", { token: "a", scopes: ["s", "t"], expiry: "2026-04-13T18:00:00.000000" }],
    ["oauth2client's", { access_token: "a", token_expiry: "2026-04-13T18:00:00Z", _module: "oauth2client.client" }],
  ])("takes %s", async (_, fields) => {
    const place = material();
    place.write({ client_id: "id", client_secret: "secret", refresh_token: SECRET, ...fields });
    const file = await readTokenFile(place.tokenFile);
    expect(file).toMatchObject({ kind: "user", client: { id: "id", secret: "secret" }, tokens: { refreshToken: SECRET } });
    if (file?.kind !== "user") throw new Error("no user");
    if (file.tokens.accessToken !== undefined) expect(file.tokens).toMatchObject({ accessToken: "a", expiresAt: at });
    if (file.tokens.scopes !== undefined) expect(file.tokens.scopes).toEqual(["s", "t"]);
  });

  it("takes a bare token, whose client stands in its own file, and a service account's key", async () => {
    const place = material();
    place.write({ access_token: "a", refresh_token: SECRET, expiry_date: at });
    expect(await readTokenFile(place.tokenFile)).toMatchObject({ kind: "user", client: undefined });
    place.write(
      `\uFEFF${JSON.stringify({ type: "service_account", client_email: "r@x", private_key: "k", private_key_id: "7" })}`,
    );
    expect(await readTokenFile(place.tokenFile)).toMatchObject({ kind: "service_account", email: "r@x", key: "k", keyId: "7" });
    place.write({ type: "external_account", audience: "x" });
    expect(await readTokenFile(place.tokenFile)).toMatchObject({ kind: "other", type: "external_account" });
  });

  it.each([
    ["text", `{"refresh_token": "${SECRET}", oops`],
    ["a list", JSON.stringify([SECRET])],
    ["an object without a token", JSON.stringify({ note: SECRET })],
    ["half a service account", JSON.stringify({ type: "service_account", private_key: SECRET })],
    ["an OAuth client in its place", JSON.stringify({ installed: { client_id: "id", client_secret: SECRET } })],
  ])("refuses %s with a cure, and never says what the file holds", async (_, content) => {
    const place = material();
    place.write(content);
    const error = await readTokenFile(place.tokenFile).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: "auth", code: "E_AUTH", exit: 4 });
    const { message, hint, stack, cause } = error as Error & { hint?: string };
    expect(hint).toBeTruthy();
    expect([message, hint, stack, String(cause)].join("\n")).not.toContain(SECRET);
  });

  it("says when others can read it, and uses it all the same", async () => {
    const place = material();
    place.write({ refresh_token: SECRET });
    chmodSync(place.tokenFile, 0o644);
    expect(await readTokenFile(place.tokenFile)).toMatchObject({ othersCanRead: true, tokens: { refreshToken: SECRET } });
    chmodSync(place.tokenFile, 0o600);
    expect(await readTokenFile(place.tokenFile)).toMatchObject({ othersCanRead: false });
  });
});

describe("the OAuth client's file", () => {
  it("is what the console gives, of either type, or bare", async () => {
    const place = material();
    const write = (value: unknown) => writeFileSync(place.clientFile, JSON.stringify(value));
    expect(await readClientFile(place.clientFile)).toBeUndefined();
    write({ installed: { client_id: "id", client_secret: "s", auth_uri: "https://accounts.google.com/o/oauth2/auth" } });
    expect(await readClientFile(place.clientFile)).toMatchObject({ id: "id", secret: "s", web: false });
    write({ web: { client_id: "id" } });
    expect(await readClientFile(place.clientFile)).toMatchObject({ id: "id", secret: undefined, web: true });
    write({ client_id: "id", client_secret: "s" });
    expect(await readClientFile(place.clientFile)).toMatchObject({ id: "id", web: false });
    write({ type: "service_account", private_key: SECRET });
    await expect(readClientFile(place.clientFile)).rejects.toMatchObject({
      code: "E_AUTH",
      hint: expect.stringContaining("drive_token") as string,
    });
  });

  it("is copied to its place, 0600, whatever the download's mode was", async () => {
    const place = material();
    const download = join(dirname(place.clientFile), "client_secret_1.json");
    writeFileSync(download, JSON.stringify({ installed: { client_id: "id", project_id: "p" } }), { mode: 0o644 });
    expect(await adoptClientFile(download, place.clientFile, place.claim)).toMatchObject({ id: "id" });
    expect((lstatSync(place.clientFile).mode & 0o777).toString(8)).toBe("600");
    expect(await readClientFile(place.clientFile)).toMatchObject({ id: "id" });
    await expect(adoptClientFile(`${download}.no`, place.clientFile, place.claim)).rejects.toMatchObject({ code: "E_AUTH" });
    expect(await readClientFile(place.clientFile)).toMatchObject({ id: "id" });
  });
});

describe("storing", () => {
  it("merges: the refresh token and what is not ours stay; the mode becomes 0600", async () => {
    const place = material();
    place.write(
      { type: "authorized_user", client_id: "id", refresh_token: SECRET, universe_domain: "x", note: { by: "me" } },
      0o644,
    );
    await storeRenewed(place.tokenFile, SECRET, { ...renewed, scopes: ["s"] }, place.claim);
    expect(place.read()).toEqual({
      type: "authorized_user",
      client_id: "id",
      refresh_token: SECRET,
      universe_domain: "x",
      note: { by: "me" },
      access_token: "ya29.new",
      expiry_date: at,
      scope: "s",
    });
    expect(place.mode()).toBe("600");
  });

  it("keeps the dialect of Python's file, so that the other program goes on reading it", async () => {
    const place = material();
    place.write({ token: "old", refresh_token: SECRET, expiry: "2020-01-01T00:00:00Z", scopes: ["s"] });
    await storeRenewed(place.tokenFile, SECRET, { ...renewed, scopes: ["s"] }, place.claim);
    expect(place.read()).toEqual({ token: "ya29.new", refresh_token: SECRET, expiry: "2026-04-13T18:00:00.000Z", scopes: ["s"] });
  });

  it("takes a refresh token that Google changed", async () => {
    const place = material();
    place.write({ refresh_token: SECRET });
    await storeRenewed(place.tokenFile, SECRET, { ...renewed, refreshToken: "1//next" }, place.claim);
    expect(place.read()).toMatchObject({ refresh_token: "1//next" });
  });

  it("leaves a sign-in alone that someone made meanwhile, and brings no removed one back", async () => {
    const place = material();
    place.write({ refresh_token: "1//another" });
    await storeRenewed(place.tokenFile, SECRET, renewed, place.claim);
    expect(place.read()).toEqual({ refresh_token: "1//another" });
    expect(await removeTokenFile(place.tokenFile, place.claim)).toBe(true);
    await storeRenewed(place.tokenFile, SECRET, renewed, place.claim);
    expect(existsSync(place.tokenFile)).toBe(false);
    expect(await removeTokenFile(place.tokenFile, place.claim)).toBe(false);
  });

  it("follows a link, and removes what it leads to", async () => {
    const place = material();
    place.write({ refresh_token: SECRET });
    const real = join(dirname(place.tokenFile), "real.json");
    renameSync(place.tokenFile, real);
    symlinkSync(real, place.tokenFile);
    await storeRenewed(place.tokenFile, SECRET, renewed, place.claim);
    expect(lstatSync(place.tokenFile).isSymbolicLink()).toBe(true);
    expect(await readTokenFile(real)).toMatchObject({ tokens: { accessToken: "ya29.new" } });
    await removeTokenFile(place.tokenFile, place.claim);
    expect(readdirSync(dirname(place.tokenFile))).toEqual([]);
  });

  it("writes a sign-in as Google's own kind of file, from which nothing is missing", async () => {
    const place = material();
    await storeSignIn(place.tokenFile, client, { ...renewed, refreshToken: SECRET, scopes: ["s"] }, at, place.claim);
    expect(place.read()).toEqual({
      type: "authorized_user",
      client_id: client.id,
      client_secret: client.secret,
      refresh_token: SECRET,
      access_token: "ya29.new",
      expiry_date: at,
      scope: "s",
      signed_in_at: "2026-04-13T18:00:00.000Z",
    });
    expect(place.mode()).toBe("600");
    expect(await readTokenFile(place.tokenFile)).toMatchObject({ kind: "user", client: { id: client.id }, signedInAt: at });
  });
});

describe("several processes", () => {
  const clock = { now: () => Date.now(), sleep: async (ms: number) => void (await pause(ms)) };

  it("store at once: no sign-in is lost to a renewal, and the file is whole at every moment", async () => {
    const place = material();
    const locks = join(dirname(place.tokenFile), "locks");
    const claims = createClaims(locks, clock);
    const claim = (kind: "token") => claims.take(kind, "");
    const signIn = (n: number) => storeSignIn(place.tokenFile, client, { ...renewed, refreshToken: `1//${n}` }, at, claim);
    await signIn(0);
    const children = await Promise.all(["a", "b"].map((name) => start("store", place.tokenFile, locks, name, "0")));
    await Promise.all(children.map((child) => said(child, "storing")));
    for (let n = 1; n <= 40; n++) {
      await signIn(n);
      for (let look = 0; look < 5; look++) {
        expect(place.read()).toMatchObject({
          type: "authorized_user",
          refresh_token: `1//${n}`,
          signed_in_at: "2026-04-13T18:00:00.000Z",
        });
        expect(place.mode()).toBe("600");
        await pause(0);
      }
    }
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(children.map(ended));
    claims.close();
  });

  it("are killed while they store: the file is whole, and no copy of the secret stays behind", async () => {
    const place = material();
    const locks = join(dirname(place.tokenFile), "locks");
    place.write({ refresh_token: SECRET, mine: "kept", pad: "x".repeat(200_000) });
    for (let n = 0; n < 4; n++) {
      const child = await start("store", place.tokenFile, locks, `c${n}`, "0");
      await said(child, "storing");
      await pause(5 * n); // at another place each time
      child.kill("SIGKILL");
      await ended(child);
      expect(place.read()).toMatchObject({
        refresh_token: SECRET,
        mine: "kept",
        access_token: expect.stringMatching(/^c\d-\d+$/) as string,
      });
      expect(place.mode()).toBe("600");
    }
    const claims = createClaims(locks, clock);
    writeFileSync(`${place.tokenFile}.aftersave-new`, `{"refresh_token":"${SECRET}`);
    await storeRenewed(place.tokenFile, SECRET, renewed, (kind) => claims.take(kind, ""));
    claims.close();
    expect(readdirSync(dirname(place.tokenFile)).toSorted()).toEqual(["drive_token.json", "locks"]);
  });
});
