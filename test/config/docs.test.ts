import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { format } from "prettier";
import { expect, test } from "vitest";
import { pathsJsonSchema } from "../../src/config/schema.ts";
import { load, rootWith } from "./root.ts";

interface Schema {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string;
  readonly properties?: Record<string, Schema>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly oneOf?: Schema[];
  readonly anyOf?: Schema[];
}

const docs = join(import.meta.dirname, "../../docs");

/** Every key of the file with its schema, as `targets.*.path` and `routes[].match`. */
function* keysOf(schema: Schema, at = ""): Generator<readonly [key: string, schema: Schema]> {
  for (const [name, inner] of Object.entries(schema.properties ?? {})) {
    if (name === "//") continue;
    const key = at === "" ? name : `${at}.${name}`;
    yield [key, inner];
    yield* keysOf(inner, key);
  }
  if (typeof schema.additionalProperties === "object") yield* keysOf(schema.additionalProperties, `${at}.*`);
  if (schema.items) yield* keysOf(schema.items, `${at}[]`);
  for (const option of [...(schema.oneOf ?? []), ...(schema.anyOf ?? [])]) yield* keysOf(option, at);
}

const keys = [...keysOf(pathsJsonSchema())];

test("the JSON Schema that editors use is the schema that decides (renew it with vitest -u)", async () => {
  const text = await format(JSON.stringify(pathsJsonSchema()), { parser: "json", printWidth: 130 });
  await expect(text).toMatchFileSnapshot(join(docs, "paths.schema.json"));
});

test("every key has its words in the schema", () => {
  expect(keys.length).toBeGreaterThan(60);
  expect(keys.filter(([key, { description }]) => !description && !key.endsWith(".type")).map(([key]) => key)).toEqual([]);
});

test("every key has its row in docs/paths-json.md, with its default, and no row is of a key that is gone", async () => {
  const text = await readFile(join(docs, "paths-json.md"), "utf8");
  const rows = new Map([...text.matchAll(/^\| `([^`]+)` \|(.*)\|$/gm)].map(([, key = "", rest = ""]) => [key, rest]));
  expect([...rows.keys()].toSorted()).toEqual([...new Set(keys.map(([key]) => key))].toSorted());
  for (const [key, { default: value, type }] of keys)
    if (value !== undefined && type !== "object")
      expect(rows.get(key), `the default of ${key}`).toContain(`\`${JSON.stringify(value)}\``);
});

test("every example in docs/paths-json.md is accepted", async () => {
  const text = await readFile(join(docs, "paths-json.md"), "utf8");
  const examples = [...text.matchAll(/^```jsonc?\n([\s\S]*?)^```$/gm)].map(([, example = ""]) => example);
  expect(examples.length).toBeGreaterThan(3);
  for (const example of examples) await load(await rootWith(example));
});
