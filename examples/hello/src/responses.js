// What a handler answers, and how it says no.

import { encodeUtf8 } from "./utf8.js";

/** A JSON answer. `headers` is an object; the runner keeps content-type, etag and x-ext-*. */
export function json(status, value, headers = {}) {
  return response(status, encodeUtf8(JSON.stringify(value)), {
    "content-type": "application/json",
    ...headers,
  });
}

/** Any answer; `body` is bytes, or null for none. */
export function response(status, body, headers = {}) {
  return {
    status,
    headers: Object.entries(headers).map(([name, value]) => ({ name, value })),
    body,
  };
}

/** Thrown anywhere in a handler, answered as JSON by the entry point. */
export class Refusal extends Error {
  constructor(status, code, headers = {}) {
    super(code);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}
