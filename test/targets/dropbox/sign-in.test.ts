import { createHash } from "node:crypto";
import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, test, vi } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import { examineDropbox } from "../../../src/targets/dropbox/health.ts";
import { connect, disconnect } from "../../../src/targets/dropbox/sign-in.ts";
import { sourceOf } from "../../../src/testing/source.ts";
import { contextFor, memoryOf, onDropbox } from "./place.ts";

const NOTE = parseKey("Core/Note.txt");
const HOUR = 3_600_000;
const containing = (text: string) => expect.stringContaining(text) as string;

async function signedOut() {
  const on = await onDropbox();
  const file = join(await on.folder(), "dropbox_token.json");
  const clock = { now: Date.now() };
  const opening = { env: {}, options: { app_key: "appkey", token_file: file }, now: () => clock.now };
  const context = contextFor(on.box.url, "", opening);
  const json = async () => JSON.parse(await readFile(file, "utf8")) as Record<string, string>;
  return { ...on, file, clock, context, json, signedInTarget: () => on.open({ ...opening, memory: memoryOf() }) };
}

async function signedIn() {
  const on = await signedOut();
  await connect(on.context, { ask: async () => "the-code" });
  return on;
}

test("a person signs in with a code: PKCE, no secret, a file for nobody else", async () => {
  const { box, context, file, json, signedInTarget } = await signedOut();
  let address = "";
  const done = await connect(context, {
    onAddress: (shown) => (address = shown),
    ask: async (_, question, as) => {
      expect([question, as]).toEqual(["Code", "text"]);
      return "the-code";
    },
  });
  const page = new URL(address);
  expect(page.origin + page.pathname).toBe("https://www.dropbox.com/oauth2/authorize");
  expect(Object.fromEntries(page.searchParams)).toMatchObject({
    client_id: "appkey",
    response_type: "code",
    token_access_type: "offline",
    code_challenge_method: "S256",
    code_challenge: createHash("sha256")
      .update(box.challenges.verifier ?? "")
      .digest("base64url"),
  });
  expect(done).toMatchObject({ kind: "user", account: "mara@example.org", file });
  expect(done.scopes).toContain("files.content.write");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await json()).toMatchObject({ app_key: "appkey", account_id: "dbid:1" });
  await signedInTarget().put(NOTE, sourceOf("x"));
});

test("an access token that ends is renewed and stored; one that is refused, too", async () => {
  const { box, clock, json, signedInTarget } = await signedIn();
  const first = (await json())["access_token"];
  clock.now += 4 * HOUR;
  const target = signedInTarget();
  await Promise.all([target.put(NOTE, sourceOf("x")), target.stat(parseKey("other"))]);
  const second = (await json())["access_token"];
  expect(second).not.toBe(first);
  expect(box.requests.filter((route) => route === "oauth2/token")).toHaveLength(2);
  box.expire();
  await target.put(NOTE, sourceOf("y"));
  expect((await json())["access_token"]).not.toBe(second);
});

test("a sign-in that was revoked asks for another, and says nothing secret", async () => {
  const { box, json, signedInTarget } = await signedIn();
  const { refresh_token: secret } = await json();
  box.revoke();
  const error: unknown = await signedInTarget()
    .stat(NOTE)
    .catch((fault: unknown) => fault);
  expect(error).toMatchObject({ kind: "auth", code: "E_SIGN_IN_EXPIRED", hint: containing("connect box") });
  expect(inspect(error, { depth: 9 })).not.toContain(secret);
});

test("without a sign-in nothing is asked of Dropbox", async () => {
  const { box, signedInTarget } = await signedOut();
  await expect(signedInTarget().stat(NOTE)).rejects.toMatchObject({ kind: "auth", code: "E_TOKEN_MISSING" });
  expect(box.requests).toEqual([]);
});

test("what keeps a person from signing in is told, and stores nothing", async () => {
  const { box, context, file } = await signedOut();
  const ask = vi.fn(async () => "wrong");
  await expect(connect(context, { ask })).rejects.toMatchObject({ code: "E_TOKEN_MISSING", message: containing("code") });
  await expect(connect(context, { ask: async () => undefined })).rejects.toMatchObject({ code: "E_TOKEN_MISSING" });
  await expect(connect(context, {})).rejects.toMatchObject({ code: "E_TOKEN_MISSING", hint: containing("terminal") });
  const keyless = { ...context, options: { ...context.options, app_key: undefined } };
  await expect(connect(keyless, { ask })).rejects.toMatchObject({ code: "E_TOKEN_MISSING", hint: containing("developers/apps") });
  box.account.appKey = "another";
  await expect(connect(context, { ask: async () => "the-code" })).rejects.toMatchObject({ code: "E_SIGN_IN_CLIENT" });
  box.account.appKey = "appkey";
  box.account.scopes.splice(2, 1);
  await expect(connect(context, { ask: async () => "the-code" })).rejects.toMatchObject({ code: "E_SIGN_IN_SCOPE" });
  await expect(stat(file)).rejects.toMatchObject({ code: "ENOENT" });
});

test("DROPBOX_TOKEN comes before the file, and is checked by connect", async () => {
  const { box, context, file } = await signedIn();
  await writeFile(file, "{}");
  const withToken = { ...context, env: { DROPBOX_TOKEN: box.token() } };
  expect(await connect(withToken, {})).toMatchObject({ kind: "token", account: "mara@example.org", file: null });
  await expect(connect({ ...context, env: { DROPBOX_TOKEN: "sl.wrong" } }, {})).rejects.toMatchObject({ code: "E_AUTH" });
});

test("disconnect revokes and removes; what was invalid already is removed all the same", async () => {
  const first = await signedIn();
  expect(await disconnect(first.context)).toEqual({ file: first.file, removed: true, revoked: "revoked" });
  await expect(stat(first.file)).rejects.toMatchObject({ code: "ENOENT" });
  expect(await disconnect(first.context)).toMatchObject({ removed: false, revoked: "nothing" });
  const second = await signedIn();
  second.box.revoke();
  expect(await disconnect(second.context)).toMatchObject({ removed: true, revoked: "already invalid" });
  const third = await signedIn();
  third.box.faults.push({ route: "auth/token/revoke", status: 500 });
  await expect(disconnect(third.context)).rejects.toMatchObject({ kind: "transient" });
  expect(await third.json()).toHaveProperty("refresh_token");
});

test("the doctor tells what would fail", async () => {
  const { box, context, file } = await signedIn();
  const examine = async (waiting: number) => {
    const told: string[] = [];
    const run = examineDropbox(context, waiting);
    for (;;) {
      const next = await run.next();
      if (next.done === true) return [...told, next.value];
      told.push(next.value.code ?? next.value.message);
    }
  };
  expect(await examine(5)).toEqual([containing("signed in as mara@example.org")]);
  box.account.space = 1000;
  await chmod(file, 0o644);
  expect(await examine(5000)).toEqual([containing("others on this machine"), "E_TARGET_QUOTA", containing("0 MiB left")]);
});
