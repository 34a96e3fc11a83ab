"""Evaluates flags with OpenFeature's SDK: `openfeature_client.py URL TOKEN`."""

import asyncio
import sys
from typing import Any

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagEvaluationDetails
from steps import serve


def shown(details: FlagEvaluationDetails[Any]) -> dict[str, Any]:
    said = {"value": details.value, "variant": details.variant, "reason": details.reason, "error": details.error_code}
    return {name: getattr(it, "value", it) for name, it in said.items() if it is not None}


def main() -> None:
    url, token = sys.argv[1:]
    api.set_provider(OFREPProvider(url, headers_factory=lambda: {"Authorization": f"Bearer {token}"}))
    client = api.get_client()
    read_only = client.get_boolean_value("read_only", True, EvaluationContext(attributes={"region": "eu"}))

    def region(name: str) -> EvaluationContext:
        return EvaluationContext(attributes={"region": name})

    reads = {
        "at the start": lambda: read_only,
        "here": lambda: shown(client.get_boolean_details("read_only", False, region("eu"))),
        "elsewhere": lambda: shown(client.get_boolean_details("read_only", False, region("us"))),
        "nowhere": lambda: shown(client.get_boolean_details("read_only", False)),
        "window": lambda: shown(client.get_object_details("window", {}, region("eu"))),
        "unknown": lambda: shown(client.get_boolean_details("colour", False)),
    }
    asyncio.run(serve(read=reads))


main()
