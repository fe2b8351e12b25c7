// A counter that two requests may raise at once without losing a visit.
//
// A host function that answers an error of its WIT result throws, with the error in `payload`.

import storage from "alga:extension/storage";

import { Refusal } from "./responses.js";
import { decodeUtf8, encodeUtf8 } from "./utf8.js";

const NAMESPACE = "hello";
const KEY = "visits";
const MAX_TRIES = 8;

/** How often the page was visited; 0 before the first time. */
export function countVisits() {
  return read().count;
}

/**
 * Count one more visit and return the new count.
 *
 * The write names the revision that was read, so a write in between makes it fail with
 * `conflict` instead of being overwritten. Only the very first write has no revision to name:
 * two first visits at the same moment may count as one.
 */
export function addVisit() {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const { count, revision } = read();
    const value = encodeUtf8(JSON.stringify(count + 1));
    try {
      storage.put({ namespace: NAMESPACE, key: KEY, value, revision });
      return count + 1;
    } catch (error) {
      if (error.payload !== "conflict") throw refusalFor(error);
    }
  }
  throw new Refusal(409, "too_many_conflicts");
}

/** Start again at 0. Forgetting what was never counted is no error. */
export function forgetVisits() {
  try {
    storage.delete(NAMESPACE, KEY);
  } catch (error) {
    // The protocol answers `conflict` for a key that is not there.
    if (error.payload !== "conflict") throw refusalFor(error);
  }
}

function read() {
  let entry;
  try {
    entry = storage.get(NAMESPACE, KEY);
  } catch (error) {
    if (error.payload === "missing") return { count: 0, revision: null };
    throw refusalFor(error);
  }
  return { count: JSON.parse(decodeUtf8(entry.value)), revision: entry.revision };
}

function refusalFor(error) {
  return error.payload === "denied"
    ? new Refusal(403, "storage_denied")
    : new Refusal(503, "storage_unavailable");
}
