#!/usr/bin/env python3
"""Holds the client to the program: `BYGONE=target/debug/bygone python3 examples/python/test_bygone.py`."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import bygone
from bygone import BygoneError, ConnectionGone, Database

# What has not come by then does not come.
PATIENCE = 30


def order(id, type="Order.placed", /, **data):
    return {"type": type, "target": {"type": "Order", "id": id}, "data": data}


def eventually(holds):
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, "it does not come to that"
        time.sleep(0.01)


class Work:
    """Runs something beside the test, and gives what it gave or raised."""

    def __init__(self, work, *arguments):
        def run():
            try:
                self.gave = work(*arguments)
            except BaseException as error:
                self.raised = error

        self.gave, self.raised = None, None
        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def end(self):
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "it does not end"
        if self.raised is not None:
            raise self.raised
        return self.gave


def run_guide(folder, wanted):
    """Runs the examples of the guide that are wanted, one behind the other, and gives how many there were. Each prints what stands behind it."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "..", "docs", "guide", "python.md"), encoding="utf-8") as page:
        examples = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", page.read(), re.DOTALL)
    examples = [example for example in examples if wanted(example[0])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])}
    environment["BYGONE"] = os.path.abspath(environment["BYGONE"])
    for program, printed in examples:
        run = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)
        assert (run.stdout, run.stderr) == (printed, ""), (program, run.stdout, run.stderr)
    return len(examples)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.path = os.path.join(self.folder, "shop.bygone")

    def open(self, path=None, **options):
        db = Database.open(path or self.path, **options)
        self.addCleanup(db.close)
        return db

    def attach(self, path=None):
        db = Database.attach(path or self.path)
        self.addCleanup(db.close)
        return db

    def kind_of(self, call, *arguments, **named):
        with self.assertRaises(BygoneError) as caught:
            call(*arguments, **named)
        return caught.exception.kind


class Statements(Case):
    def test_rows_come_with_what_is_told_of_them(self):
        db = self.open()
        self.assertEqual((db.hello["head"], db.hello["readOnly"]), (0, False))
        [emitted] = db.query("EMIT Order.placed $id WITH $data", id=42, data={"total": 10.0, "to": "Åsa"})
        self.assertEqual((emitted["position"], emitted["data"]), (1, {"total": 10.0, "to": "Åsa"}))
        rows = db.query("EVENTS 'Order.*' WHERE data.total > $least", {"least": 5})
        self.assertEqual((rows.as_of, rows.statement, rows.done), (1, 1, None))
        self.assertEqual([row["target"] for row in rows], [{"type": "Order", "id": "42"}])
        self.assertEqual((rows.kind, rows.done), ("event", {"statements": 1, "rows": 1, "position": 1}))
        self.assertEqual(rows.all(), [])
        told = db.query("HISTORY Ordr 42", hints=True)
        self.assertEqual((told.all(), told.notices), ([], ["no events of Ordr; did you mean Order 42?"]))
        # The name of an option is a parameter all the same.
        self.assertEqual(db.query("EVENTS WHERE data.to = $actor", {"actor": "Åsa"}, actor="User ann").all(), [emitted])

    def test_statements_of_one_text_run_in_order(self):
        rows = self.open().query("EMIT Order.placed 1; AT Order 1; EMIT Order.paid 1 EXPECT NEW; SHOW HEAD")
        self.assertEqual((next(rows)["position"], rows.statement), (1, 1))
        self.assertEqual((next(rows)["version"], rows.statement), (1, 2))
        self.assertEqual(self.kind_of(next, rows), "conflict")
        self.assertEqual(rows.all(), [])

    def test_numbers_are_what_they_were(self):
        db = self.open()
        numbers = [2**64 - 1, 2**63, -(2**63), 2**53 + 1, 0, 1.5, 10.0, 1e300, 5e-324, True, None]
        db.append([order(1, numbers=numbers)])
        [row] = db.query("HISTORY Order 1")
        read = row["data"]["numbers"]
        self.assertEqual([(type(number), number) for number in read], [(type(number), number) for number in numbers])

    def test_what_is_no_json_is_refused_and_nothing_is_sent(self):
        db = self.open()
        deep = []
        for _ in range(103):
            deep = [deep]
        for wrong in (float("nan"), float("-inf"), 2**64, -(2**63) - 1, "\ud800", deep, {1: 2}, {1, 2}, b"bytes", "x" * (64 << 20)):
            with self.assertRaises((ValueError, TypeError)):
                db.append([order(1, wrong=wrong)])
            with self.assertRaises((ValueError, TypeError)):
                db.query("EVENTS WHERE data.a = $wrong", wrong=wrong)
        self.assertEqual(db.status()["position"], 0)
        # As deep as may be.
        for _ in range(5):
            deep = deep[0]
        db.append([order(1, deep=deep)])

    def test_errors_tell_what_is_wrong_and_end_nothing(self):
        db = self.open()
        with self.assertRaises(BygoneError) as caught:
            db.query("EVENTS\nWHRE data.a = 1")
        self.assertEqual((caught.exception.kind, caught.exception.fields["line"], caught.exception.fields["column"]), ("syntax", 2, 1))
        self.assertIn("WHERE", str(caught.exception))
        self.assertEqual(self.kind_of(db.query, "EVENTS SINCE #9"), "beyondHead")
        self.assertEqual(self.kind_of(db.query, "EVENTS BY colour = 1; SHOW HEAD"), "unknownName")
        self.assertEqual(self.kind_of(db.query, "EMIT Order.placed 1", read_only=True), "stopped")
        self.assertEqual(self.kind_of(db.append, [{"type": "placed"}]), "invalid")
        self.assertEqual(self.kind_of(db.append, [order(1)], expect="newer"), "invalid")
        self.assertEqual(db.status(wait=5)["position"], 0)


class Guide(Case):
    def test_examples_print_what_stands_behind_them(self):
        self.assertEqual(run_guide(self.folder, lambda program: "eventsourcing" not in program), 2)


class Writes(Case):
    def test_events_are_appended_all_or_none(self):
        db = self.open()
        placed = db.append([order(1, total=1), {"type": "Mail.sent"}], key="place-1", expect="new", actor="User ann")
        self.assertEqual(([event["position"] for event in placed], placed.position, placed.repeated), ([1, 2], 2, False))
        self.assertEqual(placed[0]["actor"], {"type": "User", "id": "ann"})
        again = db.append([order(1, total=1), {"type": "Mail.sent"}], key="place-1", expect="new", actor="User ann")
        self.assertEqual((len(again), again.position, again.repeated), (2, 2, True))
        with self.assertRaises(BygoneError) as caught:
            db.append([order(2), order(1)], expect={"version": 0})
        self.assertEqual((caught.exception.kind, caught.exception.fields["position"]), ("conflict", 1))
        once = {"none": {"pattern": "Order.placed", "target": {"type": "Order", "id": "1"}}}
        self.assertEqual(self.kind_of(db.append, [{**order(3), "expect": once}, order(4)]), "conflict")
        self.assertEqual(db.status()["position"], 2)
        self.assertEqual(db.append([order(1, "Order.paid")], expect=[{"version": 1}, "exists"])[0]["version"], 2)

    def test_what_is_exported_is_imported(self):
        db = self.open()
        text = "ein Stück – 🍰" * 50
        db.append(order(number, text=text) for number in range(1000))
        rows = db.export("Order.*")
        exported = "".join(rows)
        self.assertEqual((len(exported.splitlines()), rows.done["events"]), (1000, 1000))
        self.assertEqual(next(db.export(form="cloudevents"))[:16], '{"specversion":"')
        other, progress = self.open(os.path.join(self.folder, "other.bygone")), []
        done = other.import_(io.StringIO(exported), on_progress=progress.append)
        self.assertEqual((done["added"], done["known"], bool(progress)), (1000, 0, True))
        # One text, and characters at the ends of pieces.
        self.assertEqual(other.import_(exported)["known"], 1000)
        self.assertEqual("".join(other.export("Order.*")).count(text), 1000)
        first = json.loads(exported.splitlines()[0])
        changed, conflicts = json.dumps({**first, "data": {}}), []
        self.assertEqual(self.kind_of(other.import_, changed), "conflict")
        self.assertEqual(other.import_([changed], skip_conflicts=True, on_conflict=conflicts.append)["conflicts"], 1)
        self.assertEqual(conflicts[0]["kind"], "conflict")
        self.assertEqual(self.kind_of(other.import_, '{"type": "Order.placed"} nonsense'), "invalid")

        def fails():
            yield '{"type": "Order.lost"}'
            raise KeyError("of the caller")

        with self.assertRaises(KeyError):
            other.import_(fails())
        # What stands before a fault is in.
        self.assertEqual(len(other.query("EVENTS").all()), 1001)
        eventually(lambda: not other._requests)


class Subscriptions(Case):
    def test_the_past_comes_then_a_mark_then_what_comes(self):
        db = self.open()
        db.append([order(1), order(2)])
        with db.subscribe("SUBSCRIBE 'Order.*' FROM START WHERE target.id != $not", {"not": 2}) as events:
            self.assertEqual([next(events)["position"], next(events)], [1, {"mark": "caughtUp", "position": 2}])
            self.assertIsNone(events.wait(0.05))
            db.append([order(3)])
            self.assertEqual(next(events)["position"], 3)
        self.assertEqual(events.all(), [])

    def test_a_subscription_that_waits_is_ended_by_another_thread(self):
        events = self.open().subscribe("SUBSCRIBE 'Order.*'")
        self.assertEqual(next(events)["mark"], "caughtUp")
        waits = Work(events.all)
        time.sleep(0.05)
        events.cancel()
        self.assertEqual(waits.end(), [])
        self.assertIsNone(events.wait(PATIENCE))

    def test_a_durable_one_goes_on_behind_what_was_acknowledged(self):
        db, statement = self.open(), "SUBSCRIBE 'Order.*' FROM START AS billing"
        db.append([order(number) for number in (1, 2, 3)])
        with db.subscribe(statement) as events:
            self.assertTrue(events.durable)
            self.assertEqual([next(events)["position"], next(events)["position"]], [1, 2])
            self.assertEqual(events.acknowledge(2, durably=True), 2)
        eventually(lambda: db.query("SHOW SUBSCRIPTIONS").all()[0]["reader"] is None)
        with db.subscribe(statement) as events:
            self.assertEqual(next(events)["position"], 3)
        # What was delivered may be acknowledged after it has ended, too; what was not is none.
        eventually(lambda: events._request.ended)
        self.assertEqual(events.acknowledge(3), 3)
        self.assertEqual(self.kind_of(events.acknowledge, 4), "invalid")

    def test_a_view_is_followed(self):
        db = self.open()
        db.query("DEFINE VIEW placed AS EVENTS 'Order.placed' GROUP BY target.id AS id SELECT count() AS times")
        with db.subscribe("SUBSCRIBE VIEW placed") as rows:
            eventually(lambda: (rows.wait(PATIENCE) or {}).get("mark") == "caughtUp")
            db.append([order(7)])
            self.assertEqual(next(rows), {"id": "7", "times": 1})


class Flow(Case):
    def events(self, db, count):
        for first in range(0, count, 500):
            db.append([order(number, number=number) for number in range(first, min(first + 500, count))])

    def test_who_reads_slowly_holds_little_and_holds_up_nobody(self):
        db = self.open()
        self.events(db, 3000)
        slow = db.query("EVENTS SELECT data.number AS number")
        self.assertEqual(next(slow), {"number": 0})
        eventually(lambda: slow._request.messages.qsize() >= bygone.WINDOW - 1)
        time.sleep(0.2)
        self.assertLessEqual(slow._request.messages.qsize(), bygone.WINDOW)
        self.assertEqual(len(db.query("EVENTS").all()), 3000)
        db.append([order(1)])
        self.assertEqual([row["number"] for row in slow], list(range(1, 3000)))

    def test_large_rows_cost_more(self):
        db, text = self.open(), "x" * 300_000
        for number in range(80):
            db.append([order(number, text=text)])
        slow = db.query("EVENTS")
        self.assertEqual(len(next(slow)["data"]["text"]), len(text))
        time.sleep(0.5)
        self.assertLess(slow._request.messages.qsize(), 60)
        self.assertEqual(len(slow.all()), 79)

    def test_an_answer_that_nobody_reads_is_ended(self):
        db = self.open()
        self.events(db, 1000)
        # More than may run at a time.
        for _ in range(100):
            next(db.query("EVENTS"))
        eventually(lambda: db.status() and not db._requests)

    def test_an_answer_is_ended_before_its_end(self):
        db = self.open()
        self.events(db, 1000)
        with db.query("EVENTS") as rows:
            next(rows)
        self.assertEqual(rows.all(), [])
        self.assertEqual(len(db.query("EVENTS").all()), 1000)


class Threads(Case):
    def work(self, db, thread):
        for number in range(20):
            event = order(f"{thread}-{number % 4}", "Order.changed", thread=thread, number=number)
            [appended] = db.append([event], key=f"{thread} {number}")
            [seen] = db.query("EVENTS WHERE data.thread = $thread AND data.number = $number", thread=thread, number=number)
            self.assertEqual(seen, appended)
            self.assertEqual(self.kind_of(db.query, f"EVENTZ {thread}"), "syntax")

    def test_threads_share_a_connection(self):
        for db in (self.open(), self.attach()):
            before = db.status()["position"]
            with db.subscribe("SUBSCRIBE 'Order.*'") as events:
                self.assertEqual(next(events)["mark"], "caughtUp")
                prefix = str(before)
                works = [Work(self.work, db, f"{prefix}-{thread}") for thread in range(8)]
                positions = [(events.wait(PATIENCE) or {}).get("position") for _ in range(160)]
                for work in works:
                    work.end()
            self.assertEqual(positions, list(range(before + 1, before + 161)))


    def test_more_threads_than_requests_may_run_wait_for_each_other(self):
        db, together = self.open(), threading.Barrier(150)

        def work(thread):
            together.wait(PATIENCE)
            for number in range(5):
                db.append([order(thread, number=number)])
                db.query("HISTORY Order $thread", thread=thread).all()

        for work_of_one in [Work(work, thread) for thread in range(150)]:
            work_of_one.end()
        self.assertEqual(db.status()["position"], 750)

    def test_who_waits_for_his_own_requests_is_refused_in_the_end(self):
        db = self.open()
        before, bygone.PATIENCE = bygone.PATIENCE, 0.2
        self.addCleanup(setattr, bygone, "PATIENCE", before)
        subscriptions = [db.subscribe("SUBSCRIBE '*'") for _ in range(bygone.MAX_RUNNING)]
        self.assertEqual(self.kind_of(db.status), "busy")
        subscriptions.pop().cancel()
        db.status()


class Connections(Case):
    def test_two_processes_ask_one_database(self):
        holder, other, third = self.open(), self.attach(), self.open()
        # The program that finds the file open hands on what it is asked.
        self.assertEqual(len({db.hello["database"] for db in (holder, other, third)}), 1)
        with third.subscribe("SUBSCRIBE 'Order.*'") as events:
            next(events)
            holder.append([order(1)])
            other.append([order(1, "Order.paid")], expect={"version": 1})
            self.assertEqual([next(events)["position"], next(events)["position"]], [1, 2])
        self.assertEqual(self.kind_of(other.append, [order(1)], expect={"version": 1}), "conflict")
        other.close()
        self.assertEqual(len(holder.query("EVENTS").all()), 2)

    def test_long_names_and_long_paths_are_found(self):
        folder = os.path.join(self.folder, "d" * 100)
        os.mkdir(folder)
        link = os.path.join(self.folder, "link.bygone")
        for name in ("short.bygone", "n" * 53 + ".bygone", "n" * 54 + ".bygone", "ö" * 100 + ".bygone"):
            path = os.path.join(folder, name)
            self.open(path).append([order(1)])
            self.assertEqual(len(self.attach(path).query("EVENTS").all()), 1)
            os.symlink(path, link)
            self.assertEqual(len(self.attach(link).query("EVENTS").all()), 1)
            os.remove(link)

    def test_what_cannot_be_reached_is_told(self):
        with self.assertRaisesRegex(ConnectionGone, "no process has it open"):
            Database.attach(self.path)
        with self.assertRaises(FileNotFoundError):
            Database.open(self.path, program=os.path.join(self.folder, "none"))
        with open(self.path, "w", encoding="utf-8") as file:
            file.write("no database\n" * 1000)
        with self.assertRaises(BygoneError) as caught:
            Database.open(self.path)
        self.assertIn("shop.bygone", str(caught.exception))
        with self.assertRaisesRegex(ConnectionGone, "ended with exit code 2"):
            Database.open(self.path, options=["--no-such-option"])

    def test_closing_ends_what_waits(self):
        for db in (self.open(), self.attach()):
            waits = Work(db.subscribe("SUBSCRIBE '*'").all)
            time.sleep(0.05)
            db.query("EVENTS")
        holder, other = self.open(), self.attach()
        works = [Work(db.subscribe("SUBSCRIBE '*'").all) for db in (holder, other)]
        for db, work in zip((other, holder), reversed(works)):
            db.close()
            db.close()
            try:
                work.end()
            except ConnectionGone as gone:
                self.assertIn("closed", str(gone))
            with self.assertRaisesRegex(ConnectionGone, "the connection was closed"):
                db.query("SHOW HEAD")
        del waits

    def test_a_process_that_is_killed_is_told_of_and_another_takes_over(self):
        holder, other, handed_on = self.open(), self.attach(), self.open()
        holder.append([order(1)], key="once")
        waiting = [Work(db.subscribe("SUBSCRIBE 'Order.*'").all) for db in (holder, other, handed_on)]
        time.sleep(0.1)
        os.kill(holder.hello["process"], signal.SIGKILL)
        with self.assertRaisesRegex(ConnectionGone, "killed by signal 9"):
            waiting[0].end()
        for work in waiting[1:]:
            with self.assertRaisesRegex(ConnectionGone, "the process that (has the database open has ended|held .* has gone)"):
                work.end()
        for db in (holder, other, handed_on):
            with self.assertRaises(ConnectionGone):
                db.append([order(2)])
        with self.assertRaisesRegex(ConnectionGone, "no process has it open"):
            Database.attach(self.path)
        second = self.open()
        third = self.attach()
        self.assertEqual(third.append([order(1)], key="once").repeated, True)
        self.assertEqual([row["position"] for row in second.query("EVENTS")], [1])

    def test_a_process_is_killed_among_writes(self):
        holder, other, written = self.open(), self.attach(), []

        def write(name, db):
            for number in range(100_000):
                written.append(db.append([order(name, number=number)], key=f"{name} {number}").position)

        writers = [Work(write, name, db) for name, db in (("a", holder), ("b", other))]
        eventually(lambda: len(written) > 40)
        os.kill(holder.hello["process"], signal.SIGKILL)
        for writer in writers:
            with self.assertRaises(ConnectionGone):
                writer.end()
        found = {row["position"] for row in self.open().query("EVENTS")}
        self.assertLessEqual(set(written), found)


if __name__ == "__main__":
    unittest.main()
