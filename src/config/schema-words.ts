/**
 * The words that the description of `paths.json` is made of.
 * @module
 */
import { z } from "zod";
import { DURATION, parseDuration, parseSize, SIZE } from "./units.ts";

const measure = (expected: string, pattern: RegExp, parse: (text: string) => number | undefined) =>
  z
    .string({ error: expected })
    .regex(pattern, { error: expected, abort: true })
    .transform((text, context): number => {
      const value = parse(text);
      if (value !== undefined) return value;
      context.addIssue({ code: "custom", message: expected });
      return z.NEVER;
    });
export const duration = () => measure("a duration such as 500ms, 30s, 5m, 2h or 1d", DURATION, parseDuration);
export const size = () => measure("a size such as 64KiB or 10MB", SIZE, parseSize);

export const path = () =>
  z
    .string()
    .min(1, { error: "a path" })
    // eslint-disable-next-line no-control-regex -- control characters are what is looked for
    .regex(/^[^\u0000-\u001f]*$/, { error: "a path without control characters" });
export const glob = () => z.string().min(1, { error: "a pattern such as Meta/**" }).max(4096);
export const count = (least: number, most: number) => z.int().min(least).max(most);

export const name = (what: string) =>
  z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { error: `${what} of letters, digits, . _ - (at most 64)` });
export const zone = () => z.string().min(1, { error: "a zone, or * for every other one" });

export const SAFE_URL = "an https address without user or password (http only for a loopback address)";

/** Plain `http` only where nobody else can listen; never a password in an address that ends up in messages. */
export function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
  return username === "" && password === "" && (protocol === "https:" || (protocol === "http:" && loopback));
}
export const url = () => z.string().refine(isSafeUrl, { error: SAFE_URL });
