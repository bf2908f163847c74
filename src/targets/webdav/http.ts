/**
 * The way to a WebDAV server. Requests are our own, on connections that are kept: a redirect is never followed, a body is
 * opened anew when the server asks who we are, and a body that breaks breaks its request. What a 207 says is taken apart by
 * the package `webdav`, loaded on first use.
 * @module
 */
import { readFile } from "node:fs/promises";
import * as http from "node:http";
import * as https from "node:https";
import { untilAborted } from "../../core/chunks.ts";
import { errnoOf, inWords, TargetError } from "../../core/errors.ts";
import type { Call, Chunks } from "../../core/target.ts";
import type { DriverContext } from "../shared/driver.ts";
import { loadOptional } from "../shared/optional.ts";
import { createSignIn, type SignIn } from "./auth.ts";
import { type FaultFacts, faultOf, refusal, stranger } from "./faults.ts";

export interface Asked {
  readonly method: string;
  /** Encoded, from the server's root on. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: { readonly size: number; open(): Chunks } | undefined;
  /** Statuses beyond success that are answers, not failures. A 207 tells of failures unless it was asked for. */
  readonly expects?: readonly number[] | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
}

/** One resource of a 207. */
export interface Found {
  /** Decoded, from the server's root on. */
  readonly path: string;
  readonly isFolder: boolean;
  readonly size: number;
  /** Without its quotes and without `W/`; `""` where the server tells none. */
  readonly etag: string;
  /** Milliseconds; NaN where the server tells none. */
  readonly modified: number;
}

export interface Server {
  /** The folder that `url` names, with a slash at its end. */
  readonly base: URL;
  ask(doing: string, call: Call | undefined, asked: Asked): Promise<Answer>;
  /** What `path` is, and with a depth of 1 what lies in it; undefined where nothing is. */
  look(
    doing: string,
    call: Call | undefined,
    path: string,
    depth: 0 | 1,
  ): Promise<{ readonly found: readonly Found[]; readonly date: number } | undefined>;
  /** Hands the bytes of a file to `use`; undefined where nothing is. */
  read<T>(
    doing: string,
    call: Call | undefined,
    path: string,
    use: (bytes: Chunks, headers: http.IncomingHttpHeaders) => Promise<T>,
  ): Promise<{ readonly done: T } | undefined>;
  close(): void;
}

/** Carries an error of the body past the translation of what breaks on the way. */
class BodyError extends Error {}

export const bareOf = (etag: string | undefined) => (etag ?? "").trim().replaceAll(/^(W\/)?"|"$/g, "");

type Json = Readonly<Record<string, unknown>>;
const fieldsOf = (value: unknown): Json => (typeof value === "object" && value !== null ? (value as Json) : {});
const textOf = (value: unknown) => (typeof value === "string" ? value : "");

async function passwordOf({ options, env, name }: DriverContext): Promise<string | undefined> {
  const file = options["password_file"];
  if (typeof file !== "string") return env["AFTERSAVE_WEBDAV_PASSWORD"] || undefined;
  try {
    const text = (await readFile(file, "utf8")).replace(/\r?\n$/, "");
    return text === "" ? undefined : text;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw new TargetError("auth", `the password of ${name} could not be read: ${inWords(error)}`, {
      cause: error,
      code: "E_TOKEN_MISSING",
      hint: `Check \`password_file\` at targets.${name} in paths.json, its owner and mode.`,
    });
  }
}

function foundOf(response: unknown): Found | undefined {
  const { href, propstat } = fieldsOf(response);
  const { prop, status } = fieldsOf(propstat);
  if (textOf(href) === "" || !/\s2\d\d(\s|$)/.test(textOf(status))) return undefined;
  const { getcontentlength, getetag, getlastmodified, resourcetype } = fieldsOf(prop);
  try {
    const path =
      decodeURIComponent(
        textOf(href)
          .trim()
          .replace(/^https?:\/\/[^/]+/i, ""),
      ) || "/";
    return {
      path,
      isFolder: fieldsOf(resourcetype)["collection"] !== undefined,
      size: Number(textOf(getcontentlength) || "0"),
      etag: bareOf(textOf(getetag)),
      modified: Date.parse(textOf(getlastmodified)),
    };
  } catch (error) {
    // a name that is not UTF-8 is nobody's key
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** Opens the way; asks for nothing. Throws `E_SDK_MISSING`, and `E_TOKEN_MISSING` where a user has no password. */
export async function openServer(context: DriverContext): Promise<Server> {
  const { name, options } = context;
  const { parseXML } = await loadOptional("webdav", "^5.11.0", "webdav", () => import("webdav"));
  const base = new URL(String(options["url"]));
  base.search = "";
  base.hash = "";
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  const user = options["user"];
  const password = typeof user === "string" ? await passwordOf(context) : undefined;
  if (typeof user === "string" && password === undefined)
    throw new TargetError("auth", `no password for ${name} was found`, {
      code: "E_TOKEN_MISSING",
      hint: `Put it into a file of mode 0600 and name it as \`password_file\` at targets.${name} in paths.json, or set AFTERSAVE_WEBDAV_PASSWORD; then run \`aftersave flush\`.`,
    });
  const signIn: SignIn | undefined =
    typeof user === "string" && password !== undefined ? createSignIn({ user, password }) : undefined;
  const secrets =
    password === undefined
      ? []
      : [password, encodeURIComponent(password), Buffer.from(`${String(user)}:${password}`).toString("base64")];
  const { Agent, request } = base.protocol === "https:" ? https : http;
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const facts = (call: Call | undefined): FaultFacts => ({ name, signedIn: signIn !== undefined, secrets, signal: call?.signal });

  /** One request, without judgement. The answer's bytes are still to be read. */
  async function send({ method, path, headers, body }: Asked, call: Call | undefined, authorization: string | undefined) {
    const signal = call?.signal;
    signal?.throwIfAborted();
    const sent = request({
      protocol: base.protocol,
      hostname: base.hostname.replaceAll(/^\[|\]$/g, ""),
      port: base.port,
      method,
      path,
      agent,
      ...(signal && { signal }),
      headers: {
        accept: "*/*",
        "accept-encoding": "identity",
        "user-agent": "aftersave",
        ...(authorization !== undefined && { authorization }),
        ...(body
          ? { "content-length": body.size }
          : method === "MKCOL" || method === "MOVE" || method === "COPY"
            ? { "content-length": 0 }
            : {}),
        ...headers,
      },
    });
    let isOver = false;
    const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
      sent.once("response", resolve);
      sent.on("error", reject);
      sent.once("close", () => reject(Object.assign(new Error("the connection was closed"), { code: "ECONNRESET" })));
    });
    const over = answered.then(
      () => void (isOver = true),
      () => void (isOver = true),
    );
    if (!body) sent.end();
    else
      try {
        for await (const chunk of untilAborted(body.open(), signal)) {
          if (isOver) break;
          // the sender may use its buffer again
          if (!sent.write(Buffer.from(chunk))) await Promise.race([new Promise((resolve) => sent.once("drain", resolve)), over]);
        }
        if (!isOver) sent.end();
      } catch (cause) {
        sent.destroy();
        throw new BodyError("the body failed", { cause });
      }
    const answer = await answered;
    // an early refusal leaves a connection that still waits for the rest
    const done = () => void (sent.writableFinished || sent.destroy());
    return { answer, status: answer.statusCode ?? 0, done };
  }

  async function drain(answer: http.IncomingMessage, signal: AbortSignal | undefined): Promise<string> {
    const parts: Uint8Array[] = [];
    for await (const part of untilAborted(answer, signal)) parts.push(part);
    return Buffer.concat(parts).toString("utf8");
  }

  async function signed(asked: Asked, call: Call | undefined) {
    for (let round = 1; ; round++) {
      const authorization = signIn?.header(asked.method, asked.path);
      const got = await send(asked, call, authorization);
      if (
        got.status !== 401 ||
        signIn?.learn(got.answer.headers["www-authenticate"] ?? "", authorization) !== true ||
        round === 4
      )
        return got;
      await drain(got.answer, call?.signal);
      got.done();
    }
  }

  async function text(doing: string, call: Call | undefined, asked: Asked): Promise<Answer & { readonly text: string }> {
    try {
      const { answer, status, done } = await signed(asked, call);
      try {
        const said = await drain(answer, call?.signal);
        if ((status < 200 || status >= 300 || status === 207) && asked.expects?.includes(status) !== true)
          throw refusal(status, answer.headers, doing, facts(call));
        return { status, headers: answer.headers, text: said };
      } finally {
        done();
      }
    } catch (error) {
      throw error instanceof BodyError ? error.cause : faultOf(error, doing, facts(call));
    }
  }

  return {
    base,
    ask: text,
    async look(doing, call, path, depth) {
      const asked = {
        method: "PROPFIND",
        path,
        headers: { depth: String(depth), "content-length": "0" },
        expects: [207, 404, 410],
      };
      const { status, headers, text: said } = await text(doing, call, asked);
      if (status === 404 || status === 410) return undefined;
      if (status !== 207) throw stranger(doing, { name });
      try {
        const { multistatus } = await parseXML(said, {
          attributeNamePrefix: "@",
          attributeParsers: [],
          // texts stay texts: a name or an ETag of digits is no number
          tagParsers: [() => undefined],
          // a listing of many names with an & is no attack
          entityDecoder: {},
        });
        const found = multistatus.response.map(foundOf).filter((one) => one !== undefined);
        return { found, date: Date.parse(headers.date ?? "") };
      } catch {
        throw stranger(doing, { name });
      }
    },
    async read(doing, call, path, use) {
      const { answer, status, done } = await signed({ method: "GET", path }, call).catch((error: unknown) => {
        throw faultOf(error, doing, facts(call));
      });
      // what breaks after its last byte was used breaks nothing
      answer.on("error", () => undefined);
      try {
        if (status === 404 || status === 410) {
          await drain(answer, call?.signal).catch(() => undefined);
          return undefined;
        }
        if (status !== 200) {
          answer.resume();
          throw status > 200 && status < 300 ? stranger(doing, { name }) : refusal(status, answer.headers, doing, facts(call));
        }
        const length = answer.headers["content-length"];
        async function* bytes(): Chunks {
          let count = 0;
          try {
            for await (const chunk of untilAborted(answer as Chunks, call?.signal)) {
              count += chunk.length;
              yield chunk;
            }
          } catch (error) {
            throw faultOf(error, doing, facts(call));
          }
          if (length !== undefined && count !== Number(length))
            throw new TargetError("transient", `could not ${doing}: it ended after ${count} of ${length} bytes`);
        }
        return { done: await use(bytes(), answer.headers) };
      } finally {
        if (!answer.readableEnded) answer.destroy();
        done();
      }
    },
    close: () => agent.destroy(),
  };
}
