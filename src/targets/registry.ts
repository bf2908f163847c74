/**
 * Which types of target there are. The only file besides `open.ts` that knows a provider's name; drivers are loaded
 * when a target is first used.
 * @module
 */
import type { Driver } from "./shared/driver.ts";

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** Parts of a path, those that are there, with one slash between them. */
const way = (root: string, ...parts: readonly unknown[]): string =>
  [...parts.map(textOf).flatMap((part) => part?.replace(/\/$/, "") ?? []), root].join("/");

export const drivers: Readonly<Record<string, Driver>> = {
  folder: {
    async open({ root, options, clock }) {
      const { openFolderTarget } = await import("./folder.ts");
      return openFolderTarget(root, options, clock);
    },
    traits: ({ client }) => ({
      atomicPut: true,
      guardedPut: false,
      identity: "path",
      listing: "immediate",
      hashes: client === undefined ? ["sha256"] : [],
      maxConcurrency: 4,
      handedTo: textOf(client),
    }),
    localPath: ({ path }) => textOf(path),
    async clear({ root, options }) {
      const { clearFolder } = await import("./folder.ts");
      await clearFolder(textOf(options["path"]) ?? "", root);
    },
  },
  gdrive: {
    async open(context) {
      const { createGdriveTarget } = await import("./gdrive.ts");
      return createGdriveTarget(context);
    },
    traits: () => ({
      atomicPut: true,
      guardedPut: true,
      identity: "id",
      listing: "eventual",
      caseSensitive: true,
      hashes: ["sha256", "md5"],
      maxConcurrency: 16,
    }),
    async clear(context) {
      const { clearFolder } = await import("./gdrive/clear.ts");
      await clearFolder(context);
    },
    placeOf: (root, options) => JSON.stringify([root, options["root_url"], options["shared_drive"] ?? null]),
    async *examine(context, waiting) {
      const { examineDrive } = await import("./gdrive/health.ts");
      return yield* examineDrive(context, waiting);
    },
    async connect(context, dialogue) {
      const { connect } = await import("./gdrive/sign-in.ts");
      return connect(context, dialogue);
    },
    async disconnect(context) {
      const { disconnect } = await import("./gdrive/sign-in.ts");
      return disconnect(context);
    },
  },
  s3: {
    async open(context) {
      const { openS3Target } = await import("./s3.ts");
      return openS3Target(context);
    },
    traits: () => ({ atomicPut: true, identity: "path", caseSensitive: true, hashes: ["sha256", "md5"], maxConcurrency: 16 }),
    where: (root, { bucket, prefix, endpoint }) =>
      `s3://${way(root, bucket, prefix)}${endpoint === undefined ? "" : ` at ${textOf(endpoint)}`}`,
    placeOf: (root, options) => JSON.stringify([root, options["endpoint"] ?? null, options["bucket"], options["prefix"] ?? null]),
  },
  github: {
    async open(context) {
      const { createGithubTarget } = await import("./github.ts");
      return createGithubTarget(context);
    },
    traits: () => ({
      atomicPut: true,
      guardedPut: false,
      identity: "path",
      listing: "immediate",
      caseSensitive: true,
      maxConcurrency: 2,
    }),
    where: (root, { repo, tag }) => `${root} in the release ${textOf(tag)} of ${textOf(repo)}`,
    placeOf: (root, options) => JSON.stringify([root, options["api_url"], options["repo"], options["tag"]]),
  },
  rclone: {
    async open(context) {
      const { openRcloneTarget } = await import("./rclone.ts");
      return openRcloneTarget(context);
    },
    traits: () => ({ guardedPut: false, identity: "path", listing: "immediate", maxConcurrency: 4 }),
    // what stands between a comma and the colon may be a password
    where: (root, { remote }) => `${/^:?[^:,]+(:.*)?/s.exec(String(remote))?.[0] ?? ""}/`.replace(/:\/$/, ":") + root,
    async clear(context) {
      const { clearRclone } = await import("./rclone.ts");
      await clearRclone(context);
    },
    placeOf: (root, options) => JSON.stringify([root, options["config"] ?? null, options["remote"]]),
  },
  dropbox: {
    async open(context) {
      const { openDropboxTarget } = await import("./dropbox.ts");
      return openDropboxTarget(context);
    },
    traits: () => ({
      atomicPut: true,
      guardedPut: true,
      identity: "path",
      listing: "immediate",
      caseSensitive: false,
      hashes: ["sha256", "dropbox"],
      maxConcurrency: 4,
    }),
    async clear(context) {
      const { clearDropbox } = await import("./dropbox.ts");
      await clearDropbox(context);
    },
    placeOf: (root, options) => JSON.stringify([root, options["api_url"], options["app_key"] ?? null]),
    async *examine(context, waiting) {
      const { examineDropbox } = await import("./dropbox/health.ts");
      return yield* examineDropbox(context, waiting);
    },
    async connect(context, dialogue) {
      const { connect } = await import("./dropbox/sign-in.ts");
      return connect(context, dialogue);
    },
    async disconnect(context) {
      const { disconnect } = await import("./dropbox/sign-in.ts");
      return disconnect(context);
    },
  },
  webdav: {
    async open(context) {
      const { openWebdavTarget } = await import("./webdav.ts");
      return openWebdavTarget(context);
    },
    traits: () => ({ atomicPut: true, identity: "path", listing: "immediate", hashes: ["sha256"], maxConcurrency: 8 }),
    where: (root, { url }) => way(root, url),
    async clear(context) {
      const { clearWebdav } = await import("./webdav.ts");
      await clearWebdav(context);
    },
    placeOf: (root, options) => JSON.stringify([root, options["url"], options["user"] ?? null]),
  },
};

export const targetTypes: readonly string[] = Object.keys(drivers);
