/**
 * The keys of each type of target in `paths.json`.
 * @module
 */
import { z } from "zod";
import { count, duration, isSafeUrl, path, SAFE_URL, size, url } from "./schema-words.ts";

/** Desktop clients whose folder a `folder` target can be. */
export const PRESETS = ["dropbox", "google-drive", "onedrive", "adobe", "proton"] as const;

export const common = {
  enabled: z.boolean().default(false).describe("Whether anything is sent there."),
  root: z.string().optional().describe("The folder at the target under which the mirror lies, as people read it."),
  attempts: count(1, 100).default(3).describe("Tries of one upload before its job is parked as failed."),
  concurrency: count(1, 64).optional().describe("Uploads at the same time; never more than the target itself allows."),
  bytes_per_second: size().optional().describe("Upload speed that is not exceeded, e.g. 1MB."),
  timeout: duration().optional().describe("How long one call to the target may take."),
  credentials_key: z.string().min(1).optional().describe("Name of the credentials in the vault."),
};

const folder = z.strictObject({
  type: z
    .literal("folder")
    .describe("What kind of place this is: `folder`, `gdrive`, `s3`, `webdav`, `dropbox`, `github`, `huggingface` or `rclone`."),
  ...common,
  path: path().optional().describe("The folder that holds the mirror at `<path>/<root>`. May lie outside the memory root."),
  preset: z
    .enum(PRESETS)
    .optional()
    .describe(
      "The desktop client whose folder it is. Without `path` the folder is looked for; what lies there is handed over, not verified.",
    ),
});

/** One, or several with a space between them. */
const SCOPES = /^https:\/\/www\.googleapis\.com\/auth\/[\w.]+( https:\/\/www\.googleapis\.com\/auth\/[\w.]+)*$/;

const gdrive = z.strictObject({
  type: z.literal("gdrive"),
  ...common,
  shared_drive: z.string().min(1).optional().describe("Id of a shared drive; without it, My Drive."),
  auth: z.enum(["user", "service_account", "adc"]).default("user").describe("Who signs in."),
  root_url: url().default("https://www.googleapis.com/").describe("Address of the API, for proxies and tests."),
  token_url: url().default("https://oauth2.googleapis.com/token").describe("Address that issues tokens."),
  scope: z
    .string()
    .regex(SCOPES, { error: "one of Google's scopes, written out: https://www.googleapis.com/auth/drive.file or .../auth/drive" })
    .default("https://www.googleapis.com/auth/drive.file")
    .describe("OAuth scope that is asked for."),
  writes_per_second: z
    .union([z.literal("off"), z.number().min(0.1).max(1000)], { error: "a number of writes from 0.1 up, or off" })
    .default(3)
    .describe("Writes per second that are sustained; Google allows an account about 3. `off`: as fast as it goes."),
  write_burst: count(1, 10_000).default(20).describe("Writes that may go at once before that pace holds."),
  impersonate: z
    .string()
    .regex(/^[^\s@]+@[^\s@]+\.[^\s@]+$/, { error: "the e-mail address of an account" })
    .optional()
    .describe("Account that a service account acts for (domain-wide delegation)."),
});

const s3 = z.strictObject({
  type: z.literal("s3"),
  ...common,
  bucket: z.string().min(1).describe("The bucket, which exists already."),
  prefix: z.string().min(1).optional().describe("Key prefix in the bucket, in front of `root`."),
  region: z.string().min(1).optional().describe("Region of the bucket; without it, what the environment or profile says."),
  endpoint: z.string().min(1).optional().describe("Address of the service, where it is not Amazon's own."),
  profile: z.string().min(1).optional().describe("Profile of ~/.aws/config; the environment's AWS_… otherwise."),
  path_style: z
    .boolean()
    .optional()
    .describe("Bucket in the path, not in the host name. Default: yes with an endpoint of your own."),
});

const webdav = z.strictObject({
  type: z.literal("webdav"),
  ...common,
  url: url().describe("Address of the folder that holds the mirror, e.g. https://cloud.example/remote.php/dav/files/me/."),
  user: z.string().min(1).optional().describe("User name."),
  password_file: path().optional().describe("File (mode 0600) with the password. Without it, AFTERSAVE_WEBDAV_PASSWORD."),
});

const dropbox = z.strictObject({
  type: z.literal("dropbox"),
  ...common,
  app_key: z.string().min(1).optional().describe("Key of your Dropbox app, with which `connect` signs in."),
  token_file: path()
    .default("dropbox_token.json")
    .describe("What `connect` stores. DROPBOX_TOKEN in the environment comes before it."),
  api_url: url().default("https://api.dropboxapi.com/").describe("Address of the API, for proxies and tests."),
  content_url: url().default("https://content.dropboxapi.com/").describe("Address that takes and gives content."),
});

const github = z.strictObject({
  type: z.literal("github"),
  ...common,
  repo: z
    .string()
    .regex(/^[\w.-]+\/[\w.-]+$/, { error: "a repository such as me/memory" })
    .describe("The repository, which exists already. Make it a private one."),
  tag: z.string().min(1).default("aftersave").describe("Tag of the release that holds the files; made when it is not there."),
  api_url: url().default("https://api.github.com/").describe("Address of the API (GitHub Enterprise, proxies, tests)."),
  uploads_url: url().default("https://uploads.github.com/").describe("Address that takes uploads."),
});

const huggingface = z.strictObject({
  type: z.literal("huggingface"),
  ...common,
  repo: z
    .string()
    .regex(/^[\w.-]+\/[\w.-]+$/, { error: "a repository such as me/memory" })
    .describe("The dataset repository, which exists already. Make it a private one."),
  branch: z.string().min(1).default("main").describe("Branch that is committed to."),
  hub_url: url().default("https://huggingface.co/").describe("Address of the hub, for proxies and tests."),
  commits_per_hour: count(1, 10_000).default(100).describe("Commits that are not exceeded; the hub allows about 128 an hour."),
});

const rclone = z.strictObject({
  type: z.literal("rclone"),
  ...common,
  remote: z
    .string()
    .regex(/^[^:\s]+:/, { error: "a remote such as onedrive: or sftp:backup" })
    .describe("Remote of rclone's own configuration, with the folder on it."),
  config: path().optional().describe("rclone's configuration file; its own default otherwise."),
  program: path().optional().describe("The rclone program; the one on PATH otherwise."),
});

/** Every type of target that has keys of its own. A type without a driver in this version may stand in the file while disabled. */
export const types = [
  folder.refine(({ path, preset }) => path !== undefined || preset !== undefined, {
    path: ["path"],
    error: "a path (text in double quotes), or a preset",
  }),
  gdrive,
  // a place that nothing is sent to may still be a sketch
  s3.refine(({ enabled, endpoint }) => !enabled || endpoint === undefined || isSafeUrl(endpoint), {
    path: ["endpoint"],
    error: SAFE_URL,
  }),
  webdav,
  dropbox,
  github,
  huggingface,
  rclone,
] as const;
