/**
 * The target suite on the Drive driver, under each of Drive's faults.
 * @module
 */
import { setTimeout as pause } from "node:timers/promises";
import { forward, stack, type Target } from "../../src/core/target.ts";
import { type DriveEmulator, type DriveEmulatorOptions, rateLimit } from "../../src/testing/drive-emulator.ts";
import { type Place, type SuiteCase, targetCases } from "../../src/testing/target-suite.ts";
import { withRetry } from "../../src/wraps/retry.ts";
import { onDrive } from "../../test/targets/gdrive/place.ts";

const BIG = 5 * 1024 * 1024 + 1;
/** Above the three of a real target: a put with fifteen new folders makes many requests, and at these rates it fails often. */
const ATTEMPTS = 30;

export interface Trouble {
  readonly name: string;
  readonly drive?: DriveEmulatorOptions;
  readonly timeoutMs?: number;
  readonly add: (drive: DriveEmulator) => void;
  /** Milliseconds that pass before a listing: what a reader of Drive's index has to wait. */
  readonly wait?: number;
  /** Which cases; all by default. */
  readonly only?: RegExp;
  readonly except?: RegExp;
}

/** What comes as pieces of an upload. */
const big = new RegExp(`${BIG} bytes|same bytes under another name|aborted while its bytes arrive`);

const answers = ({ faults }: DriveEmulator) => {
  faults.add({ when: { kind: "write", probability: 0.05 }, do: { kind: "reply-lost" } });
  faults.add({ when: { kind: "upload", probability: 0.05 }, do: { kind: "reply-lost" } });
};
const limits = ({ faults }: DriveEmulator) => {
  faults.add({ when: { probability: 0.02 }, do: rateLimit({ spelling: "reason" }) });
  faults.add({ when: { probability: 0.02 }, do: rateLimit({ spelling: "errorInfo", status: 429 }) });
  faults.add({ when: { probability: 0.02 }, do: rateLimit({ spelling: "both" }) });
};
const errors = ({ faults }: DriveEmulator) => {
  faults.add({ when: { probability: 0.02 }, do: { kind: "5xx-before" } });
  faults.add({ when: { kind: "write", probability: 0.02 }, do: { kind: "5xx-after-commit" } });
};
/** Never twice for one request: a token that is refused right after its renewal is a sign-in that is over. */
const tokens = ({ faults }: DriveEmulator) => {
  let since = 0;
  faults.add({ when: ({ kind }) => kind !== "token" && ++since % 25 === 0, do: { kind: "token-expired" } });
};

export const troubles: readonly Trouble[] = [
  { name: "answers that are lost after the commit", add: answers },
  { name: "rate limits in each spelling", add: limits },
  { name: "server errors before and after the commit", add: errors },
  { name: "tokens that are expired", add: tokens },
  {
    name: "lost answers, rate limits, server errors and expired tokens at once",
    add: (drive) => [answers, limits, errors, tokens].forEach((add) => add(drive)),
  },
  {
    name: "an index that lags",
    drive: { lag: { nameMs: 500, parentMs: 300, propertyMs: 500 } },
    wait: 310,
    except: /someone else's edit is never overwritten/, // one that no search shows yet cannot be seen by anybody
    add: () => undefined,
  },
  {
    name: "etags that move while the content does not",
    drive: { settleMs: 5 },
    add: ({ faults, account }) => {
      const edit = ({ fileId }: { readonly fileId: string | undefined }) => {
        if (account.tree().some(({ id }) => id === fileId)) account.touch(fileId ?? "");
      };
      faults.add({
        when: { api: ["v2.files.update", "v2.files.get", "v2.files.delete"], everyNth: 3 },
        do: { kind: "foreign-edit", edit },
      });
    },
  },
  {
    name: "pieces that are kept in part, and sessions that are lost",
    only: big, // nothing else is sent in pieces
    add: ({ faults }) => {
      faults.add({ when: { api: "upload.chunk", nth: 1 }, do: { kind: "partial-308", keep: 2 ** 20 } });
      faults.add({ when: { api: "upload.chunk", probability: 0.2 }, do: { kind: "partial-308", keep: 2 ** 20 } });
      faults.add({ when: { api: "upload.chunk", probability: 0.2 }, do: { kind: "partial-308", range: false } });
      faults.add({ when: { api: "upload.chunk", probability: 0.2 }, do: { kind: "cut", afterBytes: 700_000 } });
      faults.add({ when: { api: ["upload.chunk", "upload.status"], probability: 0.1 }, do: { kind: "lost-session" } });
    },
  },
  {
    name: "requests that stall",
    timeoutMs: 400, // a busy machine is not a stall
    add: ({ faults }) => {
      faults.add({ when: { probability: 0.02 }, do: { kind: "stall" } });
      faults.add({ when: { probability: 0.02 }, do: { kind: "stall", afterBytes: 20 } });
    },
  },
];

/** A place in trouble, as `open.ts` would use it; `drive` tells afterwards what struck. */
export async function troubledPlace(trouble: Trouble, seed: number): Promise<Place & { readonly drive: DriveEmulator }> {
  const on = await onDrive({ ...trouble.drive, seed, ...(trouble.timeoutMs !== undefined && { timeoutMs: trouble.timeoutMs }) });
  const wrapped = (target: Target) =>
    stack(
      target,
      (inner) =>
        forward(inner, {
          async *list(prefix, call) {
            if (trouble.wait !== undefined) await pause(trouble.wait);
            yield* inner.list(prefix, call);
          },
        }),
      withRetry({ attempts: ATTEMPTS, baseMs: 1 }),
    );
  trouble.add(on.drive);
  return {
    drive: on.drive,
    target: wrapped(on.target),
    cleanup: on.close,
    reopen: async () => wrapped(await on.another()),
    foreignWrite: (key, bytes) => {
      const path = `MemoryVDB/${key}`;
      if (on.drive.account.find(path).some(({ trashed }) => !trashed)) on.drive.account.edit(path, bytes);
      else on.drive.account.addFile(path, bytes);
    },
  };
}

export const casesUnder = ({ only, except }: Trouble): readonly SuiteCase[] =>
  targetCases({ manyEntries: 30, bigBytes: BIG }).filter(({ group, name }) => {
    const title = `${group}: ${name}`;
    return (only?.test(title) ?? true) && except?.test(title) !== true;
  });

/** Runs the cases, some at once. Answers what failed, and says so when nothing struck. */
export async function suiteUnder(trouble: Trouble, seed: number): Promise<readonly string[]> {
  const problems: string[] = [];
  let struck = 0;
  const left = [...casesUnder(trouble).entries()];
  const work = async () => {
    for (let next = left.shift(); next; next = left.shift()) {
      const [n, { group, name, run }] = next;
      const place = await troubledPlace(trouble, seed + n);
      try {
        await run(place);
      } catch (error) {
        problems.push(`${group}: ${name}, seed ${seed + n}: ${error instanceof Error ? error.message : String(error)}`);
      } finally {
        struck += place.drive.requests.filter(({ fault }) => fault !== undefined).length;
        await place.cleanup();
      }
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  if (struck === 0 && trouble.wait === undefined) problems.push("no fault struck");
  return problems;
}
