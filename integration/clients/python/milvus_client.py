"""Reads and writes with Milvus's own client, over gRPC: `milvus_client.py HOST PORT`."""

import asyncio
import sys

from pymilvus import AnnSearchRequest, MilvusClient, RRFRanker
from steps import serve

BOOKS = "books"
ROWS = [
    {"id": 1, "vector": [1.0, 0.0, 0.0], "year": 1899},
    {"id": 2, "vector": [0.0, 1.0, 0.0], "year": 1905},
    {"id": 3, "vector": [0.0, 0.0, 1.0], "year": 1926},
]
FIELDS = ["id", "vector", "year"]
# Without either, the client tries what was refused as unavailable again for minutes.
BOUND = {"retry_times": 1}
TIMEOUT = {"timeout": 1}


def main() -> None:
    uri = "http://{}:{}".format(*sys.argv[1:])
    client = MilvusClient(uri)

    def search(**more):
        return client.search(BOOKS, data=[ROWS[1]["vector"]], limit=2, output_fields=["year"], **more)

    def hybrid_search():
        request = AnnSearchRequest(data=[ROWS[0]["vector"]], anns_field="vector", param={}, limit=2)
        return client.hybrid_search(BOOKS, [request, request], ranker=RRFRanker(), limit=2)

    if not client.has_collection(BOOKS):
        client.create_collection(BOOKS, dimension=3)
        client.create_alias(BOOKS, "novels")

    reads = {
        "get_server_version": lambda: client.get_server_version(),
        "list_collections": lambda: client.list_collections(),
        "has_collection": lambda: client.has_collection(BOOKS),
        "describe_collection": lambda: client.describe_collection(BOOKS)["fields"],
        "get_collection_stats": lambda: client.get_collection_stats(BOOKS),
        "get_load_state": lambda: client.get_load_state(BOOKS),
        "list_indexes": lambda: client.list_indexes(BOOKS),
        "describe_index": lambda: client.describe_index(BOOKS, "vector"),
        "list_partitions": lambda: client.list_partitions(BOOKS),
        "has_partition": lambda: client.has_partition(BOOKS, "_default"),
        "get_partition_stats": lambda: client.get_partition_stats(BOOKS, "_default"),
        "list_aliases": lambda: client.list_aliases(BOOKS),
        "describe_alias": lambda: client.describe_alias("novels"),
        "list_databases": lambda: client.list_databases(),
        "describe_database": lambda: client.describe_database("default"),
        "query": lambda: client.query(BOOKS, filter="year > 1900", output_fields=FIELDS),
        "query_iterator": lambda: client.query_iterator(BOOKS, output_fields=FIELDS).next(),
        "get": lambda: client.get(BOOKS, ids=[1, 2, 3, 4], output_fields=FIELDS),
        "search": search,
        "search with filter": lambda: search(filter="year < 1900"),
        "search_iterator": lambda: client.search_iterator(BOOKS, data=[ROWS[1]["vector"]], limit=2).next(),
        "hybrid_search": hybrid_search,
        "connect": lambda: MilvusClient(uri).list_collections(),
    }
    writes = {
        "create_collection": lambda: client.create_collection("drafts", dimension=3, **BOUND),
        "rename_collection": lambda: client.rename_collection("drafts", "scraps", **BOUND),
        "truncate_collection": lambda: client.truncate_collection("scraps", **BOUND),
        "drop_index": lambda: client.drop_index("scraps", "vector", **BOUND),
        "drop_collection": lambda: client.drop_collection("scraps", **BOUND),
        "upsert": lambda: client.upsert(BOOKS, ROWS, **BOUND),
        "insert": lambda: client.insert(BOOKS, {"id": 4, "vector": [1.0, 1.0, 0.0], "year": 2026}, **BOUND),
        "upsert with a timeout": lambda: client.upsert(BOOKS, ROWS[0], **TIMEOUT),
        "delete": lambda: client.delete(BOOKS, ids=[4], **BOUND),
        "flush": lambda: client.flush(BOOKS, **BOUND),
        "create_partition": lambda: client.create_partition(BOOKS, "drafts", **BOUND),
        "drop_partition": lambda: client.drop_partition(BOOKS, "drafts", **BOUND),
        "create_alias": lambda: client.create_alias(BOOKS, "proofs", **BOUND),
        "alter_alias": lambda: client.alter_alias(BOOKS, "proofs", **BOUND),
        "drop_alias": lambda: client.drop_alias("proofs", **BOUND),
        "create_database": lambda: client.create_database("annexe", **BOUND),
        "drop_database": lambda: client.drop_database("annexe", **BOUND),
        "release_collection": lambda: client.release_collection(BOOKS, **BOUND),
        "load_collection": lambda: client.load_collection(BOOKS, **BOUND),
        "alter_collection_properties": lambda: client.alter_collection_properties(BOOKS, {"description": "x"}, **BOUND),
        "compact": lambda: client.compact(BOOKS, **BOUND),
    }
    ruins = {
        "drop_collection": lambda: client.drop_collection(BOOKS, **BOUND),
        # Not served by Milvus Lite.
        "load_partitions": lambda: client.load_partitions(BOOKS, ["_default"], **BOUND),
        "release_partitions": lambda: client.release_partitions(BOOKS, ["_default"], **BOUND),
        "create_user": lambda: client.create_user("ann", "Secret-123", **BOUND),
        "create_role": lambda: client.create_role("reader", **BOUND),
    }
    asyncio.run(serve(read=reads, write=writes, ruin=ruins))


main()
