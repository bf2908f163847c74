/**
 * What changed between two texts, word by word.
 * @module
 */
import { diffTokens, trim, type LineChange } from "./lines.ts";

/** A piece of text that both have, or one of them. */
export interface Part {
  readonly kind: LineChange["kind"];
  readonly text: string;
}

/** A word, a mark or a line end, with the blanks before it. */
interface Word {
  readonly blank: string;
  readonly word: string;
}

// in these scripts no blank parts the words, so each character stands for itself
const dense = String.raw`\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}`;
const words = new RegExp(String.raw`([^\S\n]*)(\n|(?:(?![${dense}])[\p{L}\p{M}\p{N}_])+|\S\p{M}*|$)`, "gu");

/** The last one is the end of the text, with the blanks before it. */
const wordsOf = (text: string): Word[] => Array.from(text.matchAll(words), ([, blank = "", word = ""]) => ({ blank, word }));

/** The blanks that both texts begin with. */
function commonBlanks(a: string, b: string): string {
  let at = 0;
  while (at < a.length && a[at] === b[at] && /[^\S\n]/.test(a[at] ?? "")) at++;
  return a.slice(0, at);
}

/** Joins neighbours of a kind, what was removed before what was added. */
export function joined(parts: readonly Part[]): Part[] {
  const all: Part[] = [];
  const changed = { removed: "", added: "" };
  const push = (kind: Part["kind"], text: string) => {
    const last = all.at(-1);
    if (text === "") return;
    if (last?.kind === kind) all[all.length - 1] = { kind, text: last.text + text };
    else all.push({ kind, text });
  };
  const flush = () => {
    const common = commonBlanks(changed.removed, changed.added);
    push("same", common);
    push("removed", changed.removed.slice(common.length));
    push("added", changed.added.slice(common.length));
    changed.removed = changed.added = "";
  };
  for (const { kind, text } of parts) {
    if (kind !== "same") {
      changed[kind] += text;
    } else if (text !== "") {
      flush();
      push(kind, text);
    }
  }
  flush();
  return all;
}

/** Between two changes, marks and blanks alone are no common ground: one change is read more easily than two. */
function bridged(parts: readonly Part[]): Part[] {
  return parts.flatMap((part, at): Part[] => {
    const between = part.kind === "same" && at > 0 && at < parts.length - 1;
    if (!between || /[\p{L}\p{N}\n]/u.test(part.text)) return [part];
    return [
      { kind: "removed", text: part.text },
      { kind: "added", text: part.text },
    ];
  });
}

/**
 * What changed from `a` to `b`: `same` and `removed` parts joined are `a`, `same` and `added` parts are `b`. Texts that are too
 * different to be compared within `timeoutMs` are removed and added as a whole.
 */
export async function diffWords(a: string, b: string, timeoutMs = 200): Promise<Part[]> {
  const trimmed = trim(a, b);
  const [from, to] = [wordsOf(trimmed.a), wordsOf(trimmed.b)];
  const changes = await diffTokens(
    from.map(({ word }) => word),
    to.map(({ word }) => word),
    timeoutMs,
  );
  const parts: Part[] = [{ kind: "same", text: trimmed.head }];
  let [i, j] = [0, 0];
  const next = (kind: Part["kind"]) => {
    const [old, now] = [from[i], to[j]];
    if (kind !== "added") i++;
    if (kind !== "removed") j++;
    if (kind === "added") parts.push({ kind, text: `${now?.blank}${now?.word}` });
    else if (kind === "removed") parts.push({ kind, text: `${old?.blank}${old?.word}` });
    else if (old?.blank === now?.blank) parts.push({ kind, text: `${old?.blank}${old?.word}` });
    else parts.push(...blanks(old?.blank ?? "", now?.blank ?? ""), { kind, text: old?.word ?? "" });
  };
  for (const { kind, tokens } of changes ?? []) for (const _ of tokens) next(kind);
  if (!changes) parts.push({ kind: "removed", text: trimmed.a }, { kind: "added", text: trimmed.b });
  return joined(bridged(joined([...parts, { kind: "same", text: trimmed.tail }])));
}

/** Another number of blanks: what both have stays. */
function blanks(old: string, now: string): Part[] {
  const [shorter, longer] = old.length < now.length ? [old, now] : [now, old];
  if (!longer.endsWith(shorter))
    return [
      { kind: "removed", text: old },
      { kind: "added", text: now },
    ];
  const more = longer.slice(0, longer.length - shorter.length);
  return [
    { kind: longer === now ? "added" : "removed", text: more },
    { kind: "same", text: shorter },
  ];
}
