/**
 * The hashes that places compute, as far as they can be compared here.
 * @module
 */
import { createHash } from "node:crypto";

export interface Sum {
  update(bytes: Uint8Array): unknown;
  /** Lower-case hex. */
  end(): string;
}

const BITS = 160;

/** Microsoft's QuickXorHash, which OneDrive reports: every byte is xored in 11 bits further on, the length at the end. */
function quickXor(): Sum {
  const cells = new Uint8Array(BITS / 8);
  let at = 0;
  let length = 0n;
  return {
    update(bytes) {
      for (const byte of bytes) {
        const cell = at >> 3;
        const shift = at & 7;
        cells[cell] = (cells[cell] ?? 0) ^ ((byte << shift) & 0xff);
        const next = (cell + 1) % cells.length;
        cells[next] = (cells[next] ?? 0) ^ (byte >> (8 - shift));
        at = (at + 11) % BITS;
      }
      length += BigInt(bytes.length);
    },
    end() {
      for (let byte = 0; byte < 8; byte++)
        cells[12 + byte] = (cells[12 + byte] ?? 0) ^ Number((length >> BigInt(8 * byte)) & 0xffn);
      return Buffer.from(cells).toString("hex");
    },
  };
}

const BLOCK = 4 * 1024 * 1024;

/** Dropbox's: sha256 of the sha256 of each block of 4 MiB. */
function dropbox(): Sum {
  const whole = createHash("sha256");
  let block = createHash("sha256");
  let filled = 0;
  const close = () => {
    whole.update(block.digest());
    block = createHash("sha256");
    filled = 0;
  };
  return {
    update(bytes) {
      for (let at = 0; at < bytes.length;) {
        const part = bytes.subarray(at, at + BLOCK - filled);
        block.update(part);
        at += part.length;
        filled += part.length;
        if (filled === BLOCK) close();
      }
    },
    end() {
      if (filled > 0) close();
      return whole.digest("hex");
    },
  };
}

const plain = (algo: string) => (): Sum => {
  const hash = createHash(algo);
  return { update: (bytes) => hash.update(bytes), end: () => hash.digest("hex") };
};

const sums: Readonly<Record<string, () => Sum>> = {
  sha256: plain("sha256"),
  sha1: plain("sha1"),
  md5: plain("md5"),
  dropbox,
  quickxor: quickXor,
};

/** What anybody can compute, so that an entry may carry it as it is. */
export const isCommon = (algo: string) => algo === "sha256" || algo === "sha1" || algo === "md5";

/** The best of the hashes that a place has, undefined when none can be compared. */
export const bestOf = (offered: readonly string[]): string | undefined =>
  Object.keys(sums).find((algo) => offered.includes(algo));

export const sumOf = (algo: string): Sum => (sums[algo] ?? plain("sha256"))();
