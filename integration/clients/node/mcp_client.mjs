// Reads and writes with the TypeScript SDKs of MCP: `mcp_client.mjs URL SDK CALLS`. SDK is `v1`, the one package
// that most programs have, or `v2`, which also knows the revision 2026-07-28; CALLS says in JSON what to call.
// What is said on standard input and output is as in ../python/steps.py.

import { createRequire } from "node:module";
import { serve } from "./steps.mjs";

// The packages are where this is run, and not beside this file.
const require = createRequire(`${process.cwd()}/`);

const [url, sdk, calls] = process.argv.slice(2);
const what = JSON.parse(calls);

const SDKS = {
  v1() {
    const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
    return { Client, Transport: StreamableHTTPClientTransport, options: {} };
  },
  v2() {
    const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
    return {
      Client,
      Transport: StreamableHTTPClientTransport,
      options: { versionNegotiation: { mode: "auto" } },
    };
  },
};

const { Client, Transport, options } = SDKS[sdk]();

async function connect() {
  const client = new Client({ name: "quiesce-test", version: "1.0.0" }, options);
  await client.connect(new Transport(new URL(url)));
  return client;
}

const client = await connect();

async function call({ name, arguments: args }) {
  const result = await client.callTool({ name, arguments: args });
  if (result.isError) {
    throw new Error(result.content[0].text);
  }
  return result.content.map((content) => content.text ?? content.type);
}

const steps = {
  read: {
    "tools/list": async () => (await client.listTools()).tools.map((tool) => tool.name),
    "tools/call of a tool that reads": () => call(what.read),
    "resources/list": async () => (await client.listResources()).resources.map((resource) => resource.uri),
    "resources/templates/list": async () =>
      (await client.listResourceTemplates()).resourceTemplates.map((template) => template.uriTemplate),
    "resources/read": async () =>
      (await client.readResource({ uri: what.resource })).contents.map((content) => content.text),
    "prompts/list": async () => (await client.listPrompts()).prompts.map((prompt) => prompt.name),
    "prompts/get": async () =>
      (await client.getPrompt(what.prompt)).messages.map((message) => message.content.text),
    "another session": async () => {
      const another = await connect();
      const tools = (await another.listTools()).tools.map((tool) => tool.name);
      await another.close();
      return tools;
    },
  },
  write: { "tools/call": () => call(what.write) },
};

// What only servers with sessions have.
if (what.complete) {
  const { prompt, argument, value } = what.complete;
  Object.assign(steps.read, {
    "completion/complete": async () =>
      (await client.complete({ ref: { type: "ref/prompt", name: prompt }, argument: { name: argument, value } }))
        .completion.values,
    ping: () => client.ping(),
    "logging/setLevel": () => client.setLoggingLevel("error"),
    "resources/subscribe": () => client.subscribeResource({ uri: what.resource }),
    "resources/unsubscribe": () => client.unsubscribeResource({ uri: what.resource }),
  });
}

await serve(steps);
await client.close();
