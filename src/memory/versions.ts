/**
 * What any version held, byte for byte: the beginning of a head, of an archive copy, or of a file that was held; and
 * which version a person means.
 * @module
 */
import { AftersaveError, errnoOf } from "../core/errors.ts";
import type { Key } from "../core/key.ts";
import type { Source } from "../core/target.ts";
import { movesHead, NO_KEY, type Version } from "../core/version.ts";
import type { Content, Saves } from "../state/saves.ts";
import { digestOfFile, fileSource } from "./content.ts";
import type { Heads } from "./heads.ts";
import type { Places } from "./places.ts";

export interface VersionsParts {
  readonly saves: Saves;
  readonly heads: Heads;
  readonly places: Places;
  /** Brings bytes that are on this machine no more from wherever they are known to be; undefined when nobody has them. */
  readonly elsewhere?: ((version: Version, content: Content, copy: Key | undefined) => Promise<Source | undefined>) | undefined;
}

export interface Versions {
  /**
   * The version that a text means: an id, a unique ending of at least four characters, or `-N`, counted back from what `file`
   * holds now. Throws `E_VERSION` when there is none or more than one.
   */
  named(text: string, file?: Key): Promise<Version>;
  /** What the version held; undefined when it held nothing. Its bytes were checked. Throws `E_CONTENT_GONE`. */
  content(version: Version): Promise<Source | undefined>;
  /** The newest version of `file` before `version` that says what it held. */
  before(version: Version): Promise<Version | undefined>;
}

const ENDING = /^[0-9A-HJKMNP-TV-Z]{4,26}$/;

export function createVersions({ saves, heads, places, elsewhere }: VersionsParts): Versions {
  const counted = async (file: Key, back: number, text: string): Promise<Version> => {
    let n = 0;
    for await (const version of saves.select({ file, order: "newest" })) if (movesHead(version) && n++ === back) return version;
    throw unknown(text, `${file} has ${n} version${n === 1 ? "" : "s"}`);
  };

  const holds = async (path: string, { size, sha256 }: Content): Promise<boolean> => {
    try {
      return (await digestOfFile(path, size))?.sha256 === sha256;
    } catch (error) {
      if (errnoOf(error) === "") throw error;
      return false; // unreadable is not there
    }
  };

  /** Files of this machine that may begin with these bytes, the likely one first. */
  async function* candidates(version: Version): AsyncGenerator<string> {
    const kept = await saves.whereabouts(version.version);
    if (kept) yield heads.path(kept.content.base);
    if (kept?.copy && !kept.copy.pruned) yield places.pathOf(kept.copy.key);
    for (const { key, pruned } of await saves.archivesOf(version.sha256 ?? "")) if (!pruned) yield places.pathOf(key);
    const head = await saves.head(version.file);
    if (head) yield heads.path(head.base);
  }

  return {
    async named(text, file) {
      const back = /^-(\d{1,9})$/.exec(text)?.[1];
      if (back !== undefined) {
        if (file === undefined) throw unknown(text, "a count is counted back from a file");
        return counted(file, Number(back), text);
      }
      const ending = text.toUpperCase();
      if (!ENDING.test(ending)) throw unknown(text, "a version is an id, the last four or more of its characters, or -N");
      const all = await saves.endingIn(ending, 20);
      const ofFile = all.filter((v) => file === undefined || v.file === file);
      const found = ofFile.length > 0 ? ofFile : all.filter((v) => v.file === NO_KEY); // an erased line has lost its key
      const [only] = found;
      if (only && found.length === 1) return only;
      if (only) throw unknown(text, `it is the end of ${found.length} versions`);
      throw unknown(text, all[0] ? `it is a version of ${all[0].file}` : "no version ends so");
    },
    async content(version) {
      const { sha256, size } = version;
      if (sha256 === null || size === null) return undefined;
      const kept = await saves.whereabouts(version.version);
      const content: Content = kept?.content ?? { base: "", sha256, size };
      for await (const path of candidates(version)) if (await holds(path, content)) return fileSource(path, size, sha256);
      const found = await elsewhere?.(version, content, kept?.copy?.key);
      if (found) return found;
      throw new AftersaveError(
        "E_CONTENT_GONE",
        `what ${version.file} held at ${version.timestamp} (${version.version}) is not kept any more`,
        {
          hint: kept?.copy?.pruned
            ? "It was pruned, and no target that is enabled holds it."
            : "Run `aftersave verify` to see what is missing, and where.",
        },
      );
    },
    async before({ file, place }) {
      return saves.headAt(file, place - 1);
    },
  };
}

const unknown = (text: string, why: string) =>
  new AftersaveError("E_VERSION", `${JSON.stringify(text)} names no version: ${why}`, {
    hint: "`aftersave history KEY` lists them.",
  });
