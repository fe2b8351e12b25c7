// In every page of an extension while EXT_UI_RELOAD is on: when the extension is installed anew,
// the page goes to the same place in the new bundle. The gateway puts this script first in the
// page's head, so the address is still the one that the page was opened by.
(() => {
  const script = document.currentScript.src;
  const [, extension, shown] = /\/ext-ui\/([^/]+)\/([^/]+)\//.exec(location.pathname) ?? [];
  if (extension === undefined) return;
  const opened = location.href;
  const signed = new URL(opened).searchParams.get("_ext");
  const changes = new URL(`${extension}/${shown}/changes`, script);
  if (signed !== null) changes.searchParams.set("_ext", signed);

  function follow({ contentHash, signed: newlySigned }) {
    // The page's own router may have moved on, even out of the bundle's addresses.
    const next = new URL(location.pathname.includes(`/${shown}/`) ? location.href : opened);
    next.pathname = next.pathname.replace(`/${shown}/`, `/${encodeURIComponent(contentHash)}/`);
    if (newlySigned !== null) next.searchParams.set("_ext", newlySigned);
    location.replace(next);
  }

  function watch() {
    const events = new EventSource(changes);
    events.addEventListener("installed", ({ data }) => {
      events.close();
      follow(JSON.parse(data));
    });
    // A stream that ends is opened again by the browser; one that is refused is not.
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setTimeout(watch, 2000);
    });
  }

  watch();
})();
