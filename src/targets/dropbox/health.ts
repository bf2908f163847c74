/**
 * What would make an upload to Dropbox fail, told before it does. Changes nothing there; an access token is renewed.
 * @module
 */
import type { DriverContext, Symptom } from "../shared/driver.ts";
import { openHttp } from "./http.ts";
import { openTokens, readSignIn, SCOPES, tokenFileOf } from "./sign-in.ts";

const MIB = 1 << 20;
const LITTLE = 100 * MIB;

const numberIn = (value: unknown, name: string): number | undefined => {
  const found = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
  return typeof found === "number" ? found : undefined;
};

/** Yields what is wrong; returns one sentence of facts. What stops it altogether is thrown. */
export async function* examineDropbox(context: DriverContext, waiting: number): AsyncGenerator<Symptom, string> {
  const { name } = context;
  const usesToken = (context.env["DROPBOX_TOKEN"] ?? "").trim() !== "";
  const signIn = usesToken ? undefined : await readSignIn(context);
  if (usesToken)
    yield {
      level: "warning",
      message: `${name} uses DROPBOX_TOKEN, which ends four hours after it was made and is not renewed`,
      cure: `Sign in with \`aftersave connect ${name}\` and unset DROPBOX_TOKEN.`,
    };
  if (signIn?.othersCanRead === true)
    yield {
      level: "warning",
      message: `others on this machine can read ${tokenFileOf(context)}`,
      cure: `Run \`chmod 600 ${tokenFileOf(context)}\`.`,
    };
  const lacking = signIn ? SCOPES.filter((scope) => !signIn.scopes.includes(scope)) : [];
  if (lacking.length > 0)
    yield {
      code: "E_SIGN_IN_SCOPE",
      message: `the sign-in of ${name} leaves out ${lacking.join(", ")}`,
      cure: `Tick them at dropbox.com/developers/apps (Permissions), press Submit, then run \`aftersave connect ${name}\`.`,
    };
  const http = openHttp(context);
  try {
    const tokens = openTokens(context, http);
    const account = await http.rpc(tokens, "users/get_current_account", null, `look at the account of ${name}`, undefined);
    const space = await http.rpc(tokens, "users/get_space_usage", null, `look at the space of ${name}`, undefined);
    const [used, most] = [numberIn(space, "used"), numberIn(space["allocation"], "allocated")];
    const left = used === undefined || most === undefined ? undefined : Math.max(0, most - used);
    if (left !== undefined && left < waiting)
      yield {
        code: "E_TARGET_QUOTA",
        message: `${name} has ${Math.floor(left / MIB)} MiB left, and ${Math.ceil(waiting / MIB)} MiB wait to be sent`,
        cure: "Free some space in Dropbox (dropbox.com/account/plan), then run `aftersave flush`.",
      };
    else if (left !== undefined && left < LITTLE)
      yield {
        level: "warning",
        message: `${name} has only ${Math.floor(left / MIB)} MiB left`,
        cure: "Free some space in Dropbox.",
      };
    const who = typeof account["email"] === "string" ? account["email"] : "an account";
    return `${name}: signed in as ${who}${left === undefined ? "" : `, ${Math.floor(left / MIB)} MiB left`}`;
  } finally {
    http.close();
  }
}
