/**
 * One true sample for each rule, put together when the tests run: no file of this project holds a text that looks like a
 * secret, so that no scanner cries over it.
 */
import { createHash } from "node:crypto";

/** `length` characters of `alphabet`, the same ones for the same `seed`. */
function drawn(seed: string, length: number, alphabet: string): string {
  let text = "";
  for (let i = 0; text.length < length; i++)
    for (const byte of createHash("sha256").update(`${seed} ${i}`).digest()) text += alphabet[byte % alphabet.length];
  return text.slice(0, length);
}

const digits = "0123456789";
const upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const letters = upper + upper.toLowerCase();
const alnum = letters + digits;
const hex = "0123456789abcdef";

const any = (length: number, alphabet = alnum) => drawn(`any ${length}`, length, alphabet);
const lines = (text: string, wide = 64) => (text.match(new RegExp(`.{1,${wide}}`, "g")) ?? []).join("\n");
const pem = (name: string, body: string) => [`-----BEGIN ${name}`, `-----\n`, body, `\n-----END ${name}`, `-----`].join("");
const KEY = ["PRIVATE", "KEY"].join(" ");

export interface Sample {
  readonly rule: string;
  /** All of it is found. */
  readonly value: string;
}

const sample = (rule: string, ...parts: string[]): Sample => ({ rule, value: parts.join("") });

/** Ours. */
export const ownSamples: readonly Sample[] = [
  sample("private-key", pem(KEY, `MC4CAQAwBQYDK2Vw${any(48)}`)),
  sample("private-key", pem(`EC ${KEY}`, lines(`MHcCAQEEI${any(150)}==`))),
  sample(
    "private-key",
    pem(`RSA ${KEY}`, `Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n${lines(any(800))}`),
  ),
  sample("private-key", pem(`OPENSSH ${KEY}`, lines(`b3BlbnNzaC1rZXktdjE${any(300)}`, 70))),
  sample("private-key", pem(`PGP ${KEY} BLOCK`, `Version: GnuPG v2\n\n${lines(any(2000))}\n=ab12`)),
  sample("google-api-key", "AI", "za", any(33), "-_"),
  sample("google-refresh-token", "1/", "/0g", any(60)),
  sample("google-access-token", "ya", "29.", any(120)),
  sample("google-client-secret", "GOC", "SPX-", any(28)),
  sample("anthropic-key", "sk-", "ant-api03-", any(93), "AA"),
  sample("openai-key", "sk-", any(48)),
  sample("openai-key", "sk-", "proj-", any(74), "_", any(40)),
  sample("openai-key", "sk-", "svcacct-", any(60)),
  sample("openrouter-key", "sk-", "or-v1-", any(64, hex)),
  sample("dropbox-token", "sl", ".", any(130), "-_"),
  sample("dropbox-token", "sl", ".u.", any(130)),
  sample("github-token", "gh", "p_", any(36)),
  sample("github-token", "gh", "s_", any(36)),
  sample("github-token", "github", "_pat_", any(22), "_", any(59)),
  sample("huggingface-token", "hf", "_", any(34)),
  sample("slack-token", "xo", "xb-", any(12, digits), "-", any(12, digits), "-", any(24)),
  sample("slack-token", "xap", "p-1-", any(11, upper), "-", any(13, digits), "-", any(64, hex)),
  sample("aws-access-key-id", "AK", "IA", any(16, upper + digits)),
  sample("stripe-key", "sk", "_live_", any(24)),
  sample("pypi-token", "pypi-", "AgEIcHlwaS5vcmc", any(120)),
  sample("xai-key", "xa", "i-", any(80)),
  sample("age-secret-key", "AGE-", "SECRET-KEY-1", any(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L")),
  sample("digitalocean-token", "do", "p_v1_", any(64, hex)),
  sample("tailscale-key", "tskey", "-auth-", any(17), "-", any(32)),
  sample("telegram-bot-token", any(10, "123456789"), ":A", "A", any(33)),
  sample("replicate-token", "r8", "_", any(37)),
  sample("perplexity-key", "pp", "lx-", any(48)),
  sample("jwt", "ey", "JhbGciOiJIUzI1NiJ9.", "ey", "JzdWIiOiJtYXJhIn0", ".", any(43)),
  sample("password-in-address", "redis://:", "p4ssw0rd", "long@cache.acme.com:6379"),
  sample("password-in-address", "amqp://guest2:", "gu3stpass", "@mq.acme.com"),
  sample("password-in-address", "ftp://u:", "passw0rd99", "@ftp.acme.com"),
  sample("password-in-address", "git+https://x:", any(30), "@git.acme.com"),
  sample("password-in-address", "https://mara:", "p@ss!w0rd:", any(6), "@intranet.acme.com:8443"),
];

/** Those of the preset that ours do not find before it. */
export const presetSamples: readonly Sample[] = [
  sample("slack", "https://hooks", ".slack.com/services/T", any(8, upper), "/B", any(8, upper), "/", any(24)),
  sample("basicauth", "https://mara:", any(12), "@", "intranet.example-corp.com"),
  sample("npm", "npm", "_", any(36)),
  sample("groq", "gsk", "_", any(52)),
  sample("linear", "lin", "_api_", any(40)),
  sample("notion", "nt", "n_", any(11, digits), any(35)),
  sample("sendgrid", "S", "G.", any(22), ".", any(43)),
  sample("shopify", "shp", "at_", any(32, hex)),
  sample("gitlab", "gl", "pat-", any(20)),
  sample("grafana", "gl", "sa_", any(32), "_", any(8, hex)),
  sample("1password", "op", "s_", btoa(JSON.stringify({ email: "mara@example.com", secretKey: any(60), salt: any(29) }))),
  sample("database-connection-string", "postgres://mara:", any(12), "@", "db.example-corp.com/memory"),
  sample("database-connection-string", "mongodb+srv://mara:", any(12), "@", "cluster0.example-corp.com/memory"),
  sample("database-connection-string", "mysql://mara:", any(12), "@", "db.example-corp.com/memory"),
  sample("hashicorp-vault", "hv", "s.", any(95)),
  sample("vercel", "vc", "p_", any(40)),
  sample("databricks", "da", "pi", any(32, hex)),
  sample("docker", "dckr", "_pat_", any(27)),
  sample("figma", "fi", "gd_", any(40)),
];

/** Values that only a name before them gives away; all of `value` is found, nothing of `before` and `after` need be. */
export const named: readonly (Sample & { readonly before: string; readonly after: string })[] = [
  { ...sample("aws", any(40)), before: ["aws_secret", "access_key = "].join("_"), after: "\n" },
  { ...sample("aws", any(40)), before: ['{"SecretAccess', 'Key": "'].join(""), after: '"}' },
  { ...sample("npm-auth-token", any(36, hex)), before: ["//registry.npmjs.org/:_auth", "Token="].join(""), after: "\n" },
  { ...sample("basicauth", any(40, hex)), before: "https://", after: [":x-oauth", "basic@github.com/a/b.git"].join("-") },
];

/** In the form that each is mostly met in. */
export const met: readonly (Sample & { readonly before: string; readonly after: string })[] = [
  { ...sample("azure-account-key", any(86), "=="), before: "AccountName=a;AccountKey=", after: ";EndpointSuffix=core" },
  {
    ...sample("telegram-bot-token", any(9, "123456789"), ":A", "A", any(33)),
    before: "https://api.telegram.org/bot",
    after: "/sendMessage",
  },
  { ...sample("password-in-address", "amqps://${USER}:", any(12), "@"), before: "url: ", after: "${HOST}/vhost" },
];

export const samples: readonly Sample[] = [...ownSamples, ...presetSamples];

/** Texts that resemble secrets and are none. */
export const harmless: readonly string[] = [
  "A task-based-authentication-flow, risk-management-of-long-hyphenated-words and disk-usage.",
  "The header -----BEGIN " + KEY + "----- starts such a file, and -----END " + KEY + "----- ends it, as everyone knows.",
  "-----BEGIN PUBLIC KEY-----\n" + lines(any(200)) + "\n-----END PUBLIC KEY-----",
  "-----BEGIN CERTIFICATE-----\n" + lines(any(200)) + "\n-----END CERTIFICATE-----",
  "AIza is how Google's keys begin; AIza" + any(10) + " is too short.",
  "commit " + any(40, hex) + ", sha256 " + any(64, hex),
  "http://example.com//" + any(40) + " and 1/2 and 11//" + any(40),
  "sk-" + any(8) + " and sk_test and sl.id and hf_ and ghp_short",
  [
    "postgres://localhost/db and https://user@example.com/ and git@github.com:a/b.git",
    "http://127.0.0.1:8080/@mara and ssh://git@github.com:22/a.git, https://[fe80::1]:8443/x@y",
    ...[
      "${REDIS_PASSWORD}",
      "<password>",
      "******",
      "password",
      "changeme",
      "your_password",
      "$PASSWORD",
      "{{password}}",
      "xxxxxx",
    ].map((word) => `redis://:${word}@cache.acme.com:6379/0`),
  ].join("\n"),
  "Authorization: Bearer <token>, export OPENAI_API_KEY=$KEY, password: ${PASSWORD}",
  "AccountKey=<key>; r8_short, pplx-short, dop_v1_short, tskey-auth, 12:30:AA, eyJhbGciOiJIUzI1NiJ9 and eyJh.eyJh.sig",
  any(4000),
];
