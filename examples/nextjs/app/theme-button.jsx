"use client";

/** Light or dark; the frames hear of it through the bridge. */
export function ThemeButton() {
  return (
    <button
      type="button"
      onClick={() => {
        const { dataset } = document.documentElement;
        dataset.theme = dataset.theme === "dark" ? "light" : "dark";
      }}
    >
      Light or dark
    </button>
  );
}
