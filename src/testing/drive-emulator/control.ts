/**
 * The switches over HTTP, for an emulator that runs in another process.
 * @module
 */
import type { DriveEmulator } from "./emulator.ts";
import type { Json } from "./errors.ts";
import type { Fault } from "./faults.ts";
import { parseJson } from "./uploads.ts";

interface Answer {
  readonly status: number;
  readonly json: unknown;
}

/** Bytes in JSON: `{ base64 }`. */
const revived = (value: unknown): unknown =>
  typeof value === "object" && value !== null && typeof (value as Json)["base64"] === "string"
    ? Buffer.from(String((value as Json)["base64"]), "base64")
    : value;

/**
 * - `POST faults` adds a fault (or a list: `{ faults: [...] }`), `DELETE faults` takes all away; a foreign edit is
 *   `{ kind, target, text }` or `{ kind, call: { do, args } }`, as under `account`;
 * - `POST account` with `{ do, args }` calls a method of `account`, or `authorizedUser`, `serviceAccount`, `clientFile`,
 *   `accessToken`; bytes are text or `{ base64 }`, both ways;
 * - `GET requests` answers `{ requests, counts }`, `DELETE requests` resets the ledger;
 * - `GET tree`; `POST settings` with `latencyMs`, `lag`, `writeRate`.
 */
export function createControl(emulator: DriveEmulator): (method: string, path: string, body: Buffer) => Answer {
  const { account, faults, settings } = emulator;

  function call(name: string, args: readonly unknown[]): unknown {
    const { clientFile, authorizedUser, serviceAccount, accessToken } = emulator;
    const methods: Readonly<Record<string, unknown>> = { ...account, clientFile, authorizedUser, serviceAccount, accessToken };
    const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
    if (typeof method !== "function") throw new Error(`there is no account method ${name}`);
    const result: unknown = Reflect.apply(method, undefined, args.map(revived));
    return Buffer.isBuffer(result) ? { base64: result.toString("base64") } : result;
  }

  function withCall(fault: Fault): Fault {
    const { call: wanted } = fault.do as { call?: { do: string; args?: unknown[] } };
    if (fault.do.kind !== "foreign-edit" || wanted === undefined) return fault;
    return { when: fault.when, do: { kind: "foreign-edit", edit: () => void call(wanted.do, wanted.args ?? []) } };
  }

  function answer(request: string, json: Json): unknown {
    switch (request) {
      case "POST faults":
        for (const fault of (json["faults"] ?? [json]) as Fault[]) faults.add(withCall(fault));
        return {};
      case "DELETE faults":
        faults.clear();
        return {};
      case "POST account":
        return { result: call(String(json["do"]), (json["args"] ?? []) as unknown[]) };
      case "GET requests":
        return { requests: emulator.requests, counts: emulator.counts() };
      case "DELETE requests":
        emulator.resetLedger();
        return {};
      case "GET tree":
        return { tree: account.tree() };
      case "POST settings":
        if (typeof json["latencyMs"] === "number") settings.latencyMs = json["latencyMs"];
        if (json["writeRate"] !== undefined) settings.writeRate = (json["writeRate"] ?? undefined) as typeof settings.writeRate;
        Object.assign(settings.lag, json["lag"]);
        return settings;
      default:
        throw new Error(`there is no ${request}`);
    }
  }

  return (method, path, body) => {
    try {
      return { status: 200, json: answer(`${method} ${path.replace(/^\/__emulator\//, "")}`, parseJson(body)) };
    } catch (error) {
      return { status: 400, json: { error: { code: 400, message: String(error) } } };
    }
  };
}
