// An extension's page as its author writes it, with the published packages and nothing of ours.

import {
  applyTheme,
  callHandlerJson,
  navigate,
  subscribeTheme,
  useBridge,
  useResize,
  useTheme,
} from "@alga-psa/extension-iframe-sdk";
import { callProxyJson } from "@alga-psa/extension-runtime";
import { Alert, AlertDescription, Badge, Button, Card, Text } from "@alga-psa/ui-kit";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

function Page() {
  const bridge = useBridge();
  const tokens = useTheme(bridge);
  const resize = useResize(bridge);
  const [said, setSaid] = useState("nothing yet");
  useEffect(() => subscribeTheme(bridge), [bridge]);
  useEffect(() => {
    if (tokens !== null) applyTheme(tokens);
  }, [tokens]);

  const ask = (question) => () =>
    question().then((answer) => setSaid(JSON.stringify(answer)), (error) => setSaid(`${error}`));
  const hello = () => callHandlerJson(bridge, "/hello");
  const visit = () => callHandlerJson(bridge, "/visits", { method: "POST" });
  const echo = () => callProxyJson(bridge.uiProxy, "/echo", { text: "Grüße" });
  const nowhere = () => callHandlerJson(bridge, "/nowhere");
  const path = new URLSearchParams(window.location.search).get("path") ?? "/";

  return (
    <Card>
      <Badge>{tokens === null ? "waiting" : "bootstrapped"}</Badge>
      <Text>At {path}</Text>
      <Button onClick={ask(hello)}>Hello</Button>
      <Button onClick={ask(visit)}>Visit</Button>
      <Button variant="secondary" onClick={ask(echo)}>Echo</Button>
      <Button variant="outline" onClick={ask(nowhere)}>Nowhere</Button>
      <Button variant="ghost" onClick={() => navigate(bridge, "/items/7")}>Navigate</Button>
      <Button variant="ghost" onClick={() => resize(640)}>Grow</Button>
      <Alert>
        <AlertDescription>
          <output>{said}</output>
        </AlertDescription>
      </Alert>
    </Card>
  );
}

createRoot(document.getElementById("root")).render(<Page />);
