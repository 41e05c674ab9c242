"""Stores the aggregates of the package `eventsourcing` (9.5) in Bygone: `PERSISTENCE_MODULE=eventsourcing_bygone`, `BYGONE_FILE=shop.bygone`.

    from eventsourcing.application import Application

    class Shop(Application):
        env = {"PERSISTENCE_MODULE": "eventsourcing_bygone", "BYGONE_FILE": "shop.bygone"}

How what is stored there lies in the log, where `Aggregate` is the name of the table, so to say:

* A stored event is an event `Aggregate.<topic>` of the entity `Aggregate <originator id>`, with the version and the state (base64) as its data.
  Its id is `Aggregate/<originator id>/<version>`: ids are unique in a log, so a version is there once, whoever writes it.
* Events that are inserted together are one group, all or none; tracking is an event of that group.
* The id of a notification is the position of its event. Positions only grow, and nobody sees one before all that are smaller. Where a log
  has other events, too (tracking, snapshots, definitions), there are gaps between those of the notifications.
* Tracking is the history of an entity `Aggregate_tracking <application>`. Whoever adds to it says at which version he read it, so that
  the numbers only grow, whoever writes them.

Snapshots are `Aggregate_snapshots`. Instead of `Aggregate` it is the name of the application, so that several may share a file, or what
`BYGONE_NAME` says. `ORIGINATOR_ID_TYPE` is `uuid` or `text`, as it is with SQLite. A topic becomes a part of a type, so it has neither `*` nor a comma.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    DatabaseError,
    DataError,
    InfrastructureFactory,
    IntegrityError,
    Notification,
    OperationalError,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    Tracking,
    TrackingRecorder,
)
from eventsourcing.utils import Environment, EnvType, resolve_topic

import bygone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "Aggregate"


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Errors in the words of the package."""
    try:
        yield
    except bygone.ConnectionGone as error:
        raise OperationalError(str(error)) from error
    except bygone.BygoneError as error:
        kinds = {"conflict": IntegrityError, "invalid": DataError, "tooLarge": DataError, "refused": DataError}
        raise kinds.get(error.kind, DatabaseError)(str(error)) from error


class OpenFile:
    """A file that is open in this process. One whose connection has ended is opened again when it is asked for."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        self._lock = threading.Lock()
        self._db: bygone.Database | None = None

    def database(self) -> bygone.Database:
        with self._lock, told():
            if self._db is None or self._db.gone:
                self.close()
                self._db = bygone.Database.open(self.path)
            return self._db

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


class BygoneDatastore:
    """A database, and how ids of originators are read from it. Within a process a file is open once, whoever uses it."""

    _files: ClassVar[dict[str, OpenFile]] = {}
    _lock = threading.Lock()

    def __init__(self, path: str, *, originator_id_type: str = "uuid") -> None:
        self.originator_id_type = originator_id_type
        path = os.path.realpath(path)
        with self._lock:
            self._file: OpenFile | None = self._files.setdefault(path, OpenFile(path))
            self._file.users += 1

    @property
    def db(self) -> bygone.Database:
        if self._file is None:
            msg = "the datastore is closed"
            raise OperationalError(msg)
        return self._file.database()

    def close(self) -> None:
        with self._lock:
            file, self._file = self._file, None
            if file is None:
                return
            file.users -= 1
            if file.users == 0:
                self._files.pop(file.path, None)
                file.close()

    @classmethod
    def close_all(cls) -> None:
        """Closes all files of this process, for those who have lost whoever opened them."""
        with cls._lock:
            files = list(cls._files.values())
            cls._files.clear()
        for file in files:
            file.close()

    def originator_id(self, text: str) -> UUID | str:
        return UUID(text) if self.originator_id_type == "uuid" else text


class BygoneRecorder:
    """What all recorders have: the database, and the name that kinds and ids begin with."""

    def __init__(self, datastore: BygoneDatastore, *, name: str = NAME) -> None:
        self.datastore = datastore
        self.name = name

    @property
    def db(self) -> bygone.Database:
        return self.datastore.db


class BygoneAggregateRecorder(BygoneRecorder, AggregateRecorder):
    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        self._insert_events(stored_events, **kwargs)
        return None

    def _insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        if not stored_events:
            return None
        with told():
            new = [self._event(stored) for stored in stored_events]
            if len({event["id"] for event in new}) < len(new):
                msg = "one of these events is there twice"
                raise IntegrityError(msg)
            events = self.db.append(new)
            # By their ids: to say them again is no error of the database, and is one here.
            if events.repeated:
                msg = "these events are there already"
                raise IntegrityError(msg)
        return [event["position"] for event in events]

    def _event(self, stored: StoredEvent) -> dict[str, Any]:
        originator = str(stored.originator_id)
        return {
            "type": f"{self.name}.{stored.topic}",
            "id": f"{self.name}/{originator}/{stored.originator_version}",
            "target": {"type": self.name, "id": originator},
            "data": {"version": stored.originator_version, "state": base64.b64encode(stored.state).decode()},
        }

    def _stored(self, event: dict[str, Any]) -> dict[str, Any]:
        return {
            "originator_id": self.datastore.originator_id(event["target"]["id"]),
            "originator_version": event["data"]["version"],
            "topic": event["type"][len(self.name) + 1 :],
            "state": base64.b64decode(event["data"]["state"]),
        }

    def select_events(
        self, originator_id: UUID | str, *, gt: int | None = None, lte: int | None = None, desc: bool = False, limit: int | None = None
    ) -> Sequence[StoredEvent]:
        wanted = [f"data.version {sign} {bound}" for sign, bound in ((">", gt), ("<=", lte)) if bound is not None]
        statement = f"HISTORY `{self.name}` $originator" + (" WHERE " + " AND ".join(wanted) if wanted else "")
        statement += " ORDER BY data.version" + (" DESC" if desc else "") + ("" if limit is None else f" LIMIT {limit}")
        with told():
            return [StoredEvent(**self._stored(event)) for event in self.db.query(statement, originator=str(originator_id))]


class BygoneApplicationRecorder(BygoneAggregateRecorder, ApplicationRecorder):
    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        return self._insert_events(stored_events, **kwargs)

    def _pattern(self, topics: Sequence[str]) -> str | None:
        """The types of these topics; None where they are topics that no event can have."""
        if not topics:
            return f"{self.name}.*"
        return ", ".join(f"{self.name}.{topic}" for topic in topics if not set(topic) & set("*,")) or None

    def _notification(self, event: dict[str, Any]) -> Notification:
        return Notification(id=event["position"], **self._stored(event))

    def select_notifications(
        self, start: int | None, limit: int, stop: int | None = None, topics: Sequence[str] = (), *, inclusive_of_start: bool = True
    ) -> Sequence[Notification]:
        pattern = self._pattern(topics)
        if pattern is None:
            return []
        after = 0 if start is None else max(start - inclusive_of_start, 0)
        statement = f"EVENTS $pattern WHERE position > {after}" + ("" if stop is None else f" AND position <= {max(stop, 0)}") + f" LIMIT {limit}"
        with told():
            return [self._notification(event) for event in self.db.query(statement, pattern=pattern)]

    def max_notification_id(self) -> int | None:
        with told():
            newest = self.db.query("EVENTS $pattern LAST 1 SELECT position", pattern=self._pattern(())).all()
        return newest[0]["position"] if newest else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return BygoneSubscription(self, gt=gt, topics=topics)


class BygoneSubscription(Subscription[BygoneApplicationRecorder]):
    """Notifications as the database delivers them."""

    def __init__(self, recorder: BygoneApplicationRecorder, gt: int | None = None, topics: Sequence[str] = ()) -> None:
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        # Of topics that no event can have nothing comes.
        pattern = recorder._pattern(topics) or "nothing.such"
        after = max(gt or 0, 0)
        with told():
            # What lies ahead of the newest event comes later.
            head = recorder.db.status()["position"]
            statement = f"SUBSCRIBE $pattern FROM #{min(after, head)} WHERE position > {after}"
            self._events = recorder.db.subscribe(statement, pattern=pattern)

    def stop(self) -> None:
        super().stop()
        self._events.cancel()

    def __next__(self) -> Notification:
        with told():
            for event in self._events:
                if "mark" not in event and not self._has_been_stopped:
                    return self._recorder._notification(event)
        raise StopIteration


class BygoneTrackingRecorder(BygoneRecorder, TrackingRecorder):
    def insert_tracking(self, tracking: Tracking) -> None:
        self._insert_with_tracking(tracking, [])

    def max_tracking_id(self, application_name: str) -> int | None:
        with told():
            return self._newest_tracking(application_name)[0]

    def _newest_tracking(self, application_name: str) -> tuple[int | None, int]:
        """The newest of an application, and the version of its entity then."""
        newest = self.db.query(f"HISTORY `{self.name}_tracking` $application LAST 1", application=application_name).all()
        return (newest[0]["data"]["notification"], newest[0]["version"]) if newest else (None, 0)

    def _insert_with_tracking(self, tracking: Tracking, events: list[dict[str, Any]]) -> Sequence[int]:
        """Appends events together with a tracking that is newer than all that are there."""
        with told():
            newest, version = self._newest_tracking(tracking.application_name)
            while True:
                if newest is not None and newest >= tracking.notification_id:
                    msg = f"{tracking} is not newer than notification {newest}, which is tracked"
                    raise IntegrityError(msg)
                tracked = {
                    "type": f"{self.name}_tracking.tracked",
                    "target": {"type": f"{self.name}_tracking", "id": tracking.application_name},
                    "data": {"notification": tracking.notification_id},
                    "expect": {"version": version},
                }
                try:
                    appended = self.db.append([*events, tracked])
                    return [event["position"] for event in appended[: len(events)]]
                except bygone.BygoneError as error:
                    if error.kind != "conflict":
                        raise
                    # Somebody else may have tracked something older meanwhile. Otherwise it is the events that are there.
                    read = version
                    newest, version = self._newest_tracking(tracking.application_name)
                    if version == read:
                        raise


class BygoneProcessRecorder(BygoneTrackingRecorder, BygoneApplicationRecorder, ProcessRecorder):
    def _insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        tracking: Tracking | None = kwargs.get("tracking")
        if tracking is None:
            return super()._insert_events(stored_events, **kwargs)
        return self._insert_with_tracking(tracking, [self._event(stored) for stored in stored_events])


class BygoneFactory(InfrastructureFactory[BygoneTrackingRecorder]):
    """Recorders of one file, as the environment names it."""

    BYGONE_FILE = "BYGONE_FILE"
    BYGONE_NAME = "BYGONE_NAME"
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        path = self.env.get(self.BYGONE_FILE)
        if not path:
            msg = f"no file is named in the environment by any of {', '.join(self.env.create_keys(self.BYGONE_FILE))}"
            raise OSError(msg)
        id_type = (self.env.get(self.ORIGINATOR_ID_TYPE) or "uuid").lower()
        if id_type not in ("uuid", "text"):
            msg = f"{self.ORIGINATOR_ID_TYPE} is 'uuid' or 'text', not '{id_type}'"
            raise OSError(msg)
        self.name = self.env.get(self.BYGONE_NAME) or self.env.name or NAME
        if not self.name.isidentifier():
            msg = f"{self.BYGONE_NAME} (else the name of the application) is letters, digits and '_', not '{self.name}'"
            raise OSError(msg)
        self.datastore = BygoneDatastore(path, originator_id_type=id_type)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        name = self.name if purpose == "events" else f"{self.name}_{purpose}"
        return BygoneAggregateRecorder(self.datastore, name=name)

    def application_recorder(self) -> ApplicationRecorder:
        return self._recorder(self.APPLICATION_RECORDER_TOPIC, BygoneApplicationRecorder)

    def tracking_recorder(self, tracking_recorder_class: type[BygoneTrackingRecorder] | None = None) -> BygoneTrackingRecorder:
        if tracking_recorder_class is not None:
            return tracking_recorder_class(self.datastore, name=self.name)
        return self._recorder(self.TRACKING_RECORDER_TOPIC, BygoneTrackingRecorder)

    def process_recorder(self) -> ProcessRecorder:
        return self._recorder(self.PROCESS_RECORDER_TOPIC, BygoneProcessRecorder)

    def _recorder(self, topic: str, default: type[Any]) -> Any:
        named = self.env.get(topic)
        recorder_class = resolve_topic(named) if named else default
        if not issubclass(recorder_class, default):
            msg = f"{topic} names {recorder_class}, which is no {default.__name__}"
            raise TypeError(msg)
        return recorder_class(self.datastore, name=self.name)

    def close(self) -> None:
        self.datastore.close()


Factory = BygoneFactory
