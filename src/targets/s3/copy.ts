/**
 * Copies at the service of objects that are too big for one request.
 * @module
 */
import type { CompletedPart } from "@aws-sdk/client-s3";
import { TargetError } from "../../core/errors.ts";
import type { Call } from "../../core/target.ts";
import { bareOf } from "./abilities.ts";
import type { Service } from "./client.ts";
import { abandon } from "./multipart.ts";

export interface CopyWhat {
  readonly Bucket: string;
  readonly Key: string;
  readonly CopySource: string;
  readonly CopySourceIfMatch: string | undefined;
}

const MIB = 1024 * 1024;
const PART = 512 * MIB;
const MOST_PARTS = 10_000;

/** Copies `size` bytes and answers the ETag of the copy, `""` when the service did not tell it. A copy that fails leaves nothing. */
export async function copyInParts(
  service: Service,
  { Bucket, Key, ...source }: CopyWhat,
  size: number,
  doing: string,
  call: Call,
  partBytes: number = Math.max(PART, Math.ceil(size / MOST_PARTS)),
): Promise<string> {
  const { UploadId } = await service.ask(doing, call, (s3, http) => s3.createMultipartUpload({ Bucket, Key }, http));
  if (!UploadId) throw new TargetError("transient", `could not ${doing}: the answer has no upload id`);
  try {
    const Parts: CompletedPart[] = [];
    for (let from = 0; from < size; from += partBytes) {
      const PartNumber = Parts.length + 1;
      const CopySourceRange = `bytes=${from}-${Math.min(size, from + partBytes) - 1}`;
      const { CopyPartResult } = await service.ask(doing, call, (s3, http) =>
        s3.uploadPartCopy({ Bucket, Key, UploadId, PartNumber, CopySourceRange, ...source }, http),
      );
      Parts.push({ PartNumber, ETag: CopyPartResult?.ETag });
    }
    const done = await service.ask(doing, call, (s3, http) =>
      s3.completeMultipartUpload({ Bucket, Key, UploadId, MultipartUpload: { Parts } }, http),
    );
    return bareOf(done.ETag);
  } catch (error) {
    const given = abandon(service, Key, UploadId, {}).catch((failed: unknown) => {
      if (!(failed instanceof TargetError)) throw failed;
    });
    if (call.signal?.aborted !== true) await given;
    throw error;
  }
}
