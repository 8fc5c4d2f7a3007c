"""What `conformance.py` tells schemathesis beyond the document: what there is on this server, and what rules between members allow."""

import atexit
import base64
import collections
import json
import os
import random

import grammar
import schemathesis

TOLD = json.loads(os.environ["HOOKMILL_TOLD"])
THERE = TOLD["there"]
RANDOM = random.Random(TOLD["seed"])


def made(make, *more, count=40):
    """So many of what `grammar` makes, as a schema."""
    return {"enum": [make(RANDOM, *more) for _ in range(count)]}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for path, item in raw_schema["paths"].items():
        for method, operation in list(item.items()):
            if method != "parameters":
                operation["parameters"] = parameters(path, method, item, operation)
                if TOLD["valid"] and operation["operationId"] == "publishEvents":
                    few(operation["requestBody"]["content"])
                if TOLD["valid"] and operation["operationId"] == "rotateSecret":
                    operation["requestBody"]["required"] = True
        item.pop("parameters", None)
    if TOLD["valid"]:
        narrow(raw_schema["components"]["schemas"])


def parameters(path, method, item, operation):
    """Names of things that are there, so that more is answered than 404."""
    kind = path.split("/")[2] if path.startswith("/v1/") else None
    which = {"delete": "spare "}.get(method, "")
    if operation["operationId"] == "rotateSecret" and TOLD["valid"]:
        # Those that nobody makes sign otherwise.
        which = "steady "
    names = THERE.get(which + str(kind)) or THERE.get(kind)
    of_path = item.get("parameters", [])
    # What is not there can be put.
    if names and (method != "put" or TOLD["valid"]):
        of_path = [{**parameter, "schema": {"enum": names}} for parameter in of_path]
    # Only CloudEvents, which cannot name a tenant themselves, have it named by the query.
    never = [*NOT_ANY, "tenant"] if operation["operationId"] == "publishEvents" else NOT_ANY
    of_query = operation.get("parameters", [])
    if TOLD["valid"]:
        known = {"cursor": THERE["cursors"].get(path), "endpoint": THERE["endpoints"] + THERE["failing endpoints"]}
        of_query = [{**one, "schema": {"enum": known[one["name"]]}} if known.get(one["name"]) else one for one in of_query]
        never = [name for name in never if not known.get(name)]
    return of_path + [one for one in of_query if not (TOLD["valid"] and one["name"] in never)]


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
        settings["url"] = {"enum": [TOLD["url"], TOLD["bad url"]]}
        for other in ("file", "rotate", "id"):
            settings.pop(other, None)
        # One that is brought has no use where nothing is signed, and others are brought with `signing`.
        settings.pop("secret" if name == "EndpointPatch" or RANDOM.random() < 0.5 else "signing")
        if "secret" in settings:
            settings["secret"] = made(grammar.secret)
        if not TOLD["whole"]:
            settings.pop("tenant")
            # Tenants have no way into the private network.
            settings["guard"] = {"enum": ["public", None]}
    schemas["NewEndpoint"]["required"] = ["url"]
    schemas["NewChain"] = made(grammar.chain, TOLD["url"])
    rule = schemas["NewDebounceRule"]["properties"]
    # `max_wait` is for some edges.
    rule.pop("max_wait")
    rule["key"] = {"enum": [[], ["/data/n", "/key"]]}
    token = schemas["NewToken"]["properties"]
    # A moment that is to come, and either of the two; metrics are no tenant's.
    token.pop("expires_at")
    token["scopes"]["items"] = {"enum": ["publish", "read"]}
    # What a secret looks like depends on the endpoint, and no more than a few may sign at once.
    secret = {"type": ["string", "null"], "pattern": "^whsec_[A-Za-z0-9+/]{32}$"}
    schemas["SecretRotation"].update(properties={"overlap": {"enum": ["0s"]}, "secret": secret}, required=["overlap"])
    # What is forgotten or replayed already cannot be replayed.
    schemas["ReplayRequest"]["properties"]["dry_run"] = {"enum": [True]}
    schemas["ReplayRequest"].setdefault("required", []).append("dry_run")
    schemas["PurgeRequest"] = {"enum": [{"all": True, "dry_run": True}, {"filter": {"topic": "never.*"}}, {"filter": {"reason": "gone"}, "all": None}]}
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
    "signing": [None, *made(grammar.signing)["enum"]],
    "filter": [None, *made(grammar.filter)["enum"]],
    "format": [None, "raw", "envelope", "cloudevents", *made(grammar.format)["enum"]],
    "headers": [None, {"x-team": "a"}],
    "retry": [None, {"delays": []}, {"initial": "1s", "max_attempts": 3}],
    "breaker": [None, {"failures": 3, "cooldown": "1s"}],
    "debounce": [None, {"window": "1s", "key": ["/data/n"]}, {"window": "1s", "edge": "trailing", "max_wait": "2s"}],
    "batch": [None, {}, {"max_items": 10, "flush_interval": "1s"}],
    "ordered": [None, "none"],
    "metadata": [None, {"env": {"name": "test"}}],
}


def walk(schema):
    """Durations within their bounds."""
    if isinstance(schema, dict):
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
        # A preflight has no token, and is told the methods.
        expected = (405,) if case.method == "OPTIONS" else (401, 429)
        assert response.status_code in expected, f"{response.status_code} without a token"


@schemathesis.hook
def before_call(context, case, kwargs):
    """What others are about is neither deleted nor changed, and a secret that is brought signs not yet."""
    id, needed = case.path_parameters.get("id"), THERE["steady endpoints"] + THERE["failing endpoints"]
    if "/endpoints/" in case.path and (id in needed and case.method in ("PUT", "PATCH") or id in needed + THERE["endpoints"] and case.method == "DELETE"):
        case.path_parameters["id"] = RANDOM.choice(THERE["spare endpoints" if case.method == "DELETE" else "endpoints"])
    if TOLD["valid"] and id and (case.query or {}).get("cursor"):
        # It leads on in the list that answered it alone.
        case.path_parameters["id"] = THERE[case.path.split("/")[2]][0]
    if TOLD["valid"] and isinstance(case.body, dict) and str(case.body.get("topic")).startswith("hookmill."):
        # Those of chains, which only chains publish, come here by links.
        case.body = {**case.body, "topic": "a.b"}
    if TOLD["valid"] and case.operation.definition.raw["operationId"] == "rotateSecret" and case.body.get("secret"):
        case.body = {**case.body, "secret": f"whsec_{base64.b64encode(RANDOM.randbytes(24)).decode()}"}


COUNTS = collections.defaultdict(collections.Counter)


@schemathesis.hook
def after_call(context, case, response):
    COUNTS[case.operation.definition.raw["operationId"]][str(response.status_code)] += 1


@atexit.register
def tell():
    with open(TOLD["counts"], "w") as file:
        json.dump(COUNTS, file)
