import { afterAll, beforeAll, expect, test } from "vitest";
import { type DriveEmulator, startDriveEmulator } from "../../src/testing/index.ts";
import { call, FOLDER, json } from "./drive-emulator.helper.ts";

let drive: DriveEmulator;
let folder: string;
let target: string;
beforeAll(async () => {
  drive = await startDriveEmulator({ seed: 3, clock: { now: () => Date.parse("2026-11-21T12:00:00Z") } });
  const { account } = drive;
  folder = account.addFolder("F").id;
  target = account.addFile("F/a.md", "1", {
    mimeType: "text/markdown",
    appProperties: { k: "v" },
    modifiedTime: Date.parse("2020-01-01T00:00:00Z"),
  }).id;
  account.addFile("F/Quinn's paper\\essay", "2", { mimeType: "text/plain", properties: { open: "yes" } });
  account.addFile("HelloWorld report-2024.md", "3", { description: "quarterly figures" });
  account.addFile("café", "4");
  account.addFile("gone", "5");
  account.trash("gone");
  await call(drive, "PATCH", `drive/v3/files/${target}`, {
    body: JSON.stringify({ starred: true, modifiedTime: "2020-01-01T00:00:00Z" }),
  });
  const shortcut = { name: "link", mimeType: "application/vnd.google-apps.shortcut", shortcutDetails: { targetId: target } };
  await call(drive, "POST", "drive/v3/files", { body: JSON.stringify(shortcut) });
});
afterAll(() => drive.close());

const SHORT: Readonly<Record<string, string>> = {
  "a.md": "a",
  F: "F",
  "Quinn's paper\\essay": "Q",
  "HelloWorld report-2024.md": "H",
  café: "c",
  gone: "g",
  link: "l",
};
const found = async (q: string, path = "drive/v3/files") => {
  const text = q.replaceAll("FOLDER", folder).replaceAll("TARGET", target);
  const answer = await call(drive, "GET", `${path}?q=${encodeURIComponent(text)}&orderBy=createdTime`);
  if (answer.status !== 200) return answer.status;
  const body = JSON.parse(answer.text) as { files?: Array<{ name: string }>; items?: Array<{ title: string }> };
  const names = body.files?.map(({ name }) => name) ?? body.items?.map(({ title }) => title) ?? [];
  const letters = names.map((name) => SHORT[name] ?? "?");
  return letters.toSorted((left, right) => (left < right ? -1 : 1)).join("");
};

test.each([
  ["", "FHQacgl"],
  ["trashed = false", "FHQacl"],
  ["trashed=true", "g"],
  ["trashed!=true", "FHQacl"],
  ["name = 'A.MD'", "a"],
  ["name='a.md'", "a"],
  ["name != 'a.md' and trashed = false", "FHQcl"],
  ["not name = 'a.md' and trashed = false", "FHQcl"],
  ["name = 'quinn\\'s paper\\\\essay'", "Q"],
  ["name contains 'hello'", "H"],
  ["name contains 'World'", ""],
  ["name contains 'rep hel'", "H"],
  ["name contains '2024'", "H"],
  ["name = 'CAFÉ'", "c"],
  ["name = 'cafe\u0301'", "c"],
  ["fullText contains 'figures'", 400],
  ["'FOLDER' in parents", "Qa"],
  ["'root' in parents and trashed = false", "FHcl"],
  ["trashed=false and ('FOLDER' in parents)", "Qa"],
  ["trashed=false and ('FOLDER' in parents or 'root' in parents)", "FHQacl"],
  [
    `trashed=false and ('root' in parents) and (name='f') and (mimeType='${FOLDER}' or mimeType='application/vnd.google-apps.shortcut')`,
    "F",
  ],
  ["mimeType contains 'text/' and trashed=false", "Qa"],
  [`mimeType != '${FOLDER}' and 'root' in parents`, "Hcgl"],
  ["appProperties has { key='k' and value='v' }", "a"],
  ["appProperties has {key='k' and value='V'}", ""],
  ["appProperties has { key='open' and value='yes' }", ""],
  ["properties has { key='open' and value='yes' }", "Q"],
  ["modifiedTime < '2020-06-01T00:00:00'", "a"],
  ["modifiedTime = '2020-01-01T01:00:00+01:00'", "a"],
  ["modifiedTime >= '2026-11-21T12:00:00.000Z' and trashed=false", "FHQcl"],
  ["createdTime > '2026-11-22'", ""],
  ["starred = true", "a"],
  ["'me' in owners and starred=true", "a"],
  ["'someone@example.com' in writers and starred=true", "a"],
  ["'nobody@example.com' in readers", ""],
  ["sharedWithMe", 400],
  ["sharedWithMe = true", ""],
  ["shortcutDetails.targetId = 'TARGET'", "l"],
  ["visibility = 'limited' and starred = true", "a"],
  // From left to right, without precedence.
  ["starred = true or name = 'gone' and trashed = true", "g"],
  ["starred = true or (name = 'gone' and trashed = true)", "ag"],
  ["not (starred = true or trashed = true)", "FHQcl"],
  ["id = 'x'", 400],
  ["parents in 'root'", 400],
  ["title = 'a.md'", 400],
  ["name = 'a.md' trashed = false", 400],
  ["name = a.md", 400],
  ["name == 'a.md'", 400],
  ['name = "a.md"', 400],
  ["name = 'a.md", 400],
  ["name > 'a.md'", 400],
  ["(name = 'a.md'", 400],
  ["name = 'a.md')", 400],
  ["name = 'a.md' and", 400],
  ["and", 400],
  ["trashed = 'false'", 400],
  ["trashed", 400],
  ["mimeType has 'x'", 400],
  ["appProperties has { key='k' }", 400],
  ["appProperties contains 'k'", 400],
  ["modifiedTime > 'yesterday'", 400],
  ["size > 5", 400],
  ["'root' in children", 400],
  ["visibility = 'public'", 400],
  ["true", 400],
])("q: %s", async (q, expected) => {
  expect(await found(q)).toBe(expected);
});

test("version 2 has other words", async () => {
  const v2 = (q: string) => found(q, "drive/v2/files");
  expect(await v2("title = 'A.md' and modifiedDate < '2021-01-01T00:00:00'")).toBe("a");
  expect(await v2("properties has { key='k' and value='v' and visibility='PRIVATE' }")).toBe("a");
  expect(await v2("properties has { key='k' and value='v' and visibility='PUBLIC' }")).toBe("");
  expect(await v2("modifiedTime < '2021-01-01T00:00:00'")).toBe(400);
});

test("a query may come as a form in a POST, when it is too long for an address", async () => {
  const form = new URLSearchParams({ q: "starred = true", fields: "files(name)" });
  const answer = await call(drive, "POST", "drive/v3/files", {
    body: form.toString(),
    headers: { "x-http-method-override": "GET", "content-type": "application/x-www-form-urlencoded" },
  });
  expect(JSON.parse(answer.text)).toEqual({ files: [{ name: "a.md" }] });
});

test("plus signs are blanks in q; sorting with fullText is refused", async () => {
  const { files } = (await json(drive, "GET", "drive/v3/files?q=starred+%3D+true")) as { files: object[] };
  expect(files).toHaveLength(1);
  expect(await found("fullText contains 'x'")).toBe(400);
  const plain = await call(drive, "GET", `drive/v3/files?q=${encodeURIComponent("fullText contains 'figures'")}`);
  expect(plain.status).toBe(200);
});
