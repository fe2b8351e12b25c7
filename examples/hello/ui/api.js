// Calls this extension's handler, by whichever way the page's place allows.
//
// Beside the gateway, the page may fetch /api/ext/{extension}/... itself. Inside a host
// application's frame it asks the host to do so by postMessage: a sandboxed frame has the
// origin "null", and its own fetch would be a cross-origin one.

"use strict";

const extensionApi = (() => {
  // Longer than the gateway's own 30 s, so that its answer about a slow handler arrives.
  const DEADLINE_MS = 32_000;

  const query = new URLSearchParams(location.search);
  const host = embeddingHost();

  class CallFailed extends Error {
    constructor(title, detail, requestId = null) {
      super(title);
      this.title = title;
      this.detail = detail;
      this.requestId = requestId;
    }
  }

  /** The origin of a host that speaks the bridge protocol, or null. */
  function embeddingHost() {
    const claimed = query.get("parentOrigin");
    if (window.parent === window || !claimed) return null;
    const { origin } = URL.canParse(claimed) ? new URL(claimed) : { origin: "null" };
    return origin === claimed ? origin : null;
  }

  function extensionId() {
    const named = query.get("extensionId");
    if (named) return named;
    const [, segment] = /\/ext-ui\/([^/]+)\//.exec(location.pathname) ?? [];
    if (!segment) throw new CallFailed("No extension", "The page's address names no extension.");
    return decodeURIComponent(segment);
  }

  /**
   * Call the handler.
   *
   * Resolves to {data, transport, backend, requestId}: data is the parsed JSON, or null when
   * the answer has no body. Rejects with CallFailed: a title and detail fit to be shown.
   */
  async function call(method, path) {
    return host === null ? callByFetch(method, path) : callByBridge(method, path);
  }

  async function callByFetch(method, path) {
    if (self.origin === "null") {
      throw new CallFailed(
        "No way to the handler",
        "This frame is sandboxed and its address names no parentOrigin to ask instead.",
      );
    }
    const address = `/api/ext/${encodeURIComponent(extensionId())}${path}`;
    let response;
    let text;
    try {
      response = await fetch(address, { method, signal: AbortSignal.timeout(DEADLINE_MS) });
      text = await response.text();
    } catch (error) {
      throw new CallFailed("No answer", `The gateway could not be asked (${error.name}).`);
    }
    const requestId = response.headers.get("x-request-id");
    if (!response.ok) throw failure(response.status, text, requestId);
    const generation = response.headers.get("x-runner-generation");
    const kind = response.headers.get("x-runner-backend");
    return {
      data: parsed(text, requestId),
      transport: "fetch",
      backend: kind && generation ? `${kind}, generation ${generation}` : kind,
      requestId,
    };
  }

  // The bridge protocol carries no headers: who answered stays unknown.
  async function callByBridge(method, path) {
    const payload = await askHost("apiproxy", { route: path, method });
    if (typeof payload.error === "string") {
      const [, status, text] = /^Proxy error (\d{3}): ?(.*)$/s.exec(payload.error) ?? [];
      throw status
        ? failure(Number(status), text, null)
        : new CallFailed("The host refused", payload.error);
    }
    const text = typeof payload.body === "string" ? textOfBase64(payload.body) : "";
    return { data: parsed(text, null), transport: "the host's bridge", backend: null, requestId: null };
  }

  function failure(status, text, requestId) {
    let problem;
    try {
      problem = JSON.parse(text);
    } catch {
      problem = null;
    }
    const { title, detail, error, requestId: told } = problem ?? {};
    return new CallFailed(
      title ?? `The handler answered ${status}`,
      [detail, error && `(${error})`].filter(Boolean).join(" "),
      requestId ?? told ?? null,
    );
  }

  function parsed(text, requestId) {
    if (text === "") return null;
    try {
      return JSON.parse(text);
    } catch {
      throw new CallFailed("Unreadable answer", "The handler's answer is not JSON.", requestId);
    }
  }

  function textOfBase64(encoded) {
    const bytes = Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  }

  // ---- the bridge: {alga, version, type, request_id?, payload} in both directions

  const waiting = new Map(); // request id -> the function that takes the host's payload

  function tellHost(type, payload, requestId) {
    if (host === null) return;
    const envelope = { alga: true, version: "1", type, payload };
    if (requestId !== undefined) envelope.request_id = requestId;
    window.parent.postMessage(envelope, host);
  }

  let asked = 0;

  function askHost(type, payload) {
    asked += 1;
    const requestId = `hello-${asked}`;
    return new Promise((resolve, reject) => {
      const deadline = setTimeout(() => {
        waiting.delete(requestId);
        reject(new CallFailed("No answer", "The host did not answer in time."));
      }, DEADLINE_MS);
      waiting.set(requestId, (answer) => {
        clearTimeout(deadline);
        waiting.delete(requestId);
        resolve(answer);
      });
      tellHost(type, payload, requestId);
    });
  }

  window.addEventListener("message", (event) => {
    if (host === null || event.source !== window.parent || event.origin !== host) return;
    const { alga, version, type, request_id: requestId, payload } = event.data ?? {};
    if (alga !== true || version !== "1" || type !== "apiproxy_response") return;
    waiting.get(requestId)?.(payload ?? {});
  });

  return { call, CallFailed, tellHost };
})();
