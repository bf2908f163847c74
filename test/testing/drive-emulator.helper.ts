import { expect } from "vitest";
import type { drive_v2, drive_v3 } from "googleapis/build/src/apis/drive/index.js";
import type { DriveEmulator } from "../../src/testing/index.ts";

export const FOLDER = "application/vnd.google-apps.folder";

type Methods<T> = { [K in keyof T]: T[K] };

/** Google's own client, both versions; every call goes to the emulator, uploads too. */
export async function client(
  emulator: DriveEmulator,
  options: { token?: string } = {},
): Promise<{ v3: Methods<drive_v3.Drive>; v2: Methods<drive_v2.Drive> }> {
  const { auth, drive } = await import("googleapis/build/src/apis/drive/index.js");
  const signedIn = new auth.OAuth2();
  signedIn.setCredentials({ access_token: options.token ?? emulator.accessToken() });
  signedIn.transporter.interceptors.request.add({
    resolved: (request) => {
      request.url = new URL(String(request.url).replace("https://www.googleapis.com/", emulator.rootUrl));
      return Promise.resolve(request);
    },
  });
  const common = { auth: signedIn, retry: false };
  return { v3: drive({ version: "v3", ...common }), v2: drive({ version: "v2", ...common }) };
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** A bare request, signed in for scope `drive` unless a token is given; an empty one sends none. */
export async function call(
  emulator: DriveEmulator,
  method: string,
  path: string,
  options: { body?: Uint8Array | string; headers?: Record<string, string>; token?: string } = {},
): Promise<Answer> {
  const { body, headers, token = emulator.accessToken() } = options;
  const response = await fetch(path.startsWith("http") ? path : emulator.rootUrl + path, {
    method,
    headers: { ...(token !== "" && { authorization: `Bearer ${token}` }), ...headers },
    redirect: "manual",
    ...(body !== undefined && { body }),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

export async function json(
  emulator: DriveEmulator,
  method: string,
  path: string,
  body?: Uint8Array | string,
  type = "application/json",
) {
  const { text } = await call(emulator, method, path, { ...(body !== undefined && { body }), headers: { "content-type": type } });
  return JSON.parse(text) as Record<string, unknown>;
}

export function multipart(meta: object, content: Uint8Array, eol: string): { body: Buffer; type: string } {
  const head = [
    "--bound",
    "Content-Type: application/json",
    "",
    JSON.stringify(meta),
    "--bound",
    "Content-Type: text/x-nasty",
    "",
    "",
  ];
  const body = Buffer.concat([Buffer.from(head.join(eol)), content, Buffer.from(`${eol}--bound--`)]);
  return { body, type: 'multipart/related; boundary="bound"' };
}

/** Status and reason of a refusal that googleapis reports. */
export async function reasonOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => expect.unreachable("it should have been refused"),
    (cause: unknown) => cause as Error & { response?: { status: number; data: unknown } },
  );
  if (error.response === undefined) throw error;
  const { status, data } = error.response;
  const body = (typeof data === "string" ? JSON.parse(data) : data) as { error: { errors?: Array<{ reason: string }> } };
  return `${status} ${body.error.errors?.[0]?.reason}`;
}
