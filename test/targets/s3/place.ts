import { setTimeout as pause } from "node:timers/promises";
import { S3 } from "@aws-sdk/client-s3";
import type { DriverMemory, Target } from "../../../src/core/target.ts";
import { openS3Target, type S3Tuning } from "../../../src/targets/s3.ts";
import type { DriverContext } from "../../../src/targets/shared/driver.ts";

/** A driver's memory that lives as long as the test. */
export function memoryOf(values = new Map<string, string>()): DriverMemory {
  return {
    get: async (name) => values.get(name),
    set: async (name, value) => void values.set(name, value),
    delete: async (name) => void values.delete(name),
    list: async (prefix) => [...values].filter(([name]) => name.startsWith(prefix)).toSorted(([a], [b]) => (a < b ? -1 : 1)),
  };
}

export interface Where {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly bucket: string;
}

export const ROOT = "Drive/MemoryVDB/";

export interface Opening {
  readonly memory?: DriverMemory;
  readonly tuning?: S3Tuning;
  readonly options?: Record<string, unknown>;
  readonly env?: NodeJS.ProcessEnv;
  readonly root?: string;
  readonly now?: () => number;
}

export function contextFor({ endpoint, accessKeyId, secretAccessKey, bucket }: Where, opening: Opening = {}): DriverContext {
  return {
    name: "store",
    root: opening.root ?? ROOT,
    options: { bucket, endpoint, ...opening.options },
    tokenFile: "",
    clientFile: "",
    timeoutMs: 20_000,
    env: opening.env ?? { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
    memory: opening.memory ?? memoryOf(),
    claim: async () => () => undefined,
    clock: { now: opening.now ?? (() => Date.now()), sleep: async (ms) => void (await pause(ms)) },
  };
}

export const openAt = (where: Where, opening: Opening = {}): Promise<Target> =>
  openS3Target(contextFor(where, opening), opening.tuning);

/** Amazon's client, for what another program does there. */
export const clientAt = ({ endpoint, accessKeyId, secretAccessKey }: Where): S3 =>
  new S3({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
