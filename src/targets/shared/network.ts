/**
 * What an error of the network, as Node throws it, is made of and says.
 * @module
 */

/** What an object may hold; nothing of what is none. */
export type Fields = Readonly<Record<string, unknown>>;

export const fieldsOf = (value: unknown): Fields => (typeof value === "object" && value !== null ? (value as Fields) : {});
export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** Codes of Node that say that nobody could be asked. */
export const UNREACHED: readonly string[] =
  "ENOTFOUND EAI_AGAIN EAI_FAIL EAI_NODATA ECONNREFUSED ENETUNREACH ENETDOWN EHOSTUNREACH EHOSTDOWN EADDRNOTAVAIL".split(" ");

/** Codes of Node that say that who answered could not show who they are. */
export const CERTIFICATE = /^(CERT_|ERR_TLS_|ERR_SSL_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(GET|VERIFY))/;

/** The error and what caused it, outermost first. */
export function chainOf(error: unknown): Fields[] {
  const chain: Fields[] = [];
  for (let at = error; typeof at === "object" && at !== null && chain.length < 8; at = fieldsOf(at)["cause"]) {
    if (chain.includes(fieldsOf(at))) break;
    chain.push(fieldsOf(at));
    const [first] = (fieldsOf(at)["errors"] ?? []) as unknown[]; // both address families of a name failed
    if (Array.isArray(fieldsOf(at)["errors"])) chain.push(fieldsOf(first));
  }
  return chain;
}
