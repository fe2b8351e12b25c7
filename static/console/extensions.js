// What is installed, and a form to call it.

import { $, code, make, requestId, say } from "./dom.js";

const MOST_BYTES = 64 * 1024;
const DEADLINE_MS = 60_000;
const BODYLESS = new Set(["GET", "HEAD"]);
const ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

export function showExtensions({ error, total, installs }, auth) {
  const many = total > installs.length ? `The first ${installs.length} of ${total}.` : `${total} installed.`;
  say($("extensions-note"), error === null ? many : "Nobody can say what is installed: the registry does not answer.");
  $("installs").replaceChildren(...installs.map((install) => card(install, auth)));
}

function card(install, auth) {
  const article = $("install").content.firstElementChild.cloneNode(true);
  const find = (selector) => article.querySelector(selector);
  find("h3").textContent = install.label ? `${install.label} (${install.slug})` : install.slug;
  for (const [name, value] of [
    ["Version", install.version ?? "unknown"],
    ["Bundle", code(install.content_hash)],
    ["Tenant", install.tenant],
    ["Install", code(install.install_id)],
    ["Granted", install.providers.join(", ") || "nothing"],
  ]) find(".facts").append(make("div", {}, make("dt", {}, name), make("dd", {}, value)));
  const endpoints = install.endpoints ?? [];
  find(".endpoints").append(...endpoints.map(({ method, path }) => make("li", {}, code(`${method} ${path}`))));
  if (endpoints.length === 0) {
    find(".endpoints").remove();
    find(".endpoints-title").textContent = install.endpoints === null ? "Its endpoints are not known here: every path is tried." : "It declares no endpoints.";
  }
  if (install.preview === null) find(".preview").parentElement.remove();
  else find(".preview").href = install.preview;
  if (install.may_be_tried) offer(find, install.slug, endpoints);
  else {
    find(`[data-auth="${auth}"]`).hidden = false;
    find("form").remove();
  }
  return article;
}

function offer(find, slug, endpoints) {
  const form = find("form");
  const { method, path, body } = form.elements;
  const choices = endpoints.length > 0 ? endpoints : ANY.map((name) => ({ method: name, path: "/" }));
  method.append(...choices.map((one, index) => make("option", { value: `${index}` }, `${one.method} ${one.path}`)));
  const choose = () => {
    const chosen = choices[Number(method.value)];
    path.value = chosen.path;
    body.parentElement.hidden = BODYLESS.has(chosen.method);
  };
  method.addEventListener("change", choose);
  choose();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    say(find(".said"), "Waiting…");
    find(".answer").hidden = true;
    try {
      await send(find, slug, choices[Number(method.value)].method, path.value, body.value);
    } catch (failure) {
      say(find(".said"), failure instanceof RangeError ? failure.message : "No answer.");
    } finally {
      button.disabled = false;
    }
  });
}

async function send(find, slug, method, path, body) {
  const prefix = new URL(`../api/ext/${encodeURIComponent(slug)}`, document.baseURI);
  const url = new URL(prefix.href + (path.startsWith("/") ? path : `/${path}`));
  if (!url.pathname.startsWith(`${prefix.pathname}/`)) throw new RangeError("This path leads out of the extension.");
  const began = performance.now();
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const answer = await fetch(url, { method, body: BODYLESS.has(method) ? undefined : body, headers: body && isJson(body) && !BODYLESS.has(method) ? { "Content-Type": "application/json" } : {}, cache: "no-store", signal });
  const text = await beginning(answer);
  const took = Math.round(performance.now() - began);
  find(".said").replaceChildren(
    `Status ${answer.status} after ${took} ms, from generation ${answer.headers.get("x-runner-generation")}. Request `,
    requestId(answer.headers.get("x-request-id")),
  );
  const type = answer.headers.get("content-type") ?? "";
  find(".answer").textContent = /json/.test(type) ? indented(text) : text;
  find(".answer").hidden = text === "";
}

async function beginning(answer) {
  if (answer.body === null) return "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return text;
    text += value;
    if (text.length > MOST_BYTES) {
      await reader.cancel();
      return `${text.slice(0, MOST_BYTES)}\n… (cut here)`;
    }
  }
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
