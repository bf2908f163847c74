/**
 * The few routes of GitHub's API that the target needs, over Octokit, which is loaded on first use.
 * @module
 */
import type { Octokit } from "@octokit/core";
import { TargetError } from "../../core/errors.ts";
import type { Call, Chunks } from "../../core/target.ts";
import type { DriverContext } from "../shared/driver.ts";
import { loadOptional } from "../shared/optional.ts";
import { faultOf, isTaken, RIGHTS, statusOf, unseen } from "./faults.ts";

export interface Asset {
  readonly id: number;
  readonly name: string;
  readonly label: string;
  /** `uploaded`, or `starter` for half an upload. */
  readonly state: string;
  readonly size: number;
  readonly contentType: string;
  /** Hex, where the server reports one. */
  readonly sha256?: string | undefined;
  readonly createdAt: number;
}

export interface Upload {
  readonly name: string;
  readonly label: string;
  readonly contentType: string;
  readonly size: number;
  readonly bytes: () => Chunks;
}

export interface GithubApi {
  /** The id of the release; undefined where there is none and it is not to be made. */
  release(make: boolean, call?: Call): Promise<number | undefined>;
  assets(release: number, doing: string, call?: Call): Promise<Asset[]>;
  /** Undefined when it is gone. */
  asset(id: number, doing: string, call?: Call): Promise<Asset | undefined>;
  /** `taken` when there is an asset of that name, whole or not. */
  upload(release: number, what: Upload, doing: string, call?: Call): Promise<Asset | "taken">;
  rename(id: number, to: { name: string; label: string }, doing: string, call?: Call): Promise<Asset | "taken" | undefined>;
  /** Whether there was one. */
  remove(id: number, doing: string, call?: Call): Promise<boolean>;
  /** Opens the bytes; undefined when it is gone. */
  download(id: number, doing: string, call?: Call): Promise<ReadableStream<Uint8Array> | undefined>;
  faultOf(error: unknown, doing: string, call?: Call): Error;
  close(): void;
}

type Json = Readonly<Record<string, unknown>>;
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number | undefined>>;
  readonly data: unknown;
}

const PAGE = 100;
const HOPS = 5;
const loopback = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

const assetOf = (data: Json): Asset => {
  const sha256 = /^sha256:([0-9a-f]{64})$/i.exec(String(data["digest"]))?.[1];
  return {
    id: Number(data["id"]),
    name: String(data["name"]),
    label: typeof data["label"] === "string" ? data["label"] : "",
    state: String(data["state"]),
    size: Number(data["size"]),
    contentType: String(data["content_type"]),
    createdAt: Date.parse(String(data["created_at"])),
    ...(sha256 !== undefined && { sha256: sha256.toLowerCase() }),
  };
};

/** Opens the way; asks for nothing. Throws `E_SDK_MISSING` and `E_TOKEN_MISSING`. */
export async function openGithub({ name, options, env }: DriverContext): Promise<GithubApi> {
  const repo = String(options["repo"]);
  const tag = String(options["tag"]);
  const [owner = "", repository = ""] = repo.split("/");
  const token = env["GH_TOKEN"] || env["GITHUB_TOKEN"];
  if (!token)
    throw new TargetError("auth", `no token for ${repo} at GitHub: neither GH_TOKEN nor GITHUB_TOKEN is set`, {
      code: "E_TOKEN_MISSING",
      hint: `Set GH_TOKEN (or GITHUB_TOKEN) to ${RIGHTS}.`,
    });
  const sdk = await loadOptional("@octokit/core", "^7.0.8", "github", () => import("@octokit/core"));
  const bare = (key: string, standard: string) => ((options[key] as string | undefined) ?? standard).replace(/\/+$/, "");
  const uploads = bare("uploads_url", "https://uploads.github.com/");
  const octokit: Octokit = new sdk.Octokit({
    auth: token,
    userAgent: "aftersave",
    baseUrl: bare("api_url", "https://api.github.com/"),
    log: silent,
  });
  const closing = new AbortController();
  const signalOf = (call?: Call) => (call?.signal ? AbortSignal.any([call.signal, closing.signal]) : closing.signal);
  const translated = (error: unknown, doing: string, call?: Call) =>
    faultOf(error, doing, { name, repo, token, signal: call?.signal?.aborted === true ? call.signal : closing.signal });

  /** One request. Redirects are never followed: the token would go along. */
  const send = async (route: string, parameters: Json, call?: Call, more: Json = {}): Promise<Answer> => {
    call?.signal?.throwIfAborted();
    const answer: Answer = await octokit.request(route, {
      owner,
      repo: repository,
      ...parameters,
      headers: { "x-github-api-version": "2022-11-28", ...(parameters["headers"] as Json | undefined) },
      request: { redirect: "manual", signal: signalOf(call), ...more },
    });
    return answer;
  };

  const ask = async (route: string, parameters: Json, call?: Call): Promise<Answer> => {
    const answer = await send(route, parameters, call);
    const isJson = answer.status === 204 || (typeof answer.data === "object" && answer.data !== null);
    if (answer.status < 300 && isJson) return answer;
    throw Object.assign(new Error(`HTTP ${answer.status}`), { response: answer });
  };

  const asked = async <T>(doing: string, call: Call | undefined, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw translated(error, doing, call);
    }
  };

  /** `work`, or undefined where GitHub answers 404. */
  const unlessGone = async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work;
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  };

  const pages = async (route: string, parameters: Json, call?: Call): Promise<Json[]> => {
    const found: Json[] = [];
    for (let page = 1; ; page++) {
      const { data, headers } = await ask(`${route}{?per_page,page}`, { ...parameters, per_page: PAGE, page }, call);
      found.push(...(data as Json[]));
      if (!/rel="next"/.test(String(headers["link"] ?? ""))) return found;
    }
  };

  const usable = (data: Json): number => {
    if (data["immutable"] !== true) return Number(data["id"]);
    const error = new Error("the release is immutable");
    throw Object.assign(error, { response: { status: 422, headers: {}, data: {} } });
  };

  const find = async (call?: Call): Promise<number | undefined> => {
    const tagged = await unlessGone(ask("GET /repos/{owner}/{repo}/releases/tags/{tag}", { tag }, call));
    if (tagged) return usable(tagged.data as Json);
    // a draft is found by its tag in the list only
    const all = await unlessGone(pages("GET /repos/{owner}/{repo}/releases", {}, call));
    if (!all) throw unseen({ name, repo });
    const drafts = all.filter((one) => one["tag_name"] === tag).map((one) => Number(one["id"]));
    return drafts.length === 0 ? undefined : Math.min(...drafts);
  };

  return {
    release: (make, call) => {
      const doing = `find the release ${tag} of ${repo}`;
      return asked(doing, call, async () => {
        const found = await find(call);
        if (found !== undefined || !make) return found;
        try {
          const { data } = await ask(
            "POST /repos/{owner}/{repo}/releases",
            {
              tag_name: tag,
              name: tag,
              body: "Kept by aftersave. Each file here is a memory file; do not edit or publish it anew.",
              prerelease: true,
            },
            call,
          );
          return usable(data as Json);
        } catch (error) {
          const now = isTaken(error) ? await find(call) : undefined;
          if (now === undefined) throw statusOf(error) === 404 ? noRight(error) : error;
          return now;
        }
      });
    },

    assets: (release, doing, call) =>
      asked(doing, call, async () => {
        const found = await pages("GET /repos/{owner}/{repo}/releases/{release_id}/assets", { release_id: release }, call);
        // an asset that came or went meanwhile moves others from page to page
        return [...new Map(found.map((one) => [one["id"], assetOf(one)])).values()];
      }),

    asset: (asset_id, doing, call) =>
      asked(doing, call, async () => {
        const found = await unlessGone(ask("GET /repos/{owner}/{repo}/releases/assets/{asset_id}", { asset_id }, call));
        return found && assetOf(found.data as Json);
      }),

    async upload(release, what, doing, call) {
      let own: { readonly error: unknown } | undefined;
      async function* guarded(): Chunks {
        try {
          yield* what.bytes();
        } catch (error) {
          own = { error };
          throw error;
        }
      }
      const parameters = {
        baseUrl: uploads,
        release_id: release,
        name: what.name,
        label: what.label,
        data: ReadableStream.from(guarded()),
        // GitHub takes no upload of unknown length
        headers: { "content-type": what.contentType, "content-length": String(what.size) },
      };
      try {
        const { data } = await ask("POST /repos/{owner}/{repo}/releases/{release_id}/assets{?name,label}", parameters, call);
        return assetOf(data as Json);
      } catch (error) {
        call?.signal?.throwIfAborted();
        if (own) throw own.error;
        if (isTaken(error)) return "taken";
        throw translated(error, doing, call);
      }
    },

    rename: (asset_id, to, doing, call) =>
      asked(doing, call, async () => {
        const route = "PATCH /repos/{owner}/{repo}/releases/assets/{asset_id}";
        try {
          const done = await unlessGone(ask(route, { asset_id, ...to }, call));
          return done && assetOf(done.data as Json);
        } catch (error) {
          if (isTaken(error)) return "taken";
          throw error;
        }
      }),

    remove: (asset_id, doing, call) =>
      asked(doing, call, async () => {
        const route = "DELETE /repos/{owner}/{repo}/releases/assets/{asset_id}";
        return (await unlessGone(ask(route, { asset_id }, call))) !== undefined;
      }),

    download: (asset_id, doing, call) =>
      asked(doing, call, async () => {
        const route = "GET /repos/{owner}/{repo}/releases/assets/{asset_id}";
        const accept = { headers: { accept: "application/octet-stream" }, asset_id };
        const first = await unlessGone(send(route, accept, call, { parseSuccessResponseBody: false }));
        if (!first) return undefined;
        if (first.status === 200) return first.data as ReadableStream<Uint8Array>;
        await (first.data as ReadableStream | null)?.cancel();
        return followed(String(first.headers["location"] ?? ""), call);
      }),

    faultOf: translated,
    close: () => closing.abort(),
  };

  /** Where the bytes lie: another host, which is told no token. The address itself is a secret for some minutes. */
  async function followed(address: string, call?: Call): Promise<ReadableStream<Uint8Array>> {
    let url = address;
    for (let hop = 1; hop <= HOPS; hop++) {
      const { protocol, hostname } = URL.canParse(url) ? new URL(url) : { protocol: "", hostname: "" };
      if (protocol !== "https:" && !(protocol === "http:" && loopback.test(hostname)))
        throw new TargetError("transient", "GitHub's API named no safe address for the bytes");
      const answer = await fetch(url, { redirect: "manual", signal: signalOf(call), headers: { "user-agent": "aftersave" } });
      if (answer.status === 200 && answer.body) return answer.body;
      await answer.body?.cancel();
      const next = answer.headers.get("location");
      if (answer.status < 300 || answer.status >= 400 || next === null)
        throw new TargetError("transient", `the host that keeps GitHub's files answered HTTP ${answer.status}`);
      url = URL.canParse(next, url) ? new URL(next, url).href : "";
    }
    throw new TargetError("transient", "GitHub sends from address to address");
  }

  function noRight(error: unknown): unknown {
    return Object.assign(new Error("Not Found"), {
      response: { ...(error as { response: object }).response, status: 403, headers: {} },
    });
  }
}
