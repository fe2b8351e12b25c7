// Line charts of the last two minutes, one point a second. The paths are made once and redrawn.

const NAMESPACE = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 150;
const TOP = 8;

/** A chart in `svg`; the function it returns draws `{name: numbers}`, null where there is no point. */
export function chart(svg, names, { unit, floor, isLogarithmic = false }) {
  const paths = new Map();
  svg.append(line("grid", `M0 ${TOP}H${WIDTH}M0 ${(HEIGHT + TOP) / 2}H${WIDTH}M0 ${HEIGHT - 1}H${WIDTH}`));
  for (const name of names) {
    paths.set(name, line(`line series-${name}`, ""));
    svg.append(paths.get(name));
  }
  const scale = document.createElement("span");
  scale.className = "scale";
  svg.parentElement.querySelector("figcaption").append(scale);
  const title = svg.getAttribute("aria-label");

  const least = isLogarithmic ? 10 * floor : floor;
  return (series) => {
    const top = Math.max(least, ...names.flatMap((name) => series[name]).filter((value) => value !== null));
    const share = isLogarithmic
      ? (value) => Math.max(0, Math.log(value / floor) / Math.log(top / floor))
      : (value) => value / top;
    for (const name of names) paths.get(name).setAttribute("d", route(series[name], share));
    scale.textContent = isLogarithmic ? `${unit(floor)} to ${unit(top)}, logarithmic` : `up to ${unit(top)}`;
    const last = names.map((name) => `${name} ${unit(latest(series[name]))}`).join(", ");
    svg.setAttribute("aria-label", `${title}: at most ${unit(top)} in two minutes; latest ${last}`);
  };
}

function line(className, d) {
  const path = document.createElementNS(NAMESPACE, "path");
  path.setAttribute("class", className);
  path.setAttribute("d", d);
  return path;
}

function route(values, share) {
  const step = WIDTH / (values.length - 1);
  let d = "";
  let isDrawing = false;
  values.forEach((value, index) => {
    if (value === null) {
      isDrawing = false;
      return;
    }
    const x = (index * step).toFixed(1);
    const y = (HEIGHT - 1 - share(value) * (HEIGHT - 1 - TOP)).toFixed(1);
    // A point without neighbours is a dot: a line of no length, with round ends.
    d += isDrawing ? `L${x} ${y}` : `M${x} ${y}h0.01`;
    isDrawing = true;
  });
  return d;
}

function latest(values) {
  return values.findLast((value) => value !== null) ?? null;
}
