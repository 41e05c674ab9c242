"""What a receiver with the usual libraries makes of what Bygone sends: signatures by `standardwebhooks`, events by `cloudevents`.

`check.py PROGRAM`, with both packages installed; `run` does that, and calls it.
"""

import base64
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook, WebhookVerificationError

PROGRAM = sys.argv[1]
KEY = base64.b64encode(bytes(range(32))).decode()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what it is told, and refuses the first attempt of each event."""

    told = []
    seen = set()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        Receiver.told.append((headers, body))
        first = headers["webhook-id"] not in Receiver.seen
        Receiver.seen.add(headers["webhook-id"])
        self.send_response(503 if first else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def bygone(*arguments, secret=KEY):
    environment = {**os.environ, "HOOK_SECRET": secret}
    run = subprocess.run([PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, f"{arguments}: {run.stderr}"
    return run.stdout


def expect_refusal(webhook, body, headers):
    try:
        webhook.verify(body, headers)
    except WebhookVerificationError:
        return
    raise AssertionError("a signature of something else is taken")


def check_signatures(file, url):
    define = f"DEFINE WEBHOOK notify ON 'Order.*' FROM START TO '{url}' SECRET 'env:HOOK_SECRET'"
    bygone(file, define)
    for secret in (KEY, "whsec_" + KEY, KEY.rstrip("=")):
        Receiver.told.clear()
        Receiver.seen.clear()
        bygone(file, """EMIT Order.paid ON Order 42 { total: 7.5, by: "Åsa — 'quoted'" }""")
        bygone("run", file, "--until-idle", secret=secret)
        assert len(Receiver.told) == 2, f"told {len(Receiver.told)} times"
        ids = {headers["webhook-id"] for headers, _ in Receiver.told}
        assert len(ids) == 1, "an attempt has another id than the one before"
        for headers, body in Receiver.told:
            event = Webhook(secret).verify(body, headers)
            assert event["id"] in ids and event["data"]["total"] == 7.5, event
            expect_refusal(Webhook(secret), body + b" ", headers)
            expect_refusal(Webhook("c29tZXRoaW5nIGVsc2U="), body, headers)
            expect_refusal(Webhook(secret), body, {**headers, "webhook-id": "another"})
    bygone(file, "DROP WEBHOOK notify")


def check_event(event):
    assert event.get_type() == "Order.paid", event.get_type()
    assert event.get_source().startswith("urn:uuid:"), event.get_source()
    assert event.get_time() is not None
    data = event.get_data()
    data = json.loads(data) if isinstance(data, (bytes, str)) else data
    assert data["total"] == 7.5, data


def check_cloudevents(file, url):
    define = f"DEFINE WEBHOOK cloud ON 'Order.*' FROM START TO '{url}' AS 'cloudevents' SECRET 'env:HOOK_SECRET'"
    bygone(file, define)
    Receiver.told.clear()
    bygone("run", file, "--until-idle")
    assert Receiver.told, "nothing was told"
    for headers, body in Receiver.told:
        Webhook(KEY).verify(body, headers)
        check_event(from_http_event(HTTPMessage(headers=headers, body=body)))
    lines = bygone("export", file, "--format", "cloudevents").splitlines()
    kinds = set()
    for line in lines:
        headers = {"content-type": "application/cloudevents+json"}
        event = from_http_event(HTTPMessage(headers=headers, body=line.encode()))
        kinds.add(event.get_type())
    assert "Order.paid" in kinds, kinds


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "shop.bygone")
        url = f"http://127.0.0.1:{server.server_port}/hook"
        check_signatures(file, url)
        check_cloudevents(file, url)
    print("standards: signatures verified, events parsed")


main()
