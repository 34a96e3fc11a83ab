// The console: logs in, follows what happens, and shows it.

import { buttonsFor, freeze } from "/console/actions.js";
import { call, follow, token } from "/console/api.js";
import { byId, h, show } from "/console/dom.js";
import { showCharts, showExplanation, showFleet, showState, showTimeline, showWindows } from "/console/views.js";

/** An hour of samples of two seconds, as the companion keeps them. */
const KEPT = 1_800;

let me = null;
let state = null;
let samples = [];
let following = null;

/** Without tokens the companion lets pages look and change nothing: it could not tell its own from any other. */
const isOperator = () => me?.role === "operator" && token.get() !== null;

function draw() {
  if (!state) return;
  showState(state);
  showWindows(state, (window) => buttonsFor(window, isOperator()));
  showFleet(state);
}

function drawCharts() {
  if (state) showCharts(samples, state, Number(byId("span").value));
}

const TOLD = {
  state: (next) => {
    state = next;
    draw();
    drawCharts();
  },
  events: showTimeline,
  history: (next) => {
    samples = next;
    drawCharts();
  },
  sample: (next) => {
    samples = [...samples, next].slice(-KEPT);
    drawCharts();
  },
};

function linked(is) {
  const link = byId("link");
  const text = is ? "Live" : "Not connected: what is shown may be old";
  if (link.textContent !== text) link.textContent = text;
  link.classList.toggle("bad", !is);
}

function logIn(problem) {
  following?.abort();
  me = null;
  byId("board").hidden = true;
  byId("logout").hidden = true;
  byId("login").hidden = false;
  byId("who").textContent = "";
  byId("link").textContent = "";
  byId("login-error").textContent = problem ?? "";
  byId("token").focus();
}

async function begin() {
  try {
    me = await call("GET", "/v1/whoami");
  } catch (problem) {
    const had = token.get();
    token.drop();
    // Nobody has said anything wrong yet who has said nothing.
    return logIn(had ? problem.message : undefined);
  }
  byId("login").hidden = true;
  byId("board").hidden = false;
  byId("logout").hidden = !token.get();
  byId("who").textContent = `${me.name}, ${isOperator() ? "operator" : "viewer"}`;
  byId("no-tokens").hidden = token.get() !== null;
  byId("explain").hidden = token.get() === null;
  show(byId("actions"));
  if (isOperator()) byId("actions").append(h("button", { type: "button", id: "freeze", class: "danger", onclick: freeze }, "Freeze…"));
  following = new AbortController();
  await follow({ told: (kind, data) => TOLD[kind]?.(data), linked, refused: ({ message }) => (token.drop(), logIn(message)), signal: following.signal });
}

byId("login-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.set(byId("token").value.trim());
  byId("token").value = "";
  begin();
});
byId("logout").addEventListener("click", () => {
  token.drop();
  logIn();
});
byId("span").addEventListener("change", drawCharts);
byId("explain-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const value = (field) => byId(`explain-${field}`).value;
  const headers = {};
  for (const line of value("headers").split("\n").filter((line) => line.includes(":"))) {
    const [name, ...rest] = line.split(":");
    (headers[name.trim()] ??= []).push(rest.join(":").trim());
  }
  try {
    const asked = { method: value("method"), path: value("path"), headers, host: value("host") || undefined, body: value("body") || undefined };
    showExplanation(await call("POST", "/v1/explain", asked));
  } catch (problem) {
    show(byId("explanation"), h("p", { class: "error", role: "alert" }, problem.message));
  }
});

begin();
