/**
 * Finds the memory root, reads its `paths.json` and answers one frozen `Config`. Reads only: nothing is ever written.
 * @module
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { z } from "zod";
import { AftersaveError, asAftersaveError, errnoOf } from "../core/errors.ts";
import { DEFAULT_GUARD, DEFAULT_SPREE, type GuardRules } from "../core/guard.ts";
import type { ArchiveFolder } from "../core/key.ts";
import { nearestOf } from "../core/nearest.ts";
import type { Rule } from "../core/retention.ts";
import { type Route, routeMatcher } from "../core/route.ts";
import {
  anywhere,
  checkDrives,
  checkPlaces,
  type DriveMirror,
  prefixOf,
  type Places,
  type Report,
  reporter,
  within,
} from "./places.ts";
import { clients, type Machine, type Preset, searchFolder } from "./presets.ts";
import { configError, expectation, type Problem, problemsOf, show } from "./problems.ts";
import { readData, withoutComments } from "./read.ts";
import type { PathsFile } from "./schema.ts";
import { badStatePlace, realPlace, sayPlace } from "./state-place.ts";
import { strangeZones } from "./zones.ts";

export const CONFIG_FILE = "paths.json";

export interface TargetConfig {
  readonly name: string;
  readonly type: string;
  readonly enabled: boolean;
  /** Key prefix of the mirror at the target, e.g. `Drive/MemoryVDB/`; empty for none. */
  readonly root: string;
  readonly attempts: number;
  /** Null: whatever the target allows. */
  readonly concurrency: number | null;
  /** Null: as fast as it goes. */
  readonly bytesPerSecond: number | null;
  /** Null: the driver's own. */
  readonly timeoutMs: number | null;
  /** The type's own keys as they stand in the file; a folder's `path` is absolute. With a `preset` it is the one that was found, and `client` the name of the desktop client. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** A key that is accepted and checked, and has no effect in this version. */
export interface NotActedOn {
  readonly path: string;
  readonly why: string;
}

/** One zone's rules; one that says nothing keeps everything. */
export interface ZoneRetention {
  /** For the archive copies on this machine. */
  readonly here: Rule;
  /** For those on a target, by its name (`*` for every other one). */
  readonly targets: Readonly<Record<string, Rule>>;
}

/** `paths.json` with every default filled in and every path absolute. Frozen. */
export interface Config {
  readonly root: string;
  /** The `paths.json` that was read. */
  readonly file: string;
  readonly dataDir: string;
  readonly archive: ArchiveFolder;
  readonly stateDir: string;
  readonly backupDir: string;
  readonly logs: {
    readonly changes: string;
    readonly uploads: string;
    readonly archives: string;
    /** Bytes at which a log starts a new file; null for never. */
    readonly rotate: number | null;
    /** Rotated files kept of the upload and archive log; null for all. The changelog's are always kept. */
    readonly keep: number | null;
  };
  readonly llamaInput: string;
  readonly llamaOutput: string;
  /** Key prefix such as `Drive/MemoryVDB/`; empty for none. */
  readonly driveRoot: string;
  readonly driveToken: string;
  readonly driveClient: string;
  readonly targets: readonly TargetConfig[];
  readonly routes: readonly Route[];
  /** What `prune` keeps, by zone (`*` for every other one); without a rule, everything. */
  readonly retention: Readonly<Record<string, ZoneRetention>>;
  /** What the guard asks of a save, by zone; `*`, which is always there, for every other one. */
  readonly guard: Readonly<Record<string, GuardRules>>;
  /** What happens to a file that seems to hold a secret. */
  readonly secrets: {
    /** By zone, `*` for every other one; what neither names is blocked. */
    readonly policies: Readonly<Record<string, "allow" | "mask" | "block">>;
    /** Fingerprints of what may leave all the same. */
    readonly allowed: readonly string[];
  };
  readonly notActedOn: readonly NotActedOn[];
  /** One sentence each. */
  readonly warnings: readonly string[];
}

export interface LoadOptions {
  /** The memory root that was asked for (`--root`), absolute or relative to `cwd`. */
  readonly root?: string | undefined;
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** The types that the registry has drivers for. */
  readonly targetTypes: readonly string[];
  /** Read in place of the file, to see whether a change of it would be right. */
  readonly instead?: Uint8Array | undefined;
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(errnoOf(error))) return false;
    throw asAftersaveError(error, `looking at ${path}`);
  }
}

/** The memory root: the one asked for, `AFTERSAVE_ROOT`, or the nearest folder upwards that has a `paths.json`. */
export async function findRoot({ root, cwd, env }: Pick<LoadOptions, "root" | "cwd" | "env">): Promise<string> {
  const asked = root ?? (env.AFTERSAVE_ROOT || undefined);
  const start = resolve(cwd, asked ?? ".");
  for (let at = start; ; at = dirname(at)) {
    if (await isFile(join(at, CONFIG_FILE))) return at;
    if (asked === undefined && dirname(at) !== at) continue;
    const where = asked === undefined ? `in ${start} or in a folder above it` : `in ${start}`;
    throw new AftersaveError("E_NO_ROOT", `there is no ${CONFIG_FILE} ${where}`, {
      hint: `Run \`aftersave init\` in the folder that should become the memory root, or name one with --root.`,
    });
  }
}

/**
 * Loads the configuration of a memory root. Throws `E_NO_ROOT`, `E_CONFIG_SYNTAX` (line, column) or an error that lists
 * every problem at once (`details.problems`); writes nothing, whatever happens.
 */
export async function loadConfig(options: LoadOptions): Promise<Config> {
  const root = await findRoot(options);
  const file = join(root, CONFIG_FILE);
  const bytes =
    options.instead ??
    (await readFile(file).catch((error: unknown) => {
      throw asAftersaveError(error, `reading ${file}`);
    }));
  const { data: raw, lenient } = await readData(bytes, file);
  const problems: Problem[] = [];
  const data = withoutComments(raw, problems);
  const { pathsSchema } = await import("./schema.ts");
  const schema = pathsSchema(options.targetTypes);
  // One parse per process: compiling the schema costs more than it saves.
  const parsed = schema.safeParse(data, { error: expectation, jitless: true });
  if (!parsed.success) {
    problems.push(...problemsOf(parsed.error.issues, schema, data));
    const right = schema.safeParse(rightOf(data, parsed.error.issues), { jitless: true });
    const names = namesOf(data);
    // what can be said of the rest is said at once; what cannot be looked at now is met again when the rest is put right
    if (right.success) await resolveConfig(root, file, right.data, options, problems, names).catch(() => undefined);
    throw configError(problems, file);
  }
  const config = await resolveConfig(root, file, parsed.data, options, problems, Object.keys(parsed.data.targets));
  if (problems.length > 0) throw configError(problems, file);
  const warnings = [
    ...(lenient ? [`${CONFIG_FILE} has comments or trailing commas; other programs may not be able to read it`] : []),
    ...(config.targets.some(({ enabled }) => enabled) ? [] : ["no target is enabled: saves are kept on this machine only"]),
    ...config.targets
      .filter(({ enabled, options }) => enabled && options["looked"] !== undefined)
      .map(({ name, options }) => `there is no folder of ${String(options["client"])} on this machine now: ${name} waits for it`),
    ...(await strangeZones(config)),
  ];
  return deepFreeze({ ...config, warnings });
}

/** `data` without what `issues` complain of: a whole key, one target, or one route (which keeps its place in the list). */
function rightOf(data: unknown, issues: readonly Pick<z.core.$ZodIssue, "path">[]): unknown {
  if (!isObject(data)) return data;
  const right = { ...data };
  if (isObject(right["targets"])) right["targets"] = { ...right["targets"] };
  if (Array.isArray(right["routes"])) right["routes"] = [...(right["routes"] as unknown[])];
  for (const issue of issues) {
    const [key, part] = issue.path.map(String);
    const value = key === undefined ? undefined : right[key];
    if (key === undefined) for (const name of "keys" in issue ? (issue.keys as string[]) : []) delete right[name];
    else if (part !== undefined && key === "targets" && isObject(value)) delete value[part];
    else if (part !== undefined && key === "routes" && Array.isArray(value)) value[Number(part)] = { match: "**" };
    else delete right[key];
  }
  return right;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The targets that the file names, right or wrong; undefined when that cannot be told. */
function namesOf(data: unknown): string[] | undefined {
  const targets = isObject(data) ? (data["targets"] ?? { drive: null }) : undefined;
  return isObject(targets) ? Object.keys(targets) : undefined;
}

async function resolveConfig(
  root: string,
  file: string,
  parsed: PathsFile,
  { env, targetTypes }: LoadOptions,
  problems: Problem[],
  names: readonly string[] | undefined,
): Promise<Config> {
  const report = reporter(problems);
  const below = (
    key: "local_data_dir" | "llama_input_path" | "llama_output_path" | "memory_changelog" | "upload_log" | "archive_log",
  ) => within(root, parsed[key], key, report);
  const archive = prefixOf(parsed.archive_dir, "archive_dir", report);
  if (archive === "") report("archive_dir", "a folder of its own below local_data_dir", show(parsed.archive_dir));
  const driveRoot = prefixOf(parsed.drive_root, "drive_root", report) ?? "";
  const { rotate, keep } = parsed.logs;
  const targets = await withFolders(targetsOf(parsed, root, driveRoot, report), root, env, report);
  const config: Config = {
    root,
    file,
    dataDir: below("local_data_dir"),
    archive: archive ?? "",
    stateDir: anywhere(root, parsed.state_dir),
    backupDir: anywhere(root, parsed.backup_dir),
    logs: {
      changes: below("memory_changelog"),
      uploads: below("upload_log"),
      archives: below("archive_log"),
      rotate: rotate === "off" ? null : rotate,
      keep: keep === "all" ? null : keep,
    },
    llamaInput: below("llama_input_path"),
    llamaOutput: below("llama_output_path"),
    driveRoot,
    driveToken: anywhere(root, parsed.drive_token),
    driveClient: anywhere(root, parsed.drive_client),
    targets,
    routes: await routesOf(parsed, archive ?? "", problems, names),
    retention: retentionOf(parsed, problems, names),
    guard: guardOf(parsed),
    secrets: {
      policies: typeof parsed.secrets === "string" ? { "*": parsed.secrets } : (parsed.secrets ?? {}),
      allowed: parsed.secrets_allowed,
    },
    notActedOn: notActedOn(parsed),
    warnings: [],
  };
  refusePretence(parsed, targets, targetTypes, report);
  const wrong = new Set(problems.map(({ path }) => path));
  if (wrong.has("drive_root"))
    for (const [name, own] of Object.entries(parsed.targets)) if (own.root === undefined) wrong.add(`targets.${name}.root`);
  await checkPlaces(placesOf(config), wrong, report);
  checkDrives(drivesOf(parsed, targets), wrong, report);
  const bad = wrong.has("state_dir") ? undefined : await badStatePlace(config.stateDir, env);
  if (bad)
    report("state_dir", "a folder on this machine's own disk that no sync client looks after", sayPlace(bad), "E_STATE_PLACE");
  return config;
}

/** What a zone does not say, `*` says. */
function guardOf({ guard = {} }: PathsFile): Config["guard"] {
  const byZone = typeof guard === "string" ? { "*": guard } : guard;
  const rulesOf = (zone: (typeof byZone)[string] | undefined, from: GuardRules): GuardRules => {
    if (zone === undefined) return from;
    if (typeof zone === "string") return { ...from, policy: zone };
    const { policy, keep_bytes, keep_lines, keep_headings, keep_items, spree } = zone;
    const { files, bytes, windowMs } = from.spree ?? DEFAULT_SPREE;
    return {
      policy: policy ?? from.policy,
      keepBytes: keep_bytes ?? from.keepBytes,
      keepLines: keep_lines ?? from.keepLines,
      keepHeadings: keep_headings ?? from.keepHeadings,
      keepItems: keep_items ?? from.keepItems,
      spree:
        spree === undefined
          ? from.spree
          : spree === "off"
            ? null
            : { files: spree.files ?? files, bytes: spree.bytes ?? bytes, windowMs: spree.window ?? windowMs },
    };
  };
  const all = rulesOf(byZone["*"], DEFAULT_GUARD);
  return { ...Object.fromEntries(Object.entries(byZone).map(([zone, own]) => [zone, rulesOf(own, all)])), "*": all };
}

function targetsOf(parsed: PathsFile, root: string, driveRoot: string, report: Report): TargetConfig[] {
  return Object.entries(parsed.targets).map(([name, entry]) => {
    const { type, enabled, root: own, attempts, concurrency, bytes_per_second, timeout, credentials_key: _, ...options } = entry;
    return {
      name,
      type,
      enabled,
      root: own === undefined ? driveRoot : (prefixOf(own, `targets.${name}.root`, report) ?? ""),
      attempts,
      concurrency: concurrency ?? null,
      bytesPerSecond: bytes_per_second ?? null,
      timeoutMs: timeout ?? null,
      options: absolute(root, options),
    };
  });
}

/** What this machine says of the folders of desktop clients. */
const machineOf = (env: NodeJS.ProcessEnv): Machine => ({
  platform: process.platform,
  home: homedir(),
  env,
  isFolder: (path) =>
    stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    ),
  list: (folder) => readdir(folder).catch(() => []),
  read: (file) => readFile(file, "utf8").catch(() => undefined),
  real: (folder) => realPlace(folder).catch(() => folder),
});

/**
 * Looks for the folder of each desktop client that is named without a path. Not found, or found more than once, is reported where the
 * target is enabled, never guessed.
 */
async function withFolders(
  targets: readonly TargetConfig[],
  root: string,
  env: NodeJS.ProcessEnv,
  report: Report,
): Promise<TargetConfig[]> {
  const resolved: TargetConfig[] = [];
  for (const target of targets) {
    const { name, enabled, options } = target;
    const preset = options["preset"] as Preset | undefined;
    if (preset === undefined) {
      resolved.push(target);
      continue;
    }
    const client = clients[preset].name;
    const named = options["path"];
    const { found, looked } =
      typeof named === "string" ? { found: [named], looked: [] } : await searchFolder(preset, machineOf(env));
    const [path] = found;
    const where = `targets.${name}.preset`;
    if (enabled && found.length > 1)
      report(where, `one folder of ${client} on this machine, or the "path" of one`, found.map((one) => show(one)).join(" and "));
    const only = path === undefined ? { looked } : found.length > 1 ? {} : { path: anywhere(root, path) };
    resolved.push({ ...target, options: { ...options, ...only, client } });
  }
  return resolved;
}

/** Files and folders that a target's own keys name. */
const PATHS = ["path", "password_file", "token_file", "config"];

const absolute = (root: string, options: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(
    Object.entries(options).map(([key, value]) => [
      key,
      PATHS.includes(key) && typeof value === "string" ? anywhere(root, value) : value,
    ]),
  );

async function routesOf(
  parsed: PathsFile,
  archive: ArchiveFolder,
  problems: Problem[],
  names: readonly string[] | undefined,
): Promise<Route[]> {
  if (!parsed.routes?.length) return [];
  const { default: picomatch } = await import("picomatch");
  return parsed.routes.map(({ match, targets: named }, i): Route => {
    for (const [j, name] of (named ?? []).entries()) problems.push(...unknownTarget(name, `routes[${i}].targets[${j}]`, names));
    const pattern = match.normalize("NFC");
    return { match, matches: routeMatcher(pattern, picomatch(pattern, { dot: true }), archive), targets: named ?? null };
  });
}

/** None when a target has this name, or when it cannot be told. */
const unknownTarget = (name: string, path: string, names: readonly string[] | undefined): Problem[] =>
  names === undefined || names.includes(name)
    ? []
    : [
        {
          code: "E_TARGET_UNKNOWN",
          path,
          expected: "the name of a target",
          found: show(name),
          nearest: nearestOf(name, names),
        },
      ];

function retentionOf(parsed: PathsFile, problems: Problem[], names: readonly string[] | undefined) {
  const zones = Object.entries(parsed.retention ?? {}).map(([zone, { on_targets: targets = {}, ...here }]) => {
    for (const name of Object.keys(targets))
      if (name !== "*") problems.push(...unknownTarget(name, `retention.${zone}.on_targets.${name}`, names));
    return [zone, { here, targets }] as const;
  });
  return Object.fromEntries(zones);
}

function placesOf(config: Config): Places {
  return {
    file: config.file,
    data: config.dataDir,
    state: config.stateDir,
    backups: config.backupDir,
    logs: { memory_changelog: config.logs.changes, upload_log: config.logs.uploads, archive_log: config.logs.archives },
    secrets: { drive_token: config.driveToken, drive_client: config.driveClient, ...ownSecrets(config.targets) },
    others: { llama_input_path: config.llamaInput, llama_output_path: config.llamaOutput },
    mirrors: config.targets
      .filter(({ type, options }) => type === "folder" && options.path !== undefined)
      .map(({ name, enabled, root, options }) => {
        const base = String(options.path);
        return { path: `targets.${name}`, enabled, base, folder: join(base, root) };
      }),
  };
}

/** Files with credentials that targets name; several may share one. */
function ownSecrets(targets: readonly TargetConfig[]): Record<string, string> {
  const files = new Map<string, string>();
  for (const { name, options } of targets)
    for (const key of ["token_file", "password_file"])
      if (typeof options[key] === "string" && !files.has(options[key])) files.set(options[key], `targets.${name}.${key}`);
  return Object.fromEntries([...files].map(([file, path]) => [path, file]));
}

function drivesOf(parsed: PathsFile, targets: readonly TargetConfig[]): DriveMirror[] {
  return targets
    .filter(({ type }) => type === "gdrive")
    .map(({ name, enabled, root, options }) => {
      const path = `targets.${name}`;
      return { path, rootPath: parsed.targets[name]?.root === undefined ? "drive_root" : `${path}.root`, enabled, root, options };
    });
}

/** Reports what would protect if this version could do it: to accept it in silence would be to pretend. */
function refusePretence(parsed: PathsFile, targets: readonly TargetConfig[], types: readonly string[], report: Report): void {
  const refuse = (path: string, expected: string, found: string) => report(path, expected, found, "E_CONFIG_UNSUPPORTED");
  const enabled = new Set(targets.filter((target) => target.enabled).map(({ name }) => name));
  for (const { name, type } of targets)
    if (enabled.has(name) && type !== "folder" && type !== "gdrive" && !types.includes(type))
      refuse(`targets.${name}.enabled`, `false, since this version has no ${type} target`, "true");
  for (const [i, route] of (parsed.routes ?? []).entries())
    if (route.encrypt === true && (route.targets ?? [...enabled]).some((name) => enabled.has(name)))
      refuse(`routes[${i}].encrypt`, "false, since this version cannot encrypt for a target", "true");
}

const ofLater: Partial<Record<keyof PathsFile, string>> = {
  sources: "this version does not mount other folders",
  safe_when: "this version reports each target by itself",
  sync: "this version has no whole-tree sync; routes say what leaves this machine",
  bundles: "this version makes no bundles",
  hooks: "this version raises no alarms",
};

function notActedOn(parsed: PathsFile): NotActedOn[] {
  const whole = Object.entries(ofLater)
    .filter(([key]) => parsed[key as keyof PathsFile] !== undefined)
    .map(([path, why]) => ({ path, why }));
  const timing = ["every", "new_files", "window", "restore_on_start", "to", "compress"] as const;
  const routes = (parsed.routes ?? []).flatMap((route, i) =>
    timing
      .filter((key) => route[key] !== undefined && route[key] !== false)
      .map((key) => ({
        path: `routes[${i}].${key}`,
        why: "this version sends every file at once, as it is, under its own name",
      })),
  );
  const vault = Object.entries(parsed.targets)
    .filter(([, entry]) => entry.enabled && entry.credentials_key !== undefined)
    .map(([name]) => ({ path: `targets.${name}.credentials_key`, why: "this version has no vault" }));
  return [...whole, ...routes, ...vault];
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
