// The status page by itself is complete; this shows times in the reader's own time zone, and keeps the page up to date.
(() => {
  "use strict";
  const POLL_MS = 15_000;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const forms = {
    long: { weekday: "long", day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" },
    short: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" },
  };
  const lang = navigator.language.startsWith("en") ? navigator.language : "en-GB";
  const relative = new Intl.RelativeTimeFormat(lang);
  const steps = [[86_400_000, "day"], [3_600_000, "hour"], [60_000, "minute"], [1_000, "second"]];

  // Two of a unit at least, for "in 1 day" may be nearly two.
  const away = (ms) => {
    const [size, unit] = steps.find(([size]) => Math.abs(ms) >= 2 * size) ?? steps[3];
    return relative.format(Math.trunc(ms / size), unit);
  };

  const localise = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      time.title = time.dateTime;
      time.textContent = new Intl.DateTimeFormat(lang, forms[time.dataset.form] ?? forms.long).format(at);
    }
    for (const time of root.querySelectorAll("dl time[datetime]")) {
      const span = document.createElement("span");
      span.className = "rel";
      span.dataset.at = time.dateTime;
      time.after(" ", span);
    }
    count();
  };

  const count = () => {
    for (const span of document.querySelectorAll(".rel")) {
      const text = `(${away(new Date(span.dataset.at) - Date.now())})`;
      if (span.textContent !== text) span.textContent = text;
    }
  };

  // What was last taken over, as the server sent it: to be compared with, for times are shown otherwise here.
  let shown = { now: null, rest: null };
  const take = (page, part) => {
    const fresh = page.getElementById(part);
    if (!fresh || fresh.innerHTML === shown[part]) return;
    const first = shown[part] === null;
    shown[part] = fresh.innerHTML;
    if (first) return;
    const here = document.getElementById(part);
    here.dataset.state = fresh.dataset.state ?? "";
    here.replaceChildren(...document.importNode(fresh, true).childNodes);
    if (part === "rest") localise(here);
    document.title = page.title;
  };

  const refresh = async () => {
    try {
      const response = await fetch(location.pathname, { cache: "no-cache", credentials: "omit" });
      if (response.ok) {
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        take(page, "now");
        take(page, "rest");
      }
    } catch {
      // The page stays as it is; the next try may succeed.
    }
    later();
  };
  let timer;
  const later = () => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(refresh, POLL_MS * (0.8 + 0.4 * Math.random()));
  };

  shown.now = document.getElementById("now").innerHTML;
  shown.rest = document.getElementById("rest").innerHTML;
  localise(document);
  document.getElementById("zone").textContent = `Times are in your time zone, ${zone}.`;
  setInterval(count, 1_000);
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  later();
})();
