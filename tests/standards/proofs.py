"""Holds `examples/prove.py`, which shares no code with Bygone, to what Bygone proves and signs. `proofs.py PROGRAM`; Python alone is needed."""

import json
import os
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "prove.py")
KEY = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"


def bygone(*arguments):
    run = subprocess.run([PROGRAM, *arguments], env={**os.environ, "AUDIT_KEY": KEY}, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def proved(*arguments):
    run = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=60)
    return run.returncode == 0, run.stdout.splitlines()


def main():
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "shop.bygone")
        long = "a long text, " * 400
        emit = [f"EMIT Order.noted {n} {{ n: {n - 5}, of: [1.5, NULL, TRUE], text: '{long[:n * 300]}' }}" for n in range(12)]
        emit.append("EMIT Order.paid ON Invoice 'Å 1' { total: 7.5 } BY User ann META { ip: '::1' }")
        events = bygone(file, "DEFINE ENTITY Order ON noted MERGE", *emit)
        [head] = bygone(file, "SIGN HEAD WITH 'env:AUDIT_KEY'")
        note = write(folder, "head.txt", head["note"])
        other = write(folder, "other.txt", head["note"].replace("\n14\n", "\n15\n"))
        bygone(file, "EMIT Order.late 1")
        for event in events:
            position = event["position"]
            [proof] = bygone(file, f"PROVE #{position} AS OF #14")
            path = write(folder, "proof.json", json.dumps(proof))
            good, lines = proved(path, note, head["key"])
            assert good, (position, lines)
            shown = json.loads(lines[0])
            same = ("position", "type", "data", "metadata", "id", "version")
            assert {name: shown.get(name) for name in same} == {name: event.get(name) for name in same}, (shown, event)
            assert proved(path, "14", head["root"])[0]
            # Another head, another key, another root; and an event, a place or a way that was changed.
            assert not proved(path, other, head["key"])[0]
            assert not proved(path, note, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511b")[0]
            assert not proved(path, "14", "0" * 64)[0] and not proved(path, "13", head["root"])[0]
            assert not proved(path, note, "01" + "0" * 62)[0]
            # The same bytes, parted elsewhere.
            payload = proof["data"] + proof["metadata"]
            for at in {0, 2, len(proof["data"]) - 8, len(payload)} - {len(proof["data"])}:
                parted = {**proof, "data": payload[:at], "metadata": payload[at:]}
                assert not proved(write(folder, "parted.json", json.dumps(parted)), "14", head["root"])[0], (position, at)
            changed = (
                {"data": "80" + proof["data"][2:-2] + "7f"},
                {"position": position % 14 + 1},
                {"path": proof["path"][:-1]},
                {"path": [*proof["path"], "0" * 64]},
            )
            for change in changed:
                wrong = write(folder, "wrong.json", json.dumps({**proof, **change}))
                assert not proved(wrong, "14", head["root"])[0], (position, change)
            [early] = bygone(file, f"PROVE #{position} AS OF #{position}")
            assert proved(write(folder, "early.json", json.dumps(early)), str(position), early["root"])[0]
            [late] = bygone(file, f"PROVE #{position}")
            assert not proved(write(folder, "late.json", json.dumps(late)), note, head["key"])[0]
    print("proofs: events proved, heads that were signed believed, and nothing else")


main()
