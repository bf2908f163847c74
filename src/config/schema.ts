/**
 * The one description of `paths.json`: types, defaults, words for people and JSON Schema all come from here.
 * Loaded only when a configuration is read, because zod costs time at start.
 * @module
 */
import { z } from "zod";
import { common, types } from "./schema-targets.ts";
import { count, duration, glob, name, path, size, url, zone } from "./schema-words.ts";

const target = (otherTypes: readonly string[]) => {
  const other = otherTypes.filter((type) => !types.some((known) => known.shape.type.value === type));
  const [first, ...rest] = other;
  return z.discriminatedUnion(
    "type",
    first === undefined ? types : [...types, z.looseObject({ type: z.enum([first, ...rest]), ...common })],
  );
};

const route = z.strictObject({
  match: glob().describe("Pattern over keys (`*` within a segment, `**` over segments, `{a,b}`, dotfiles included)."),
  targets: z.array(z.string()).optional().describe("Names of targets. Left out: every enabled one. Empty: the files stay here."),
  every: duration().optional().describe("Interval of a full pass."),
  new_files: duration().optional().describe("How soon a file that is new goes, when that is sooner."),
  window: z
    .string()
    .regex(/^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$/, { error: "hours such as 22:00-06:00" })
    .optional()
    .describe("Hours of the day, local time, in which the route may run."),
  restore_on_start: z.boolean().optional().describe("Fetch what is missing here when aftersave starts."),
  to: z.string().min(1).optional().describe("Path at the target, e.g. `{yyyy-MM-dd}/{key}`."),
  compress: z.boolean().optional().describe("Store compressed."),
  encrypt: z.boolean().optional().describe("Store encrypted. Refused while this version cannot do it."),
});

const keep = () => count(1, 1_000_000).optional();
const rule = {
  keep_last: keep().describe("Newest versions that are kept."),
  keep_within: duration().optional().describe("Every version that is less than this older than the newest one is kept."),
  keep_hourly: keep().describe("Hours of which the last version is kept."),
  keep_daily: keep().describe("Days of which the last version is kept."),
  keep_weekly: keep().describe("Weeks of which the last version is kept."),
  keep_monthly: keep().describe("Months of which the last version is kept."),
  keep_yearly: keep().describe("Years of which the last version is kept."),
  keep_tag: z.array(z.string().min(1)).optional().describe("Versions with one of these tags are kept."),
};
const retention = z.strictObject({
  ...rule,
  on_targets: z
    .record(z.union([z.literal("*"), name("a target")]), z.strictObject(rule))
    .optional()
    .describe("The same for the copies on targets, by target (`*` for every other one)."),
});

const share = (of: string) =>
  z
    .number({ error: "a share from 0 to 1" })
    .min(0, { error: "a share from 0 to 1" })
    .max(1, { error: "a share from 0 to 1" })
    .optional()
    .describe(`Share of the ${of} that a replace keeps at least; 0 looks at none. Default 0.5.`);
const policy = () => z.enum(["off", "warn", "hold"]);
const guardZone = z.strictObject({
  policy: policy().optional().describe("What happens to a save that looks like damage."),
  keep_bytes: share("bytes"),
  keep_lines: share("lines"),
  keep_headings: share("headings"),
  keep_items: share("list items"),
  spree: z
    .union(
      [
        z.literal("off"),
        z.strictObject({
          files: count(2, 1_000_000).optional().describe("Files archived or replaced by one session. Default 10."),
          bytes: share("zone's bytes").describe(
            "Share of the zone's bytes that one session takes away; 0 looks at none. Default 0.5.",
          ),
          window: duration().optional().describe("Within this time. Default 10m."),
        }),
      ],
      { error: "an object with files, bytes and window, or off" },
    )
    .optional()
    .describe("Many files archived or replaced in a short time."),
});

const perZone = <P extends z.ZodType, Z extends z.ZodType = P>(all: P, each?: Z) => z.union([all, z.record(zone(), each ?? all)]);

function build(otherTypes: readonly string[]) {
  return z.strictObject({
    $schema: z.string().optional().describe("Where an editor finds the JSON Schema of this file."),
    local_data_dir: path().default("Data/").describe("The memory files. Keys are paths below it."),
    llama_input_path: path().default("llama/input.txt").describe("What a local LLaMA reads."),
    llama_output_path: path().default("llama/output.json").describe("What a local LLaMA writes; read by `ingest --llama`."),
    memory_changelog: path().default("logs/memory_changelog.json").describe("The list of versions, one JSON line each."),
    upload_log: path().default("logs/upload_log.json").describe("One JSON line per upload."),
    archive_log: path().default("logs/archive_log.json").describe("One JSON line per archive copy."),
    drive_root: z
      .string()
      .default("Drive/MemoryVDB/")
      .describe("The folder at a target that holds the mirror, as people read it."),
    archive_dir: path().default("Archive/").describe("Older contents, below `local_data_dir`."),
    state_dir: path().default(".aftersave/").describe("aftersave's own state: the SQLite file, heads, locks."),
    backup_dir: path().default("backups/").describe("Where backups are written."),
    drive_token: path().default("drive_token.json").describe("Google credentials: what `connect` writes, or Google's own files."),
    drive_client: path().default("drive_client.json").describe("The OAuth client that `connect` uses."),
    targets: z
      .record(name("a name"), target(otherTypes))
      .prefault({ drive: { type: "gdrive", enabled: true } })
      .describe("Places that hold a mirror, by name."),
    routes: z.array(route).optional().describe("Which files go where. The first match wins."),
    sources: z
      .record(
        name("a zone"),
        z.strictObject({
          path: path().describe("A folder that appears as this zone. May lie outside the memory root."),
          versions: z.boolean().default(true).describe("`false`: mirrored, but no archive, head or guard."),
        }),
      )
      .optional()
      .describe("Other folders, mounted as zones."),
    logs: z
      .strictObject({
        rotate: z
          .union([z.literal("off"), size()], { error: "a size such as 10MB, or off" })
          .default("off")
          .describe("Size at which a log starts a new file."),
        keep: z
          .union([z.literal("all"), count(1, 100_000)], { error: "a number of files, or all" })
          .default("all")
          .describe("Rotated files that are kept of a log; the changelog's are always kept."),
      })
      .prefault({})
      .describe("Rotation of the three logs."),
    safe_when: z
      .union([z.literal("all"), count(1, 1000)], { error: "a number of targets, or all" })
      .optional()
      .describe("How many targets must have verified a save before it is called safe."),
    sync: z
      .strictObject({
        include: z.array(glob()).optional().describe("Keys that a whole-tree `sync` looks at."),
        exclude: z.array(glob()).optional().describe("Keys that a whole-tree `sync` leaves out."),
        snapshot_prefix: z.string().optional().describe("Folder at the target under which snapshots lie."),
      })
      .optional()
      .describe("Whole-tree sync."),
    guard: perZone(policy(), z.union([policy(), guardZone]))
      .optional()
      .describe("What happens to a save that looks like damage, for all zones or per zone."),
    retention: z
      .record(zone(), retention)
      .optional()
      .describe("Which versions `prune` keeps copies of, per zone. Without a rule, all of them."),
    secrets: perZone(z.enum(["allow", "mask", "block"]))
      .optional()
      .describe("What happens to a file that seems to hold a secret, for all zones or per zone. Without it, `block`."),
    secrets_allowed: z
      .array(z.string().regex(/^[0-9a-f]{16}$/, { error: "a fingerprint as `aftersave secrets` shows it" }))
      .default([])
      .describe("Fingerprints of what looks like a secret and may leave this machine."),
    bundles: z
      .strictObject({
        keep_runs: keep().describe("Runs that are kept."),
        dedupe_uploads: z.boolean().optional().describe("Do not send the same bundle twice."),
      })
      .optional()
      .describe("Bundles of what changed between two runs."),
    hooks: z
      .record(
        name("an event"),
        z.strictObject({
          command: z.array(z.string().min(1)).min(1).optional().describe("Program and arguments to run."),
          url: url().optional().describe("Address that is sent the event."),
          notice: z.boolean().optional().describe("Show a desktop notice."),
        }),
      )
      .optional()
      .describe("Alarms, by event."),
  });
}

export type PathsSchema = ReturnType<typeof build>;
/** `paths.json` after defaults and units, before any path is resolved. */
export type PathsFile = z.output<PathsSchema>;

/** The schema, for a registry with these target types. */
export function pathsSchema(targetTypes: readonly string[] = []): PathsSchema {
  return build(targetTypes);
}

/** The JSON Schema of `paths.json` as editors use it; `docs/paths.schema.json` is this. */
export function pathsJsonSchema(): Record<string, unknown> {
  const comment = { type: "string", description: "A comment." };
  return z.toJSONSchema(pathsSchema(), {
    io: "input",
    override: ({ jsonSchema }) => {
      if (jsonSchema.type !== "object") return;
      jsonSchema.properties = { ...jsonSchema.properties, "//": comment } as typeof jsonSchema.properties;
      if (jsonSchema.propertyNames !== undefined)
        jsonSchema.propertyNames = { anyOf: [{ const: "//" }, jsonSchema.propertyNames] } as typeof jsonSchema.propertyNames;
    },
  });
}
