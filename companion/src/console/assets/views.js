// Shows how things stand.

import { chart } from "/console/chart.js";
import { byId, count, duration, h, moment, number, show } from "/console/dom.js";

export const FROZEN = ["freezing", "draining", "quiesced"];
const ENDING = ["soaking", "backfilling"];

/** What each phase means, for whoever does not know the words. */
const MEANING = {
  scheduled: "begins later",
  freezing: "not every enforcer has acknowledged",
  draining: "every enforcer refuses writes; admitted ones still run",
  quiesced: "proven: no write is running, and none will be admitted",
  soaking: "writes are open again and watched",
  backfilling: "held writes are being replayed",
};

const badge = (phase) => h("span", { class: `badge ${phase}` }, phase);
const term = (name, ...value) => [h("dt", null, name), h("dd", null, ...value)];

function scope({ labels, hosts }) {
  const said = Object.entries(labels ?? {}).map(([key, values]) => `${key}=${values.join("|")}`);
  return [...said, ...(hosts ?? [])].join(", ") || "everywhere";
}

/** The one line that says whether writes pass. */
export function showState({ status, fleet }) {
  const frozen = status.windows.filter(({ phase }) => FROZEN.includes(phase));
  const worst = FROZEN.find((phase) => frozen.some((window) => window.phase === phase));
  const behind = status.fleet.live - status.fleet.up_to_date;
  show(
    byId("state"),
    h("p", { class: `headline ${worst ?? "open"}` }, worst ? worst[0].toUpperCase() + worst.slice(1) : "Open"),
    h("p", null, worst ? MEANING[worst] : "Writes pass: no window is in force."),
    h(
      "ul",
      { class: "facts" },
      h("li", null, h("strong", null, number(status.fleet.in_flight)), " writes in flight"),
      h("li", null, h("strong", null, number(status.fleet.live)), ` ${status.fleet.live === 1 ? "enforcer" : "enforcers"} live, ${number(status.fleet.lost)} lost`),
      h("li", { class: behind > 0 ? "warn" : null }, h("strong", null, `${number(status.fleet.up_to_date)} of ${number(status.fleet.live)}`), ` on epoch ${fleet.epoch}`),
      status.intents && h("li", null, h("strong", null, number(status.intents.held)), " writes held"),
      status.intents?.failed > 0 && h("li", { class: "bad" }, h("strong", null, number(status.intents.failed)), " failed"),
      status.deliveries?.failed > 0 && h("li", { class: "bad" }, h("strong", null, number(status.deliveries.failed)), " could not be told"),
      status.backfill && h("li", null, "backfill ", h("strong", null, status.backfill.phase)),
      status.mode === "observe" && h("li", { class: "warn" }, "observe mode: nothing is refused"),
    ),
  );
}

function convergence(barrier) {
  const { acknowledged, total, in_flight: running } = barrier;
  const rows = barrier.enforcers.filter(({ state }) => state !== "quiesced");
  return [
    h("p", { class: "progress" }, h("progress", { max: Math.max(total, 1), value: acknowledged, "aria-label": "Enforcers that have acknowledged" }), ` ${number(acknowledged)} of ${count(total, "enforcer", "enforcers")} acknowledged, ${count(running, "write", "writes")} in flight`),
    barrier.problems.length > 0 && h("ul", { class: "problems" }, barrier.problems.map((problem) => h("li", { class: problem.weight }, problem.message))),
    rows.length > 0 && h("ul", { class: "laggards", "aria-label": "Enforcers that are not done" }, rows.map((one) => h("li", null, h("code", null, one.id), " ", badge(one.state), one.in_flight > 0 ? ` ${count(one.in_flight, "write", "writes")} in flight` : ""))),
  ];
}

function card(window, now, buttons) {
  const started = window.started_at ?? window.starts_at;
  const left = window.ends_at && new Date(window.ends_at) - now;
  return h(
    "article",
    { class: "card" },
    h("h3", null, badge(window.phase), " ", window.reason),
    h(
      "dl",
      null,
      term("Window", h("code", null, window.id)),
      term("Scope", scope(window.scope)),
      term("Begins", moment(started)),
      window.ends_at && term("Ends", moment(window.ends_at), left < 0 && FROZEN.includes(window.phase) ? ` (${duration(left)} over)` : ""),
      term("Lease", moment(window.expires_at)),
      window.contact && term("Contact", window.contact),
      term("Issued by", window.issued_by),
      window.quiesced && term("Proven", moment(window.quiesced.at), ` after ${number(window.quiesced.elapsed_ms)} ms`),
    ),
    ENDING.includes(window.phase) && h("p", { class: "help" }, MEANING[window.phase]),
    FROZEN.includes(window.phase) && window.barrier && convergence(window.barrier),
    h("div", { class: "actions" }, buttons(window)),
  );
}

/** The windows that are not over, those in force first. */
export function showWindows({ status }, buttons) {
  const now = new Date(status.now);
  const order = (window) => (FROZEN.includes(window.phase) ? 0 : 1);
  const windows = status.windows.toSorted((one, other) => order(one) - order(other) || one.starts_at.localeCompare(other.starts_at));
  const place = byId("windows");
  if (windows.length === 0) return show(place, h("p", { class: "help" }, "None is in force or planned."));
  // Buttons carry listeners, which `show` cannot compare: replaced only if something else has changed.
  const cards = windows.map((window) => card(window, now, buttons));
  if (place.children.length !== cards.length || cards.some((next, at) => next.outerHTML !== place.children[at].outerHTML)) {
    const focused = document.activeElement?.id;
    place.replaceChildren(...cards);
    if (focused && document.activeElement === document.body) byId(focused)?.focus();
  }
}

export function showFleet({ status, fleet }) {
  const more = status.fleet.live + status.fleet.lost - fleet.enforcers.length;
  const row = (one) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, h("code", null, one.id)),
      h("td", null, one.kind),
      h("td", { class: one.state === "lost" ? "bad" : null }, one.state),
      h("td", { class: one.applied === fleet.epoch ? null : "warn" }, one.applied === fleet.epoch ? "up to date" : `on ${one.applied}`, one.rejected ? " (rejects the snapshot)" : ""),
      h("td", null, number(one.in_flight)),
      h("td", null, Object.entries(one.labels).map(([key, value]) => `${key}=${value}`).join(", ")),
      h("td", null, moment(one.last_seen, true)),
    );
  const heads = ["Enforcer", "Kind", "State", "Snapshot", "In flight", "Labels", "Last seen"];
  show(
    byId("fleet"),
    fleet.enforcers.length === 0
      ? h("p", { class: "help" }, "None has reported yet.")
      : h("table", null, h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", null, fleet.enforcers.map(row))),
    more > 0 && h("p", { class: "help" }, `and ${number(more)} more`),
  );
}

const WORDS = {
  scheduled: "planned", started: "frozen", quiesced: "proven: no write in flight", thawed: "writes reopened",
  aborted: "called off: writes reopened", lapsed: "lease ran out: writes reopened", announced: "announced",
  soaked: "watched long enough", "closure-announced": "its end is announced", closed: "over: nothing is held any more",
  "update-posted": "told people", "delivery-failed": "could not tell somebody", "cache-purged": "cache purged",
};

export function showTimeline(events) {
  const line = ({ at, kind, who, window, evidence }) =>
    h("li", null, moment(at), " ", h("strong", null, WORDS[kind] ?? kind.replaceAll("-", " ")), ` by ${who}`, window ? [" · ", h("code", null, window)] : "", evidence?.ends_at?.to ? [" · now ends ", moment(evidence.ends_at.to)] : "");
  show(byId("timeline"), events.length === 0 ? h("li", null, "Nothing has happened yet.") : events.map(line));
}

/** What each line of a surface's chart counts. */
const LINES = [["refused", "refused"], ["queued", "queued"], ["dropped", "dropped"], ["writes", "passed"]];

export function showCharts(samples, { status }, seconds) {
  const to = new Date(status.now).getTime();
  const from = to - seconds * 1000;
  const shown = samples.filter(({ at_ms: at }) => at >= from);
  const shades = status.windows.filter(({ phase }) => FROZEN.includes(phase)).map(({ started_at: at }) => [new Date(at).getTime(), to]);
  const line = (name, style, value) => ({ name, style, points: shown.map((sample) => [sample.at_ms, value(sample)]) });
  // A sample is of two seconds.
  const rate = (surface, what) => (sample) => (sample.surfaces?.[surface]?.[what] ?? 0) / 2;
  const figure = (title, series) =>
    h("figure", null, h("figcaption", null, title, h("span", { class: "legend" }, series.map(({ name, style }) => h("span", { class: `key ${style}` }, name)))), chart({ title, from, to, series, shades }));
  const surfaces = [...new Set(shown.flatMap((sample) => Object.keys(sample.surfaces ?? {})))].toSorted();
  show(
    byId("charts"),
    figure("Writes in flight", [line("in flight", "writes", (sample) => sample.in_flight)]),
    shown.some(({ held }) => held > 0) && figure("Writes held", [line("held", "queued", (sample) => sample.held)]),
    surfaces.map((surface) => [
      figure(`${surface}: writes a second`, LINES.map(([what, name]) => line(name, what, rate(surface, what)))),
      figure(`${surface}: reads a second`, [line("reads", "reads", rate(surface, "reads"))]),
    ]),
  );
}

export function showExplanation(explanation) {
  const { effect, action, rule, refusal, surface, unless, answer } = explanation;
  show(
    byId("explanation"),
    h("p", null, h("span", { class: `badge ${effect}` }, effect), ` of surface ${surface}; while frozen: `, h("strong", null, refusal ? `${action}, ${refusal}` : action)),
    h("p", { class: "help" }, `because of ${rule}`, unless ? `, unless ${unless}` : ""),
    answer && h("pre", { tabindex: "0" }, [`HTTP ${answer.status}`, ...answer.headers.map(([name, value]) => `${name}: ${value}`), "", answer.body].join("\n")),
  );
}
