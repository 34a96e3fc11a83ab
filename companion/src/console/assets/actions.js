// What an operator can do, each with a confirmation that says what will happen.

import { call } from "/console/api.js";
import { byId, h, moment } from "/console/dom.js";
import { FROZEN } from "/console/views.js";

const MINUTE_MS = 60_000;

/** Asks in a dialog, carries out what was asked, and says what came of it if it went wrong. */
function ask({ title, text, fields = [], button, danger, carryOut }) {
  const dialog = byId("dialog");
  const error = h("p", { class: "error", role: "alert" });
  const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, button);
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        submit.disabled = true;
        try {
          await carryOut(new FormData(form));
          dialog.close();
        } catch (problem) {
          error.textContent = [problem.message, problem.hint].filter(Boolean).join(" — ");
          submit.disabled = false;
        }
      },
    },
    h("h2", { id: "dialog-title" }, title),
    ...text.map((line) => h("p", null, line)),
    ...fields.map(({ label, help, ...input }) => h("label", null, label, h("input", { autocomplete: "off", spellcheck: "false", ...input }), help && h("span", { class: "help" }, help))),
    error,
    h("div", { class: "actions" }, h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"), submit),
  );
  dialog.replaceChildren(form);
  dialog.showModal();
}

const minutes = { type: "number", min: "1", step: "1", required: true };
const name = (window) => ["Window ", h("code", null, window.id), `, “${window.reason}”`];

/** `a=b, a=c, *.example.com` → labels and hosts. */
function scope(text) {
  const labels = {};
  const hosts = [];
  for (const part of text.split(",").map((part) => part.trim()).filter(Boolean)) {
    const [key, value] = part.split("=", 2);
    if (value === undefined) hosts.push(key);
    else (labels[key] ??= []).push(value);
  }
  return { ...(Object.keys(labels).length > 0 && { labels }), ...(hosts.length > 0 && { hosts }) };
}

export function freeze() {
  ask({
    title: "Freeze writes",
    text: ["Every enforcer in scope refuses writes from now on, or from the time given. Reads go on."],
    fields: [
      { label: "Reason, for those who are refused", name: "reason", required: true, maxlength: "200" },
      { label: "For how many minutes", name: "minutes", value: "30", ...minutes },
      { label: "Where", name: "scope", help: "labels such as region=eu, and hosts such as *.example.com, with commas between; empty: everywhere" },
      { label: "Begins", name: "starts", type: "datetime-local", step: "1", help: "in your time zone; empty: now" },
    ],
    button: "Freeze",
    danger: true,
    carryOut: (form) =>
      call("POST", "/v1/windows", {
        reason: form.get("reason"),
        duration_ms: Number(form.get("minutes")) * MINUTE_MS,
        scope: scope(form.get("scope")),
        ...(form.get("starts") && { starts_at: new Date(form.get("starts")).toISOString() }),
      }),
  });
}

const thaw = (window) =>
  ask({
    title: "Thaw",
    text: [name(window), "Writes are opened again at once, everywhere in its scope."],
    button: "Open writes again",
    carryOut: () => call("POST", `/v1/windows/${encodeURIComponent(window.id)}/thaw`),
  });

const abort = (window) =>
  ask({
    title: "Abort",
    text: [
      name(window),
      window.quiesced ? "The work is given up." : "The barrier has not held yet.",
      "Writes are opened again at once, and people are told that the work was called off.",
    ],
    button: "Abort the window",
    danger: true,
    carryOut: () => call("POST", `/v1/windows/${encodeURIComponent(window.id)}/abort`),
  });

const extend = (window) =>
  ask({
    title: "Extend",
    text: [name(window), window.ends_at ? ["People are told that it ends ", moment(window.ends_at), "."] : ""],
    fields: [{ label: "By how many minutes", name: "minutes", value: "15", ...minutes }],
    button: "Extend",
    carryOut: (form) => call("POST", `/v1/windows/${encodeURIComponent(window.id)}/extend`, { by_ms: Number(form.get("minutes")) * MINUTE_MS }),
  });

const cancel = (window) =>
  ask({
    title: "Cancel",
    text: [name(window), "It is taken back before it begins; no write will be refused for it."],
    button: "Cancel the window",
    danger: true,
    carryOut: () => call("POST", `/v1/windows/${encodeURIComponent(window.id)}/cancel`),
  });

/** What can be done about a window, for who may. */
export function buttonsFor(window, operator) {
  if (!operator) return [];
  const button = (verb, label, action, style) =>
    h("button", { type: "button", id: `${verb}-${window.id}`, class: style, onclick: () => action(window) }, label);
  if (FROZEN.includes(window.phase)) {
    const over = window.quiesced ? [button("thaw", "Thaw…", thaw, "primary")] : [];
    return [button("extend", "Extend…", extend), ...over, button("abort", "Abort…", abort, "danger")];
  }
  if (window.phase === "scheduled") return [button("extend", "Extend…", extend), button("cancel", "Cancel…", cancel, "danger")];
  return [];
}
