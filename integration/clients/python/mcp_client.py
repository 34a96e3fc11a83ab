"""Reads and writes with the Python SDK of MCP: `mcp_client.py URL MODE CALLS`. MODE is how it connects, `legacy` (with
a session) or `auto` (by the newest revision that the server knows); CALLS says in JSON what to call."""

import asyncio
import json
import sys

from mcp import Client, types
from steps import serve


async def main() -> None:
    url, mode, calls = sys.argv[1:]
    what = json.loads(calls)

    # Without its cache: each read shall go through the proxy.
    def connect() -> Client:
        return Client(url, mode=mode, cache=None)

    async with connect() as client:

        async def call(tool):
            result = await client.call_tool(tool["name"], tool["arguments"])
            if result.is_error:
                raise RuntimeError(result.content[0].text)
            return [getattr(content, "text", content.type) for content in result.content]

        async def another_session():
            async with connect() as another:
                return [tool.name for tool in (await another.list_tools()).tools]

        async def tools():
            return [tool.name for tool in (await client.list_tools()).tools]

        async def resources():
            return [resource.uri for resource in (await client.list_resources()).resources]

        async def templates():
            return [one.uri_template for one in (await client.list_resource_templates()).resource_templates]

        async def read_resource():
            return [content.text for content in (await client.read_resource(what["resource"])).contents]

        async def prompts():
            return [prompt.name for prompt in (await client.list_prompts()).prompts]

        async def get_prompt():
            prompt = await client.get_prompt(what["prompt"]["name"], what["prompt"]["arguments"])
            return [message.content.text for message in prompt.messages]

        async def complete():
            asked = what["complete"]
            argument = {"name": asked["argument"], "value": asked["value"]}
            return (await client.complete(types.PromptReference(name=asked["prompt"]), argument)).completion.values

        reads = {
            "tools/list": tools,
            "tools/call of a tool that reads": lambda: call(what["read"]),
            "resources/list": resources,
            "resources/templates/list": templates,
            "resources/read": read_resource,
            "prompts/list": prompts,
            "prompts/get": get_prompt,
            "another session": another_session,
        }
        # What only servers with sessions have.
        sessions = {
            "completion/complete": complete,
            "ping": client.send_ping,
            "logging/setLevel": lambda: client.set_logging_level("error"),
            "resources/subscribe": lambda: client.subscribe_resource(what["resource"]),
            "resources/unsubscribe": lambda: client.unsubscribe_resource(what["resource"]),
        }
        if "complete" in what:
            reads |= sessions
        await serve(read=reads, write={"tools/call": lambda: call(what["write"])})


asyncio.run(main())
