// The host's side of the message bridge: one bridge for each frame.
//
// Envelopes are {alga: true, version: "1", type, request_id?, payload}. The frame says ready,
// resize, navigate and apiproxy; the host says bootstrap, theme and apiproxy_response.

const METHODS = new Set(["GET", "POST", "PUT", "PATCH", "DELETE"]);
const HEIGHT_PX = { least: 100, most: 4000 };
const MOST_CALLS = 16; // at once, from one frame
const MOST_ERROR_TEXT = 4096;
const LONGEST = 2048; // a route, a path
// Longer than the gateway's 30 s, so that its own answer about a slow handler arrives.
const DEADLINE_MS = 35_000;

/**
 * Listen to one frame until close().
 *
 * frame       the iframe element
 * origin      the origin of its page; "null" when its sandbox takes the origin away
 * extension   whose handlers it may call: the host decides, never the page
 * path        what the page's own router shows
 * theme       () => {"--name": "value"}
 * onReady, onResize(px), onNavigate(path)
 */
export function connect({ frame, origin, extension, path, theme, onReady, onResize, onNavigate }) {
  const closing = new AbortController();
  let calls = 0;

  function tell(type, payload, requestId) {
    const envelope = { alga: true, version: "1", type, payload };
    if (requestId !== undefined) envelope.request_id = requestId;
    // A page without an origin cannot be addressed by one. It is in this frame all the same,
    // and the app's own frame-src says which pages may be.
    frame.contentWindow?.postMessage(envelope, origin === "null" ? "*" : origin);
  }

  async function answer(requestId, payload) {
    if (typeof requestId !== "string" || requestId.length > LONGEST) return;
    if (calls >= MOST_CALLS) {
      tell("apiproxy_response", { error: "Too many calls at once" }, requestId);
      return;
    }
    calls += 1;
    let said;
    try {
      said = await callHandler(extension, payload, closing.signal);
    } catch (error) {
      said = { error: error instanceof Refused ? error.message : `No answer (${error.name})` };
    } finally {
      calls -= 1;
    }
    if (!closing.signal.aborted) tell("apiproxy_response", said, requestId);
  }

  function receive({ source, origin: from, data }) {
    // Its window is what tells this frame from another: sandboxed pages all have origin "null".
    if (source === null || source !== frame.contentWindow || from !== origin) return;
    if (data?.alga !== true || data.version !== "1") return;
    const payload = data.payload ?? {};
    switch (data.type) {
      case "ready":
        // There is no session token to give away: calls go through the host, which has its own.
        tell("bootstrap", {
          session: { token: "", expires_at: "" },
          theme_tokens: theme(),
          navigation: { path },
        });
        tell("theme", theme());
        onReady();
        break;
      case "resize":
        if (Number.isFinite(payload.height)) {
          onResize(Math.min(Math.max(payload.height, HEIGHT_PX.least), HEIGHT_PX.most));
        }
        break;
      case "navigate":
        if (isPath(payload.path)) onNavigate(payload.path);
        break;
      case "apiproxy":
        answer(data.request_id, payload);
        break;
    }
  }

  window.addEventListener("message", receive, { signal: closing.signal });
  return {
    sendTheme: () => tell("theme", theme()),
    close: () => closing.abort(),
  };
}

class Refused extends Error {}

async function callHandler(extension, { route, method = "POST", body }, closed) {
  const address = handlerAddress(extension, route);
  const verb = String(method).toUpperCase();
  if (!METHODS.has(verb)) throw new Refused("Unsupported method");
  const response = await fetch(address, {
    method: verb,
    ...(body && { body: bytesOf(body), headers: { "content-type": "application/octet-stream" } }),
    signal: AbortSignal.any([closed, AbortSignal.timeout(DEADLINE_MS)]),
  });
  if (!response.ok) {
    const text = (await response.text()).slice(0, MOST_ERROR_TEXT);
    return { error: `Proxy error ${response.status}: ${text}` };
  }
  return { body: base64Of(new Uint8Array(await response.arrayBuffer())) };
}

function handlerAddress(extension, route) {
  if (!isPath(route)) throw new Refused("Invalid route");
  const base = `/api/ext/${encodeURIComponent(extension)}`;
  // The parser resolves "..", in all its spellings: what is left must still be below the base,
  // or a page could call another extension as the person in front of it.
  const address = new URL(`${base}${route}`, window.location.origin);
  if (!address.pathname.startsWith(`${base}/`)) throw new Refused("Invalid route");
  return address;
}

function isPath(text) {
  return typeof text === "string" && text.startsWith("/") && text.length <= LONGEST;
}

function bytesOf(encoded) {
  try {
    return Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
  } catch {
    throw new Refused("The body is not base64");
  }
}

function base64Of(bytes) {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
