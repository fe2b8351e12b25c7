// The app's looks, in the names that extension pages style themselves with.

const TOKENS = [
  "--alga-bg",
  "--alga-fg",
  "--alga-muted",
  "--alga-muted-fg",
  "--alga-border",
  "--alga-card-bg",
  "--alga-primary",
  "--alga-primary-foreground",
];

/** {"--alga-bg": "#fff", ...} as they are now. */
export function currentTheme() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(TOKENS.map((name) => [name, style.getPropertyValue(name).trim()]));
}

/** Call back whenever the root element's looks change; returns how to stop. */
export function watchTheme(changed) {
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributeFilter: ["class", "style", "data-theme"] });
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    system.removeEventListener("change", changed);
  };
}
