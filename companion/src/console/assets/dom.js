// Builds elements, and says times and numbers.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  // Text is always text: nothing that the API says is ever read as markup.
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const byId = (id) => document.getElementById(id);

/** Puts new children in the place of the old ones, but only if they are others, so that focus and selection stay. */
export function show(place, ...children) {
  const next = h("div", null, ...children);
  if (place.innerHTML === next.innerHTML) return;
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.replaceChildren(...next.childNodes);
  if (focused) byId(focused)?.focus();
}

const CLOCK = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const SHORT = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A moment in the zone of whoever looks; the exact one, as the log has it, is its title. */
export const moment = (iso, short = false) =>
  h("time", { datetime: iso, title: iso }, (short ? SHORT : CLOCK).format(new Date(iso)));
export const clock = (ms) => SHORT.format(new Date(ms));

export function duration(ms) {
  const seconds = Math.round(Math.abs(ms) / 1000);
  const [h1, m, sec] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (h1 > 0) return `${h1} h ${m} min`;
  if (m > 0) return `${m} min ${sec} s`;
  return `${sec} s`;
}

const NUMBER = new Intl.NumberFormat();
export const number = (n) => NUMBER.format(n);
export const count = (n, one, many) => `${number(n)} ${n === 1 ? one : many}`;
