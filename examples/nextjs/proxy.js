// In front of every handler call: who is signed in, said in the gateway's words. What follows
// is the rewrite of next.config.mjs: answers stream past this function. (Uploads do not: Next
// reads a body whole before it runs a proxy, up to proxyClientMaxBodySize.)

import { NextResponse } from "next/server";

import { callerHeaders, isManaged } from "./lib/gateway";
import { SESSION_COOKIE, readSession } from "./lib/session";

export const config = { matcher: "/api/ext/:path*" };

export function proxy(request) {
  // A cookie says whose browser this is, not whose page asked. A link, a form or a pop-up of
  // an extension's page would carry the cookie too; it cannot carry this.
  if (request.headers.get("sec-fetch-site") !== "same-origin") {
    return refuse(403, "forbidden", "Only this app's own pages may call extensions");
  }
  const session = readSession(request.cookies.get(SESSION_COOKIE)?.value);
  if (session === null) return refuse(401, "unauthenticated", "Sign in first");

  const headers = new Headers(request.headers);
  for (const name of [...headers.keys()]) if (isManaged(name)) headers.delete(name);
  for (const [name, value] of Object.entries(callerHeaders(session))) headers.set(name, value);
  return NextResponse.next({ request: { headers } });
}

function refuse(status, error, title) {
  return Response.json(
    { title, status, error },
    { status, headers: { "content-type": "application/problem+json", "cache-control": "no-store" } },
  );
}
