/** What is told of the drivers before they are opened: true, and what the README's table says. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { told } from "../../src/targets/describe.ts";
import { drivers } from "../../src/targets/registry.ts";
import type { DriverContext } from "../../src/targets/shared/driver.ts";
import { load, rootWith } from "../config/root.ts";

/** What a target of each type needs in paths.json to be valid. */
const least: Readonly<Record<string, object>> = {
  folder: { path: "./" },
  s3: { bucket: "mine", region: "eu-west-1" },
  webdav: { url: "https://cloud.example/dav/" },
  github: { repo: "me/memory" },
  huggingface: { repo: "me/memory" },
  rclone: { remote: "onedrive:" },
};

const FOUND = "found out there";
const said = (value: boolean | null, yes: string, no: string) => (value === null ? FOUND : value ? yes : no);

function row(name: string, traits: ReturnType<typeof told>): string {
  const { atomic, guarded, hashes, case_sensitive, listing, concurrency } = traits;
  const proof = hashes === null ? FOUND : hashes.length === 0 ? "none: handed over" : hashes.join(", ");
  const cells = [
    `\`${name}\``,
    said(atomic, "yes", "no"),
    said(guarded, "by the place", "just before"),
    proof,
    said(case_sensitive, "yes", "no"),
    listing === null ? FOUND : listing === "immediate" ? "at once" : "may lag",
    concurrency === null ? FOUND : String(concurrency),
  ];
  return `| ${cells.join(" | ")} |`;
}

const table = () => [
  "| type | whole files only | an edit of someone else is noticed | proof by | `A` is not `a` | lists | at a time |",
  "| --- | --- | --- | --- | --- | --- | --- |",
  ...Object.entries(drivers).flatMap(([type, { traits }]) => [
    row(type, told(traits?.({}) ?? {})),
    ...(type === "folder" ? [row("folder` with a `preset", told(traits?.({ client: "any" }) ?? {}))] : []),
  ]),
];

test("the README's table is what the drivers say (renew it with vitest -u)", async () => {
  const file = resolve("README.md");
  const text = readFileSync(file, "utf8");
  const [before, after] = [text.split("<!-- traits -->\n")[0], text.split("<!-- /traits -->")[1]];
  expect(after, "the marks around the table").toBeDefined();
  await expect(`${before}<!-- traits -->\n${table().join("\n")}\n<!-- /traits -->${after}`).toMatchFileSnapshot(file);
});

test.each(Object.keys(drivers))("%s: what is told before it is opened is what it promises", async (type) => {
  const root = await rootWith({ targets: { it: { type, ...least[type] } } });
  const [target] = (await load(root)).targets;
  const driver = drivers[type];
  const folder = mkdtempSync(join(tmpdir(), "aftersave-traits-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const context: DriverContext = {
    name: "it",
    root: "Drive/MemoryVDB/",
    options: target?.options ?? {},
    tokenFile: join(folder, "token.json"),
    clientFile: join(folder, "client.json"),
    timeoutMs: null,
    env: {},
    memory: {
      get: () => Promise.resolve(undefined),
      set: () => Promise.resolve(),
      delete: () => Promise.resolve(),
      list: () => Promise.resolve([]),
    },
    claim: () => Promise.resolve(() => undefined),
    clock: { now: () => Date.now(), sleep: () => Promise.resolve() },
  };
  const opened = await driver?.open(context);
  onTestFinished(() => opened?.close());
  const before = driver?.traits?.(context.options) ?? {};
  expect(Object.keys(before).length, "it tells something").toBeGreaterThan(2);
  expect(opened?.traits).toMatchObject(Object.fromEntries(Object.entries(before).filter(([, value]) => value !== undefined)));
});
