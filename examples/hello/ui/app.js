// The page: shows what the handler says, and says clearly when it cannot.

"use strict";

(() => {
  const element = (id) => document.getElementById(id);
  const buttons = [element("visit"), element("forget")];

  function show({ transport, backend, requestId }) {
    element("transport").textContent = transport;
    element("backend").textContent = backend ?? "not told";
    if (requestId) element("request-id").textContent = requestId;
  }

  function showProblem(error) {
    const known = error instanceof extensionApi.CallFailed;
    element("problem-title").textContent = known ? error.title : "The page has a fault";
    element("problem-detail").textContent = known ? error.detail : String(error);
    element("problem").hidden = false;
    if (known && error.requestId) element("request-id").textContent = error.requestId;
  }

  function showVisits(count) {
    element("visits").textContent = count === 1 ? "1 visit so far." : `${count} visits so far.`;
  }

  /** Run one action at a time, the buttons off meanwhile, its failure shown. */
  async function attempt(action) {
    for (const button of buttons) button.disabled = true;
    element("problem").hidden = true;
    try {
      await action();
    } catch (error) {
      showProblem(error);
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  async function greet() {
    const answer = await extensionApi.call("GET", "/hello");
    element("greeting").textContent = answer.data.greeting;
    // Over the bridge no header arrives, but the handler was told the id too.
    show({ ...answer, requestId: answer.requestId ?? answer.data.requestId });
  }

  async function count(method) {
    const answer = await extensionApi.call(method, "/visits");
    showVisits(answer.data?.visits ?? 0);
    show(answer);
  }

  element("visit").addEventListener("click", () => attempt(() => count("POST")));
  element("forget").addEventListener("click", () => attempt(() => count("DELETE")));

  new ResizeObserver(() => {
    extensionApi.tellHost("resize", { height: document.documentElement.offsetHeight });
  }).observe(document.documentElement);

  extensionApi.tellHost("ready", {});
  attempt(async () => {
    await greet();
    await count("GET");
  });
})();
