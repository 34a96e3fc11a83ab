"""A server of the Python SDK with notes that tools add and find: `mcp_notes.py PORT`."""

import sys

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("notes")
notes: list[str] = []


@server.tool()
def add_note(text: str) -> int:
    """Adds a note and says how many there are."""
    notes.append(text)
    return len(notes)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def find_notes(word: str) -> list[str]:
    """The notes that have a word in them."""
    return [note for note in notes if word in note]


@server.tool()
def doubt_find_notes() -> str:
    """Says no longer of `find_notes` that it only reads."""
    server.remove_tool("find_notes")
    server.add_tool(find_notes, annotations=ToolAnnotations(read_only_hint=False))
    return "doubted"


@server.resource("notes://all")
def every_note() -> str:
    """All notes, a line each."""
    return "\n".join(notes)


@server.resource("notes://{number}")
def one_note(number: int) -> str:
    """One note."""
    return notes[number]


@server.prompt()
def review(topic: str) -> str:
    """Asks for a review."""
    return f"Review my notes about {topic}."


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
