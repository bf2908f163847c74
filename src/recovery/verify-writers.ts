/**
 * What other writers of this memory root told a target, against the history here. A state that was lost writes under a new
 * name, or under its own one and knows nothing of it: what it told before is then the one witness of a changelog that was
 * written anew.
 * @module
 */
import { OWN_FOLDER, type Key } from "../core/key.ts";
import type { Version } from "../core/version.ts";
import { MOST, ownParts, writerAt } from "../mirror/joined.ts";
import { fieldsOf, kindOf, readText } from "../mirror/place.ts";
import { inParallel } from "./fetch.ts";
import { writtenOffName, type TargetParts } from "./verify-target.ts";
import { findingOf, type History, type VerifyFinding } from "./verify-local.ts";
import { seenLine, type ChainLine } from "./verify-chain.ts";

/** Another machine of this memory root, whose history goes its own way. */
export interface OwnWay {
  readonly writer: string;
  readonly host: string | null;
  /** The first line that is not ours. */
  readonly from: number;
}

interface ToldLine {
  readonly key: Key;
  readonly line: number;
  readonly of: ChainLine;
}

/** The writers of this memory root but ourselves as far as the state knows what we told, each with the whole lines that it told and that are not ours, in the order of places. */
async function othersLines({ state, to, call }: Omit<TargetParts, "whose">, history: History) {
  const { target } = to;
  const { id } = await state.segments.writer();
  const rootId = await state.saves.rootId();
  // what our own name told is compared by `verifyTold`, unless the state that knew of it was lost
  const { place: told } = await state.segments.reach(to.name, id);
  const passed = new Set([
    ...(told === null ? [] : [id]),
    ...((await state.getMeta(writtenOffName(to.name)))?.split("\n") ?? []),
  ]);
  const segments = new Map<string, Key[]>();
  for await (const { key, size } of target.list(`${OWN_FOLDER}/`, call)) {
    const [, writer, , segment] = ownParts.exec(key) ?? [];
    if (writer === undefined || passed.has(writer) || segment === undefined || size > MOST) continue;
    segments.set(writer, [...(segments.get(writer) ?? []), key]);
  }
  const others: { writer: string; host: string | null; since: string | null; lines: ToldLine[] }[] = [];
  for (const [writer, keys] of segments) {
    const said = await writerAt(target, writer, call).catch((error: unknown) => {
      if (kindOf(error) !== "not-found") throw error;
      return undefined; // its first line speaks for it
    });
    if (said && said.memory_root !== null && said.memory_root !== rootId) continue;
    const lines: ToldLine[] = [];
    let root: string | null = said?.memory_root ?? null;
    await inParallel(keys, to.concurrency, async (key) => {
      const text = (await readText(target, key, MOST, call)) ?? "";
      for (const [at, line] of text.split("\n").entries()) {
        const { of, whole } = line === "" ? { of: undefined, whole: false } : seenLine(key, at + 1, fieldsOf(line), line);
        if (!of || !whole) continue;
        if (of.place === 1) root ??= of.version;
        if (history.known(of.place)?.sum !== of.sum) lines.push({ key, line: at + 1, of });
      }
    });
    if (root === rootId && lines.length > 0)
      others.push({
        writer,
        host: said?.host ?? null,
        since: said?.first_seen ?? null,
        lines: lines.toSorted((a, b) => a.of.place - b.of.place),
      });
  }
  return others;
}

/**
 * Compares the history here with those of the other writers of this memory root. That one of them has a line of ours with another
 * sum, that one has more lines, or that a former writer of this machine told others, is a finding; a machine that went on by itself is not: `ownWays`.
 */
export async function verifyWriters(
  parts: Omit<TargetParts, "whose">,
  history: History,
): Promise<{ findings: VerifyFinding[]; ownWays: OwnWay[] }> {
  const { state, to } = parts;
  const { id, host: ourHost } = await state.segments.writer();
  const weCame = (await state.segments.writers(to.name)).find(({ writer }) => writer === id)?.first_seen ?? null;
  const findings: VerifyFinding[] = [];
  const ownWays: OwnWay[] = [];
  const named = new Set<string>();
  for (const { writer, host, since, lines } of await othersLines(parts, history)) {
    const [first] = lines;
    if (!first) continue;
    const { key, line, of } = first;
    const { place } = of;
    // an id is given once: under another sum, the line was written anew
    let isRewritten = false;
    for (const { of: theirs } of lines) {
      const ours: Version | undefined = isRewritten ? undefined : await state.saves.version(theirs.version);
      isRewritten ||= ours !== undefined && ours.sum !== theirs.sum;
    }
    const isLonger = !isRewritten && place > history.last;
    // it wrote there before us: may be we ourselves, before our state was lost
    const isFormer = writer === id || (host === ourHost && (weCame === null || (since !== null && since < weCame)));
    if (!isRewritten && !isLonger && !isFormer) {
      ownWays.push({ writer, host, from: place });
      continue;
    }
    if (named.has(of.sum)) continue;
    named.add(of.sum);
    const who = `${writer}${host === null ? "" : ` of ${host}`}`;
    const until = lines.at(-1)?.of.place ?? place;
    findings.push(
      findingOf({
        level: isRewritten || (isLonger && isFormer) ? "error" : "warning",
        code: "E_HISTORY",
        target: to.name,
        place,
        version: of.version,
        path: key,
        line,
        what: isLonger
          ? `${to.name} tells ${place === until ? `line ${place}` : `lines ${place} to ${until}`} of this history, which ends here at line ${history.last} (${key}, line ${line})`
          : `line ${place} of the history is another one here than ${to.name} was told (${key}, line ${line})`,
        why: isRewritten
          ? `The writer ${who} told the same version with another sum: the changelog and the state here were written anew, or that segment was.`
          : isLonger
            ? `The writer ${who} told them: this memory lost its end, or another machine goes on with it.`
            : `The writer ${who} wrote there before: it is another copy of this memory on this machine, or what stands here was written anew after the state was lost.`,
        next:
          `Keep a copy of the logs here and of ${OWN_FOLDER} on ${to.name}, and see what it tells with \`aftersave restore --from ${to.name} --dry-run\`. ` +
          `If its lines are the true ones, set the logs and the state here aside and run \`aftersave restore --from ${to.name}\`.`,
      }),
    );
  }
  return { findings, ownWays };
}
