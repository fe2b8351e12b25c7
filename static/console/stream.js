// Server-sent events by fetch: EventSource cannot send the admin token.

import { ask } from "./session.js";

const SILENT_MS = 40_000; // the gateway says something every 15 seconds
const MOST_CHARACTERS = 16 * 1024 * 1024;

/** Read the stream until it ends, calling `take` with each event's data. Throws when it breaks. */
export async function follow(path, signal, take) {
  const watch = new AbortController();
  signal.addEventListener("abort", () => watch.abort(), { once: true, signal: watch.signal });
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => watch.abort(), SILENT_MS);
  };
  try {
    heard();
    const answer = await ask(path, { signal: watch.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let buffer = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      buffer += value;
      if (buffer.length > MOST_CHARACTERS) throw new Error("an event without an end");
      const events = buffer.split("\n\n");
      buffer = events.pop();
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data: "));
        if (data.length > 0) take(JSON.parse(data.map((line) => line.slice(6)).join("\n")));
      }
    }
  } finally {
    clearTimeout(timer);
    watch.abort();
  }
}
