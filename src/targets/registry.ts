/**
 * Which types of target there are. The only file besides `open.ts` that knows a provider's name; drivers are loaded
 * when a target is first used.
 * @module
 */
import type { Driver } from "./shared/driver.ts";

export const drivers: Readonly<Record<string, Driver>> = {
  folder: {
    async open({ root, options, clock }) {
      const { createFolderTarget } = await import("./folder.ts");
      return createFolderTarget({ path: String(options["path"]), root, clock });
    },
    localPath: (options) => String(options["path"]),
  },
  gdrive: {
    async open(context) {
      const { createGdriveTarget } = await import("./gdrive.ts");
      return createGdriveTarget(context);
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
    placeOf: (root, options) => JSON.stringify([root, options["endpoint"] ?? null, options["bucket"], options["prefix"] ?? null]),
  },
  github: {
    async open(context) {
      const { createGithubTarget } = await import("./github.ts");
      return createGithubTarget(context);
    },
    placeOf: (root, options) => JSON.stringify([root, options["api_url"], options["repo"], options["tag"]]),
  },
};

export const targetTypes: readonly string[] = Object.keys(drivers);
