"""Asks a database over HTTP from a browser: `browser.py PROGRAM`. Python alone is needed, and Chromium; where that is missing, it says so and passes.

The page is `/`, so that it is of the same origin as what it asks for: nothing of the browser's security is turned off."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

PROGRAM = sys.argv[1]
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Serving:
    """A program that serves a database."""

    def __init__(self, folder, port):
        command = [PROGRAM, "serve", os.path.join(folder, "a.bygone"), "--http", f"127.0.0.1:{port}"]
        self.program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        line = ""
        while "serving at" not in line:
            line = self.program.stderr.readline()
            assert line, "it does not serve"
        self.base = f"http://127.0.0.1:{port}"

    def stop(self):
        self.program.kill()
        self.program.wait()
        self.program.stderr.close()


class Browser:
    """Chromium without a window, asked over a pair of pipes: each message is JSON and ends with a byte 0."""

    def __init__(self, path, folder):
        ours, theirs_out = os.pipe()
        theirs_in, self.sending = os.pipe()

        def hand_over():
            # 3 and 4 are where it looks for them; those that stand there already must not be closed by that.
            reading, writing = os.dup2(theirs_in, 100), os.dup2(theirs_out, 101)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--remote-debugging-pipe", f"--user-data-dir={os.path.join(folder, 'browser')}", "about:blank"]
        self.log = open(os.path.join(folder, "browser.log"), "w+b")
        self.program = subprocess.Popen([path, *arguments], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        preexec_fn=hand_over, close_fds=False)
        os.close(theirs_in)
        os.close(theirs_out)
        self.receiving = os.fdopen(ours, "rb", buffering=0)
        self.rest = b""
        self.last = 0
        self.session = None

    def ask(self, method, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.sending, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                piece = self.receiving.read(65536)
                if not piece:
                    self.log.seek(0)
                    raise EOFError(self.log.read().decode(errors="replace"))
                self.rest += piece
            line, self.rest = self.rest.split(b"\0", 1)
            answer = json.loads(line)
            if answer.get("id") == self.last:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url):
        self.session = None
        target = self.ask("Target.createTarget", url=url)["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.wait_for(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def run(self, text):
        answer = self.ask("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition):
        until = time.monotonic() + 60
        while not self.run(condition):
            assert time.monotonic() < until, (condition, self.run("JSON.stringify(window.seen ?? null)"))
            time.sleep(0.05)

    def stop(self):
        self.program.kill()
        self.program.wait()
        self.log.close()


QUERY = """
(async () => {
    const answer = await fetch("/query", {
        method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({statement: %s})
    });
    return [answer.status, (await answer.text()).trim().split("\\n").map((line) => JSON.parse(line))];
})()
"""

SUBSCRIBE = """
window.seen = {messages: [], ids: [], marks: [], opened: 0};
window.source = new EventSource("/events?pattern=Order.*&from=START");
source.onopen = () => { seen.opened += 1; };
source.onmessage = ({data, lastEventId}) => { seen.messages.push(JSON.parse(data)); seen.ids.push(lastEventId); };
source.addEventListener("caughtUp", ({data, lastEventId}) => { seen.marks.push([JSON.parse(data).position, lastEventId]); });
0
"""

# Another origin, which asks without wanting to read the answer.
CROSS = """
(async () => {
    await fetch("%s/query", {method: "POST", mode: "no-cors", body: "EMIT Order.stolen 1"}).catch(() => 0);
    const failed = await new Promise((done) => {
        const source = new EventSource("%s/events?from=START");
        source.onerror = () => done(source.readyState);
        source.onmessage = () => done("it was read");
    });
    return failed;
})()
"""


def emit(browser, statement):
    status, lines = browser.run(QUERY % json.dumps(statement))
    assert status == 200 and "done" in lines[-1], lines


def check(browser, folder, servings):
    port = free_port()
    serving = Serving(folder, port)
    servings.append(serving)
    browser.open(serving.base + "/")
    emit(browser, "EMIT Order.created 42 {total: 10}")
    browser.run(SUBSCRIBE)
    browser.wait_for("seen.marks.length === 1")
    emit(browser, "EMIT Order.paid 42; EMIT Stock.counted 1; EMIT Order.shipped 42")
    browser.wait_for("seen.messages.length === 3")
    seen = browser.run("seen")
    assert [event["type"] for event in seen["messages"]] == ["Order.created", "Order.paid", "Order.shipped"], seen
    assert seen["ids"] == ["1", "2", "4"] and seen["marks"] == [[1, "1"]], seen

    # It ends and comes back: the browser connects anew by itself, and nothing is missed or comes twice.
    serving.stop()
    subprocess.run([PROGRAM, os.path.join(folder, "a.bygone"), "EMIT Order.returned 42"], check=True, capture_output=True)
    serving = Serving(folder, port)
    servings.append(serving)
    browser.wait_for("seen.marks.length === 2")
    seen = browser.run("seen")
    assert [event["position"] for event in seen["messages"]] == [1, 2, 4, 5] and seen["opened"] == 2, seen
    browser.run("source.close(), 0")

    # A page of another origin, which `localhost` is to 127.0.0.1, has neither writes nor events.
    browser.open(f"http://localhost:{port}/")
    assert browser.run(CROSS % (serving.base, serving.base)) == 2, "CLOSED is 2"
    status, lines = browser.run(QUERY % json.dumps("EVENTS 'Order.stolen'"))
    assert status == 200 and lines[-1]["done"]["rows"] == 0, lines


def main():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        print("standards: the browser is skipped, there is no Chromium")
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        servings = []
        browser = Browser(path, folder)
        try:
            check(browser, folder, servings)
        finally:
            browser.stop()
            for serving in servings:
                serving.stop()
    print("standards: a browser has asked over HTTP")


main()
