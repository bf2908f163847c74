/**
 * Requests to Dropbox. Each is sent once; a refused access token is renewed and the request repeated, once.
 * @module
 */
import { TargetError } from "../../core/errors.ts";
import type { Chunks } from "../../core/target.ts";
import { untilAborted } from "../../core/chunks.ts";
import type { DriverContext } from "../shared/driver.ts";
import { faultOfAnswer, faultOfThrown, hasTag, stranger } from "./faults.ts";

export type Json = Readonly<Record<string, unknown>>;

interface Asked {
  readonly signal?: AbortSignal | undefined;
}

export interface Tokens {
  /** An access token that is good for some minutes. Throws `auth` when a person has to sign in. */
  current(): Promise<string>;
  /** Another one than `refused`; undefined where none can be had without a person. */
  renewed(refused: string): Promise<string | undefined>;
}

export interface Http {
  /** A call of the API whose arguments and answer are JSON; an answer of null is `{}`. */
  rpc(tokens: Tokens, route: string, arg: Json | null, doing: string, asked: Asked | undefined): Promise<Json>;
  /** Sends `bytes` to a route of the content address. */
  upload(tokens: Tokens, route: string, arg: Json, bytes: Uint8Array, doing: string, asked: Asked | undefined): Promise<Json>;
  /** Hands the content of an answer to `use`, with what Dropbox says of it. */
  download<T>(
    tokens: Tokens,
    arg: Json,
    doing: string,
    asked: Asked | undefined,
    use: (bytes: Chunks, said: Json) => Promise<T>,
  ): Promise<T>;
  form(path: string, doing: string, fields: Record<string, string>, signal?: AbortSignal): Promise<Json>;
  /** Ends what is under way. */
  close(): void;
}

const isLoopback = ({ hostname }: URL) => /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);

/** An address that a token may be sent to. */
function baseOf(options: Json, key: string, name: string): URL {
  const text = String(options[key]);
  const url = URL.canParse(text) ? new URL(text.endsWith("/") ? text : `${text}/`) : undefined;
  if (url && (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url)))) return url;
  throw new TargetError("unsupported", `${key} of ${name} is no address that a sign-in may be sent to`, {
    hint: "It begins with https://; plain http is allowed to this machine only.",
  });
}

/** JSON as a header can carry it. */
const headerOf = (arg: Json) =>
  JSON.stringify(arg).replaceAll(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** What several callers wait for goes on when one of them aborts. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => (stop = () => reject(signal.reason)));
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

const isJson = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);

export function openHttp({ name, options }: DriverContext): Http {
  const under = new Set<AbortController>();
  const closed = () => new TargetError("transient", `${name} was closed meanwhile`);

  /** Sends a request and uses its answer; nothing of it is left behind. */
  const exchange = async <T>(
    url: URL,
    init: RequestInit,
    doing: string,
    signal: AbortSignal | undefined,
    use: (response: Response, signal: AbortSignal) => Promise<T>,
  ): Promise<T> => {
    signal?.throwIfAborted();
    const own = new AbortController();
    const onAbort = () => own.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    under.add(own);
    try {
      const response = await fetch(url, { ...init, redirect: "manual", signal: own.signal });
      return await use(response, own.signal);
    } catch (error) {
      throw faultOfThrown(error, doing, name, own.signal);
    } finally {
      under.delete(own);
      signal?.removeEventListener("abort", onAbort);
      own.abort(); // what is left of the answer is not wanted
    }
  };

  const refused = async (response: Response, doing: string) =>
    faultOfAnswer({ status: response.status, headers: response.headers, body: await response.text() }, doing, name);

  const jsonOf = async (response: Response, doing: string): Promise<Json> => {
    if (response.status !== 200) throw await refused(response, doing);
    const body = await response.text();
    if (body === "null" || body === "") return {};
    try {
      const value: unknown = JSON.parse(body);
      if (isJson(value)) return value;
    } catch {
      // a page
    }
    throw stranger(doing, name);
  };

  const renewing = async <T>(tokens: Tokens, signal: AbortSignal | undefined, ask: (token: string) => Promise<T>): Promise<T> => {
    signal?.throwIfAborted();
    const token = await orAborted(tokens.current(), signal);
    try {
      return await ask(token);
    } catch (error) {
      if (!hasTag(error, "expired_access_token") && !hasTag(error, "invalid_access_token")) throw error;
      const other = await orAborted(tokens.renewed(token), signal);
      if (other === undefined) throw error;
      return ask(other);
    }
  };

  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

  return {
    rpc: (tokens, route, arg, doing, asked) =>
      renewing(tokens, asked?.signal, (token) =>
        exchange(
          new URL(`2/${route}`, baseOf(options, "api_url", name)),
          {
            method: "POST",
            headers: { ...bearer(token), ...(arg && { "content-type": "application/json" }) },
            ...(arg && { body: JSON.stringify(arg) }),
          },
          doing,
          asked?.signal,
          (response) => jsonOf(response, doing),
        ),
      ),
    upload: (tokens, route, arg, bytes, doing, asked) =>
      renewing(tokens, asked?.signal, (token) =>
        exchange(
          new URL(`2/files/${route}`, baseOf(options, "content_url", name)),
          {
            method: "POST",
            headers: { ...bearer(token), "content-type": "application/octet-stream", "dropbox-api-arg": headerOf(arg) },
            body: bytes as Uint8Array<ArrayBuffer>,
          },
          doing,
          asked?.signal,
          (response) => jsonOf(response, doing),
        ),
      ),
    async download(tokens, arg, doing, asked, use) {
      let used: { error: unknown } | undefined;
      try {
        return await renewing(tokens, asked?.signal, (token) =>
          exchange(
            new URL("2/files/download", baseOf(options, "content_url", name)),
            { method: "POST", headers: { ...bearer(token), "dropbox-api-arg": headerOf(arg) } },
            doing,
            asked?.signal,
            async (response, signal) => {
              const said = response.headers.get("dropbox-api-result");
              if (response.status !== 200) throw await refused(response, doing);
              if (said === null || !response.body) throw stranger(doing, name);
              const stream = response.body as unknown as Chunks;
              async function* bytes(): Chunks {
                try {
                  yield* untilAborted(stream, signal);
                } catch (error) {
                  throw faultOfThrown(error, doing, name, signal);
                }
              }
              return use(bytes(), JSON.parse(said) as Json).catch((error: unknown) => {
                used = { error };
                throw error;
              });
            },
          ),
        );
      } catch (error) {
        // what the reader threw is its own, whatever it looks like
        throw used && asked?.signal?.aborted !== true ? used.error : error;
      }
    },
    form: (path, doing, fields, signal) =>
      exchange(
        new URL(path, baseOf(options, "api_url", name)),
        { method: "POST", body: new URLSearchParams(fields) },
        doing,
        signal,
        (response) => jsonOf(response, doing),
      ),
    close() {
      for (const one of under) one.abort(closed());
    },
  };
}
