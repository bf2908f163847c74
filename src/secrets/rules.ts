/**
 * What looks like a secret: by a prefix that only such a value has, and the length that goes with it. Ours stand here;
 * secretlint's preset is loaded when a piece of text first shows one of the prefixes.
 * @module
 */

/** Where a rule found something in a text: from `start` to before `end`. */
export interface Match {
  readonly rule: string;
  readonly start: number;
  readonly end: number;
}

interface Rule {
  /** What findings, logs and pages call it. */
  readonly id: string;
  readonly pattern: RegExp;
}

// a value begins where no letter, digit or part of another name stands before it, and ends alike
const own = (id: string, body: string): Rule => ({
  id,
  pattern: new RegExp(String.raw`(?<![A-Za-z0-9_-])(?:${body})`, "g"),
});

/** Characters of a private key before its END line; what is longer is found, and too long to be masked. */
export const KEY_MOST = 60_000;

const KEY_NAME = String.raw`(?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----`;
const privateKey: Rule = {
  id: "private-key",
  // the header, then one whole line of base64 (a text about such headers has none), then all up to END or to where base64 ends
  pattern: new RegExp(
    String.raw`-----BEGIN ${KEY_NAME}[\s>#|"',+]{0,100}(?:[A-Za-z-]{1,40}: [^\n]{0,200}\n[\s>#|"',+]{0,20}){0,8}` +
      String.raw`[A-Za-z0-9+/=]{40,200}(?:[A-Za-z0-9+/=\s>#|"',]{0,${KEY_MOST}}?-----END ${KEY_NAME}|[A-Za-z0-9+/=\r\n]{0,${KEY_MOST}})`,
    "g",
  ),
};

/** What people write where a password would stand, all of it. */
const PLACEHOLDER = [
  String.raw`(?<one>[^@])\k<one>{3,}`,
  String.raw`\.{3,}|\$[a-z_][a-z0-9_]*|%[a-z_]+%|\$\([^)@]*\)|[$%#]?\{{1,2}[^}@]*\}{1,2}|\[[^\]@]*\]`,
  String.raw`(?:(?:my|your|the|some|db|user)[_-]?)*(?:password|passwd|passphrase|passwort|username|secret|token)`,
  String.raw`(?:change|replace)[_-]?(?:me|it|this)|example|placeholder|redacted`,
].join("|");

/**
 * The password in any address, with what stands before it and the host: the preset knows that of a few schemes only. A letter of
 * JSON's `\n` is none of the scheme's.
 */
const addressPassword: Rule = {
  id: "password-in-address",
  pattern: new RegExp(
    String.raw`(?:(?<=\\[nrt])|(?<![a-z0-9+.-]|\\(?=[nrt])))[a-z][a-z0-9+.-]{1,30}:\/\/[^\s/:@"'\x60<>\\\x00-\x1f\x7f]{0,256}:(?!(?:${PLACEHOLDER})@|[^@\s]{0,60}\$\{)` +
      String.raw`[^\s/"'\x60<>\\\x00-\x1f\x7f]{6,512}@(?:[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?(?::\d{1,5})?)?`,
    "gi",
  ),
};
/** What the preset calls such a thing: it keeps that name and that extent, so that what was allowed stays allowed. */
const PRESET_ADDRESSES = new Set(["basicauth", "database-connection-string"]);

/** What the preset misses, or knows only in one of its forms. */
const OWN_RULES: readonly Rule[] = [
  privateKey,
  own("google-api-key", String.raw`AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])`),
  own("google-refresh-token", String.raw`1//[A-Za-z0-9_-]{30,400}`),
  own("google-access-token", String.raw`ya29\.[A-Za-z0-9_.-]{20,2000}`),
  own("google-client-secret", String.raw`GOCSPX-[A-Za-z0-9_-]{24,40}`),
  own("anthropic-key", String.raw`sk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{20,400}`),
  own("openai-key", String.raw`sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,400}|[A-Za-z0-9]{20,400})`),
  own("openrouter-key", String.raw`sk-or-v1-[a-f0-9]{40,128}`),
  own("dropbox-token", String.raw`sl\.(?:[a-z]\.)?[A-Za-z0-9_-]{40,4000}`),
  own("github-token", String.raw`gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{50,255}`),
  own("huggingface-token", String.raw`hf_[A-Za-z0-9]{30,64}(?![A-Za-z0-9])`),
  own("slack-token", String.raw`xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{20,400}|xapp-\d-[A-Za-z0-9-]{20,400}`),
  own("aws-access-key-id", String.raw`(?:A3T[A-Z0-9]|A[KS]IA|ABIA|ACCA)(?!\w{0,15}EXAMPLE)[A-Z0-9]{16}(?![A-Za-z0-9])`),
  own("stripe-key", String.raw`[sr]k_(?:live|test)_[A-Za-z0-9]{20,255}`),
  own("npm-auth-token", String.raw`(?<=_authToken=["']?)[^\s"'$<{][^\s"']{15,400}`),
  own("pypi-token", String.raw`pypi-AgE[A-Za-z0-9_-]{50,1000}`),
  own("xai-key", String.raw`xai-[A-Za-z0-9]{60,128}`),
  own("azure-account-key", String.raw`(?<=AccountKey=)[A-Za-z0-9+/]{86}==`),
  own("digitalocean-token", String.raw`do[opr]_v1_[a-f0-9]{64}(?![A-Za-z0-9])`),
  own("tailscale-key", String.raw`tskey-[a-z]{2,12}-[A-Za-z0-9]{6,40}(?:-[A-Za-z0-9]{10,64})?`),
  {
    id: "telegram-bot-token",
    // an address has it right behind the word
    pattern: /(?<=(?<![A-Za-z0-9_-])(?:bot)?)(?<!\d)\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])/g,
  },
  own("replicate-token", String.raw`r8_[A-Za-z0-9]{37,60}(?![A-Za-z0-9])`),
  own("perplexity-key", String.raw`pplx-[A-Za-z0-9]{40,64}(?![A-Za-z0-9])`),
  own("jwt", String.raw`eyJ[A-Za-z0-9_-]{10,4000}\.eyJ[A-Za-z0-9_-]{2,8000}\.[A-Za-z0-9_-]{20,1400}`),
  own("age-secret-key", String.raw`AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]{50,200}`),
];

interface Report {
  readonly message: { readonly message: string };
  readonly range: readonly [from: number, to: number];
}

/** Says which rules these are: it changes with them. */
export const RULES = JSON.stringify([...OWN_RULES, addressPassword].map(({ id, pattern }) => [id, pattern.source]));

/** A slash, also as JSON and addresses write it. */
const SLASH = String.raw`(?:\\*\/|%2[Ff]|\\+u002[Ff])`;

const SECRET_KEY = "ecret_?(?:ACCESS|[Aa]ccess)_?(?:KEY|[Kk]ey)";
const LOGIN = String.raw`${SLASH}{2}[^/@\s]{1,770}(?:@|%40)`;

const BOT = "AA[A-Za-z0-9_-]{33}";

/** By first character, which is what makes it quick: how everything begins that a rule, ours or the preset's, can find. */
const BEGINNINGS: Readonly<Record<string, readonly string[]>> = {
  A: ["3T[A-Z0-9]", "[KS]IA", "BIA", "CCA", "Iza", "GE-SECRET-KEY-", String.raw`ccountKey(?:=|%3[Dd]|\\+u003[Dd])[^<$*{ ]`],
  G: ["OCSPX-"],
  P: ["RIVATE(?: |%20)KEY"],
  S: ["ECRET_?(?:ACCESS|[Aa]ccess)_?(?:KEY|[Kk]ey)", SECRET_KEY, String.raw`G\.\w`],
  d: ["api[A-Fa-f0-9]{10}", "ckr_pat_", "o[opr]_v1_[a-f0-9]{20}"],
  e: [String.raw`yJ[A-Za-z0-9_-]{10,4000}\.eyJ`],
  f: ["igd_"],
  g: ["h[pousr]_[A-Za-z0-9]{20}", "ithub_pat_", "lpat-", "lc_[A-Za-z0-9+/]{20}", "lsa_", "sk_[A-Za-z0-9]{20}"],
  h: ["f_[A-Za-z0-9]{20}", String.raw`v[sbr]\.[A-Za-z0-9_-]{20}`],
  l: ["in_api_"],
  n: ["pm_[A-Za-z0-9]{20}", "tn_[0-9]{5}"],
  o: ["ps_ey"],
  p: ["ypi-A", "plx-[A-Za-z0-9]{20}"],
  r: ["k_(?:live|test)_", "8_[A-Za-z0-9]{20}"],
  s: ["k-[A-Za-z0-9_-]{20}", "k_(?:live|test)_", String.raw`l\.[A-Za-z0-9_.-]{30}`, "hp(?:pa|ca|at|ss)_", SECRET_KEY],
  t: ["skey-[a-z]{2,12}-"],
  v: ["c[pickar]_[A-Za-z0-9]{10}"],
  x: ["ai-[A-Za-z0-9]{20}", "ox[a-z][.-]", "app-", "-oauth-basic@"],
  y: [String.raw`a29\.`],
  _: ["authToken="],
  1: [`${SLASH}{2}[A-Za-z0-9_-]{20}`],
  "[Hh]": [String.raw`[Oo]{2}[Kk][Ss]\.[Ss][Ll][Aa][Cc][Kk]\.`],
  ":": [LOGIN, BOT],
  "%": [`3[Aa](?:${LOGIN}|${BOT})`],
};

/**
 * Text that no rule can find anything in does not match this. It is tried on every byte that leaves, so it asks for as little
 * as it can; a test holds a true sample of each rule against it.
 */
const HINT = new RegExp(
  Object.entries(BEGINNINGS)
    .map(([first, rest]) => `${first}(?:${rest.join("|")})`)
    .join("|"),
);

/** Whether `text` may hold a secret; false is certain. */
export const mayHold = (text: string): boolean => HINT.test(text);

/**
 * secretlint's preset without its engine: that one keeps a mark in memory for every rule and text, and obeys comments in the text
 * that switch it off, which whoever writes a memory file could write too. Its rule for Google's key files reads them from
 * disk; the private key in them is found like any other.
 */
async function presetMatches(text: string): Promise<Match[]> {
  const { rules } = await import("@secretlint/secretlint-rule-preset-recommend");
  const found: Match[] = [];
  for (const rule of rules) {
    const id = rule.meta.id.replace("@secretlint/secretlint-rule-", "");
    if (id === "filter-comments" || id === "gcp") continue;
    const context = {
      sharedOptions: {},
      // what a rule says of its finding begins with the value
      createTranslator:
        () =>
        (messageId: string, parts: Record<string, string> = {}) => ({
          message: Object.values(parts)[0] ?? "",
          messageId,
        }),
      ignore: () => undefined,
      report({ message: { message: value }, range: [from, to] }: Report) {
        // some give the place of a name before the value, and the length of the value
        const start = value.length === to - from ? Math.max(from, text.indexOf(value, from)) : from;
        const end = start + to - from;
        found.push({ rule: id, start, end: id === "database-connection-string" ? endOfAddress(text, start, end) : end });
      },
    };
    // the context is all that a rule uses; the types name the engine's internals too
    const { file } = rule.create(context as never, {});
    await file?.({ content: text, contentType: "text", ext: "", filePath: undefined } as never);
  }
  return found;
}

/** The preset reads an address up to the next space, also where it stands in quotes or among bytes that are no text. */
function endOfAddress(text: string, start: number, end: number): number {
  const host = text.indexOf("@", start);
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  const rest = text.slice(host, end).search(/["'`<>\\\u0000-\u001f\u007f]/);
  return host < 0 || host > end || rest < 0 ? end : host + rest;
}

const matchesOf = ({ id, pattern }: Rule, text: string): Match[] =>
  Array.from(text.matchAll(pattern), ({ index, 0: { length } }) => ({ rule: id, start: index, end: index + length }));

/** Everything in `text` that looks like a secret, in order, what overlaps as one. */
export async function matchesIn(text: string): Promise<Match[]> {
  const preset = await presetMatches(text);
  const known = preset.filter(({ rule }) => PRESET_ADDRESSES.has(rule));
  const addresses = matchesOf(addressPassword, text).filter(
    ({ start, end }) => !known.some((one) => one.start < end && start < one.end),
  );
  return united([...OWN_RULES.flatMap((rule) => matchesOf(rule, text)), ...addresses, ...preset]);
}

/** Matches in order; those that overlap are one, under the name of the first, and of ours before the preset's. */
function united(matches: readonly Match[]): Match[] {
  const all: Match[] = [];
  for (const match of matches.toSorted((a, b) => a.start - b.start)) {
    const last = all.at(-1);
    if (!last || match.start >= last.end) all.push(match);
    else all[all.length - 1] = { ...last, end: Math.max(last.end, match.end) };
  }
  return all;
}
