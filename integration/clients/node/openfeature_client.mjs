// Evaluates flags with OpenFeature's SDKs for servers and for browsers: `openfeature_client.mjs URL TOKEN`. What is
// said on standard input and output is as in ../python/steps.py.

import { createRequire } from "node:module";
import { serve } from "./steps.mjs";

// The packages are where this is run, and not beside this file.
const require = createRequire(`${process.cwd()}/`);
const server = require("@openfeature/server-sdk");
const { OFREPProvider } = require("@openfeature/ofrep-provider");
const web = require("@openfeature/web-sdk");
const { OFREPWebProvider } = require("@openfeature/ofrep-web-provider");

const [baseUrl, token] = process.argv.slice(2);
const headers = [["Authorization", `Bearer ${token}`]];

await server.OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl, headers }));
const client = server.OpenFeature.getClient();

// This one asks for all flags whenever its context changes.
await web.OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl, headers, cacheMode: "disabled" }));
const browser = web.OpenFeature.getClient();
let turns = 0;

const shown = ({ value, variant, reason, errorCode }) => ({ value, variant, reason, error: errorCode });

async function inBrowser(region) {
  turns += 1;
  await web.OpenFeature.setContext({ targetingKey: `visit-${turns}`, region });
  const { value, errorCode } = browser.getBooleanDetails("read_only", false);
  return { read_only: errorCode ?? value, id: browser.getObjectValue("window", {}).id };
}

await serve({
  read: {
    here: async () => shown(await client.getBooleanDetails("read_only", false, { region: "eu" })),
    elsewhere: async () => shown(await client.getBooleanDetails("read_only", false, { region: "us" })),
    nowhere: async () => shown(await client.getBooleanDetails("read_only", false)),
    window: async () => shown(await client.getObjectDetails("window", {}, { region: "eu" })),
    unknown: async () => shown(await client.getBooleanDetails("colour", false)),
    "all of them, here": () => inBrowser("eu"),
    "all of them, elsewhere": () => inBrowser("us"),
  },
});
await server.OpenFeature.close();
await web.OpenFeature.close();
