/**
 * Puts the driver's parts together: sign-in, Google's client, the pace of writes, reserved ids, folders.
 * @module
 */
import { AftersaveError } from "../../core/errors.ts";
import type { DriverContext } from "../shared/driver.ts";
import type { DriveApi } from "./api.ts";
import type { Credentials, CredentialsOptions } from "./credentials.ts";
import { createFolders, type Folders } from "./folders.ts";
import { createIds, type Ids } from "./ids.ts";
import { createJournal, type Journal } from "./journal.ts";
import { createPacer, paced } from "./pacer.ts";
import { createShelf, type Shelf } from "./shelf.ts";
import { createTwins, type Twins } from "./twins.ts";

export interface Drive {
  readonly api: DriveApi;
  readonly ids: Ids;
  readonly journal: Journal;
  readonly folders: Folders;
  readonly shelf: Shelf;
  readonly twins: Twins;
  /** How often in a row an etag had moved although the content had not. */
  readonly etags: { moved: number };
  close(): Promise<void>;
}

/** The keys that paths.json has for a target of type `gdrive`, after defaults. */
export interface GdriveOptions {
  readonly auth: "user" | "service_account" | "adc";
  readonly root_url: string;
  readonly token_url: string;
  readonly scope: string;
  readonly shared_drive?: string | undefined;
  readonly impersonate?: string | undefined;
  readonly writes_per_second: number | "off";
  readonly write_burst: number;
}

export const optionsOf = (context: DriverContext): GdriveOptions => context.options as unknown as GdriveOptions;

/** A call that gets no answer for so long has failed. */
const TIMEOUT_MS = 60_000;

/** What signing in needs to know of the target. */
export function credentialsOf(context: DriverContext): CredentialsOptions {
  const { name, tokenFile, clientFile, env, claim, clock, timeoutMs } = context;
  const { auth, root_url: rootUrl, token_url: tokenUrl, scope, impersonate } = optionsOf(context);
  return { name, tokenFile, clientFile, env, claim, clock, timeoutMs, auth, rootUrl, tokenUrl, scope, impersonate };
}

/** Google's client for this target, signed in; throws `E_TOKEN_MISSING` and the like. */
export async function openApi(context: DriverContext): Promise<{ api: DriveApi; credentials?: Credentials }> {
  if (context.client) return { api: (await import("./injected.ts")).createInjectedApi(context.client) };
  const { openCredentials } = await import("./credentials.ts");
  const credentials = await openCredentials(credentialsOf(context));
  const { root_url: rootUrl, shared_drive: sharedDrive } = optionsOf(context);
  const { createGoogleApi } = await import("./google.ts");
  return {
    credentials,
    api: createGoogleApi({ name: context.name, credentials, rootUrl, sharedDrive, timeoutMs: context.timeoutMs ?? TIMEOUT_MS }),
  };
}

/** The folders from the top of the drive to the mirror's root: a first one that stands for the drive itself is dropped. */
export async function rootOf(context: DriverContext, api: DriveApi): Promise<string[]> {
  const segments = context.root.split("/").filter((segment) => segment !== "");
  const [first] = segments;
  if (first === "Drive" || first === "My Drive") return segments.slice(1);
  const { shared_drive: id } = optionsOf(context);
  if (first === undefined || id === undefined) return segments;
  const known = (await context.memory.get("drive-name")) ?? (await api.sharedDrive(id)).name;
  await context.memory.set("drive-name", known);
  return first === known ? segments.slice(1) : segments;
}

export async function openDrive(context: DriverContext): Promise<Drive> {
  const { memory, claim, clock } = context;
  const { writes_per_second: perSecond, write_burst: burst, shared_drive: top = "root" } = optionsOf(context);
  const { api: plain } = await openApi(context);
  const api = paced(plain, createPacer({ perSecond, burst, clock }));
  const root = await rootOf(context, api);
  const ids = createIds({ api, memory, claim });
  const journal = createJournal(memory);
  const shelf = createShelf(api, clock);
  const folders = createFolders({
    api,
    ids,
    memory,
    claim,
    clock,
    top,
    root,
    onMade: (id) => shelf.isNew(id),
    onLost: (dir) => journal.lose(dir),
  });
  return {
    api,
    ids,
    journal,
    folders,
    shelf,
    twins: createTwins({ api, journal, memory, clock }),
    etags: { moved: 0 },
    close: () => ids.close().catch(ignoreClosed),
  };
}

/** Ids that cannot be given back are lost, and cost nothing. */
function ignoreClosed(error: unknown): void {
  if (!(error instanceof AftersaveError) || error.code !== "E_CLOSED") throw error;
}
