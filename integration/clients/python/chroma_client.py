"""Reads and writes with Chroma's own client: `chroma_client.py HOST PORT`."""

import asyncio
import sys
import uuid
from collections.abc import Callable
from typing import Any

import chromadb
from chromadb.api.functions import RECORD_COUNTER_FUNCTION
from chromadb.config import Settings
from chromadb.errors import ChromaError
from steps import serve

BOOKS = "books"
IDS = ["a", "b", "c"]
EMBEDDINGS = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
EVERYTHING = ["embeddings", "documents", "metadatas"]


def connect(host: str, port: str, **where: str) -> tuple[chromadb.api.ClientAPI, chromadb.api.AdminAPI]:
    settings = Settings(
        anonymized_telemetry=False,
        chroma_api_impl="chromadb.api.fastapi.FastAPI",
        chroma_server_host=host,
        chroma_server_http_port=int(port),
    )
    return chromadb.HttpClient(host, int(port), settings=settings, **where), chromadb.AdminClient(settings)


def answer(call: Callable[..., Any], *args: Any) -> Any:
    """What the server says, also where that is that it serves this only in its cloud: it has been asked."""
    try:
        return call(*args)
    except ChromaError as said:
        return str(said)


def main() -> None:
    client, admin = connect(*sys.argv[1:])

    def books() -> chromadb.Collection:
        return client.get_collection(BOOKS)

    def create(name: str) -> chromadb.Collection:
        return client.create_collection(name, embedding_function=None)

    is_there = any(one.name == BOOKS for one in client.list_collections())
    # As a program has it that has started before the freeze.
    held = books() if is_there else create(BOOKS)

    reads = {
        "heartbeat": lambda: client.heartbeat() > 0,
        "get_version": client.get_version,
        "get_settings": lambda: client.get_settings().chroma_server_host,
        "get_max_batch_size": client.get_max_batch_size,
        "get_user_identity": lambda: client.get_user_identity().tenant,
        "get_tenant": lambda: admin.get_tenant("default_tenant"),
        "get_database": lambda: admin.get_database("default_database"),
        "list_databases": lambda: admin.list_databases(),
        "list_collections": lambda: sorted(one.name for one in client.list_collections()),
        "count_collections": client.count_collections,
        "get_collection": lambda: books().metadata,
        "get_collection_by_id": lambda: client.get_collection_by_id(books().id).name,
        "get_indexing_status": lambda: answer(books().get_indexing_status),
        "search": lambda: answer(books().search, chromadb.Search()),
        "fork_count": lambda: answer(books().fork_count),
        "get_attached_function": lambda: answer(books().get_attached_function, "none"),
        "count": lambda: books().count(),
        "peek": lambda: books().peek(),
        "get": lambda: books().get(include=EVERYTHING),
        "get by id": lambda: books().get(ids=["a"]),
        "get by metadata": lambda: books().get(where={"year": {"$gt": 1900}}),
        "get by document": lambda: books().get(where_document={"$contains": "Second"}),
        "query": lambda: books().query(query_embeddings=[EMBEDDINGS[1]], n_results=2),
        "connect": lambda: connect(*sys.argv[1:])[0].count_collections(),
    }
    writes = {
        "get_or_create_collection": lambda: client.get_or_create_collection(BOOKS).name,
        "upsert": lambda: held.upsert(
            ids=IDS,
            embeddings=EMBEDDINGS,
            documents=["First", "Second", "Third"],
            metadatas=[{"year": 1899}, {"year": 1905}, {"year": 1926}],
        ),
        "add": lambda: held.add(ids=["d"], embeddings=[[1.0, 1.0, 0.0]], documents=["Fourth"]),
        "update": lambda: held.update(ids=["a"], metadatas=[{"year": 1900}]),
        "delete": lambda: held.delete(ids=["d"]),
        "modify": lambda: held.modify(metadata={"shelf": "fiction"}),
        "create_collection": lambda: create("drafts").name,
        "delete_collection": lambda: client.delete_collection("drafts"),
        "create_database": lambda: admin.create_database("annexe"),
        "delete_database": lambda: admin.delete_database("annexe"),
        "create_tenant": lambda: admin.create_tenant(str(uuid.uuid4())),
    }
    ruins = {
        "delete everything": lambda: held.delete(where={"year": {"$gt": 0}}),
        "delete the collection": lambda: client.delete_collection(BOOKS),
        "fork": lambda: held.fork("fork"),
        "attach_function": lambda: held.attach_function(RECORD_COUNTER_FUNCTION, "counter", "counts"),
        "reset": client.reset,
    }
    asyncio.run(serve(read=reads, write=writes, ruin=ruins))


main()
