// The server's side of the gateway: how the app proves itself, and where a page is.

const DEADLINE_MS = 5_000;

/** The header fields that tell the gateway who calls: never to be sent to a browser. */
export function callerHeaders({ tenant, user }) {
  const key = process.env.GATEWAY_PROXY_KEY;
  if (!key) throw new Error("GATEWAY_PROXY_KEY is not set");
  return {
    "x-gateway-key": key,
    "x-alga-tenant": tenant,
    "x-gateway-user": Buffer.from(JSON.stringify(user)).toString("base64url"),
  };
}

/** Whether a browser's field of this name must not reach the gateway. */
export function isManaged(name) {
  return /^(cookie|authorization|x-gateway-.*|x-alga-.*|x-ext-.*|x-tenant-id)$/.test(name);
}

/** Where the extension's page is, or null when the tenant has no such extension. */
export async function extensionPage(extension, session) {
  const address = `/gateway/v1/extensions/${encodeURIComponent(extension)}/ui-url`;
  const answer = await fetch(new URL(address, process.env.GATEWAY_URL), {
    headers: callerHeaders(session),
    cache: "no-store",
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  if (answer.status === 404) return null;
  if (!answer.ok) throw new Error(`The gateway answered ${answer.status} about a page's address`);
  return (await answer.json()).url;
}
