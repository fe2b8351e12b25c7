"use client";

import { useEffect, useLayoutEffect, useRef, useState } from "react";

import { connect } from "../lib/bridge";
import { currentTheme, watchTheme } from "../lib/theme";

// Without allow-same-origin a page has no origin, so the app's cookies, storage and documents
// are a stranger's to it. A page on an origin of its own may have that origin: nothing of the
// app is there.
const SANDBOX = "allow-scripts allow-forms allow-popups";

/** An extension's page in the app. `url` is what the gateway's ui-url endpoint said. */
export function ExtensionFrame({ extension, url }) {
  const element = useRef(null);
  const [place, setPlace] = useState(null);
  const [path, setPath] = useState(null);
  const [height, setHeight] = useState(320);
  const [isReady, setReady] = useState(false);

  // Only a browser knows the app's own origin: the server may stand behind other names.
  useEffect(() => setPlace(placeOf(url, path)), [url, path]);

  // Before the browser can hand over the page's first message.
  useLayoutEffect(() => {
    if (place === null) return undefined;
    const bridge = connect({
      frame: element.current,
      origin: place.origin,
      extension,
      path: place.path,
      theme: currentTheme,
      onReady: () => setReady(true),
      onResize: setHeight,
      onNavigate: setPath,
    });
    const unwatch = watchTheme(bridge.sendTheme);
    return () => {
      unwatch();
      bridge.close();
    };
  }, [extension, place]);

  if (place === null) return <p>Loading…</p>;
  return (
    <iframe
      ref={element}
      title={extension}
      src={place.src}
      sandbox={place.sandbox}
      style={{ height }}
      aria-busy={!isReady}
      onLoad={() => setReady(true)}
    />
  );
}

function placeOf(url, path) {
  const address = new URL(url, window.location.origin);
  address.searchParams.set("parentOrigin", window.location.origin);
  if (path !== null) address.searchParams.set("path", path);
  const isElsewhere = address.origin !== window.location.origin;
  return {
    src: address.href,
    origin: isElsewhere ? address.origin : "null",
    sandbox: isElsewhere ? `${SANDBOX} allow-same-origin` : SANDBOX,
    path: address.searchParams.get("path") ?? "/",
  };
}
