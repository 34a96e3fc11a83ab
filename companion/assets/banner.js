// <maintenance-banner>: what is under way behind this site, by its /.well-known/maintenance. Attributes: src, poll
// (seconds between looks), ahead (hours before a window from which it is shown), dismissible. Parts to style: banner,
// title, text, link, close.
(() => {
  "use strict";
  if (customElements.get("maintenance-banner")) return;
  const sheet = new CSSStyleSheet();
  // Without a colour scheme of its own it has that of the page.
  sheet.replaceSync(`
:host { display: block; --i: light-dark(#3d2a08, #f6dfbd); --b: light-dark(#fbf0df, #2c2113);
  --l: light-dark(#b7791f, #f0b56a); font: 400 .95rem/1.45 system-ui, sans-serif; }
:host([hidden]), [hidden] { display: none !important; }
[data-state=upcoming] { --i: light-dark(#14334d, #cfe4f6); --b: light-dark(#e8f0f8, #16242f); --l: light-dark(#1f5a8c, #8fc1ec); }
[data-state=ended] { --i: light-dark(#12402a, #c9ecd9); --b: light-dark(#e8f3ec, #16281f); --l: light-dark(#1b6b47, #7fd0a5); }
div { display: flex; gap: 1rem; align-items: flex-start; padding: .7rem 1.1rem;
  color: var(--maintenance-banner-ink, var(--i)); background: var(--maintenance-banner-paper, var(--b));
  border-inline-start: 4px solid var(--maintenance-banner-line, var(--l)); }
p { flex: 1; margin: 0; overflow-wrap: anywhere; }
a, button { color: inherit; }
button { font: inherit; background: none; border: 1px solid; border-radius: 6px; padding: .05rem .6rem; cursor: pointer; }
:focus-visible { outline: 2px solid; outline-offset: 2px; }`);

  const KEY = "maintenance-banner";
  const RANK = { "read-only": 0, upcoming: 1, ended: 2 };
  const make = (name, part, parent) => {
    const element = document.createElement(name);
    element.part = part;
    return parent.appendChild(element);
  };
  const text = (element, value) => {
    if (element.textContent !== value) element.textContent = value;
  };
  const parse = (at) => (at ? Date.parse(at) : NaN);

  customElements.define("maintenance-banner", class extends HTMLElement {
    static observedAttributes = ["src", "poll", "ahead", "dismissible"];
    #said = null;
    #ahead = 0; // by how much the server's clock is ahead of this one
    #timers = {};
    #stop = null;

    constructor() {
      super();
      const root = this.attachShadow({ mode: "open" });
      root.adoptedStyleSheets = [sheet];
      // The region is there before it says something, or screen readers would not hear it.
      const live = root.appendChild(document.createElement("section"));
      live.setAttribute("role", "status");
      live.setAttribute("aria-live", "polite");
      this.box = make("div", "banner", live);
      this.box.hidden = true;
      const words = make("p", "text", this.box);
      this.headline = make("strong", "title", words);
      this.words = words.appendChild(document.createElement("span"));
      this.link = make("a", "link", words);
      this.link.textContent = "Details";
      this.close = make("button", "close", this.box);
      this.close.type = "button";
      this.close.textContent = "Dismiss";
      this.close.addEventListener("click", () => {
        try {
          localStorage.setItem(KEY, this.close.value);
        } catch {
          // Then it is dismissed for as long as this page is.
        }
        this.gone = this.close.value;
        this.#show();
      });
      this.awake = () => (document.hidden ? clearTimeout(this.#timers.poll) : this.#look());
    }

    connectedCallback() {
      document.addEventListener("visibilitychange", this.awake);
      this.#look();
    }

    disconnectedCallback() {
      document.removeEventListener("visibilitychange", this.awake);
      Object.values(this.#timers).forEach(clearTimeout);
      this.#stop?.abort();
    }

    attributeChangedCallback(name) {
      if (!this.isConnected) return;
      if (name === "dismissible" || name === "ahead") this.#show();
      else this.#look();
    }

    async #look() {
      this.#stop?.abort();
      const stop = (this.#stop = new AbortController());
      try {
        // The browser keeps the answer and its ETag, and asks whether there is another.
        const response = await fetch(this.getAttribute("src") || "/.well-known/maintenance", {
          cache: "no-cache", credentials: "omit", signal: stop.signal,
        });
        if (response.ok) {
          const date = parse(response.headers.get("date")) + 1000 * (+response.headers.get("age") || 0) + 500;
          const skew = date - Date.now();
          this.#ahead = Math.abs(skew) > 2000 ? skew : 0;
          const said = await response.json();
          if (Array.isArray(said.windows)) this.#said = said;
        }
      } catch {
        // Whatever was said last holds, for it has its times in it.
      }
      if (stop !== this.#stop || !this.isConnected) return;
      this.#show();
      const poll = Math.max(+this.getAttribute("poll") || 30, 1) * 1000;
      clearTimeout(this.#timers.poll);
      if (!document.hidden) this.#timers.poll = setTimeout(() => this.#look(), poll * (0.8 + 0.4 * Math.random()));
    }

    // What is to be said now, and when that is something else.
    #now() {
      const now = Date.now() + this.#ahead;
      let next = Infinity;
      const until = (at) => at > now && (next = Math.min(next, at - now));
      const lead = (+this.getAttribute("ahead") || 72) * 3_600_000;
      const shown = [];
      for (const { id, state, starts_at, ends_at, expires_at, reason, contact } of this.#said?.windows ?? []) {
        const [starts, ends, expires] = [starts_at, ends_at, expires_at].map(parse);
        [starts - lead, starts, ends, expires].forEach(until);
        if (!(now < expires)) continue;
        const own = state === "upcoming" && now >= starts ? "read-only" : state;
        if (!(own in RANK) || (own === "upcoming" && now < starts - lead)) continue;
        shown.push({ id, own, starts, ends, reason, contact, late: now >= ends });
      }
      shown.sort((a, b) => RANK[a.own] - RANK[b.own] || a.starts - b.starts);
      return [shown[0], next];
    }

    #show() {
      const [it, next] = this.#now();
      clearTimeout(this.#timers.next);
      // No timer is longer than this.
      if (next < 2 ** 31) this.#timers.next = setTimeout(() => this.#show(), next + 1);
      const key = it ? `${it.id} ${it.own}` : "";
      let gone = this.gone;
      try {
        gone ??= localStorage.getItem(KEY);
      } catch {
        // A page may have no storage.
      }
      const can = this.hasAttribute("dismissible");
      const hide = !it || (can && gone === key);
      this.box.hidden = hide;
      if (hide) return;
      const { own, starts, ends, reason, contact, late } = it;
      const at = (ms) => new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
        dateStyle: "medium", timeStyle: "long",
      }).format(ms).replace(/(:\d\d):\d\d/, "$1");
      this.box.dataset.state = own;
      this.close.hidden = !can;
      this.close.value = key;
      text(this.headline, { upcoming: "Planned maintenance", "read-only": "Read-only for maintenance", ended: "Maintenance is over" }[own]);
      text(this.words, `: ${reason}. ${own === "upcoming"
        ? `From ${at(starts)}${ends ? ` to ${at(ends)}` : ""}, changes cannot be saved; reading works.`
        : own === "ended" ? "Changes can be saved again."
        : `Changes cannot be saved ${late || !ends ? "for now; it takes longer than planned" : `until ${at(ends)}`}. Reading works.`
      }${contact && own !== "ended" ? ` Questions: ${contact}.` : ""} `);
      const page = this.#said.status_page;
      this.link.hidden = !/^https?:/.test(page ?? "");
      if (!this.link.hidden) this.link.href = page;
    }
  });
})();
