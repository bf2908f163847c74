import { createServer } from "node:net";
import { inspect } from "node:util";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { parseKey } from "../../../src/core/key.ts";
import type { Target } from "../../../src/core/target.ts";
import { bytesOf, sourceOf } from "../../../src/testing/source.ts";
import type { Fault } from "./emulator.ts";
import { onS3 } from "./on.ts";
import { memoryOf, openAt } from "./place.ts";

const NOTE = parseKey("Core/Note.txt");

const verbs: Record<string, (target: Target) => Promise<unknown>> = {
  stat: (target) => target.stat(NOTE),
  read: (target) => target.read(NOTE, bytesOf),
  put: (target) => target.put(NOTE, sourceOf("more")),
  list: async (target) => {
    for await (const entry of target.list("")) expect(entry).toBeDefined();
  },
  remove: (target) => target.remove(NOTE),
};

describe("what the service answers", () => {
  it.each<readonly [Fault, object]>([
    [
      { status: 503, code: "SlowDown", headers: { "retry-after": "7" } },
      { kind: "throttled", code: "E_TARGET_THROTTLED", retryAfterMs: 7000 },
    ],
    [
      { status: 429, code: "TooManyRequests" },
      { kind: "throttled", code: "E_TARGET_THROTTLED" },
    ],
    [
      { status: 500, code: "InternalError" },
      { kind: "transient", code: "E_TARGET_TRANSIENT" },
    ],
    [
      { status: 503, code: "ServiceUnavailable" },
      { kind: "transient", code: "E_TARGET_TRANSIENT" },
    ],
    [
      { status: 400, code: "RequestTimeout" },
      { kind: "transient", code: "E_TARGET_TRANSIENT" },
    ],
    [
      { status: 403, code: "QuotaExceeded" },
      { kind: "quota", code: "E_TARGET_QUOTA" },
    ],
    [
      { status: 507, code: "XMinioStorageFull" },
      { kind: "quota", code: "E_TARGET_QUOTA" },
    ],
    [
      { status: 403, code: "AccessDenied" },
      { kind: "unsupported", code: "E_TARGET_FORBIDDEN" },
    ],
    [
      { status: 403, code: "SignatureDoesNotMatch" },
      { kind: "auth", code: "E_AUTH" },
    ],
    [
      { status: 400, code: "ExpiredToken" },
      { kind: "auth", code: "E_SIGN_IN_EXPIRED" },
    ],
    [
      { status: 301, code: "PermanentRedirect" },
      { kind: "unsupported", hint: expect.stringContaining("region") as string },
    ],
    [
      { status: 400, code: "AuthorizationHeaderMalformed" },
      { kind: "unsupported", hint: expect.stringContaining("region") as string },
    ],
    [
      { status: 200, html: true },
      { kind: "transient", hint: expect.stringContaining("log-in page") as string },
    ],
    [{ status: 404, html: true }, { kind: "transient" }],
    ["cut", { kind: "transient" }],
  ])("%o is told as what it is, by every verb", async (fault, told) => {
    const { s3, target } = await onS3();
    await target.put(NOTE, sourceOf("x"));
    s3.fault = () => fault;
    for (const [verb, run] of Object.entries(verbs)) {
      // a HEAD has no body: its reason is asked for. 204 and 404 are all that a removal is told
      if (verb === "remove" && typeof fault === "object" && fault.html === true) continue;
      const fresh = verb === "stat" ? await openAt(s3, { memory: memoryOf() }) : target;
      await expect(run(fresh), verb).rejects.toMatchObject({ name: "TargetError", ...told });
    }
  });

  it("a bucket that is not there is not a mirror with nothing in it", async () => {
    const { s3, target } = await onS3();
    s3.exists = false;
    for (const [verb, run] of Object.entries(verbs))
      await expect(run(target), verb).rejects.toMatchObject({
        kind: "transient",
        code: "E_TARGET_UNREACHABLE",
        message: expect.stringContaining("the bucket memory does not exist") as string,
      });
    s3.exists = true;
    expect(await target.stat(NOTE)).toBeUndefined();
  });

  it("a key of more than 1024 bytes is refused in so many words", async () => {
    const { target } = await onS3();
    const long = parseKey(Array.from({ length: 9 }, (_, at) => `${at}`.repeat(150)).join("/"));
    await expect(target.put(long, sourceOf("x"))).rejects.toMatchObject({
      kind: "unsupported",
      hint: expect.stringContaining("shorter") as string,
    });
  });

  it("a right that is missing is named, and those for the extras are not needed", async () => {
    const { s3, target } = await onS3({
      denied: ["s3:CopyObject", "s3:AbortMultipartUpload", "s3:CreateMultipartUpload", "s3:ListBucketMultipartUploads"],
    });
    await target.put(NOTE, sourceOf("small files need none of them"), { expect: "absent" });
    s3.settings.denied = ["s3:GetObject"];
    await expect(target.read(NOTE, bytesOf)).rejects.toMatchObject({ code: "E_TARGET_FORBIDDEN" });
    await expect(target.stat(NOTE)).rejects.toMatchObject({
      code: "E_TARGET_FORBIDDEN",
      hint: expect.stringContaining("docs/targets/s3.md") as string,
    });
  });
});

describe("on the way there", () => {
  const where = { accessKeyId: "AKIDME", secretAccessKey: "my/secret", bucket: "memory" };

  it("nobody listens, or nobody who speaks TLS", async () => {
    const server = createServer((socket) => socket.end("not TLS\n"));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as { port: number };
    const fails = async (endpoint: string, told: object) => {
      const target = await openAt({ ...where, endpoint });
      await expect(target.stat(NOTE)).rejects.toMatchObject({ kind: "transient", ...told });
      await target.close();
    };
    await fails("http://127.0.0.1:1", { code: "E_TARGET_UNREACHABLE" });
    await fails(`https://127.0.0.1:${port}`, {});
    server.close();
  });

  it("plain http goes to this machine only, whoever names the address", async () => {
    const target = await openAt({ ...where, endpoint: "http://192.0.2.1:9000" });
    await expect(target.put(NOTE, sourceOf("x"))).rejects.toMatchObject({
      kind: "unsupported",
      message: expect.stringContaining("plain http") as string,
    });
    await target.close();
  });

  it("without credentials and without a region it says what to do", async () => {
    const folder = await mkdtemp(join(tmpdir(), "aftersave-s3-"));
    for (const [name, value] of Object.entries({
      AWS_EC2_METADATA_DISABLED: "true",
      AWS_CONFIG_FILE: join(folder, "config"),
      AWS_SHARED_CREDENTIALS_FILE: join(folder, "credentials"),
    }))
      vi.stubEnv(name, value);
    try {
      const { s3, open } = await onS3();
      await writeFile(join(folder, "config"), "[profile work]\nregion = eu-central-1\n");
      await writeFile(
        join(folder, "credentials"),
        `[work]\naws_access_key_id = ${s3.accessKeyId}\naws_secret_access_key = ${s3.secretAccessKey}\naws_session_token = TOKENtoken\n`,
      );
      const unsigned = await open({ env: {}, memory: memoryOf() });
      await expect(unsigned.put(NOTE, sourceOf("x"))).rejects.toMatchObject({ kind: "auth", code: "E_TOKEN_MISSING" });
      const nowhere = await open({ options: { endpoint: undefined }, memory: memoryOf() });
      await expect(nowhere.stat(NOTE)).rejects.toMatchObject({ hint: expect.stringContaining("AWS_REGION") as string });

      const profiled = await open({ env: {}, options: { profile: "work" }, memory: memoryOf() });
      await profiled.put(NOTE, sourceOf("x"));
      expect(s3.asked.at(-1)?.headers.authorization).toContain("/eu-central-1/s3/");
      expect(s3.asked.at(-1)?.headers["x-amz-security-token"]).toBe("TOKENtoken");
      const regional = await open({ options: { region: "garage" }, memory: memoryOf() });
      await regional.put(NOTE, sourceOf("y"));
      expect(s3.asked.at(-1)?.headers.authorization).toContain("/garage/s3/");
    } finally {
      vi.unstubAllEnvs();
      await rm(folder, { recursive: true });
    }
  });

  it("a wrong secret, a wrong key and a wrong clock are told apart", async () => {
    const { s3, open } = await onS3();
    const as = (AWS_ACCESS_KEY_ID: string, AWS_SECRET_ACCESS_KEY: string) =>
      open({ env: { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY }, memory: memoryOf() });
    const wrong = await as(s3.accessKeyId, "wrong");
    await expect(wrong.stat(NOTE)).rejects.toMatchObject({ code: "E_AUTH", details: { reason: "SignatureDoesNotMatch" } });
    const unknown = await as("AKIANOBODYKNOWSIT", s3.secretAccessKey);
    await expect(unknown.put(NOTE, sourceOf("x"))).rejects.toMatchObject({
      code: "E_AUTH",
      details: { reason: "InvalidAccessKeyId" },
    });
    s3.settings.clockAhead = 3_600_000;
    const right = await as(s3.accessKeyId, s3.secretAccessKey);
    await expect(right.stat(NOTE)).rejects.toMatchObject({ code: "E_AUTH", hint: expect.stringContaining("clock") as string });
  });
});

it("no secret stands in an error, its cause or its facts", async () => {
  const { s3, open } = await onS3();
  const secrets = {
    AWS_ACCESS_KEY_ID: "AKIATESTKEYID12345",
    AWS_SECRET_ACCESS_KEY: "wJalrXUtnFEMI/K7MDENG",
    AWS_SESSION_TOKEN: "FQoGZXIvYXdzEJr",
  };
  const texts: string[] = [];
  for (const env of [secrets, { ...secrets, AWS_ACCESS_KEY_ID: s3.accessKeyId }])
    for (const run of Object.values(verbs)) {
      const error: unknown = await run(await open({ env, memory: memoryOf() })).catch((thrown: unknown) => thrown);
      texts.push(inspect(error, { depth: 10, showHidden: true }), JSON.stringify(error));
    }
  for (const secret of Object.values(secrets)) expect(texts.join("\n")).not.toContain(secret);
  expect(texts.join("\n")).not.toMatch(/StringToSign|SignatureProvided|CanonicalRequest/);
});
