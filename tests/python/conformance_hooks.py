"""What `conformance.py` tells schemathesis beyond the document: what there is on this server."""

import json
import os

import schemathesis

TOLD = json.loads(os.environ["HOOKMILL_TOLD"])
THERE = TOLD["there"]


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for path, item in raw_schema["paths"].items():
        for method, operation in list(item.items()):
            if method != "parameters":
                operation["parameters"] = parameters(path, method, item, operation)
                if TOLD["valid"] and operation["operationId"] == "publishEvents":
                    few(operation["requestBody"]["content"])
        item.pop("parameters", None)
    if TOLD["valid"]:
        narrow(raw_schema["components"]["schemas"])


def parameters(path, method, item, operation):
    """Names of things that are there, so that more is answered than 404."""
    kind = path.split("/")[2] if path.startswith("/v1/") else None
    names = THERE.get(f"spare {kind}" if method == "delete" else kind) or THERE.get(kind)
    of_path = item.get("parameters", [])
    # What is not there can be put.
    if names and (method != "put" or TOLD["valid"]):
        of_path = [{**parameter, "schema": {"enum": names}} for parameter in of_path]
    # Only CloudEvents, which cannot name a tenant themselves, have it named by the query.
    never = [*NOT_ANY, "tenant"] if operation["operationId"] == "publishEvents" else NOT_ANY
    return of_path + [one for one in operation.get("parameters", []) if not (TOLD["valid"] and one["name"] in never)]


def few(content):
    """Batches that leave room in the intake: a full one answers 503 for a while."""
    for kind in content.values():
        for schema in [kind["schema"], *kind["schema"].get("anyOf", [])]:
            if "maxItems" in schema:
                schema["maxItems"] = 10


# Not any text is a cursor, or the id of an endpoint that is there.
NOT_ANY = ["cursor", "endpoint"]


def narrow(schemas):
    """Leaves what is valid here: a schema says nothing of rules between members, nor of what there is on a server."""
    for name, schema in schemas.items():
        # Answers stay as they are.
        if name.startswith("New") or name.endswith(("Patch", "Request", "Replay", "Rotation")):
            walk(schema)
    for name in ("NewEndpoint", "EndpointPatch"):
        settings = schemas[name]["properties"]
        settings.update({setting: {"enum": values} for setting, values in SETTINGS.items()})
        settings["url"] = {"enum": [TOLD["url"]]}
        for other in ("file", "rotate", "secret", "id"):
            settings.pop(other, None)
        if not TOLD["whole"]:
            settings.pop("tenant")
            # Tenants have no way into the private network.
            settings["guard"] = {"enum": ["public", None]}
    schemas["NewEndpoint"]["required"] = ["url"]
    step = {"name": "x", "url": TOLD["url"], "final_response": True}
    schemas["NewChain"] = {"enum": [[step], {"deadline": "5s", "steps": [step, {**step, "name": "y", "async": True, "final_response": False}]}]}
    # To JSON Schema, `1.0` is a whole number; it is none here.
    schemas["CloudEvent"]["additionalProperties"] = {"type": ["string", "boolean", "null"]}
    rule = schemas["NewDebounceRule"]["properties"]
    # `max_wait` is for some edges.
    rule.pop("max_wait")
    rule["key"] = {"enum": [[], ["/data/n", "/key"]]}
    token = schemas["NewToken"]["properties"]
    # A moment that is to come, and either of the two; metrics are no tenant's.
    token.pop("expires_at")
    token["scopes"]["items"] = {"enum": ["publish", "read"]}
    # What a secret looks like depends on the endpoint.
    schemas["SecretRotation"]["properties"].pop("secret")
    # A job that is slow is one of few that may run at once.
    schemas["ReplayRequest"]["properties"]["rate"]["minimum"] = schemas["EndpointReplay"]["properties"]["rate"]["minimum"] = 1000
    for name in ("DeadLetterFilter", "CancelRequest", "EventReplay"):
        properties = schemas[name]["properties"]
        # One that may be deleted meanwhile.
        properties["endpoint"] = {"enum": [None]}
        if "tenant" in properties and not TOLD["whole"]:
            properties.pop("tenant")


SETTINGS = {
    "disable_after": [None, "never", "5d"],
    "auth": [None, {"type": "bearer", "token": "t"}, {"type": "basic", "username": "u", "password": "p"}],
    "signing": [None, {"type": "none"}, {"type": "hmac", "header": "x-signature"}],
    "filter": [None, {"pointer": "/data/n", "min": 1}, {"any": [{"pointer": "/data/n", "only": [1]}]}],
    "format": [None, "raw", "envelope", "cloudevents", {"map": {"text": {"pointer": "/data/n"}}}],
    "headers": [None, {"x-team": "a"}],
    "retry": [None, {"delays": []}, {"initial": "1s", "max_attempts": 3}],
    "breaker": [None, {"failures": 3, "cooldown": "1s"}],
    "debounce": [None, {"window": "1s", "key": ["/data/n"]}, {"window": "1s", "edge": "trailing", "max_wait": "2s"}],
    "batch": [None, {}, {"max_items": 10, "flush_interval": "1s"}],
    "ordered": [None, "none"],
    "metadata": [None, {"env": {"name": "test"}}],
}


def walk(schema):
    """Durations within their bounds, and whole numbers that are not written as `1.0`."""
    if isinstance(schema, dict):
        if "integer" in schema.get("type", "") and "maximum" in schema:
            null = [None] if "null" in schema["type"] else []
            bounds = [schema["minimum"], schema["maximum"], *null]
            schema.clear()
            schema["enum"] = bounds
        if schema.get("pattern", "").endswith("(ms|s|m|h|d)$"):
            null = [None] if "null" in schema["type"] else []
            schema.clear()
            schema["enum"] = ["1s", "2s", *null]
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            walk(inner)


@schemathesis.check
def without_a_token_nothing_but_the_open_routes_is_answered(context, response, case):
    if not TOLD["token"] and case.operation.definition.raw["security"]:
        assert response.status_code in (401, 429), f"{response.status_code} without a token"
