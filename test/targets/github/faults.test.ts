import { describe, expect, it } from "vitest";
import { TargetError } from "../../../src/core/errors.ts";
import { parseKey } from "../../../src/core/key.ts";
import type { Target } from "../../../src/core/target.ts";
import { bytesOf, sourceOf } from "../../../src/testing/source.ts";
import { type Fault, startGithub } from "./emulator.ts";
import { memoryOf, onGithub, openAt } from "./place.ts";

const NOTE = parseKey("Core/Note.txt");

async function faultOf(work: Promise<unknown>): Promise<TargetError> {
  const error = await work.then(
    () => expect.fail("it succeeded"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(TargetError);
  return error as TargetError;
}

/** Everything that an error may show, in a log too. */
const shown = (error: TargetError) => {
  const cause = error.cause instanceof Error ? [error.cause.message, error.cause.stack, Object.values(error.cause)] : error.cause;
  return JSON.stringify([error.message, error.hint, error.stack, error.details, cause]);
};

describe("what GitHub refuses", () => {
  const reset = String(Math.floor(Date.now() / 1000) + 90);
  const HTML = { "content-type": "text/html" };
  const cases: Record<string, readonly [Omit<Fault, "method" | "path">, string, string, RegExp, (number | undefined)?]> = {
    "a token that is not valid": [{ status: 401, body: { message: "Bad credentials" } }, "auth", "E_AUTH", /expired/],
    "a token without the right": [
      { status: 403, body: { message: "Resource not accessible by personal access token" } },
      "auth",
      "E_SIGN_IN_SCOPE",
      /Contents: read and write/,
    ],
    "a token without single sign-on": [
      {
        status: 403,
        headers: { "x-github-sso": "required; url=https://github.com/orgs/o/sso?authorization_request=SECRET" },
        body: { message: "Resource protected by organization SAML enforcement." },
      },
      "auth",
      "E_SIGN_IN_POLICY",
      /Configure SSO/,
    ],
    "the hour's budget is used up": [
      {
        status: 403,
        headers: { "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset },
        body: { message: "API rate limit exceeded" },
      },
      "throttled",
      "E_TARGET_THROTTLED",
      /tried again/,
      90_000,
    ],
    "too fast, with a time": [
      { status: 429, headers: { "retry-after": "7" }, body: { message: "You have exceeded a secondary rate limit" } },
      "throttled",
      "E_TARGET_THROTTLED",
      /tried again/,
      7000,
    ],
    "too fast, without a time": [
      { status: 403, body: { message: "You have exceeded a secondary rate limit. Please wait a few minutes" } },
      "throttled",
      "E_TARGET_THROTTLED",
      /tried again/,
      60_000,
    ],
    "an archived repository": [
      { status: 403, body: { message: "Repository was archived so is read-only." } },
      "unsupported",
      "E_TARGET_FORBIDDEN",
      /Unarchive/,
    ],
    "a renamed repository": [
      {
        status: 307,
        headers: { location: "https://api.github.com/repositories/1?access=SECRET" },
        body: { message: "Temporary Redirect" },
      },
      "unsupported",
      "E_TARGET_UNSUPPORTED",
      /new name as `repo`/,
    ],
    "GitHub is down": [
      { status: 502, headers: HTML, body: "<html>Unicorn</html>" },
      "transient",
      "E_TARGET_TRANSIENT",
      /tried again/,
    ],
    "a message with a token and a signed address": [
      {
        status: 500,
        body: { message: "no https://files.example/a?sig=SECRET for ghp_SECRET and github_pat_11SECRETSECRETSECRET" },
      },
      "transient",
      "E_TARGET_TRANSIENT",
      /tried again/,
    ],
    "a log-in page answers": [
      { status: 200, headers: HTML, body: "<html>Welcome to the hotel</html>" },
      "transient",
      "E_TARGET_TRANSIENT",
      /proxy/,
    ],
    "a page that is not found": [
      { status: 404, headers: HTML, body: "<html>no</html>" },
      "transient",
      "E_TARGET_TRANSIENT",
      /proxy/,
    ],
  };
  for (const [what, [fault, kind, code, hint, wait]] of Object.entries(cases))
    it(what, async () => {
      const { hub, target, open } = await onGithub();
      await target.put(parseKey("First.txt"), sourceOf("x"));
      const where = what.startsWith("a page") ? [/assets$/] : [/tags/, /assets$/];
      for (const path of where) {
        hub.faults.push({ method: "GET", path, ...fault });
        const error = await faultOf(open().stat(NOTE));
        expect(error).toMatchObject({ kind, code });
        expect(error.hint).toMatch(hint);
        expect(shown(error)).not.toMatch(/SECRET/);
        if (wait === undefined) expect(error.retryAfterMs).toBeUndefined();
        else {
          expect(error.retryAfterMs).toBeGreaterThan(wait - 5000);
          expect(error.retryAfterMs).toBeLessThanOrEqual(wait);
        }
      }
    });

  it("no token: both names and the right are told, and nothing is asked", async () => {
    const { hub, open } = await onGithub();
    const error = await faultOf(open({ env: {} }).put(NOTE, sourceOf("x")));
    expect(error).toMatchObject({ kind: "auth", code: "E_TOKEN_MISSING" });
    expect(`${error.message} ${error.hint}`).toMatch(/GH_TOKEN.*GITHUB_TOKEN.*Contents: read and write/);
    expect(hub.requests).toEqual([]);
  });
  it("GITHUB_TOKEN does as well, and GH_TOKEN goes before it", async () => {
    const { hub, open } = await onGithub();
    await open({ env: { GITHUB_TOKEN: hub.settings.token } }).put(NOTE, sourceOf("x"));
    await open({ env: { GH_TOKEN: hub.settings.token, GITHUB_TOKEN: "other" } }).put(NOTE, sourceOf("y"));
    const error = await faultOf(open({ env: { GH_TOKEN: "ghp_wrongSECRET" } }).stat(NOTE));
    expect(error.code).toBe("E_AUTH");
    expect(shown(error)).not.toContain("SECRET");
  });
  it("a repository that the token cannot see is said to be that, not an empty place", async () => {
    const { open } = await onGithub();
    const other = open({ options: { repo: "me/private" } });
    for (const work of [other.stat(NOTE), other.put(NOTE, sourceOf("x"))]) {
      const error = await faultOf(work);
      expect(error).toMatchObject({ kind: "unsupported", code: "E_TARGET_FORBIDDEN" });
      expect(`${error.message} ${error.hint}`).toMatch(/me\/private.*private repository/);
    }
  });
  it("a repository without a commit", async () => {
    const { target } = await onGithub({ empty: true });
    expect(await target.stat(NOTE)).toBeUndefined();
    const error = await faultOf(target.put(NOTE, sourceOf("x")));
    expect(error).toMatchObject({ kind: "unsupported", code: "E_TARGET_UNSUPPORTED" });
    expect(error.hint).toMatch(/commit/);
  });
  it("releases that cannot be changed; a draft made by hand is used", async () => {
    const { hub, target, open } = await onGithub({ immutable: true });
    const error = await faultOf(target.put(NOTE, sourceOf("x")));
    expect(error).toMatchObject({ code: "E_TARGET_FORBIDDEN" });
    expect(error.hint).toMatch(/immutability.*draft/);
    hub.releases.length = 0;
    const draft = hub.addRelease("aftersave", true);
    await open().put(NOTE, sourceOf("x"));
    expect([...hub.assets.values()].map(({ release }) => release)).toEqual([draft.id]);
    expect(hub.releases).toHaveLength(1);
  });
  it("a release that is full, by GitHub's count or by ours", async () => {
    const { hub, target, open } = await onGithub({ mostAssets: 2 });
    await target.put(parseKey("1"), sourceOf("x"));
    const two = await target.put(parseKey("2"), sourceOf("x"));
    expect(await faultOf(target.put(NOTE, sourceOf("x")))).toMatchObject({ kind: "quota", code: "E_FOLDER_FULL" });
    hub.settings.mostAssets = 1000;
    for (let at = 3; at <= 995; at++)
      hub.addAsset(two.rev === "" ? 0 : (hub.releases[0]?.id ?? 0), `_drive___memory_v_d_b__${at}`, Buffer.from("x"));
    const full = open();
    const error = await faultOf(full.put(NOTE, sourceOf("x")));
    expect(error).toMatchObject({ kind: "quota", code: "E_FOLDER_FULL" });
    expect(error.hint).toMatch(/another `tag`/);
    await full.put(parseKey("2"), sourceOf("y"), { expect: two });
    expect(hub.assets.size).toBe(995);
  });
  it("a file of 2 GiB is refused before anything is sent", async () => {
    const { hub, target } = await onGithub();
    const body = { ...sourceOf("x"), size: 2 * 1024 ** 3 };
    expect(await faultOf(target.put(NOTE, body))).toMatchObject({ kind: "unsupported" });
    expect(hub.requests).toEqual([]);
  });
  it("nobody answers", async () => {
    const { hub, open } = await onGithub();
    const gone = await startGithub();
    await gone.close();
    const error = await faultOf(open({ options: { api_url: gone.url } }).stat(NOTE));
    expect(error).toMatchObject({ kind: "transient", code: "E_TARGET_UNREACHABLE" });
    expect(shown(error)).not.toContain(hub.settings.token);
  });
});

describe("the release", () => {
  it("is made once, when the first file is put, by however many do", async () => {
    const { hub, target, open } = await onGithub();
    expect(await target.stat(NOTE)).toBeUndefined();
    expect(hub.releases).toEqual([]);
    const targets = [target, open({ memory: memoryOf() }), open({ memory: memoryOf() })];
    await Promise.all(targets.map((one, at) => one.put(parseKey(`Core/${at}.txt`), sourceOf(`${at}`))));
    expect(hub.releases).toHaveLength(1);
    expect(hub.assets.size).toBe(3);
  });
  it("that someone removes is made anew by the next try", async () => {
    const { hub, target, retrying } = await onGithub();
    await target.put(NOTE, sourceOf("x"));
    hub.releases.length = 0;
    hub.assets.clear();
    await retrying.put(parseKey("Core/Other.txt"), sourceOf("y"));
    expect(hub.releases).toHaveLength(1);
    expect(await target.stat(NOTE)).toBeUndefined();
  });
  it("may hold several roots, each with its own files", async () => {
    const { hub, target } = await onGithub();
    const other = openAt(hub, { root: "Drive/Other/" });
    await target.put(NOTE, sourceOf("one"));
    await other.put(NOTE, sourceOf("two"));
    expect(Buffer.from(await target.read(NOTE, bytesOf)).toString()).toBe("one");
    await other.remove(NOTE);
    expect(await target.stat(NOTE)).toBeDefined();
    await other.close();
  });
});

describe("downloads", () => {
  const readAll = (target: Target) => target.read(NOTE, bytesOf);
  it("come from another host, which is told no token", async () => {
    const { hub, target } = await onGithub();
    await target.put(NOTE, sourceOf("content"));
    expect(Buffer.from(await readAll(target)).toString()).toBe("content");
    expect(hub.leaks).toEqual([]);
  });
  it("that break off are not complete", async () => {
    const { hub, target } = await onGithub();
    await target.put(NOTE, sourceOf("x".repeat(100_000)));
    hub.faults.push({ method: "GET", path: /assets\/\d+$/, after: 5000 });
    expect(await faultOf(readAll(target))).toMatchObject({ kind: "transient" });
  });
  it("from an address that is not safe, or whose signature does not go, are refused, and the address is not shown", async () => {
    const { hub, target } = await onGithub();
    await target.put(NOTE, sourceOf("content"));
    for (const location of [
      "http://files.example/a?sig=SECRET",
      "file:///etc/passwd",
      "",
      hub.url.replace(/\d+$/, "9?sig=SECRET"),
    ]) {
      hub.faults.push({ method: "GET", path: /assets\/\d+$/, status: 302, headers: { location } });
      const error = await faultOf(readAll(target));
      expect(error).toMatchObject({ kind: "transient" });
      expect(shown(error)).not.toMatch(/SECRET/);
    }
  });
});

describe("life", () => {
  it("close ends what is under way", async () => {
    const { target } = await onGithub();
    let reached = (): void => undefined;
    const halfway = new Promise<void>((resolve) => (reached = resolve));
    async function* open() {
      yield Buffer.from("12345");
      reached();
      await new Promise(() => undefined);
    }
    const sending = target.put(NOTE, { ...sourceOf("1234567890"), open });
    await halfway;
    await target.close();
    await expect(sending).rejects.toThrow();
  });
  it("a big body is sent as it is read, not gathered first", async () => {
    const { hub, target } = await onGithub();
    const part = Buffer.alloc(256 * 1024, 7);
    const whole = sourceOf(Buffer.alloc(8 * 1024 * 1024, 7));
    let starters = 0;
    async function* open() {
      for (let at = 0; at < 32; at++) {
        if (at === 31) starters = [...hub.assets.values()].filter(({ state }) => state === "starter").length;
        yield part;
        await new Promise((resolve) => void setImmediate(resolve));
      }
    }
    await target.put(NOTE, { ...whole, open });
    expect(starters).toBe(1);
    expect(await target.stat(NOTE)).toMatchObject({ size: whole.size, hash: { hex: whole.sha256 } });
  });
});
