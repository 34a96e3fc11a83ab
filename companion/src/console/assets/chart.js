// Draws lines over time as a picture.

import { clock, number, s } from "/console/dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [480, 160, 44, 8, 10, 22];

/** A round number that is at least `most`, to end an axis with. */
function ceiling(most) {
  if (most <= 4) return 4;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((top) => top >= most);
}

/**
 * @param title what it shows, with its unit
 * @param series `[{name, style, points: [[ms, value], …]}]`, oldest first
 * @param shades `[[from ms, to ms], …]`: when writes were frozen
 */
export function chart({ title, from, to, series, shades }) {
  const latest = (points) => points.at(-1)?.[1] ?? 0;
  const most = Math.max(0, ...series.flatMap(({ points }) => points.map(([, value]) => value)));
  const top = ceiling(most);
  const x = (ms) => LEFT + ((Math.min(Math.max(ms, from), to) - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const said = series.map(({ name, points }) => `${name} ${number(latest(points))}`).join(", ");
  const picture = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: now ${said}; at most ${number(most)}` });
  for (const [begin, end] of shades) {
    if (end > from) picture.append(s("rect", { class: "shade", x: x(begin), y: TOP, width: Math.max(1, x(end) - x(begin)), height: HEIGHT - TOP - BOTTOM }));
  }
  for (const value of [0, top / 2, top]) {
    picture.append(
      s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      s("text", { class: "axis", x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)),
    );
  }
  for (const [ms, anchor] of [[from, "start"], [(from + to) / 2, "middle"], [to, "end"]]) {
    picture.append(s("text", { class: "axis", x: x(ms), y: HEIGHT - 6, "text-anchor": anchor }, clock(ms)));
  }
  for (const { style, points } of series) {
    const path = points.map(([ms, value]) => `${x(ms).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    if (path) picture.append(s("polyline", { class: `line ${style}`, points: path }));
  }
  return picture;
}
