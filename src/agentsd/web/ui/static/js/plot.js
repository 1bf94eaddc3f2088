// Plots, drawn as SVG: bars over time. A table beside them has the numbers.

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 120;
const GAP = 0.15; // of a bar's width
const LEAST = 2; // so that a small amount is seen

/**
 * A bar: its parts from the ground up, each with a class of the style sheet.
 * @typedef {{ label: string, parts: { value: number, tone: string }[] }} Bar
 */

/**
 * Return bars of equal width; their heights are shares of the highest. `label` names the plot.
 * @param {Bar[]} bars
 * @param {string} label
 */
export function barPlot(bars, label) {
  const most = Math.max(...bars.map(heightOf), 0);
  const plot = make("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, preserveAspectRatio: "none", class: "plot",
  });
  const step = WIDTH / Math.max(bars.length, 1);
  bars.forEach((bar, index) => plot.append(column(bar, index * step, step, most)));
  plot.append(make("line", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT, class: "ground" }));
  return plot;
}

function column(bar, left, step, most) {
  const group = make("g", {});
  const title = make("title", {});
  title.textContent = bar.label;
  group.append(title, make("rect", { x: left, y: 0, width: step, height: HEIGHT, class: "hover" }));
  let base = HEIGHT;
  for (const { value, tone } of bar.parts) {
    if (!value || !most) continue;
    const height = Math.max((value / most) * HEIGHT, LEAST);
    base -= height;
    group.append(make("rect", {
      x: left + (step * GAP) / 2, y: Math.max(base, 0), width: step * (1 - GAP), height, class: tone,
    }));
  }
  return group;
}

const heightOf = (bar) => bar.parts.reduce((sum, { value }) => sum + value, 0);

function make(name, attributes) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}
