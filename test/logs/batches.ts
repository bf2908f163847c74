export interface Confirmed {
  readonly batches: number;
  readonly size: number;
  readonly ino: string;
}

/** Big enough that a kill can cut the write of one in two. */
export const batch = (n: number): string[] =>
  Array.from({ length: 40 }, (_, i) =>
    JSON.stringify({ batch: n, i, pad: "p".repeat(20_000 + ((n * 7919 + i * 104_729) % 9000)) }),
  );
