"""Holds `examples/python/eventsourcing_bygone.py` to the suites that the package `eventsourcing` has for what stores its events.

`recorders.py PROGRAM`, with the package installed; `run` does that, and calls it. None of their tests is left out. What the package has beside
recorders, its dynamic consistency boundaries, is not stored in Bygone so far: their suites are not of this.
"""

import io
import os
import sys
import tempfile
import unittest
from contextlib import redirect_stdout

PROGRAM = os.path.abspath(sys.argv[1])
os.environ["BYGONE"] = PROGRAM
EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "python")
sys.path.insert(0, EXAMPLES)

from eventsourcing.application import Application as Application_
from eventsourcing.domain import Aggregate
from eventsourcing.system import ProcessApplication, SingleThreadedRunner, System
from eventsourcing.tests import application, persistence, projection
from eventsourcing.utils import Environment, get_topic

import eventsourcing_bygone as ours
from test_bygone import run_guide


class InFolder(unittest.TestCase):
    """A file that is not there yet, and is closed in the end, whoever opened it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        # Applications of the suites are not closed.
        self.addCleanup(ours.BygoneDatastore.close_all)
        self.path = os.path.join(folder.name, "events.bygone")
        self.env = Environment("", {"PERSISTENCE_MODULE": "eventsourcing_bygone", "BYGONE_FILE": self.path})
        super().setUp()

    def create(self, recorder_class, **options):
        datastore = ours.BygoneDatastore(self.path, **options)
        self.addCleanup(datastore.close)
        return recorder_class(datastore)


class AggregateRecorder(InFolder, persistence.AggregateRecorderTestCase):
    def create_recorder(self):
        return self.create(ours.BygoneAggregateRecorder)


class ApplicationRecorder(InFolder, persistence.ApplicationRecorderTestCase):
    def create_recorder(self):
        return self.create(ours.BygoneApplicationRecorder)

    def test_insert_subscribe(self):
        self.optional_test_insert_subscribe()


class TextIds(ApplicationRecorder):
    def new_originator_id(self):
        return f"account/{super().new_originator_id()} ö"

    def create_recorder(self):
        return self.create(ours.BygoneApplicationRecorder, originator_id_type="text")


class TrackingRecorder(InFolder, persistence.TrackingRecorderTestCase):
    def create_recorder(self):
        return self.create(ours.BygoneTrackingRecorder)


class ProcessRecorder(InFolder, persistence.ProcessRecorderTestCase):
    def create_recorder(self):
        return self.create(ours.BygoneProcessRecorder)


class ProcessRecorderOfApplications(ApplicationRecorder):
    def create_recorder(self):
        return self.create(ours.BygoneProcessRecorder)


class NonInterleavingNotificationIDs(InFolder, persistence.NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self):
        return self.create(ours.BygoneApplicationRecorder)


class TrackingOfMine(ours.BygoneTrackingRecorder):
    pass


class InfrastructureFactory(InFolder, persistence.InfrastructureFactoryTestCase):
    def expected_factory_class(self):
        return ours.BygoneFactory

    def expected_aggregate_recorder_class(self):
        return ours.BygoneAggregateRecorder

    def expected_application_recorder_class(self):
        return ours.BygoneApplicationRecorder

    def expected_tracking_recorder_class(self):
        return ours.BygoneTrackingRecorder

    def tracking_recorder_subclass(self):
        return TrackingOfMine

    def expected_process_recorder_class(self):
        return ours.BygoneProcessRecorder


class InEnvironment(InFolder):
    def setUp(self):
        super().setUp()
        os.environ.update(self.env)
        self.addCleanup(lambda: [os.environ.pop(name) for name in self.env])


class ExampleApplication(InEnvironment, application.ExampleApplicationTestCase):
    expected_factory_topic = get_topic(ours.BygoneFactory)


class Application(InEnvironment, application.ApplicationTestCase):
    pass


class EventSourcedProjection(InEnvironment, projection.EventSourcedProjectionTestCase):
    pass


class CountersView(ours.BygoneTrackingRecorder, projection.EventCountersView):
    """Counts in the log: each count is an event, together with what was tracked."""

    def _incr(self, name, tracking):
        counted = {"type": f"Counter.{name}", "target": {"type": "Counter", "id": name}, "data": {}}
        self._insert_with_tracking(tracking, [counted])

    def _count(self, name):
        return self.db.query("HISTORY Counter $name SELECT count() AS times", name=name).all()[0]["times"]

    def get_created_event_counter(self):
        return self._count("created")

    def get_subsequent_event_counter(self):
        return self._count("subsequent")

    def incr_created_event_counter(self, tracking):
        self._incr("created", tracking)

    def incr_subsequent_event_counter(self, tracking):
        self._incr("subsequent", tracking)


class EventCountersView(InFolder, projection.EventCountersViewTestCase):
    def construct_event_counters_view(self):
        return self.create(CountersView)


class AggregateEventCountersProjection(InEnvironment, projection.AggregateEventCountersProjectionTestCase):
    view_class = CountersView


class Ours(InFolder):
    """What the suites do not ask."""

    def test_the_example_of_the_guide_prints_what_stands_behind_it(self):
        self.assertEqual(run_guide(os.path.dirname(self.path), lambda program: "eventsourcing" in program), 1)

    def stored(self, originator, version, state=b"state"):
        return persistence.StoredEvent(originator_id=originator, originator_version=version, topic="a:B.C", state=state)

    def test_of_writers_that_read_the_same_one_wins(self):
        recorder, originator = self.create(ours.BygoneProcessRecorder), persistence.uuid4()
        outcomes = []

        def write(version):
            for number in range(10):
                try:
                    recorder.insert_events([self.stored(originator, number)], tracking=persistence.Tracking("up", number + 1))
                    outcomes.append(number)
                except persistence.IntegrityError:
                    pass

        with persistence.ThreadPoolExecutor(max_workers=8) as executor:
            list(executor.map(write, range(8)))
        self.assertEqual(sorted(outcomes), list(range(10)))
        self.assertEqual(recorder.max_tracking_id("up"), 10)
        self.assertEqual([stored.originator_version for stored in recorder.select_events(originator)], list(range(10)))

    def test_tracking_of_others_does_not_stand_in_the_way(self):
        recorder = self.create(ours.BygoneTrackingRecorder)
        newest, read = recorder._newest_tracking, []

        def behind(application):
            # Another writer comes between reading and writing, once.
            found = newest(application)
            if not read:
                read.append(found)
                self.create(ours.BygoneTrackingRecorder).insert_tracking(persistence.Tracking(application, 3))
            return found

        recorder._newest_tracking = behind
        recorder.insert_tracking(persistence.Tracking("up", 4))
        self.assertEqual((read, newest("up")), ([(None, 0)], (4, 2)))

    def test_what_was_tracked_between_reading_and_writing_is_not_passed_over(self):
        recorder, originator = self.create(ours.BygoneProcessRecorder), persistence.uuid4()
        newest = recorder._newest_tracking
        for insert in (recorder.insert_tracking, lambda tracking: recorder.insert_events([self.stored(originator, 1)], tracking=tracking)):
            read = []

            def behind(application):
                found = newest(application)
                if not read:
                    read.append(found)
                    self.create(ours.BygoneTrackingRecorder).insert_tracking(persistence.Tracking(application, (found[0] or 0) + 9))
                return found

            recorder._newest_tracking = behind
            with self.assertRaises(persistence.IntegrityError):
                insert(persistence.Tracking("up", (newest("up")[0] or 0) + 4))
        self.assertEqual((newest("up")[0], recorder.select_events(originator)), (18, []))

    def test_any_bytes_and_any_order_of_versions(self):
        recorder, originator = self.create(ours.BygoneAggregateRecorder), persistence.uuid4()
        states = {7: bytes(range(256)), 3: b"", 5: "ö".encode()}
        for version, state in states.items():
            recorder.insert_events([self.stored(originator, version, state)])
        read = recorder.select_events(originator)
        self.assertEqual([(stored.originator_version, stored.state) for stored in read], sorted(states.items()))
        self.assertEqual([stored.originator_version for stored in recorder.select_events(originator, desc=True, limit=2)], [7, 5])

    def test_what_no_event_can_be_is_told_in_the_words_of_the_package(self):
        recorder = self.create(ours.BygoneApplicationRecorder)
        wrong = persistence.StoredEvent(originator_id=persistence.uuid4(), originator_version=1, topic="a,b", state=b"")
        with self.assertRaises(ours.DataError):
            recorder.insert_events([wrong])
        self.assertEqual(recorder.select_notifications(None, 10, topics=["a,b"]), [])
        self.assertEqual(recorder.select_notifications(start=99, limit=10, stop=200), [])

    def test_applications_of_a_system_share_a_file(self):
        class Dogs(Application_[persistence.UUID]):
            def register(self):
                dog = Aggregate()
                dog.trigger_event(Aggregate.Event)
                self.save(dog)

        class Counts(ProcessApplication[persistence.UUID]):
            def policy(self, domain_event, processing_event):
                if isinstance(domain_event, Aggregate.Created):
                    processing_event.collect_events(Aggregate())

        with SingleThreadedRunner(System(pipes=[[Dogs, Counts]]), env=dict(self.env)) as runner:
            dogs, counts = runner.get(Dogs), runner.get(Counts)
            for _ in range(3):
                dogs.register()
            # Each has its own notifications, with gaps where the other's lie.
            self.assertEqual([found.id for found in dogs.recorder.select_notifications(1, 99)], [1, 2, 6, 7, 11, 12])
            self.assertEqual([found.id for found in counts.recorder.select_notifications(1, 99)], [3, 8, 13])
            self.assertEqual(counts.recorder.max_tracking_id("Dogs"), 12)
            kinds = [row["kind"] for row in dogs.recorder.db.query("SHOW KINDS")]
            self.assertEqual(kinds, ["Counts", "Counts_tracking", "Dogs"])

    def test_a_process_that_is_killed_is_started_again(self):
        recorder, originator = self.create(ours.BygoneApplicationRecorder), persistence.uuid4()
        recorder.insert_events([self.stored(originator, 1)])
        with recorder.subscribe() as subscription:
            next(subscription)
            os.kill(recorder.db.hello["process"], 9)
            with self.assertRaises(ours.OperationalError):
                next(subscription)
        self.assertEqual(recorder.insert_events([self.stored(originator, 2)]), [2])
        self.assertEqual(len(recorder.select_events(originator)), 2)


def main():
    suite = unittest.TestSuite()
    for found in list(globals().values()):
        if isinstance(found, type) and issubclass(found, InFolder):
            suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(found))
    # They print how fast they were.
    with redirect_stdout(io.StringIO()) as printed:
        result = unittest.TextTestRunner(verbosity=2 if "-v" in sys.argv else 1).run(suite)
    if not result.wasSuccessful():
        print(printed.getvalue()[-4000:])
        raise SystemExit(1)
    print(f"recorders: {result.testsRun} tests of what stores events hold, {len(result.skipped)} were skipped")


if __name__ == "__main__":
    main()
