"""What Hookmill's own little languages allow, made at random: rules that JSON Schema has no words for."""

import base64

import nacl.signing

POINTERS = ["/data", "/data/n", "/data/a/0", "/data/a~1b", "/topic", "/key", "/metadata/env", "/tenant", "/id"]
SCALARS = [None, True, False, 0, 1, -2, 1.5, 1e300, "", "a", "ä", "a.b"]


def some(random, items, least=1, most=3):
    return [random.choice(items) for _ in range(random.randint(least, most))]


def secret(random):
    """A secret of Standard Webhooks."""
    return "whsec_" + base64.b64encode(random.randbytes(random.randint(24, 64))).decode()


def signing_key(random):
    """A private key of Ed25519 with its public one."""
    key = nacl.signing.SigningKey(random.randbytes(32))
    return "whsk_" + base64.b64encode(bytes(key) + bytes(key.verify_key)).decode()


def filter(random, levels=3):
    kind = random.choice(["all", "any", "not", "test", "test"]) if levels else "test"
    if kind == "not":
        return {"not": filter(random, levels - 1)}
    if kind != "test":
        return {kind: [filter(random, levels - 1) for _ in range(random.randint(1, 3))]}
    low = random.uniform(-10, 10)
    tests = {
        "only": some(random, SCALARS),
        "except": some(random, SCALARS),
        "prefix": random.choice(["", "a", "a."]),
        "suffix": random.choice(["", "b", "ä"]),
        "exists": random.choice([True, False]),
        "min": random.choice([low, int(low), 0]) if low < 0 else 0,
        "max": random.choice([11, 1e9, 2.0]),
    }
    return {"pointer": random.choice(POINTERS), **{name: tests[name] for name in random.sample(list(tests), random.randint(1, 4))}}


def part(random, levels=3):
    """A part of a map."""
    kind = random.choice(["from", "from", "literal", "scalar", *(["array", "object", "merge", "concat"] if levels else [])])
    inner = [part(random, levels - 1) for _ in range(random.randint(0, 3))] if levels else []
    return {
        "from": lambda: lookup(random, levels),
        "literal": lambda: {"literal": random.choice([*SCALARS, {"from": 1}, []])},
        "scalar": lambda: random.choice(SCALARS),
        "array": lambda: inner,
        "object": lambda: {f"m{n}": value for n, value in enumerate(inner)},
        "merge": lambda: {"merge": [lookup(random, 0) for _ in inner]},
        "concat": lambda: {"concat": inner},
    }[kind]()


def lookup(random, levels):
    found = {"from": random.choice(POINTERS)}
    if random.random() < 0.3:
        found["as"] = random.choice(["number", "seconds", "rfc3339"])
    elif random.random() < 0.3:
        found["encode"] = "percent"
    elif random.random() < 0.3:
        found["name_prefix"] = "x_"
    if levels and random.random() < 0.5:
        found["default"] = part(random, levels - 1)
    return found


def format(random):
    if random.random() < 0.3:
        return {"merge": [part(random, 2) for _ in range(random.randint(0, 3))]}
    return {"map": {name: part(random) for name in ["a", "from", "ä"][: random.randint(0, 3)]}}


def signing(random):
    kind = random.choice(["none", "standard", "asymmetric", "hmac"])
    return {
        "none": lambda: {"type": "none"},
        "standard": lambda: {
            "type": "standard",
            "header_prefix": random.choice(["webhook", "svix"]),
            "secrets": [secret(random), {"secret": secret(random), "until": "2999-01-01T00:00:00Z"}][: random.randint(1, 2)],
        },
        "asymmetric": lambda: {"type": "standard", "scheme": "v1a", "secrets": [signing_key(random)]},
        "hmac": lambda: {"type": "hmac", "header": "x-sign", "prefix": "sha256=", "encoding": random.choice(["hex", "base64"]), "secret": "any text"},
    }[kind]()


def chain(random, url):
    """Steps, of which one that is waited for gives the response; each may be given what an earlier such one answered."""
    names = [f"step {n}" for n in range(random.randint(0, 5))]
    waited = [name for name in names if random.random() < 0.6]
    final = random.choice(waited) if waited else None
    steps = []
    for name in names:
        earlier = [step["name"] for step in steps if not step["async"]]
        step = {"name": name, "url": url, "async": name not in waited, "attempts": random.randint(0, 3)}
        if name in waited:
            step["final_response"] = name == final
            step["max_response_bytes"] = random.choice([2, 1000, 1 << 20])
        if earlier and random.random() < 0.5:
            step["use_data_from"] = random.choice(earlier)
        more = {
            "method": random.choice(["POST", "put", "PATCH"]),
            "timeout": random.choice(["1s", "10s"]),
            "headers": {"x-team": "a"},
            "auth": {"type": "bearer", "token": "t"},
            "secret": secret(random),
            "guard": random.choice(["private", "public"]) if not url.startswith("http://127.") else "private",
        }
        step.update({name: more[name] for name in random.sample(list(more), random.randint(0, 3))})
        steps.append(step)
    return steps if random.random() < 0.5 else {"deadline": random.choice(["5s", "1m"]), "steps": steps}
