"""A client of Bygone in one file: copy it beside your program. Python 3.9 or newer, and nothing else.

    from bygone import Database

    with Database.open("shop.bygone") as db:             # starts `bygone serve shop.bygone --stdio`
        db.query("EMIT Order.placed $id {total: $total}", id=42, total=10)
        for event in db.query("HISTORY Order $id", id=42):
            print(event["position"], event["type"], event["data"])
        db.append([{"type": "Order.paid", "target": {"type": "Order", "id": 42}, "data": {"amount": 10}}],
                  key="pay-42", expect={"version": 1}, actor="User ann")
        with db.subscribe("SUBSCRIBE 'Order.*' FROM START") as events:
            for event in events:
                if event.get("mark") == "caughtUp":
                    break

`Database.attach("shop.bygone")` asks the process that has the file open instead, by the socket beside it. Rows and events are
dicts, as `bygone --format json` prints them. Whole numbers stay exact; what JSON has no word for (NaN, infinity) is refused before it
is sent, and so is a number that 64 bits cannot hold.

Several threads may use one `Database`: requests run beside each other. What a call gives back belongs to one thread; only `cancel` may be
called by another. Rows are asked for as they are taken, so a slow reader holds little in memory and holds up nobody.

The protocol is told in docs/PROTOCOL.md.
"""

from __future__ import annotations

import collections
import json
import math
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Deque, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Union

Json = Dict[str, Any]
Expectation = Union[str, Mapping[str, Any], Sequence[Union[str, Mapping[str, Any]]]]
Actor = Union[str, Mapping[str, Any]]

PROTOCOL = 1
MAX_LINE = 64 << 20
MAX_PIECE = 256 << 10
MAX_DEPTH = 103
CREDIT_BYTES = 64 << 10
# How many requests of a connection the database runs at a time; and how long, in seconds, one that is one too many waits here for others to
# end, until the database is asked all the same, and refuses it.
MAX_RUNNING = 64
PATIENCE = 60
# How many rows are on their way at a time.
WINDOW = 256


class BygoneError(Exception):
    """The database refused something, or failed at it.

    `kind` is the class of the error, like "conflict" or "syntax"; `fields` is all that was told of it, as the shell prints it.
    """

    def __init__(self, fields: Json) -> None:
        super().__init__(fields.get("message", "an error without a message"))
        self.fields = fields
        self.kind: str = fields.get("kind", "")


class ConnectionGone(ConnectionError):
    """There is no connection (any more). Whether a write that was under way was carried out is unknown: say it again with its `key`."""


class Database:
    """A connection to a database. `open` and `attach` make one; it ends with `close`, or with its `with`."""

    def __init__(self, transport: Union[_Process, _Socket]) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._sending = threading.Lock()
        self._requests: Dict[int, _Request] = {}
        self._next_id = 1
        self._gone: Optional[str] = None
        self._closing = False
        # Requests that nobody reads any more. Who finds that out may hold a lock, so that they are cancelled by whoever asks next.
        self._abandoned: Deque[int] = collections.deque()
        try:
            self.hello: Json = self._read_hello()
        except BaseException:
            transport.close()
            transport.reader.close()
            raise
        self._reader = threading.Thread(target=self._read, name="bygone-reader", daemon=True)
        self._reader.start()

    @classmethod
    def open(cls, path: Union[str, os.PathLike[str]], *, program: Optional[str] = None, options: Sequence[str] = ()) -> Database:
        """Starts `bygone serve FILE --stdio` and asks it. Where another process has the file open, that one is asked.

        `program` is the path of bygone; without it, the variable BYGONE of the environment tells it, or else it is looked for in PATH.
        `options` are further ones of `bygone serve`, like "--read-only".
        """
        return cls(_Process(program or os.environ.get("BYGONE") or "bygone", os.fspath(path), options))

    @classmethod
    def attach(cls, path: Union[str, os.PathLike[str]]) -> Database:
        """Asks the process that has the file open, and shares it."""
        return cls(_Socket(os.fspath(path)))

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self._gone is not None or self._closing

    # What is asked.

    def query(self, text: str, params: Optional[Mapping[str, Any]] = None, /, *, actor: Optional[Actor] = None,
              time_limit: Optional[float] = None, read_only: bool = False, hints: bool = False, **named: Any) -> Rows:
        """Runs a statement, or several with semicolons between them, with values for each `$name`.

        An error of the first statement is raised here, one of a later statement, or behind the first rows, where they are read.
        A parameter that has the name of one of the options is given in `params`.
        """
        return Rows(self, self._ask(self._statement(text, params, named, hints), actor, time_limit, read_only, WINDOW))

    def subscribe(self, text: str, params: Optional[Mapping[str, Any]] = None, /, *, actor: Optional[Actor] = None, **named: Any) -> Subscription:
        """Runs a statement that subscribes: `SUBSCRIBE …`, or `SUBSCRIBE VIEW …`."""
        return Subscription(self, self._ask(self._statement(text, params, named, False), actor, None, False, WINDOW))

    def append(self, events: Iterable[Mapping[str, Any]], *, key: Optional[str] = None, expect: Optional[Expectation] = None,
               actor: Optional[Actor] = None, time_limit: Optional[float] = None) -> Appended:
        """Appends events, all or none, and gives them back as they are in the log.

        They are in the event form: `{"type": "Order.paid", "target": {"type": "Order", "id": 42}, "data": {…}}`, each with an `expect` of
        its own if it likes. With a `key` that was used before nothing is written, and `repeated` is true.
        """
        members: Json = {"append": [dict(event) for event in events]}
        if key is not None:
            members["key"] = key
        if expect is not None:
            members["expect"] = expect
        rows = Rows(self, self._ask(members, actor, time_limit, False, None))
        appended = Appended(rows)
        appended.position = (rows.done or {}).get("position")
        appended.repeated = (rows.done or {}).get("repeated", False)
        return appended

    def status(self, wait: float = 0) -> Json:
        """How the database is: `position`, and whether all is `built`. Waits so many seconds for what is being built."""
        rows = Rows(self, self._ask({"status": {"wait": wait}}, None, None, False, None))
        rows.all()
        return rows.done or {}

    def export(self, pattern: Optional[str] = None, *, form: Optional[str] = None, source: Optional[str] = None,
               with_private: bool = False) -> Rows:
        """Events as text, in pieces that end anywhere: `file.writelines(db.export())`. `form` is as `bygone export --format` has it."""
        said = {"pattern": pattern, "form": form, "source": source, "withPrivate": with_private or None}
        members = {"export": {name: value for name, value in said.items() if value is not None}}
        return Rows(self, self._ask(members, None, None, False, WINDOW))

    def import_(self, text: Union[str, Iterable[str]], *, kind: Optional[str] = None, restore: bool = False, skip_conflicts: bool = False,
                actor: Optional[Actor] = None, on_conflict: Optional[Callable[[Json], Any]] = None,
                on_progress: Optional[Callable[[Json], Any]] = None) -> Json:
        """Imports events from JSON, as `bygone import` does: a text, or pieces of one, as a file that is open for reading gives them.

        Gives back how many were `added`, and how many were `known` before.
        """
        said = {"kind": kind, "restore": restore or None, "skipConflicts": skip_conflicts or None}
        members = {"import": {name: value for name, value in said.items() if value is not None}}
        request = self._ask(members, actor, None, False, None)
        pieces, credits, ended = _pieces([text] if isinstance(text, str) else text), 0, False
        try:
            while True:
                if credits and not ended:
                    piece = next(pieces, None)
                    ended = piece is None
                    self._send({"id": request.id, "end": True} if piece is None else {"id": request.id, "text": piece})
                    credits -= 1
                    continue
                message, _ = request.take(None)
                credits += message.get("credits", 0)
                if "conflict" in message and on_conflict:
                    on_conflict(message["conflict"])
                if "progress" in message and on_progress:
                    on_progress(message["progress"])
                if "error" in message:
                    raise BygoneError(message["error"])
                if "done" in message:
                    return message["done"]
        except BaseException:
            if not request.ended:
                self._cancel(request)
            raise

    def close(self) -> None:
        """Ends the connection, and what runs of it. What was appended stays."""
        with self._ended:
            if self._closing:
                return
            self._closing = True
            self._ended.notify_all()
            running = list(self._requests.values())
        for request in running:
            self._cancel(request)
        self._transport.close()
        self._reader.join()
        self._transport.reader.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # How it is sent.

    @staticmethod
    def _statement(text: str, params: Optional[Mapping[str, Any]], named: Json, hints: bool) -> Json:
        members: Json = {"statement": text}
        if params or named:
            members["params"] = {**(params or {}), **named}
        if hints:
            members["hints"] = True
        return members

    def _ask(self, members: Json, actor: Optional[Actor], time_limit: Optional[float], read_only: bool, credits: Optional[int]) -> _Request:
        said = {"actor": actor, "timeLimit": time_limit, "readOnly": read_only or None, "credits": credits}
        members.update((name, value) for name, value in said.items() if value is not None)
        request = self._begin()
        try:
            self._send({"id": request.id, **members})
        except BaseException:
            with self._ended:
                self._requests.pop(request.id, None)
                self._ended.notify()
            raise
        return request

    def _begin(self) -> _Request:
        ends = time.monotonic() + PATIENCE
        while True:
            self._cancel_abandoned()
            with self._ended:
                free = self._ended.wait_for(lambda: self.gone or len(self._requests) < MAX_RUNNING, min(PATIENCE, 0.5))
                if self.gone:
                    raise ConnectionGone(self._gone or "the connection was closed")
                if free or time.monotonic() >= ends:
                    request = _Request(self._next_id)
                    self._next_id += 1
                    self._requests[request.id] = request
                    return request

    def _cancel_abandoned(self) -> None:
        while self._abandoned:
            try:
                of = self._abandoned.popleft()
            except IndexError:
                return  # Another thread was faster.
            self._send({"id": self._own_id(), "cancel": of})

    def _send(self, message: Json) -> None:
        line = _line(message)
        with self._sending:
            try:
                self._transport.write(line)
                return
            except (OSError, ValueError):
                pass
            except BaseException:
                # Interrupted, perhaps within the line: what follows would be taken for the rest of it.
                self._transport.hang_up()
                raise
        # What came last tells why.
        self._reader.join(5)
        raise ConnectionGone(self._gone or "the database takes no requests any more")

    def _own_id(self) -> str:
        # Its answer is of interest to nobody: lines of an id that is not known are passed over.
        with self._lock:
            self._next_id += 1
            return f"c{self._next_id}"

    def _cancel(self, request: _Request) -> None:
        try:
            self._send({"id": self._own_id(), "cancel": request.id})
        except ConnectionGone:
            pass  # What was to be ended has ended.

    def _acknowledge(self, request: _Request, position: int, durably: bool) -> int:
        said = {"of": request.id, "position": position, "durably": durably}
        rows = Rows(self, self._ask({"acknowledge": said}, None, None, False, None))
        rows.all()
        return (rows.done or {}).get("position", position)

    # How answers come.

    def _read_hello(self) -> Json:
        message = self._read_line()
        if message is None:
            raise self._transport.failure()
        if "error" in message:
            raise BygoneError(message["error"])
        if message.get("protocol") != PROTOCOL:
            raise ConnectionGone(f"it speaks version {message.get('protocol')} of the protocol, and this is a client of version {PROTOCOL}")
        return message

    def _read_line(self) -> Optional[Json]:
        try:
            line = self._transport.reader.readline(MAX_LINE + 1)
        except (OSError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        self._length = len(line)
        return json.loads(line)

    def _read(self) -> None:
        why = None
        try:
            while True:
                message = self._read_line()
                if message is None:
                    break
                self._deliver(message)
                if "id" not in message and "error" in message:
                    why = f"the database ended the connection: {message['error'].get('message')}"
        except ValueError as error:
            why = f"an answer is no JSON: {error}"
        why = "the connection was closed" if self._closing else why or str(self._transport.failure())
        with self._ended:
            self._gone = why
            running, self._requests = self._requests, {}
            self._ended.notify_all()
        for request in running.values():
            request.messages.put(ConnectionGone(why))

    def _deliver(self, message: Json) -> None:
        ends = "done" in message or "error" in message
        with self._ended:
            number: Any = message.get("id")
            request = self._requests.pop(number, None) if ends else self._requests.get(number)
            if ends:
                self._ended.notify()
        if request is not None:
            request.ended = ends
            request.messages.put((message, self._length))


class _Request:
    """A request that runs, and what has come of its answer."""

    def __init__(self, number: int) -> None:
        self.id = number
        self.messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.ended = False

    def take(self, timeout: Optional[float]) -> Any:
        """The next line, and its length."""
        message = self.messages.get(timeout=timeout)
        if isinstance(message, ConnectionGone):
            self.messages.put(message)
            raise ConnectionGone(*message.args)
        return message


class Rows(Iterator[Any]):
    """The rows of an answer, as they come.

    `notices`: what is for people to read, so far. `statement`, `as_of`: which statement of the text the rows are of, counted from 1, and the
    newest event that it sees. `kind`: what the last row is. `done`: counts, once the last row was read.
    """

    def __init__(self, database: Database, request: _Request) -> None:
        self.notices: List[str] = []
        self.statement: Optional[int] = None
        self.as_of: Optional[int] = None
        self.durable = False
        self.kind: Optional[str] = None
        self.done: Optional[Json] = None
        self._database = database
        self._request = request
        self._cancelled = False
        self._owed = 0
        self._first: Any = None
        # Up to the first line that is no notice: what was wrong with the statement is raised where it was asked.
        while self._first is None and self.statement is None:
            message = request.take(None)
            if "error" in message[0]:
                raise BygoneError(message[0]["error"])
            if not self._noted(message[0]):
                self._first = message

    def __next__(self) -> Any:
        return self._next(None)

    def all(self) -> List[Any]:
        """All rows that are left."""
        return list(self)

    def cancel(self) -> None:
        """Ends the answer; no more rows come. Any thread may call it."""
        if self.done is None and not self._cancelled:
            self._cancelled = True
            if not self._request.ended:
                self._database._cancel(self._request)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        if hasattr(self, "_cancelled") and not self._cancelled and not self._request.ended:
            self._database._abandoned.append(self._request.id)

    def _noted(self, message: Json) -> bool:
        """Takes note of what is no row."""
        if "notice" in message:
            self.notices.append(message["notice"])
        elif "statement" in message and "error" not in message:
            self.statement, self.as_of = message["statement"], message.get("asOf")
            self.durable = message.get("durable", False)
        else:
            return False
        return True

    def _next(self, timeout: Optional[float]) -> Any:
        while not self._cancelled and self.done is None:
            try:
                (message, length), self._first = self._first or self._request.take(timeout), None
            except ConnectionGone:
                if self._cancelled:
                    break
                raise
            if self._cancelled:
                break
            if "done" in message:
                self.done = message["done"]
            elif "error" in message:
                self._cancelled = True
                raise BygoneError(message["error"])
            elif "mark" in message:
                return {"mark": message["mark"], "position": message.get("position")}
            elif "row" in message or "text" in message:
                self.kind = message.get("kind")
                self._pay(1 + length // CREDIT_BYTES)
                return message["row"] if "row" in message else message["text"]
            else:
                self._noted(message)
        raise StopIteration

    def _pay(self, cost: int) -> None:
        self._owed += cost
        if self._owed >= WINDOW // 2 and not self._request.ended:
            owed, self._owed = self._owed, 0
            self._database._send({"id": self._request.id, "credits": owed})


class Subscription(Rows):
    """Events as they come; with the marks `{"mark": "caughtUp", "position": n}`, up to where the past is delivered, and of a view that is
    followed `{"mark": "redefined", …}`, which makes all rows before it void. `durable` is true where what is delivered is to be acknowledged.
    """

    def wait(self, seconds: float) -> Optional[Json]:
        """The next event or mark; None if nothing has come in that time, or nothing more will."""
        try:
            return self._next(seconds)
        except (queue.Empty, StopIteration):
            return None

    def acknowledge(self, position: int, *, durably: bool = False) -> int:
        """Says that all up to here is dealt with: next time the subscription goes on behind it. `durably` waits for the disk."""
        return self._database._acknowledge(self._request, position, durably)


class Appended(List[Any]):
    """Events that were appended. `position` is that of the last; `repeated` is true where their key was used before, or all are there by their ids."""

    position: Optional[int] = None
    repeated: bool = False


# What carries the lines.


class _Process:
    """A program that serves the file, on its standard streams."""

    def __init__(self, program: str, path: str, options: Sequence[str]) -> None:
        # In a session of its own, so that Ctrl-C ends this program and not the database under it.
        self._process = subprocess.Popen([program, "serve", *options, "--stdio", "--", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, start_new_session=os.name == "posix")
        self._said: Deque[str] = collections.deque(maxlen=20)
        self.reader: Any = self._process.stdout
        self._listener = threading.Thread(target=self._listen, name="bygone-errors", daemon=True)
        self._listener.start()

    def write(self, line: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def close(self) -> None:
        for stop in (self.hang_up, self._process.terminate, self._process.kill):
            stop()
            try:
                self._process.wait(20)
                break
            except subprocess.TimeoutExpired:
                pass
        self._listener.join(5)

    def failure(self) -> Exception:
        """Why nothing comes any more."""
        try:
            code: Optional[int] = self._process.wait(5)
        except subprocess.TimeoutExpired:
            code = None
        self._listener.join(5)
        if code == 0:
            return ConnectionGone("the process that has the database open has ended, or closed it")
        last = self._said[-1] if self._said else ""
        try:
            return BygoneError(json.loads(last)["error"])
        except (ValueError, KeyError, TypeError):
            pass
        how = "closed its output" if code is None else f"ended with exit code {code}" if code > 0 else f"was killed by signal {-code}"
        return ConnectionGone(f"bygone serve {how}" + (f": {last}" if last else ""))

    def hang_up(self) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.close()
        except OSError:
            pass  # It has ended before.

    def _listen(self) -> None:
        assert self._process.stderr
        with self._process.stderr as errors:
            for line in errors:
                # Notices, like that the file was created, are no reason to end.
                if not line.startswith(b'{"notice":'):
                    self._said.append(line.decode(errors="replace").strip())


class _Socket:
    """The socket beside the file."""

    def __init__(self, database: str) -> None:
        path = socket_path(database)
        try:
            self._socket = _connected(path)
        except OSError as error:
            raise ConnectionGone(f"{database}: no process has it open and shares it ({error.strerror or error}: {path})") from error
        self.reader: Any = self._socket.makefile("rb", buffering=64 << 10)

    def write(self, line: bytes) -> None:
        self._socket.sendall(line)

    def close(self) -> None:
        self.hang_up()
        self._socket.close()

    def hang_up(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # The other end was faster.

    def failure(self) -> Exception:
        return ConnectionGone("the process that has the database open has ended, or closed it")


def socket_path(database: str) -> str:
    """Where the socket of a database stands: beside the file, as PROTOCOL.md tells."""
    folder, name = os.path.split(os.path.realpath(database))
    if len(os.fsencode(name)) > 60:
        name = ".bygone-" + _blake3(os.fsencode(name)).hex()[:24]
    return os.path.join(folder, name + "-socket")


def _connected(path: str) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no such sockets")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = None
    try:
        # An address has less room than a path: where it is too long, Linux leads there by the folder that is open.
        if len(os.fsencode(path)) > 103:
            if not sys.platform.startswith("linux"):
                raise OSError("its path is longer than 103 bytes")
            folder = os.open(os.path.dirname(path), os.O_RDONLY)
            path = f"/proc/self/fd/{folder}/{os.path.basename(path)}"
        connection.connect(path)
        return connection
    except BaseException:
        connection.close()
        raise
    finally:
        if folder is not None:
            os.close(folder)


# Lines.


def _line(message: Json) -> bytes:
    """A line of the protocol. What the database would end the connection for is refused here, and nothing is sent."""
    _check(message, 0)
    line = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > MAX_LINE:
        raise ValueError(f"a request of {len(line)} bytes: at most {MAX_LINE} are taken")
    return line


def _check(value: Any, depth: int) -> None:
    if isinstance(value, (list, tuple, dict)):
        if depth == MAX_DEPTH:
            raise ValueError("a value is nested too deep: 100 levels at most")
        if isinstance(value, dict):
            for name in value:
                if not isinstance(name, str):
                    raise TypeError(f"the name of a member is a text, not {name!r}")
            value = value.values()
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"{value} does not fit 64 bits; a text would hold it")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is no number of JSON")


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    """The same text, in pieces as an import takes them: a character takes 4 bytes at most."""
    held: List[str] = []
    size, most = 0, MAX_PIECE // 4
    for text in texts:
        for begin in range(0, len(text), most):
            part = text[begin:begin + most]
            if size + len(part) > most:
                yield "".join(held)
                held, size = [], 0
            held.append(part)
            size += len(part)
    if held:
        yield "".join(held)


def _blake3(data: bytes) -> bytes:
    """The hash of up to 1,024 bytes, as https://github.com/BLAKE3-team/BLAKE3-specs defines it: names of files are no longer."""
    start = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
    order, word, chaining = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8), 0xFFFFFFFF, list(start)
    blocks = [data[at:at + 64] for at in range(0, len(data), 64)] or [b""]
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        s = chaining + list(start[:4]) + [0, 0, len(block), (number == 0) | (0b1010 if last else 0)]
        m = [int.from_bytes(block.ljust(64, b"\0")[at:at + 4], "little") for at in range(0, 64, 4)]
        for _ in range(7):
            for turn in range(8):
                a, step = turn % 4, turn // 4
                b, c, d = (4 + (turn + step) % 4, 8 + (turn + 2 * step) % 4, 12 + (turn + 3 * step) % 4)
                for x, turn_d, turn_b in ((m[2 * turn], 16, 12), (m[2 * turn + 1], 8, 7)):
                    s[a] = (s[a] + s[b] + x) & word
                    s[d] ^= s[a]
                    s[d] = (s[d] >> turn_d | s[d] << (32 - turn_d)) & word
                    s[c] = (s[c] + s[d]) & word
                    s[b] ^= s[c]
                    s[b] = (s[b] >> turn_b | s[b] << (32 - turn_b)) & word
            m = [m[at] for at in order]
        chaining = [s[at] ^ s[at + 8] for at in range(8)]
    return b"".join(part.to_bytes(4, "little") for part in chaining)
