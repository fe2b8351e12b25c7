// Asks the gateway, with the admin token when this tab has one.

const KEY = "gateway-admin-token";
const DEADLINE_MS = 60_000; // a reload opens and probes a backend before it answers

/** The gateway said no. `problem` is its problem document, when it sent one. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `Status ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

export function remember(token) {
  sessionStorage.setItem(KEY, token);
}

export function forget() {
  sessionStorage.removeItem(KEY);
}

export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Fetch a data route; throws Refused for every status that `accepts` does not. */
export async function ask(path, { method = "GET", signal, accepts = (status) => status === 200 } = {}) {
  const token = sessionStorage.getItem(KEY);
  const answer = await fetch(path, {
    method,
    headers: token === null ? {} : { "X-Gateway-Admin-Token": token },
    cache: "no-store",
    credentials: "omit",
    signal: signal ?? AbortSignal.timeout(DEADLINE_MS),
  });
  if (accepts(answer.status)) return answer;
  throw new Refused(answer.status, await answer.json().catch(() => ({})));
}
