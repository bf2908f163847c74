import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { plant } from "./tree.ts";

const globals = ["Date", "performance", "setTimeout", "setInterval", "setImmediate", "process", "fetch", "crypto"];

// Spelled so that this file does not break the rule itself.
const unfinished = ["TO", "DO"].join("");

/** [file, text, the rule that finds fault with it]. */
const bad: [file: string, text: string, rule: string][] = [
  ["src/core/fs.ts", 'export { readFileSync } from "node:fs";', "eslint(no-restricted-imports)"],
  [
    "src/core/fs-promises.ts",
    'import { readFile } from "node:fs/promises";\nexport const f = readFile;',
    "eslint(no-restricted-imports)",
  ],
  ["src/core/net.ts", 'import { connect } from "node:net";\nexport const f = connect;', "eslint(no-restricted-imports)"],
  ["src/core/http.ts", 'import { get } from "node:https";\nexport const f = get;', "eslint(no-restricted-imports)"],
  [
    "src/core/random.ts",
    'import { randomBytes } from "node:crypto";\nexport const f = randomBytes;',
    "eslint(no-restricted-imports)",
  ],
  ["src/core/whole.ts", 'import * as all from "node:crypto";\nexport const f = all;', "eslint(no-restricted-imports)"],
  ["src/core/other.ts", 'import { b } from "../state/b.ts";\nexport const f = b;', "eslint(no-restricted-imports)"],
  ...globals.map((name): [string, string, string] => [
    `src/core/global-${name}.ts`,
    `export const f: unknown = ${name};`,
    "eslint(no-restricted-globals)",
  ]),
  ["src/core/hidden.ts", "export const f = globalThis.Date;", "eslint(no-restricted-globals)"],
  ["src/core/dice.ts", "export const f = Math.random();", "eslint(no-restricted-properties)"],
  ["src/memory/now.ts", "export const f = Date.now();", "aftersave(no-wall-clock)"],
  ["src/mirror/new.ts", "export const f = new Date();", "aftersave(no-wall-clock)"],
  ["src/memory/times.ts", 'import { parseISO } from "date-fns";\nexport const f = parseISO;', "eslint(no-restricted-imports)"],
  ["src/memory/lost.ts", "const f = async () => 1;\nf();", "typescript(no-floating-promises)"],
  ["src/memory/void.ts", "const f = async () => 1;\nvoid f();", "typescript(no-floating-promises)"],
  ["src/memory/empty.ts", "try {\n  JSON.parse('');\n} catch {}", "eslint(no-empty)"],
  ["src/memory/any.ts", "export const f = (x: any): unknown => x;", "typescript(no-explicit-any)"],
  ["src/memory/parse.ts", "export const f: string = JSON.parse('');", "typescript(no-unsafe-assignment)"],
  ["src/memory/print.ts", "console.log(1);", "eslint(no-console)"],
  ["src/memory/later.ts", `export const f = 1; // ${unfinished}: later`, "eslint(no-warning-comments)"],
  ["test/only.test.ts", 'import { it } from "vitest";\nit.only("x", () => {});', "vitest(no-focused-tests)"],
];

const good: Record<string, string> = {
  "src/core/hash.ts": 'import { createHash } from "node:crypto";\nimport { a } from "./a.ts";\nexport const f = [createHash, a];',
  "src/core/a.ts": "export const a = 1;",
  "src/state/b.ts": "export const b = 1;",
  "src/memory/format.ts": 'import { parseISO } from "date-fns/parseISO";\nexport const f = [new Date(1), parseISO];',
  "src/cli/clock.ts": "console.log(Date.now());",
  "src/open.ts": "export const now = () => Date.now();",
};

const Report = z.object({ diagnostics: z.array(z.object({ code: z.string(), filename: z.string() })) });

describe("the lint rules", () => {
  const tree = plant({ ...good, ...Object.fromEntries(bad.map(([file, text]) => [file, `${text}\n`])) });
  afterAll(() => tree.remove());
  const found = Report.parse(JSON.parse(tree.run("oxlint", "--type-aware", "-f", "json", "src", "test"))).diagnostics;
  const faults = (file: string) => found.filter(({ filename }) => filename === file).map(({ code }) => code);

  it.each(bad)("%s is refused: %s", (file, _text, rule) => expect(faults(file)).toContain(rule));
  it.each(Object.keys(good))("%s is fine", (file) => expect(faults(file)).toEqual([]));
});
