// What the gateway was told, and by whom.

import { $, code, fillRows } from "./dom.js";

const TIERS = { dynamic: "a reload", static: "a restart" };
let rows = [];

export function showSettings(settings) {
  rows = settings;
  show();
}

export function offerFilter() {
  $("set-only").addEventListener("change", show);
}

function show() {
  const shown = $("set-only").checked ? rows.filter(({ origin }) => origin !== "default") : rows;
  fillRows($("variables"), shown, ({ variable, value, origin, tier }) => [
    code(variable),
    value === "" ? "–" : value,
    origin,
    TIERS[tier],
  ], "Everything is as it was made.");
}
