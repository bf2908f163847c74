import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createConnection } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { openApi } from "../../../src/targets/gdrive/open.ts";
import { connect, disconnect } from "../../../src/targets/gdrive/sign-in.ts";
import type { DriverContext } from "../../../src/targets/shared/driver.ts";
import type { Dialogue } from "../../../src/targets/shared/sign-in.ts";
import type { DriveEmulator } from "../../../src/testing/drive-emulator.ts";
import { serve, json } from "./loopback.ts";
import { memoryOf } from "./place.ts";
import { emulator, material, type Material } from "./sign-in.ts";

const FILE_SCOPE = "https://www.googleapis.com/auth/drive.file";

interface Setting extends Material {
  readonly context: DriverContext;
}

/** A target that nobody has signed in to; its OAuth client is there. */
function setting(drive: DriveEmulator, options: Record<string, unknown> = {}): Setting {
  const place = material(drive);
  writeFileSync(place.clientFile, JSON.stringify(drive.clientFile()), { mode: 0o600 });
  const { name, tokenFile, clientFile, env, claim, auth, rootUrl: root_url, tokenUrl: token_url, scope } = place;
  const clock = { now: () => Date.now(), sleep: async (ms: number, signal?: AbortSignal) => pause(ms, undefined, { signal }) };
  return {
    ...place,
    context: {
      name,
      root: "Drive/MemoryVDB/",
      options: { auth, root_url, token_url, scope, writes_per_second: "off", write_burst: 20, ...options },
      tokenFile,
      clientFile,
      timeoutMs: null,
      env,
      memory: memoryOf(),
      claim: (what) => (what === "token" ? claim(what) : Promise.resolve(() => undefined)),
      clock,
    },
  };
}

interface Page {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

const look = async (address: string | URL, init: RequestInit = {}): Promise<Page> => {
  const answer = await fetch(address, init);
  return { status: answer.status, text: await answer.text(), headers: answer.headers };
};

/** Where Google's page sends the browser when the person has agreed, or not. */
async function agreed(address: string): Promise<URL> {
  const answer = await fetch(address, { redirect: "manual" });
  return new URL(answer.headers.get("location") ?? "");
}

/** Runs `connect`; `browse` is what the person does with the address. Its pages and the outcome. */
async function signIn<T>(context: DriverContext, browse: (address: string) => Promise<T>, more: Partial<Dialogue> = {}) {
  let browsing: Promise<T> | undefined;
  const outcome = await connect(context, { ...more, onAddress: (address) => void (browsing = browse(address)) }).then(
    (signedIn) => ({ signedIn, error: undefined }),
    (error: unknown) => ({ signedIn: undefined, error }),
  );
  return { ...outcome, seen: await browsing };
}

describe("connect", () => {
  it("asks Google for what the target needs, with PKCE and a state, and comes back to 127.0.0.1", async () => {
    const drive = await emulator();
    const { context } = setting(drive);
    const addresses: URL[] = [];
    for (let n = 0; n < 2; n++) {
      const { signedIn } = await signIn(context, async (address) => {
        addresses.push(new URL(address));
        return look(address);
      });
      expect(signedIn).toEqual({ kind: "user", account: drive.account.email, scopes: [FILE_SCOPE], file: context.tokenFile });
    }
    const [one, two] = addresses.map(({ searchParams }) => Object.fromEntries(searchParams));
    expect(one).toMatchObject({
      response_type: "code",
      scope: FILE_SCOPE,
      code_challenge_method: "S256",
      access_type: "offline",
      prompt: "consent",
      redirect_uri: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as string,
    });
    for (const name of ["state", "code_challenge"]) {
      expect(one?.[name]).toMatch(/^[\w-]{43}$/);
      expect(one?.[name]).not.toBe(two?.[name]);
    }
  });

  it("stores a file of mode 0600 from which Drive can be used at once, and tells the browser in a page without secrets", async () => {
    const drive = await emulator();
    const { context, read, mode } = setting(drive);
    const { seen } = await signIn(context, look);
    expect(seen?.status).toBe(200);
    expect(seen?.text).toContain("You can close this page");
    expect(Object.fromEntries(seen?.headers ?? [])).toMatchObject({
      "content-security-policy": "default-src 'none'",
      "referrer-policy": "no-referrer",
      "cache-control": "no-store",
    });
    const file = read();
    expect(file).toMatchObject({ type: "authorized_user", scope: FILE_SCOPE, refresh_token: expect.any(String) as string });
    expect(mode()).toBe("600");
    for (const secret of [file["refresh_token"], file["access_token"], file["client_secret"]])
      expect(seen?.text).not.toContain(secret);
    drive.resetLedger();
    expect((await (await openApi(context)).api.about()).email).toBe(drive.account.email);
    expect(drive.counts()).toMatchObject({ total: 1 });
  });

  it("takes no answer but its own: another state, another path, another method are told so, and it waits on", async () => {
    const drive = await emulator();
    const { context, tokenFile } = setting(drive);
    const { signedIn, seen } = await signIn(context, async (address) => {
      const back = await agreed(address);
      const wrong = new URL(back);
      wrong.searchParams.set("state", "x".repeat(43));
      const none = new URL(back);
      none.searchParams.delete("state");
      const denied = new URL(`/?error=access_denied&state=no`, back);
      const pages = [
        await look(wrong),
        await look(none),
        await look(denied),
        await look(new URL("/favicon.ico", back)),
        await look(new URL("/", back)),
        await look(back, { method: "POST" }),
        await look(back, { method: "HEAD" }),
      ];
      expect(existsSync(tokenFile)).toBe(false);
      return [...pages, await look(back)].map(({ status }) => status);
    });
    expect(seen).toEqual([400, 400, 400, 404, 404, 404, 404, 200]);
    expect(signedIn).toBeDefined();
    expect(drive.requests.filter(({ api }) => api === "oauth.token")).toHaveLength(1);
  });

  it("is signed in also when the page is closed before its answer", async () => {
    const drive = await emulator();
    const { context, read } = setting(drive);
    const { signedIn } = await signIn(context, async (address) => {
      const back = await agreed(address);
      const closing = new AbortController();
      drive.faults.add({
        when: ({ api }) => {
          if (api === "oauth.token") closing.abort();
          return false;
        },
        do: { kind: "cut" },
      });
      await expect(look(back, { signal: closing.signal })).rejects.toThrow();
    });
    expect(signedIn).toBeDefined();
    expect(read()).toMatchObject({ type: "authorized_user" });
  });

  it("is refused by Google when the verifier is not the challenge's: a code that was asked for by someone else is worth nothing", async () => {
    const drive = await emulator();
    const { context, tokenFile } = setting(drive);
    const { error, seen } = await signIn(context, async (address) => {
      const theirs = new URL(address);
      theirs.searchParams.set("code_challenge", "A".repeat(43));
      return look(await agreed(theirs.href));
    });
    expect(error).toMatchObject({ kind: "auth", exit: 4 });
    expect(seen?.text).toContain("Not signed in");
    expect(existsSync(tokenFile)).toBe(false);
  });

  it.each([
    ["declines", "access_denied", "E_TOKEN_MISSING"],
    ["may not, by the organisation's policy", "admin_policy_enforced", "E_SIGN_IN_POLICY"],
    ["meets <b>markup</b>", "<script>alert(1)</script>", "E_TOKEN_MISSING"],
  ])("ends when the person %s; the page is escaped", async (_, reason, code) => {
    const drive = await emulator();
    const { context, tokenFile } = setting(drive);
    const { error, seen } = await signIn(context, async (address) => {
      const { searchParams } = new URL(address);
      const back = new URL(searchParams.get("redirect_uri") ?? "");
      back.search = new URLSearchParams({ error: reason, state: searchParams.get("state") ?? "" }).toString();
      return look(back);
    });
    expect(error).toMatchObject({ code, exit: 4, hint: expect.any(String) as string });
    expect(seen).toMatchObject({ status: 400 });
    expect(seen?.text).not.toContain("<script");
    expect(existsSync(tokenFile)).toBe(false);
  });

  it("stores no sign-in that leaves out what the target needs, and takes one that allows more", async () => {
    const { url } = await serve((request, response) => {
      if (request.path === "/token") json(response, 200, { access_token: "a", refresh_token: "r", expires_in: 3600, scope });
      else json(response, 200, { user: { emailAddress: "a@b" }, storageQuota: {} });
    });
    let scope = "https://www.googleapis.com/auth/drive.metadata.readonly openid";
    const drive = {
      rootUrl: url,
      tokenUrl: `${url}token`,
      clientFile: () => ({ installed: { client_id: "id" } }),
    } as unknown as DriveEmulator;
    const { context, tokenFile } = setting(drive);
    const back = async (address: string) => {
      const { searchParams } = new URL(address);
      return look(`${searchParams.get("redirect_uri")}/?code=c&state=${searchParams.get("state")}`);
    };
    const { error } = await signIn(context, back);
    expect(error).toMatchObject({ code: "E_SIGN_IN_SCOPE", exit: 4, hint: expect.stringContaining("ticked") as string });
    expect(existsSync(tokenFile)).toBe(false);
    scope = "https://www.googleapis.com/auth/drive";
    expect((await signIn(context, back)).signedIn?.scopes).toEqual([scope]);
  });

  it("waits only so long, stops when it is interrupted, and leaves no port open", async () => {
    const drive = await emulator();
    const { context, tokenFile } = setting(drive);
    const late = await signIn(context, async (address) => new URL(address).searchParams.get("redirect_uri") ?? "", {
      waitMs: 20,
    });
    expect(late.error).toMatchObject({ code: "E_TOKEN_MISSING", message: expect.stringContaining("nobody signed in") as string });
    const stop = new AbortController();
    const stopped = await signIn(
      context,
      async (address) => {
        const redirect = new URL(address).searchParams.get("redirect_uri") ?? "";
        const idle = createConnection(Number(new URL(redirect).port), "127.0.0.1"); // browsers open some in advance
        await once(idle, "connect");
        stop.abort();
        await once(idle, "close");
        return redirect;
      },
      { signal: stop.signal },
    );
    expect(stopped.error).toMatchObject({ name: "AbortError" });
    for (const redirect of [late.seen, stopped.seen]) await expect(fetch(redirect ?? "")).rejects.toThrow();
    expect(existsSync(tokenFile)).toBe(false);
  });

  it("goes to no sign-in page but Google's or a loopback one, and uses no client that cannot come back", async () => {
    const drive = await emulator();
    const { context, clientFile } = setting(drive);
    const refused = async (file: unknown) => {
      writeFileSync(clientFile, JSON.stringify(file));
      return (await signIn(context, async (address) => void address)).error;
    };
    for (const auth_uri of [
      "https://accounts.google.com.example.com/auth",
      "http://accounts.google.com/o/oauth2/auth",
      "https://example.com/",
      "x",
    ])
      expect(await refused({ installed: { client_id: "id", auth_uri } })).toMatchObject({ code: "E_SIGN_IN_CLIENT" });
    expect(await refused({ web: { client_id: "id" } })).toMatchObject({
      code: "E_SIGN_IN_CLIENT",
      hint: expect.stringContaining("Desktop app") as string,
    });
    writeFileSync(
      clientFile,
      JSON.stringify({ installed: { client_id: "id", auth_uri: "https://accounts.google.com/o/oauth2/auth" } }),
    );
    const { seen } = await signIn(context, async (address) => new URL(address).host, { waitMs: 1 });
    expect(seen).toBe("accounts.google.com");
  });

  it("without a client guides to one: it takes a file that is named or asked for, and copies it, 0600", async () => {
    const drive = await emulator();
    const { context, clientFile } = setting(drive);
    const download = join(dirname(clientFile), "client_secret_1.json");
    writeFileSync(download, readFileSync(clientFile), { mode: 0o644 });
    const without = { ...context, clientFile: join(dirname(clientFile), "other.json") };
    const { error } = await signIn(without, look);
    expect(error).toMatchObject({ code: "E_TOKEN_MISSING", hint: expect.stringMatching(/Desktop app[^]*other\.json/) as string });
    const asked: string[] = [];
    const ask = async (guide: string, question: string) => {
      asked.push(guide, question);
      return download;
    };
    expect((await signIn(without, look, { ask })).signedIn).toBeDefined();
    expect(asked).toEqual([expect.stringContaining("https://console.cloud.google.com/"), expect.any(String)]);
    expect((statSync(without.clientFile).mode & 0o777).toString(8)).toBe("600");
    const again = { ...context, clientFile: join(dirname(clientFile), "third.json") };
    expect((await signIn(again, look, { clientFile: download })).signedIn).toBeDefined();
    expect(existsSync(again.clientFile)).toBe(true);
  });

  it("puts no file in the place of a good client that cannot be signed in with", async () => {
    const drive = await emulator();
    const { context, clientFile } = setting(drive);
    const good = readFileSync(clientFile, "utf8");
    const bad = join(dirname(clientFile), "bad.json");
    const auth_uri = "https://accounts.google.com.example.com/auth";
    for (const [text, message] of [
      [undefined, "no such file"],
      ["{", "not JSON"],
      ['{"type":"service_account"}', "service account's key"],
      ["{}", "no client_id"],
      ['{"web":{"client_id":"id"}}', "Web application"],
      [JSON.stringify({ installed: { client_id: "id", auth_uri } }), "example.com"],
    ] as const) {
      if (text !== undefined) writeFileSync(bad, text);
      const { error } = await signIn(context, async (address) => void address, { clientFile: bad });
      expect(error).toMatchObject({ code: "E_USAGE", message: expect.stringContaining(message) as string });
      expect(error).toMatchObject({ message: expect.stringContaining(bad) as string, hint: expect.any(String) as string });
      expect(readFileSync(clientFile, "utf8")).toBe(good);
    }
  });

  it("never replaces a service account's key, and with auth: service_account only checks it", async () => {
    const drive = await emulator();
    const { context, write, read } = setting(drive);
    const key = drive.serviceAccount();
    write(key);
    expect((await signIn(context, look)).error).toMatchObject({ hint: expect.stringContaining('"service_account"') as string });
    expect(read()).toEqual(key);
    const { signedIn, seen } = await signIn({ ...context, options: { ...context.options, auth: "service_account" } }, look);
    expect(signedIn).toMatchObject({ kind: "service_account", account: key["client_email"] });
    expect(seen).toBeUndefined();
  });
});

describe("disconnect", () => {
  it("revokes, removes the file, and says when it was invalid already or was not there", async () => {
    const drive = await emulator();
    const { context, write, tokenFile, clientFile } = setting(drive);
    const file = drive.authorizedUser({ expired: false });
    write(file);
    expect(await disconnect(context)).toEqual({ file: tokenFile, removed: true, revoked: "revoked" });
    expect([existsSync(tokenFile), existsSync(clientFile)]).toEqual([false, true]);
    expect(drive.requests.map(({ api, query }) => [api, query])).toEqual([["oauth.revoke", {}]]); // a token in an address ends up in logs
    write(file);
    expect(await disconnect(context)).toEqual({ file: tokenFile, removed: true, revoked: "already invalid" });
    expect(await disconnect(context)).toEqual({ file: tokenFile, removed: false, revoked: "nothing" });
  });

  it("removes nothing when Google cannot be asked, and no key of a service account", async () => {
    const drive = await emulator();
    const { context, write, read } = setting(drive);
    const file = drive.authorizedUser();
    write(file);
    drive.faults.add({ when: { api: "oauth.revoke" }, do: { kind: "5xx-before" } });
    await expect(disconnect(context)).rejects.toMatchObject({
      kind: "transient",
      message: expect.stringContaining("still there") as string,
    });
    expect(read()).toEqual(file);
    const key = drive.serviceAccount();
    write(key);
    await expect(disconnect(context)).rejects.toMatchObject({ code: "E_USAGE" });
    await expect(disconnect({ ...context, options: { ...context.options, auth: "adc" } })).rejects.toMatchObject({
      code: "E_USAGE",
    });
    expect(read()).toEqual(key);
  });
});
