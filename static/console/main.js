// Keeps the page current while somebody can see it: a hidden tab holds no connection.

import { $, say } from "./dom.js";
import { showExtensions } from "./extensions.js";
import { offerSearch, showLines } from "./log.js";
import { learn } from "./names.js";
import { offerReload, showBackend, showDraining, showHealth, showInFlight, showReceipts, showWorkers, tick } from "./overview.js";
import { Refused, forget, hasToken, remember } from "./session.js";
import { offerFilter, showSettings } from "./settings.js";
import { follow } from "./stream.js";
import { showFailures, showSlow, showTraffic } from "./traffic.js";

const LONGEST_PAUSE_MS = 30_000;
const SHOW = {
  backend: showBackend,
  health: showHealth,
  draining: showDraining,
  receipts: showReceipts,
  in_flight: showInFlight,
  workers: showWorkers,
  traffic: showTraffic,
  slow: showSlow,
  failures: showFailures,
  lines: showLines,
  settings: showSettings,
};

const known = {};
let running = null;

function take(changed) {
  Object.assign(known, changed);
  if ("extensions" in changed) learn(changed.extensions);
  for (const [name, show] of Object.entries(SHOW)) if (name in changed) show(changed[name]);
  if ("extensions" in changed || "auth" in changed) showExtensions(known.extensions, known.auth);
  reveal("sections");
  connection("Live", "good");
}

function reveal(id) {
  for (const each of ["login", "refused", "sections"]) $(each).hidden = each !== id;
  $("contents").hidden = id !== "sections"; // its links would lead nowhere
  $("forget").hidden = !hasToken();
}

function connection(word, state) {
  say($("connection"), word);
  $("connection").dataset.state = state;
}

async function run(signal) {
  for (let pause = 1000; !signal.aborted; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    try {
      await follow("v1/console/live", signal, (changed) => {
        pause = 1000;
        take(changed);
      });
    } catch (failure) {
      if (signal.aborted) return;
      if (failure instanceof Refused && [400, 401, 403].includes(failure.status)) {
        refuse(failure);
        return;
      }
      connection(failure.status === 503 ? "Too many viewers" : "Not connected", "warning");
    }
    // Not all at the same moment, when a gateway comes back.
    await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
  }
}

function refuse(failure) {
  connection("Closed", "plain");
  if (failure.status === 401) {
    if (hasToken()) say($("login-why"), "That is not this gateway's admin token.");
    forget();
    reveal("login");
    $("token").focus();
  } else {
    say($("refused-why"), failure.message);
    reveal("refused");
  }
}

function start() {
  stop();
  connection("Connecting", "plain");
  running = new AbortController();
  run(running.signal);
}

function stop() {
  running?.abort();
  running = null;
}

$("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  if (!/^[!-~]+$/.test(token)) {
    // No header could carry it, so no gateway was started with it.
    say($("login-why"), "A token has no spaces and no letters beyond ASCII.");
    return;
  }
  remember(token);
  start();
});
$("forget").addEventListener("click", () => {
  forget();
  location.reload();
});
$("again").addEventListener("click", start);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) stop();
  else if (!$("sections").hidden || running === null) start();
});
setInterval(() => {
  if (!document.hidden) tick();
}, 1000);
offerReload();
offerSearch();
offerFilter();
if (!document.hidden) start();
