// Calls the companion, and follows what happens.

const KEY = "quiesce-token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => sessionStorage.setItem(KEY, text),
  drop: () => sessionStorage.removeItem(KEY),
};

/** Why a call was not carried out: problem details of RFC 9457. */
export class Problem extends Error {
  constructor(status, details) {
    super(details.detail ?? `The companion answered ${status}.`);
    Object.assign(this, { status, code: details.code, hint: details.hint });
  }
}

const headers = (more) => ({ ...(token.get() ? { authorization: `Bearer ${token.get()}` } : {}), ...more });

async function checked(response) {
  if (response.ok) return response;
  throw new Problem(response.status, await response.json().catch(() => ({})));
}

export async function call(method, path, body) {
  const options = { method, headers: headers(body && { "content-type": "application/json" }), cache: "no-store" };
  const response = await fetch(path, { ...options, body: body && JSON.stringify(body) });
  return (await checked(response)).json();
}

/** Reads server-sent events: `EventSource` could not show the token. */
async function read(response, told) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    pending += value;
    for (let end = pending.indexOf("\n\n"); end >= 0; end = pending.indexOf("\n\n")) {
      const fields = pending.slice(0, end).split("\n");
      pending = pending.slice(end + 2);
      const of = (name) => fields.filter((line) => line.startsWith(name)).map((line) => line.slice(name.length).trimStart());
      const data = of("data:").join("\n");
      if (data) told(of("event:")[0], JSON.parse(data));
    }
  }
}

const wait = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

/** Follows `/v1/live` until told to stop, and comes back whenever it is cut off. */
export async function follow({ told, linked, refused, signal }) {
  for (let failures = 0; !signal.aborted; ) {
    try {
      const response = await checked(await fetch("/v1/live", { headers: headers(), cache: "no-store", signal }));
      linked(true);
      failures = 0;
      await read(response, told);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && (error.status === 401 || error.status === 403)) return refused(error);
    }
    linked(false);
    failures += 1;
    await wait(Math.random() * Math.min(10_000, 500 * 2 ** failures), signal);
  }
}
