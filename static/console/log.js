// The newest log lines, or those of one request.

import { $, breakable, clock, fillRows, milliseconds, requestId, say, status } from "./dom.js";
import { nameOf } from "./names.js";
import { Refused, ask } from "./session.js";

let newest = [];
let isSearching = false;

export function showLines(lines) {
  newest = lines;
  if (!isSearching && !$("pause").checked) show(newest);
}

export function offerSearch() {
  $("find").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = $("request-id").value.trim();
    if (wanted === "") goBack();
    else search(wanted);
  });
  $("tail").addEventListener("click", () => {
    goBack();
    $("request-id").focus();
  });
  $("pause").addEventListener("change", () => showLines(newest));
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-request-id]");
    if (button === null) return;
    $("request-id").value = button.dataset.requestId;
    search(button.dataset.requestId);
    $("log").scrollIntoView();
    $("request-id").focus({ preventScroll: true });
  });
}

async function search(wanted) {
  isSearching = true;
  $("tail").hidden = false;
  try {
    const answer = await ask(`v1/console/lines?request_id=${encodeURIComponent(wanted)}`);
    const { lines } = await answer.json();
    show(lines);
    say($("log-said"), `${lines.length} remembered for ${wanted}.`);
  } catch (failure) {
    say($("log-said"), failure instanceof Refused ? failure.message : "The gateway did not answer.");
  }
}

function goBack() {
  isSearching = false;
  $("request-id").value = "";
  $("tail").hidden = true;
  say($("log-said"), "");
  show(newest);
}

function show(lines) {
  fillRows($("lines"), lines, (line) => [
    clock(line.at),
    status(line),
    line.method,
    breakable(line.route),
    nameOf(line.extension),
    milliseconds(line.duration_ms),
    line.generation === undefined ? "" : `${line.generation}`,
    [line.error, line.reason === line.error ? "" : line.reason].filter(Boolean).join(": ").replaceAll("_", " "),
    requestId(line.request_id),
  ], "No lines.");
}
