/**
 * Bytes of a file, hashed while they come in and never copied together.
 * @module
 */
import { createHash } from "node:crypto";

export interface Content {
  readonly chunks: readonly Buffer[];
  readonly size: number;
  readonly md5: string;
  readonly sha256: string;
  /** Worked out when somebody asks: few do. */
  readonly sha1: string;
}

export interface Intake {
  readonly size: number;
  write(chunk: Buffer): void;
  done(): Content;
}

/** Takes bytes in as they come. */
export function createIntake(): Intake {
  const md5 = createHash("md5");
  const sha256 = createHash("sha256");
  const chunks: Buffer[] = [];
  let size = 0;
  return {
    get size() {
      return size;
    },
    write(chunk) {
      md5.update(chunk);
      sha256.update(chunk);
      chunks.push(chunk);
      size += chunk.length;
    },
    done() {
      let sha1: string | undefined;
      return {
        chunks,
        size,
        md5: md5.digest("hex"),
        sha256: sha256.digest("hex"),
        get sha1() {
          if (sha1 === undefined) {
            const hash = createHash("sha1");
            for (const chunk of chunks) hash.update(chunk);
            sha1 = hash.digest("hex");
          }
          return sha1;
        },
      };
    },
  };
}

export function contentOf(bytes: Uint8Array | string): Content {
  const intake = createIntake();
  const buffer = typeof bytes === "string" ? Buffer.from(bytes) : Buffer.from(bytes.slice());
  if (buffer.length > 0) intake.write(buffer);
  return intake.done();
}

/** The bytes from `start` up to, not including, `end`. */
export function sliceOf(content: Content, start = 0, end: number = content.size): Buffer[] {
  const parts: Buffer[] = [];
  let at = 0;
  for (const chunk of content.chunks) {
    if (at >= end) break;
    const part = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at));
    if (part.length > 0) parts.push(part);
    at += chunk.length;
  }
  return parts;
}
