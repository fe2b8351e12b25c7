// Which backend answers, and swapping it.

import { $, badge, breakable, clock, fillRows, make, milliseconds, requestId, say } from "./dom.js";
import { nameOf } from "./names.js";
import { Refused, ask } from "./session.js";

const OUTCOMES = { switched: "good", unchanged: "plain", refused: "bad" };
let probedAt = null;
let runsLongest = [];

export function showBackend({ kind, name, generation, stopping }) {
  say($("backend-kind"), kind);
  say($("backend-name"), stopping ? `${name}, stopping` : name);
  say($("generation"), `${generation}`);
}

export function showHealth({ readiness, detail, latency_ms, probed_at }) {
  const state = readiness === "ready" ? "good" : readiness === "unknown" ? "plain" : "bad";
  $("health").replaceChildren(badge(readiness, state));
  $("health-detail").dataset.said = [detail.replaceAll("_", " "), latency_ms ? milliseconds(latency_ms) : ""].filter(Boolean).join(", ");
  probedAt = probed_at;
  tick();
}

/** Let ages grow. */
export function tick() {
  showLongest();
  const age = probedAt === null ? "not probed yet" : `probed ${secondsSince(probedAt)} s ago`;
  const said = $("health-detail").dataset.said;
  say($("health-detail"), said && probedAt !== null ? `${said}, ${age}` : age);
}

export function showDraining(old) {
  const each = old.map((one) => `${one.generation} (${one.in_flight} running)`);
  say($("draining"), each.length > 0 ? `draining: ${each.join(", ")}` : "nothing draining");
}

export function showInFlight({ total, counted, limit, routes, longest }) {
  say($("in-flight"), `${total}`);
  say($("in-flight-limit"), `${counted} of ${limit} allowed`);
  fillRows($("running"), routes, ({ route, count }) => [route, `${count}`], "Nothing is running.");
  runsLongest = longest;
  showLongest();
}

function showLongest() {
  fillRows($("longest"), runsLongest, ({ since, method, route, extension, request_id }) => [
    clock(since),
    `${secondsSince(since)} s`,
    method,
    breakable(route),
    nameOf(extension),
    requestId(request_id),
  ], "Nothing is running.");
}

function secondsSince(iso) {
  return Math.max(0, Math.round((Date.now() - Date.parse(iso)) / 1000));
}

export function showWorkers(workers) {
  const answered = workers.filter((one) => one.answered);
  const silent = workers.filter((one) => !one.answered && one.pid !== null);
  const dropped = answered.reduce((sum, one) => sum + one.log_lines_dropped, 0);
  const said = [
    ...silent.map((one) => `${one.worker} does not answer`),
    ...workers.filter((one) => one.pid === null).map((one) => `${one.worker} is being started`),
    ...(dropped > 0 ? [`${dropped} log lines dropped`] : []),
  ];
  say($("workers"), `${answered.length} of ${workers.length}`);
  say($("workers-detail"), said.join(", ") || "all answer");
}

export function showReceipts(receipts) {
  fillRows($("receipts"), receipts, (receipt) => [
    clock(receipt.at),
    badge(receipt.outcome, OUTCOMES[receipt.outcome]),
    receipt.to === null || receipt.to === receipt.from ? receipt.from : `${receipt.from} to ${receipt.to}`,
    `${receipt.generation}`,
    receipt.trigger,
    milliseconds(receipt.took_ms),
    drained(receipt),
    details(receipt),
  ], "No reload so far.");
}

function drained({ outcome, reason, drained_ms, cut_off }) {
  if (outcome !== "switched") return reason === null ? "–" : reason.replaceAll("_", " ");
  if (drained_ms === null) return "draining";
  return cut_off > 0 ? `${cut_off} cut off` : `in ${milliseconds(drained_ms)}`;
}

function details(receipt) {
  const text = JSON.stringify(receipt, null, 2);
  return make("details", {}, make("summary", {}, "Show"), make("pre", { tabIndex: 0, role: "group", "aria-label": "Receipt" }, text));
}

export function offerReload() {
  $("plan").addEventListener("click", () => run("v1/reload?plan=true"));
  $("reload").addEventListener("click", () => $("confirm").showModal());
  $("confirm").addEventListener("close", () => {
    const wanted = $("confirm").returnValue === "reload";
    $("confirm").returnValue = ""; // Escape leaves it as it was
    if (wanted) run("v1/reload");
  });
}

async function run(path) {
  const buttons = [$("plan"), $("reload")];
  for (const button of buttons) button.disabled = true;
  say($("reload-said"), "Working…");
  $("reload-receipt").hidden = true;
  try {
    const answer = await ask(path, { method: "POST", accepts: (status) => status === 200 || status === 409 });
    const receipt = await answer.json();
    say($("reload-said"), sentence(receipt));
    $("reload-receipt").querySelector("pre").textContent = JSON.stringify(receipt, null, 2);
    $("reload-receipt").hidden = false;
  } catch (failure) {
    say($("reload-said"), failure instanceof Refused ? failure.message : "The gateway did not answer.");
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

function sentence({ plan, outcome, from, to, generation, reason, changed, problems, restart_needed }) {
  const restart = restart_needed.length > 0 ? ` A restart is needed for ${restart_needed.join(", ")}.` : "";
  if (outcome === "refused") {
    const bad = problems.map(({ variable, problem }) => `${variable} ${problem}`).join("; ");
    return `${plan ? "It would be refused" : "Refused"}: ${reason.replaceAll("_", " ")}${bad ? ` (${bad})` : ""}. Nothing was changed.`;
  }
  if (outcome === "unchanged") return `Nothing to do: no setting that a reload can change is different.${restart}`;
  const what = `${from} to ${to}, because of ${changed.join(", ")}`;
  return plan ? `It would switch ${what}.${restart}` : `Switched ${what}; generation ${generation} answers now.${restart}`;
}
