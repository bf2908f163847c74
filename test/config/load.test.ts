import fc from "fast-check";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findRoot, loadConfig } from "../../src/config/load.ts";
import type { Problem } from "../../src/config/problems.ts";
import { targetsFor } from "../../src/core/route.ts";
import { containing, load, picture, refused, rootWith, temporary } from "./root.ts";

const seven = {
  local_data_dir: "Data/",
  llama_input_path: "llama/input.txt",
  llama_output_path: "llama/output.json",
  memory_changelog: "logs/memory_changelog.json",
  upload_log: "logs/upload_log.json",
  archive_log: "logs/archive_log.json",
  drive_root: "Drive/MemoryVDB/",
};
const auth = "https://www.googleapis.com/auth/";
const cloud = { type: "gdrive", enabled: true };
const drive = { type: "folder", enabled: true, path: "./" };
const problemsOf = async (content: unknown) => {
  const error = await refused(load(await rootWith(content)));
  return { error, problems: (error.details.problems ?? []) as Problem[] };
};

describe("the original file", () => {
  test("is valid as it is, and means one Drive that nobody has signed in to", async () => {
    const root = await rootWith(seven);
    const config = await load(root);
    expect(config).toMatchObject({
      root,
      file: join(root, "paths.json"),
      dataDir: join(root, "Data"),
      archive: "Archive/",
      stateDir: join(root, ".aftersave"),
      backupDir: join(root, "backups"),
      logs: {
        changes: join(root, "logs/memory_changelog.json"),
        uploads: join(root, "logs/upload_log.json"),
        archives: join(root, "logs/archive_log.json"),
        rotate: null,
        keep: null,
      },
      llamaInput: join(root, "llama/input.txt"),
      llamaOutput: join(root, "llama/output.json"),
      driveRoot: "Drive/MemoryVDB/",
      driveToken: join(root, "drive_token.json"),
      driveClient: join(root, "drive_client.json"),
      routes: [],
      notActedOn: [],
      warnings: [],
    });
    expect(config.targets).toMatchObject([
      {
        name: "drive",
        type: "gdrive",
        enabled: true,
        root: "Drive/MemoryVDB/",
        attempts: 3,
        concurrency: null,
        bytesPerSecond: null,
        timeoutMs: null,
      },
    ]);
    expect(await load(await rootWith({}))).toMatchObject({ driveRoot: "Drive/MemoryVDB/", targets: config.targets });
  });

  test("the project's own file has one folder target", async () => {
    const config = await loadConfig({ root: join(import.meta.dirname, "../.."), cwd: "/", env: {}, targetTypes: ["folder"] });
    expect(config.targets).toMatchObject([{ name: "drive", type: "folder", enabled: true, options: { path: config.root } }]);
    expect(JSON.parse(await readFile(config.file, "utf8"))).toMatchObject(seven);
  });

  test("is frozen through and through", async () => {
    const config = await load(await rootWith({ ...seven, targets: { drive }, routes: [{ match: "**", targets: ["drive"] }] }));
    const frozen = (value: unknown): boolean =>
      typeof value !== "object" || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen));
    expect(frozen(config)).toBe(true);
  });
});

const example = `{
  "$schema": "./docs/paths.schema.json",
  "//": "comments are texts under this key",
  "targets": {
    "drive": { "type": "folder", "enabled": true, "path": "./" },            // holds <path>/Drive/MemoryVDB/…
    "cloud": { "type": "gdrive", "enabled": false,
               "shared_drive": "optional id", "auth": "service_account",
               "root_url": "https://www.googleapis.com/", "token_url": "https://oauth2.googleapis.com/token" },
    "store": { "type": "s3", "enabled": false, "bucket": "…", "prefix": "…", "region": "…", "endpoint": "…" }
  },
  "sources": { "models": { "path": "models/", "versions": false } },   /* a block comment */
  "routes": [
    { "match": "models/**", "targets": ["store"], "every": "30m", "new_files": "5m", "window": "22:00-06:00", "restore_on_start": true,
      "to": "{yyyy-MM-dd}/{key}", "compress": true, "encrypt": true },
    { "match": "**",        "targets": ["drive", "cloud"] },
  ],
}`;

describe("the contract's example", () => {
  test("is accepted, and says what this version does not act on", async () => {
    const config = await load(await rootWith(example));
    expect(config.notActedOn.map(({ path }) => path)).toEqual([
      "sources",
      ...["every", "new_files", "window", "restore_on_start", "to", "compress"].map((key) => `routes[0].${key}`),
    ]);
    expect(config.warnings).toEqual([containing("comments")]);
    expect(targetsFor("Meta/x.txt", config.routes, config.targets)).toEqual(["drive"]);
    expect(targetsFor("models/x.bin", config.routes, config.targets)).toEqual([]);
  });

  test("every other convenience is accepted, checked and named", async () => {
    const config = await load(
      await rootWith({
        ...seven,
        targets: { drive: { ...drive, credentials_key: "k" } },
        safe_when: 1,
        sync: { include: ["**"], exclude: ["tmp/**"], snapshot_prefix: "snap" },
        secrets: "allow",
        secrets_allowed: ["0123456789abcdef"],
        bundles: { keep_runs: 5, dedupe_uploads: true },
        hooks: { stale: { command: ["notify"], url: "https://x.test/y", notice: true } },
      }),
    );
    expect(config.notActedOn.map(({ path }) => path)).toEqual([
      "safe_when",
      "sync",
      "bundles",
      "hooks",
      "targets.drive.credentials_key",
    ]);
    for (const { why } of config.notActedOn) expect(why).toMatch(/^this version /);
  });

  test("what a zone's guard does not say, that of * says", async () => {
    const plain = { policy: "warn", keepBytes: 0.5, keepLines: 0.5, keepHeadings: 0.5, keepItems: 0.5 };
    const spree = { files: 10, bytes: 0.5, windowMs: 600_000 };
    expect((await load(await rootWith({ ...seven }))).guard).toEqual({ "*": { ...plain, spree } });
    expect((await load(await rootWith({ ...seven, guard: "hold" }))).guard).toEqual({ "*": { ...plain, policy: "hold", spree } });
    const guard = {
      "*": { policy: "hold", spree: { files: 5 } },
      Meta: { keep_lines: 0.3 },
      Core: "off",
      Logs: { spree: "off" },
    };
    const five = { ...spree, files: 5 };
    expect((await load(await rootWith({ ...seven, guard }))).guard).toEqual({
      "*": { ...plain, policy: "hold", spree: five },
      Meta: { ...plain, policy: "hold", keepLines: 0.3, spree: five },
      Core: { ...plain, policy: "off", spree: five },
      Logs: { ...plain, policy: "hold", spree: null },
    });
  });

  test("what is acted on arrives in units", async () => {
    const config = await load(
      await rootWith({
        ...seven,
        targets: {
          drive: { ...drive, root: "My Drive/M", attempts: 5, concurrency: 2, bytes_per_second: "1MB", timeout: "30s" },
          off: { type: "gdrive" },
        },
        logs: { rotate: "64KiB", keep: 4 },
        archive_dir: "./Old/Archive",
        retention: {
          Meta: { keep_last: 3, keep_within: "30d", on_targets: { off: { keep_daily: 7 }, "*": { keep_tag: ["kept"] } } },
          "*": { "//": "nothing is removed there" },
        },
      }),
    );
    expect(config.targets[0]).toMatchObject({
      root: "My Drive/M/",
      attempts: 5,
      concurrency: 2,
      bytesPerSecond: 1_000_000,
      timeoutMs: 30_000,
    });
    expect(config.targets[1]).toMatchObject({ enabled: false });
    expect(config.logs).toMatchObject({ rotate: 65_536, keep: 4 });
    expect(config.archive).toBe("Old/Archive/");
    expect(config.retention).toEqual({
      Meta: {
        here: { keep_last: 3, keep_within: 30 * 86_400_000 },
        targets: { off: { keep_daily: 7 }, "*": { keep_tag: ["kept"] } },
      },
      "*": { here: {}, targets: {} },
    });
  });
});

describe("values that are refused", () => {
  test.each<[string, object, string, string, string?]>([
    ["wrong type", { local_data_dir: 5 }, "local_data_dir", "text in double quotes"],
    ["null", { upload_log: null }, "upload_log", "text in double quotes"],
    ["empty path", { upload_log: "" }, "upload_log", "a path"],
    ["control character", { state_dir: "a\0b" }, "state_dir", "control characters"],
    ["unknown key", { upload_logs: "x" }, "upload_logs", "a known key", "upload_log"],
    ["other spelling", { driveRoot: "x" }, "driveRoot", "a known key", "drive_root"],
    ["unknown key, nothing near", { zzzzzz: 1 }, "zzzzzz", "a known key"],
    ["unknown key in a target", { targets: { d: { ...drive, enabld: true } } }, "targets.d.enabld", "a known key", "enabled"],
    ["another type's key", { targets: { d: { ...drive, scope: "x" } } }, "targets.d.scope", "a known key"],
    ["unknown key in a route", { routes: [{ match: "**", target: [] }] }, "routes[0].target", "a known key", "targets"],
    ["unknown key in logs", { logs: { rotat: "1MB" } }, "logs.rotat", "a known key", "rotate"],
    ["unknown key in sync", { sync: { excludes: [] } }, "sync.excludes", "a known key", "exclude"],
    ["unknown key in a source", { sources: { m: { path: "m", version: true } } }, "sources.m.version", "a known key", "versions"],
    ["unknown key in retention", { retention: { Meta: { keeplast: 1 } } }, "retention.Meta.keeplast", "a known key", "keep_last"],
    ["unknown policy for secrets", { secrets: { Meta: "hide" } }, "secrets.Meta", "allow"],
    ["no fingerprint", { secrets_allowed: ["ghp_"] }, "secrets_allowed[0]", "a fingerprint"],
    ["keeping none", { retention: { Meta: { keep_last: 0 } } }, "retention.Meta.keep_last", "1"],
    ["__proto__", JSON.parse('{"__proto__": {"upload_log": "x"}}') as object, "__proto__", "a known key"],
    ["comment that is no text", { "//": ["a"] }, "//", "a comment"],
    ["enabled as text", { targets: { d: { ...drive, enabled: "yes" } } }, "targets.d.enabled", "true or false"],
    ["no path", { targets: { d: { type: "folder" } } }, "targets.d.path", "text in double quotes"],
    ["no type", { targets: { d: { enabled: true } } }, "targets.d.type", "a type of target"],
    ["target as text", { targets: { d: "folder" } }, "targets.d", "an object in { }"],
    ["targets as list", { targets: [] }, "targets", "an object in { }"],
    ["target's name", { targets: { "../d": drive } }, "targets.../d", "a name of letters"],
    ["no tries", { targets: { d: { ...drive, attempts: 0 } } }, "targets.d.attempts", "at least 1"],
    ["too many tries", { targets: { d: { ...drive, attempts: 1000 } } }, "targets.d.attempts", "at most 100"],
    ["half a try", { targets: { d: { ...drive, attempts: 1.5 } } }, "targets.d.attempts", "a whole number"],
    ["duration without unit", { targets: { d: { ...drive, timeout: "5" } } }, "targets.d.timeout", "a duration"],
    ["duration as number", { targets: { d: { ...drive, timeout: 5 } } }, "targets.d.timeout", "a duration"],
    ["duration of nothing", { targets: { d: { ...drive, timeout: "0s" } } }, "targets.d.timeout", "a duration"],
    ["size without unit", { targets: { d: { ...drive, bytes_per_second: "5" } } }, "targets.d.bytes_per_second", "a size"],
    ["rotation without unit", { logs: { rotate: "5" } }, "logs.rotate", "a size such as 10MB, or off"],
    ["rotation as number", { logs: { rotate: 5 } }, "logs.rotate", "a size such as 10MB, or off"],
    ["keep none", { logs: { keep: 0 } }, "logs.keep", "at least 1"],
    [
      "plain http",
      { targets: { c: { type: "gdrive", root_url: "http://example.org/" } } },
      "targets.c.root_url",
      "an https address",
    ],
    [
      "http that only looks local",
      { targets: { c: { type: "gdrive", token_url: "http://localhost.example.org/" } } },
      "targets.c.token_url",
      "an https address",
    ],
    ["no address", { targets: { c: { type: "gdrive", token_url: "token" } } }, "targets.c.token_url", "an https address"],
    ["who signs in", { targets: { c: { type: "gdrive", auth: "users" } } }, "targets.c.auth", '"user"', "user"],
    ["empty pattern", { routes: [{ match: "" }] }, "routes[0].match", "a pattern"],
    ["no pattern", { routes: [{}] }, "routes[0].match", "text in double quotes"],
    ["hours", { routes: [{ match: "**", window: "25:00-06:00" }] }, "routes[0].window", "hours such as"],
    ["interval", { routes: [{ match: "**", every: "often" }] }, "routes[0].every", "a duration"],
    ["guard", { guard: "holt" }, "guard", '"hold"', "hold"],
    ["guard of a zone", { guard: { Meta: "holt" } }, "guard.Meta", '"hold"', "hold"],
    ["a word of a zone's guard", { guard: { Meta: { keep_line: 0.3 } } }, "guard.Meta.keep_line", "a known key", "keep_lines"],
    ["more than all of it", { guard: { "*": { keep_bytes: 50 } } }, "guard.*.keep_bytes", "a share from 0 to 1"],
    ["a spree of one", { guard: { "*": { spree: { files: 1 } } } }, "guard.*.spree.files", "at least 2"],
    ["a guard of all zones in many words", { guard: { policy: "hold", keep_lines: 0.2 } }, "guard.keep_lines", '"hold"'],
    ["safe when never", { safe_when: 0 }, "safe_when", "at least 1"],
    ["hook", { hooks: { stale: { command: "rm -rf" } } }, "hooks.stale.command", "a list in [ ]"],
    ["data outside", { local_data_dir: "../Data" }, "local_data_dir", "below the memory root"],
    ["data outside, absolute", { local_data_dir: "/data" }, "local_data_dir", "below the memory root"],
    ["data at home", { local_data_dir: "~/Data" }, "local_data_dir", "below the memory root"],
    ["data is the root", { local_data_dir: "./" }, "local_data_dir", "below the memory root"],
    [
      "a backslash does not hide it",
      { local_data_dir: "Data\\..\\..\\not-there-aftersave" },
      "local_data_dir",
      "below the memory root",
    ],
    ["log outside", { upload_log: "logs/../../u.json" }, "upload_log", "below the memory root"],
    ["llama outside", { llama_input_path: "../in" }, "llama_input_path", "below the memory root"],
    ["llama outside", { llama_output_path: "/out" }, "llama_output_path", "below the memory root"],
    ["archive outside", { archive_dir: "../Archive/" }, "archive_dir", "a relative folder"],
    ["archive is everything", { archive_dir: "./" }, "archive_dir", "a folder of its own"],
    ["archive absolute", { archive_dir: "/Archive/" }, "archive_dir", "a relative folder"],
    ["archive in our own folder", { archive_dir: ".aftersave/a" }, "archive_dir", "aftersave's own"],
    ["root climbs", { drive_root: "../x" }, "drive_root", "a relative folder"],
    ["root absolute", { drive_root: "/x" }, "drive_root", "a relative folder"],
    ["root no system can hold", { drive_root: "Drive/con/" }, "drive_root", "a relative folder"],
    ["target's root climbs", { targets: { d: { ...drive, root: "a/../../x" } } }, "targets.d.root", "a relative folder"],
    ["two logs in one file", { archive_log: "logs/upload_log.json" }, "archive_log", "a file of its own"],
    ["the same, in other words", { archive_log: "./logs/x/..//upload_log.json" }, "archive_log", "a file of its own"],
    ["the same, where case does not count", { archive_log: "Logs/Upload_Log.json" }, "archive_log", "a file of its own"],
    [
      "the same, in another Unicode form",
      { upload_log: "logs/\u00e9", archive_log: "logs/e\u0301" },
      "archive_log",
      "a file of its own",
    ],
    ["log is paths.json", { upload_log: "logs/../paths.json" }, "upload_log", "a file of its own"],
    ["log is the token", { upload_log: "drive_token.json" }, "upload_log", "a file of its own"],
    ["log is the model's output", { upload_log: "llama/output.json" }, "upload_log", "a file of its own"],
    ["log among the memory", { memory_changelog: "Data/log.json" }, "memory_changelog", "outside local_data_dir"],
    ["log in the state", { memory_changelog: ".aftersave/log.json" }, "memory_changelog", "outside state_dir"],
    ["token among the memory", { drive_token: "Data/Meta/token.json" }, "drive_token", "outside local_data_dir"],
    ["client among the memory", { drive_client: "data/client.json" }, "drive_client", "outside local_data_dir"],
    ["state among the memory", { state_dir: "Data/.aftersave" }, "state_dir", "a folder of its own"],
    ["state around everything", { state_dir: "./" }, "state_dir", "a folder of its own"],
    ["backups among the memory", { backup_dir: "Data/backups" }, "backup_dir", "outside local_data_dir"],
    ["mirror in the memory", { targets: { d: { ...drive, path: "Data/copy" } } }, "targets.d.path", "outside local_data_dir"],
    ["mirror is the memory", { targets: { d: { ...drive, root: "Data" } } }, "targets.d", "a folder of its own"],
    ["mirror in the memory by its root", { targets: { d: { ...drive, root: "data/x" } } }, "targets.d", "a folder of its own"],
    ["mirror around the memory", { targets: { d: { ...drive, root: "" } } }, "targets.d", "a folder of its own"],
    ["mirror around the root", { targets: { d: { ...drive, path: "..", root: "./" } } }, "targets.d", "a folder of its own"],
    [
      "mirror around deep memory",
      { local_data_dir: "a/Data", targets: { d: { ...drive, root: "a" } } },
      "targets.d",
      "a folder of its own",
    ],
    ["mirror in the state", { targets: { d: { ...drive, path: ".aftersave", root: "m" } } }, "targets.d", "a folder of its own"],
    ["mirror over the logs", { targets: { d: { ...drive, root: "logs" } } }, "targets.d", "a folder of its own"],
    ["disabled or not", { targets: { d: { ...drive, enabled: false, root: "" } } }, "targets.d", "a folder of its own"],
    [
      "a short scope",
      { targets: { c: { type: "gdrive", scope: "drive.file" } } },
      "targets.c.scope",
      "googleapis.com/auth/drive",
    ],
    [
      "a scope of others",
      { targets: { c: { type: "gdrive", scope: "https://evil.example/auth/drive" } } },
      "targets.c.scope",
      "Google",
    ],
    [
      "nobody to act for",
      { targets: { c: { type: "gdrive", auth: "service_account", impersonate: "me" } } },
      "targets.c.impersonate",
      "e-mail",
    ],
    [
      "a person acts for none",
      { targets: { c: { type: "gdrive", impersonate: "a@b.c" } } },
      "targets.c.impersonate",
      "service account",
    ],
    ["Drive's own top", { targets: { c: { type: "gdrive", root: "" } } }, "targets.c.root", "a folder of its own on Drive"],
    [
      "Drive's top by its name",
      { targets: { c: { type: "gdrive", root: "My Drive/" } } },
      "targets.c.root",
      "a folder of its own",
    ],
    [
      "Drive's top for all",
      { drive_root: "Drive", targets: { c: { type: "gdrive", enabled: true } } },
      "drive_root",
      "a folder of its",
    ],
    [
      "two mirrors in one place",
      { targets: { a: cloud, b: { ...cloud, root: "My Drive/MemoryVDB" } } },
      "targets.b",
      "place of its own",
    ],
    [
      "two accounts in one shared drive",
      { targets: { a: { ...cloud, shared_drive: "x" }, b: { ...cloud, shared_drive: "x", auth: "service_account" } } },
      "targets.b",
      "place of its own",
    ],
    ["two mirrors in one folder", { targets: { a: drive, b: { ...drive, path: "x/.." } } }, "targets.b", "a folder of its own"],
  ])("%s: %j", async (_, change, path, expected, nearest) => {
    const content = { ...seven, ...change };
    const { error, problems } = await problemsOf("__proto__" in change && Object.hasOwn(change, "__proto__") ? change : content);
    expect(error.code).toBe("E_CONFIG");
    expect(error.exit).toBe(2);
    expect(error.hint).toBeTruthy();
    expect(problems).toEqual([expect.objectContaining({ path, expected: containing(expected) })]);
    expect(problems[0]?.nearest).toBe(nearest);
    expect(error.message).toContain(path);
    expect(error.message).not.toContain("\n");
  });

  test.each<[string, object, string, string, string?]>([
    ["E_TARGET_TYPE", { targets: { d: { type: "foldr", path: "./" } } }, "targets.d.type", "folder, gdrive, s3", "folder"],
    ["E_TARGET_TYPE", { targets: { d: { type: "ftp", enabled: true } } }, "targets.d.type", "folder, gdrive, s3"],
    ["E_TARGET_TYPE", { targets: { d: { type: 7 } } }, "targets.d.type", "folder, gdrive, s3"],
    [
      "E_TARGET_UNKNOWN",
      { targets: { drive }, routes: [{ match: "**", targets: ["drvie"] }] },
      "routes[0].targets[0]",
      "the name of a target",
      "drive",
    ],
    [
      "E_TARGET_UNKNOWN",
      { targets: { drive }, retention: { Meta: { on_targets: { drvie: { keep_last: 1 } } } } },
      "retention.Meta.on_targets.drvie",
      "the name of a target",
      "drive",
    ],
    ["E_CONFIG_UNSUPPORTED", { targets: { s: { type: "s3", enabled: true, bucket: "b" } } }, "targets.s.enabled", "no s3 target"],
    [
      "E_CONFIG_UNSUPPORTED",
      { targets: { s: { type: "rclone", enabled: true, remote: "x:" } } },
      "targets.s.enabled",
      "no rclone target",
    ],
    [
      "E_CONFIG_UNSUPPORTED",
      { targets: { drive }, routes: [{ match: "x", targets: ["drive"], encrypt: true }] },
      "routes[0].encrypt",
      "cannot encrypt",
    ],
    [
      "E_CONFIG_UNSUPPORTED",
      { targets: { drive }, routes: [{ match: "x", encrypt: true }] },
      "routes[0].encrypt",
      "cannot encrypt",
    ],
  ])("%s: %j", async (code, change, path, expected, nearest) => {
    const { error, problems } = await problemsOf({ ...seven, ...change });
    expect(error).toMatchObject({ code, exit: 2 });
    expect(problems).toEqual([expect.objectContaining({ code, path, expected: containing(expected) })]);
    expect(problems[0]?.nearest).toBe(nearest);
  });

  test("all of them are listed at once", async () => {
    const { error, problems } = await problemsOf({
      local_data_dir: 5,
      upload_logs: "x",
      targets: { d: { type: "folder", enabld: 1 } },
      routes: [{}],
      "//": 1,
    });
    expect(problems.map(({ path }) => path).toSorted()).toEqual([
      "//",
      "local_data_dir",
      "routes[0].match",
      "targets.d.enabld",
      "targets.d.path",
      "upload_logs",
    ]);
    for (const { path } of problems) expect(error.message).toContain(`\n  ${path}: expected `);
    expect(error.message).toContain('did you mean "upload_log"?');
  });

  test("problems of several kinds are a configuration error", async () => {
    const { error, problems } = await problemsOf({
      upload_log: "../x",
      targets: { s: { type: "s3", enabled: true, bucket: "b" } },
    });
    expect(error.code).toBe("E_CONFIG");
    expect(problems.map(({ code }) => code).toSorted()).toEqual(["E_CONFIG", "E_CONFIG_UNSUPPORTED"]);
  });

  test("a password in an address is not repeated", async () => {
    const { error } = await problemsOf({ targets: { c: { type: "gdrive", root_url: "https://me:hunter2@x.test/" } } });
    expect(error.message).toContain("targets.c.root_url");
    expect(JSON.stringify([error.message, error.details])).not.toContain("hunter2");
  });
});

describe("values that are accepted", () => {
  test.each<[string, object]>([
    [
      "a protection for nobody",
      { targets: { drive, c: { type: "gdrive" } }, routes: [{ match: "**", targets: ["c"], encrypt: true }] },
    ],
    ["encryption switched off", { targets: { drive }, routes: [{ match: "**", encrypt: false }] }],
    ["secrets that go nowhere", { targets: { c: { type: "gdrive" } }, secrets: "block" }],
    ["a place that is off, as a sketch", { targets: { s: { type: "s3", bucket: "…", endpoint: "…", "//": "later" } } }],
    ["a preset without a path, off", { targets: { d: { type: "folder", preset: "dropbox" } } }],
    ["no target at all", { targets: {} }],
    ["loopback http", { targets: { c: { type: "gdrive", root_url: "http://127.0.0.1:8080/", token_url: "http://[::1]/t" } } }],
    [
      "two mirrors on Drive",
      { targets: { a: cloud, b: { ...cloud, root: "Drive/Other/" }, c: { ...cloud, shared_drive: "x" } } },
    ],
    ["two accounts", { targets: { a: cloud, b: { ...cloud, auth: "service_account", impersonate: "a@example.com" } } }],
    ["one place, one at a time", { targets: { a: cloud, b: { ...cloud, enabled: false } } }],
    ["two scopes", { targets: { a: { ...cloud, scope: `${auth}drive.file ${auth}drive.metadata.readonly` } } }],
    ["a mirror elsewhere, without a root", { targets: { d: { ...drive, path: "/mnt/usb/memory", root: "" } } }],
    ["a mirror beside the memory whose name begins alike", { targets: { d: { ...drive, root: "Database" } } }],
    ["logs whose folder begins like the memory's", { upload_log: "Database/u.json" }],
    [
      "comments everywhere",
      {
        "//": "a",
        targets: { "//": "b", drive: { ...drive, "//": "c" } },
        routes: [{ "//": "d", match: "**" }],
        logs: { "//": "e" },
      },
    ],
  ])("%s: %j", async (_, change) => {
    await load(await rootWith({ ...seven, ...change }));
  });

  test("state, credentials, backups and mirrors may lie anywhere, also at home", async () => {
    const away = await temporary();
    const config = await load(
      await rootWith({
        ...seven,
        state_dir: "~/.local/state/aftersave/x",
        backup_dir: "../b",
        drive_token: join(away, "t.json"),
        drive_client: "~/c.json",
        targets: { d: { ...drive, path: away } },
      }),
    );
    expect(config).toMatchObject({
      stateDir: join(homedir(), ".local/state/aftersave/x"),
      backupDir: join(config.root, "../b"),
      driveToken: join(away, "t.json"),
      driveClient: join(homedir(), "c.json"),
    });
    expect(config.targets[0]?.options).toMatchObject({ path: away });
  });

  test("a warning when nothing leaves this machine", async () => {
    expect((await load(await rootWith({ targets: { drive: { ...drive, enabled: false } } }))).warnings).toEqual([
      containing("no target is enabled"),
    ]);
  });

  test("a warning for a zone that is called almost as a folder is, and for no other", async () => {
    const warned = async (zones: Record<string, unknown>, ...folders: string[]) => {
      const root = await rootWith({ ...seven, targets: { drive: { ...drive, path: "mirror/" } }, ...zones });
      for (const folder of folders) await mkdir(join(root, "Data", folder), { recursive: true });
      if (folders.length > 0) await writeFile(join(root, "Data/cores"), "a file is no zone");
      return (await load(root)).warnings;
    };
    const rules = { guard: { meta: "hold" }, retention: { META: { keep_last: 1 } }, secrets: { Mata: "allow", root: "mask" } };
    expect(await warned(rules, "Meta", "Core")).toEqual([
      'guard.meta in paths.json is about no file: there is no folder "meta". Did you mean "Meta"?',
      'retention.META in paths.json is about no file: there is no folder "META". Did you mean "Meta"?',
      'secrets.Mata in paths.json is about no file: there is no folder "Mata". Did you mean "Meta"?',
      'secrets.root in paths.json is about no file: there is no folder "root". Did you mean "Root"?',
    ]);
    expect(await warned({ guard: { meta: "hold" } }, "meta")).toEqual([]);
    expect(await warned({ guard: { Meta: "hold", Beta: "off", "*": "warn", Root: "off" } }, "Meta")).toEqual([]);
    expect(await warned({ guard: { meta: "hold", Meta: "off" } }, "Meta")).toEqual([containing("guard.meta")]);
    expect(await warned({ guard: { Journal: "hold", archive: "off", core: "off" } }, "Meta", "Archive")).toEqual([]);
    expect(await warned(rules)).toEqual([containing("secrets.root")]);
  });
});

describe("what is on the disk", () => {
  test("a mirror that a link leads into the memory", async () => {
    const root = await rootWith({ ...seven, targets: { d: { ...drive, path: "link" } } });
    await mkdir(join(root, "Data"));
    await symlink("Data", join(root, "link"));
    expect((await refused(load(root))).message).toContain("targets.d.path");
  });

  test("two logs that a link makes one", async () => {
    const root = await rootWith({ ...seven, archive_log: "other/upload_log.json" });
    await mkdir(join(root, "logs"));
    await symlink("logs", join(root, "other"));
    expect((await refused(load(root))).message).toContain("the same file as upload_log");
  });

  test.each(["memory_changelog", "upload_log", "archive_log"] as const)("%s is a folder", async (log) => {
    const root = await rootWith(seven);
    await mkdir(join(root, seven[log]), { recursive: true });
    const error = await refused(load(root));
    expect(error).toMatchObject({ code: "E_LOG_PLACE", exit: 2, details: { problems: [{ path: log, found: "a folder" }] } });
  });

  test("a log below a file", async () => {
    const root = await rootWith(seven);
    await writeFile(join(root, "logs"), "");
    const error = await refused(load(root));
    expect(error.code).toBe("E_LOG_PLACE");
    expect(error.details.problems).toHaveLength(3);
  });

  test("a file where the memory should be", async () => {
    const root = await rootWith(seven);
    await writeFile(join(root, "Data"), "");
    expect(await refused(load(root))).toMatchObject({
      code: "E_CONFIG",
      details: { problems: [{ path: "local_data_dir", found: "a file" }] },
    });
  });

  test("state in a synchronised folder", async () => {
    const root = await rootWith(seven);
    await mkdir(join(root, ".dropbox.cache"));
    expect(await refused(load(root))).toMatchObject({
      code: "E_STATE_PLACE",
      message: containing("Dropbox"),
      hint: containing("state_dir"),
    });
  });
});

describe("the file itself", () => {
  test.each<[string, string, number, number, string]>([
    ["empty", "", 1, 1, "a value"],
    ["missing comma", '{\n  "a": 1\n  "b": 2\n}', 3, 3, "a comma"],
    ["missing colon", '{ "a" 1 }', 1, 7, "a colon"],
    ["missing brace", '{\n  "a": 1', 2, 9, "a closing }"],
    ["bare key", "{ a: 1 }", 1, 3, "a value"],
    ["open text", '{ "a": "b\n}', 1, 8, "a closing double quote"],
    ["bad escape", '{ "a": "\\x" }', 1, 8, "one of"],
    ["something behind", "{} {}", 1, 4, "the end of the file"],
    ["Windows line ends", '{\r\n"a": 1\r\n"b": 2}', 3, 1, "a comma"],
    ["an open comment", "{} /* ", 1, 4, "*/"],
  ])("%s", async (_, text, line, column, expected) => {
    const error = await refused(load(await rootWith(text)));
    expect(error).toMatchObject({ code: "E_CONFIG_SYNTAX", exit: 2, details: { line, column } });
    expect(error.details.expected).toContain(expected);
    expect(error.message).toContain(`line ${line}, column ${column}: expected `);
  });

  test("a byte order mark is fine, UTF-16 and Latin-1 are named", async () => {
    await load(await rootWith(`\uFEFF${JSON.stringify(seven)}`));
    await load(await rootWith(`\uFEFF// with a comment\n${JSON.stringify(seven)}`));
    expect(await refused(load(await rootWith(Buffer.from("\uFEFF{}", "utf16le"))))).toMatchObject({
      code: "E_CONFIG_SYNTAX",
      message: containing("UTF-16"),
    });
    expect(await refused(load(await rootWith(Buffer.from('{"a":"é"}', "latin1"))))).toMatchObject({
      code: "E_CONFIG_SYNTAX",
      message: containing("UTF-8"),
    });
  });

  test.each(["[]", "null", "5", '"x"'])("%s is no configuration", async (text) => {
    expect(await refused(load(await rootWith(text)))).toMatchObject({
      code: "E_CONFIG",
      message: containing("the whole file"),
    });
  });

  test.each([
    "[".repeat(200_000),
    `${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`,
    `{"targets":${"[".repeat(50_000)}${"]".repeat(50_000)}}`,
  ])("nesting without end", async (text) => {
    expect((await refused(load(await rootWith(text)))).code).toMatch(/^E_CONFIG/);
  });
});

describe("the memory root", () => {
  test("is the one asked for, the environment's, or the nearest upwards", async () => {
    const [near, other] = [await rootWith(seven), await rootWith(seven)];
    const below = join(near, "Data/Meta");
    await mkdir(below, { recursive: true });
    expect(await findRoot({ cwd: below, env: {} })).toBe(near);
    expect(await findRoot({ cwd: below, env: { AFTERSAVE_ROOT: "" } })).toBe(near);
    expect(await findRoot({ cwd: below, env: { AFTERSAVE_ROOT: other } })).toBe(other);
    expect(await findRoot({ cwd: below, env: { AFTERSAVE_ROOT: other }, root: "../.." })).toBe(near);
  });

  test.each([undefined, ".", "nowhere", "file/x"])("%s without a paths.json: E_NO_ROOT", async (root) => {
    const folder = await temporary();
    await writeFile(join(folder, "file"), "");
    await mkdir(join(folder, "sub/paths.json"), { recursive: true });
    const error = await refused(loadConfig({ root, cwd: join(folder, "sub"), env: {}, targetTypes: [] }));
    expect(error).toMatchObject({ code: "E_NO_ROOT", exit: 2, hint: containing("aftersave init") });
  });

  test("one that is asked for is not looked for upwards", async () => {
    const root = await rootWith(seven);
    await mkdir(join(root, "sub"));
    expect((await refused(load(join(root, "sub")))).code).toBe("E_NO_ROOT");
  });
});

test("types of the registry that the contract does not name are accepted", async () => {
  const root = await rootWith({ targets: { m: { type: "memory", enabled: true, anything: 1 } } });
  const config = await loadConfig({ root, cwd: root, env: {}, targetTypes: ["folder", "memory"] });
  expect(config.targets).toMatchObject([{ type: "memory", enabled: true, attempts: 3, options: { anything: 1 } }]);
  expect((await refused(load(root))).code).toBe("E_TARGET_TYPE");
});

test("loading never writes, whatever the file says", async () => {
  const keys = [
    ...Object.keys(seven),
    "archive_dir",
    "state_dir",
    "targets",
    "routes",
    "logs",
    "sources",
    "guard",
    "//",
    "nonsense",
  ];
  const value = fc.oneof(
    fc.constantFrom<unknown>(
      "Data/",
      "logs/x.json",
      "../x",
      "./",
      "",
      "off",
      "hold",
      "~",
      { drive },
      [{ match: "**", targets: ["drive"] }],
      { rotate: "1MB" },
    ),
    fc.jsonValue({ maxDepth: 3 }),
  );
  const file = fc.oneof(
    fc.dictionary(fc.constantFrom(...keys), value).map((o) => JSON.stringify(o)),
    fc.string(),
    fc.constant(example),
  );
  const root = await rootWith(seven);
  await mkdir(join(root, "Data/Meta"), { recursive: true });
  await fc.assert(
    fc.asyncProperty(file, async (text) => {
      await writeFile(join(root, "paths.json"), text);
      const before = await picture(root);
      const outcome = await load(root).then(
        () => "accepted",
        (error: unknown) => (error as { code?: string }).code ?? String(error),
      );
      expect(outcome).toMatch(/^(accepted|E_(CONFIG|TARGET|STATE|LOG)\w*)$/);
      expect(await picture(root)).toEqual(before);
    }),
    { numRuns: 300 },
  );
});

describe("every problem is listed at once", () => {
  const all = async (content: object) => (await problemsOf(content)).problems.map(({ path, code }) => `${path} ${code}`);

  test("those of places too, of what is right in itself", async () => {
    expect(await all({ upload_log: "logs/x.json", archive_log: "logs/x.json", bogus: 1 })).toEqual([
      "bogus E_CONFIG",
      "archive_log E_CONFIG",
    ]);
    const content = {
      local_data_dir: "../out",
      drive_token: 5,
      targets: { drive: { ...drive, enabled: "yes" }, other: { ...drive, path: "./", root: "logs/" } },
      routes: [{ match: 1 }, { match: "**", targets: ["drive", "nowhere"] }],
    };
    expect(await all(content)).toEqual([
      "drive_token E_CONFIG",
      "targets.drive.enabled E_CONFIG",
      "routes[0].match E_CONFIG",
      "local_data_dir E_CONFIG",
      "routes[1].targets[1] E_TARGET_UNKNOWN",
      "targets.other E_CONFIG",
    ]);
  });

  test.each([
    { state_dir: 5, upload_log: ".aftersave/x.json" },
    { drive_root: 5, targets: { drive: { ...drive, path: "./" } }, local_data_dir: "Drive/MemoryVDB/Data" },
    { local_data_dir: 5, upload_log: "Data/x.json", backup_dir: "Data/b" },
    { backup_dir: 5, local_data_dir: "backups" },
    { targets: 5, routes: [{ match: "**", targets: ["elsewhere"] }] },
  ])("one mistake is one problem, whatever its default would have been: %j", async (content) => {
    expect((await problemsOf(content)).problems).toHaveLength(1);
  });
});
