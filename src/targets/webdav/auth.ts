/**
 * Signing in to a WebDAV server: Basic and Digest (RFC 7617, RFC 7616), whichever it asks for.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

export interface SignIn {
  /** The header for a request; undefined as long as the server has not asked. */
  header(method: string, path: string): string | undefined;
  /** Takes in what a server that answered 401 asks for. False where asking again would be refused again. */
  learn(challenge: string, sent: string | undefined): boolean;
}

const digests: Readonly<Record<string, string>> = { md5: "md5", "sha-256": "sha256", "sha-512-256": "sha512-256" };

type Challenge = Readonly<Record<string, string>>;

/** The fields of every Digest challenge in the header; others may stand around it. */
function digestsIn(header: string): Challenge[] {
  return header
    .split(/(?:^|,\s*)(?=[a-z][\w-]*\s+[a-z][\w-]*\s*=)/i)
    .filter((part) => /^digest\s/i.test(part))
    .map((part) => {
      const fields = part.slice(7).matchAll(/([a-z][\w-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/gi);
      return Object.fromEntries(
        [...fields].map(([, name = "", quoted, bare]) => [
          name.toLowerCase(),
          quoted === undefined ? (bare ?? "") : quoted.replaceAll(/\\(.)/g, "$1"),
        ]),
      );
    });
}

const algorithmOf = (challenge: Challenge) => (challenge["algorithm"] ?? "MD5").toLowerCase();
const canAnswer = (challenge: Challenge) => {
  const qop = challenge["qop"];
  return (
    digests[algorithmOf(challenge).replace(/-sess$/, "")] !== undefined &&
    challenge["nonce"] !== undefined &&
    (qop === undefined || qop.split(/\s*,\s*/).includes("auth"))
  );
};

/** Nothing is sent before the server asks, so that one which wants Digest never sees the password. */
export function createSignIn({ user, password }: Credentials): SignIn {
  let basic = false;
  let digest: Challenge | undefined;
  let count = 0;

  const answer = (challenge: Challenge, method: string, path: string): string => {
    const algorithm = algorithmOf(challenge);
    const name = digests[algorithm.replace(/-sess$/, "")] ?? "md5";
    const h = (text: string) => createHash(name).update(text, "utf8").digest("hex");
    const { realm = "", nonce = "", opaque, qop } = challenge;
    const cnonce = randomBytes(16).toString("hex");
    const nc = (++count).toString(16).padStart(8, "0");
    const secret = h(`${user}:${realm}:${password}`);
    const first = algorithm.endsWith("-sess") ? h(`${secret}:${nonce}:${cnonce}`) : secret;
    const second = h(`${method}:${path}`);
    const response = h(qop === undefined ? `${first}:${nonce}:${second}` : `${first}:${nonce}:${nc}:${cnonce}:auth:${second}`);
    const quoted = (text: string) => `"${text.replaceAll(/[\\"]/g, "\\$&")}"`;
    return [
      `Digest username=${quoted(user)}, realm=${quoted(realm)}, nonce=${quoted(nonce)}, uri="${path}"`,
      ...(challenge["algorithm"] === undefined ? [] : [`algorithm=${challenge["algorithm"]}`]),
      `response="${response}"`,
      ...(opaque === undefined ? [] : [`opaque=${quoted(opaque)}`]),
      ...(qop === undefined && !algorithm.endsWith("-sess") ? [] : [`cnonce="${cnonce}"`]),
      ...(qop === undefined ? [] : [`qop=auth, nc=${nc}`]),
    ].join(", ");
  };

  return {
    header: (method, path) => {
      const text = digest ? answer(digest, method, path) : undefined;
      // a header holds Latin-1 characters; the bytes are those of UTF-8
      if (text !== undefined) return Buffer.from(text, "utf8").toString("latin1");
      return basic ? `Basic ${Buffer.from(`${user}:${password}`, "utf8").toString("base64")}` : undefined;
    },
    learn(challenge, sent) {
      const offered = digestsIn(challenge).filter(canAnswer);
      const best = offered.find((one) => !algorithmOf(one).startsWith("md5")) ?? offered[0];
      if (best !== undefined) {
        // the same nonce again, and not called stale, means that the password is wrong
        const fresh = sent === undefined || !sent.includes(`nonce="${best["nonce"]}"`);
        const refused = sent?.startsWith("Digest ") === true && best["stale"]?.toLowerCase() !== "true";
        digest = best;
        if (fresh) count = 0;
        return sent === undefined || !sent.startsWith("Digest ") || (fresh && !refused);
      }
      if (!/(^|,\s*)basic(\s|$)/i.test(challenge)) return false;
      basic = true;
      digest = undefined;
      return sent === undefined || !sent.startsWith("Basic ");
    },
  };
}
