// The entry point: one exported function answers every request of this extension.
//
// It runs in QuickJS inside a WebAssembly component: standard JavaScript, but no fetch, URL,
// TextEncoder, timers or clock. Each request gets a fresh instance, so nothing that a module
// remembers outlives the answer; what must last goes to storage.

import context from "alga:extension/context";
import logging from "alga:extension/logging";
import user from "alga:extension/user";

import { json, Refusal, response } from "./responses.js";
import { addVisit, countVisits, forgetVisits } from "./visits.js";

const ROUTES = {
  "/hello": { GET: hello },
  "/visits": { GET: showVisits, POST: visit, DELETE: forget },
  "/echo": { POST: echo },
};

export function handler(request) {
  try {
    const { method, url } = request.http;
    return routeFor(method, url)(request.http);
  } catch (error) {
    if (!(error instanceof Refusal)) {
      logging.logError(`unexpected: ${error}`);
      return json(500, { error: "unexpected" });
    }
    logging.logWarn(`refused: ${error.code}`);
    return json(error.status, { error: error.code }, error.headers);
  }
}

function routeFor(method, url) {
  const route = ROUTES[url.split("?", 1)[0]];
  if (route === undefined) throw new Refusal(404, "no_such_path");
  const wanted = method === "HEAD" ? "GET" : method;
  if (!Object.hasOwn(route, wanted)) {
    const allow = Object.keys(route).join(", ");
    throw new Refusal(405, "method_not_allowed", { allow });
  }
  return route[wanted];
}

function hello() {
  const { tenantId, extensionId, installId, requestId } = context.getContext();
  const person = currentUser();
  logging.logInfo(`said hello to ${person ? "a known user" : "somebody"}`);
  const greeting = `Hello, ${person ? person.userName : "stranger"}!`;
  return json(
    200,
    {
      greeting,
      tenant: tenantId,
      extension: extensionId,
      install: installId,
      requestId,
      user: person && { id: person.userId, name: person.userName, type: person.userType },
    },
    person ? {} : { "x-ext-warning": "no user is known" },
  );
}

/** The person behind the request, or null: a scheduled job, for one, has none. */
function currentUser() {
  try {
    return user.getUser();
  } catch (error) {
    if (["not-available", "not-allowed"].includes(error.payload)) return null;
    throw error;
  }
}

function showVisits() {
  return json(200, { visits: countVisits() });
}

function visit() {
  const count = addVisit();
  logging.logInfo(`counted visit ${count}`);
  return json(200, { visits: count });
}

function forget() {
  forgetVisits();
  return response(204, null);
}

/** Send the body back. Always as plain bytes: a caller's own HTML must not run on this origin. */
function echo({ body }) {
  return response(200, body ?? new Uint8Array(), { "content-type": "application/octet-stream" });
}
