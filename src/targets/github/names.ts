/**
 * Which asset is whose. GitHub changes most characters of an asset's name and says little of which, so names are built of
 * lower-case letters, digits, `-`, `_` and single dots only, and can be read back exactly. None of them differ in case alone.
 * @module
 */
import { createHash } from "node:crypto";

/** `key`: whole or an earlier write's leftover; `next`: bytes that are to take the place of the asset `before`. */
export type Named =
  | { readonly kind: "key"; readonly path: string }
  | { readonly kind: "next"; readonly path: string; readonly name: string; readonly before: number; readonly writer: string };

/** GitHub takes 255; the rest is for what `nextName` puts in front. */
const LONGEST = 200;
const LONG = /^_9[0-9a-f]{64}$/;
const NEXT = /^_8(\d+)-([0-9a-f]{8})-[0-9a-f]{4}\.(.+)$/s;

const digest = (path: string) => createHash("sha256").update(path).digest("hex");
const plain = (char: string | undefined) => char !== undefined && /^[a-z0-9-]$/.test(char);

function spelled(path: string): string {
  let name = "";
  const chars = Array.from(path);
  for (const [at, char] of chars.entries()) {
    if (plain(char)) name += char;
    else if (char === "." && plain(chars[at - 1]) && plain(chars[at + 1])) name += ".";
    else if (char === "/") name += "__";
    else if (char === " ") name += "_-";
    else if (/^[A-Z]$/.test(char)) name += `_${char.toLowerCase()}`;
    else for (const byte of Buffer.from(char, "utf8")) name += `_${String(byte).padStart(3, "0")}`;
  }
  return name;
}

function unspelled(name: string): string | undefined {
  const bytes: Buffer[] = [];
  for (let at = 0; at < name.length; at++) {
    const [char = "", next = ""] = [name[at], name[at + 1]];
    if (char !== "_") bytes.push(Buffer.from(char));
    else if (/\d/.test(next)) {
      const byte = Number(name.slice(at + 1, at + 4));
      if (!(byte < 256)) return undefined;
      bytes.push(Buffer.of(byte));
      at += 3;
    } else {
      bytes.push(Buffer.from(next === "_" ? "/" : next === "-" ? " " : next.toUpperCase()));
      at++;
    }
  }
  return Buffer.concat(bytes).toString("utf8");
}

/** The path as people read it in a browser; plain ASCII. Of a long path it is the only place where it stands. */
export const labelOf = (path: string): string => path.split("/").map(encodeURIComponent).join("/");

function unlabelled(label: string): string | undefined {
  try {
    return decodeURIComponent(label);
  } catch {
    return undefined;
  }
}

/** The asset of a path. One whose name would be too long is named by its hash, and told by its label. */
export function nameOf(path: string): string {
  const name = spelled(path);
  return name.length <= LONGEST ? name : `_9${digest(path)}`;
}

export const isLong = (path: string): boolean => LONG.test(nameOf(path));

/** The asset that is to take the place of another one; its name says of which, should we be killed before it does. */
export const nextName = (path: string, before: number, writer: string, nonce: string): string =>
  `_8${before}-${writer}-${nonce}.${nameOf(path)}`;

function pathNamed(name: string, label: string): string | undefined {
  const path = LONG.test(name) ? unlabelled(label) : unspelled(name);
  return path !== undefined && nameOf(path) === name ? path : undefined;
}

/** What an asset is; undefined for one that is none of ours. */
export function readName(asset: { readonly name: string; readonly label: string }): Named | undefined {
  const [, before, writer = "", name = ""] = NEXT.exec(asset.name) ?? [];
  const path = pathNamed(before === undefined ? asset.name : name, asset.label);
  if (path === undefined) return undefined;
  return before === undefined ? { kind: "key", path } : { kind: "next", path, name, before: Number(before), writer };
}
