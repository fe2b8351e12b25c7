// How many requests, how fast, and what became of those that failed.

import { $, breakable, clock, code, fillRows, make, milliseconds, requestId, say, status } from "./dom.js";
import { chart } from "./charts.js";
import { nameOf } from "./names.js";

const perSecond = (value) => (value === null ? "none" : Number.isInteger(value) ? `${value}/s` : `${value.toFixed(1)}/s`);
const drawRequests = chart($("chart-requests"), ["requests", "errors"], { unit: perSecond, floor: 1 });
const drawDurations = chart($("chart-durations"), ["p50", "p95", "p99"], { unit: milliseconds, floor: 0.1, isLogarithmic: true });

export function showTraffic({ window_s, covered_s, total, routes, extensions, seconds }) {
  const all = covered_s === window_s;
  say($("window"), all ? "The last two minutes." : known(covered_s));
  say($("total-rate"), total.per_second.toFixed(1));
  say($("total-requests"), `${total.requests} in all`);
  say($("total-errors"), `${total.errors}`);
  say($("total-share"), total.requests > 0 ? `${((100 * total.errors) / total.requests).toFixed(1)} % of all` : "of none");
  say($("total-p50"), milliseconds(total.p50));
  say($("total-p99"), milliseconds(total.p99));
  say($("total-p95"), `p95 ${milliseconds(total.p95)}`);
  drawRequests(seconds);
  drawDurations(seconds);
  const cells = (group) => [
    nameOf(group.name),
    `${group.requests}`,
    group.per_second.toFixed(1),
    `${group.errors}`,
    milliseconds(group.p50),
    milliseconds(group.p95),
    milliseconds(group.p99),
  ];
  fillRows($("routes"), routes, cells, "No request in this time.");
  fillRows($("by-extension"), extensions, cells, "No extension was called in this time.");
}

export function showSlow({ from_ms, lines }) {
  say($("slow-title"), `Slow: ${milliseconds(from_ms)} and more`);
  fillRows($("slow"), lines, (line) => [
    clock(line.at),
    milliseconds(line.duration_ms),
    milliseconds(line.upstream_ms),
    status(line),
    breakable(line.route),
    nameOf(line.extension),
    requestId(line.request_id),
  ], "None so far.");
}

export function showFailures(groups) {
  fillRows($("codes"), groups, ({ code: name, title, page, count, last }) => [
    page === null ? code(name) : make("a", { href: page }, name),
    title ?? meaning(name, last),
    `${count}`,
    clock(last.at),
    last.reason === name ? "" : (last.reason ?? "").replaceAll("_", " "),
    breakable(last.route),
    nameOf(last.extension),
    requestId(last.request_id),
  ], "None so far.");
}

function known(covered_s) {
  if (covered_s < 2) return "Known since a moment ago.";
  return `The last ${covered_s} seconds: as far as it is known.`;
}

function meaning(name, { extension }) {
  if (name.startsWith("answered_")) return extension ? "The extension's own answer" : "The gateway's own answer";
  if (name === "client_gone") return "The client left before the end";
  return "Broken off";
}
