"""Enqueue activities for TrainingMonkey's worker, query their status, read the results.

Works with psycopg 2 and 3 and needs nothing else. Whatever takes a connection works in
that connection's transaction and never commits it: a psycopg connection, or a session or
connection of SQLAlchemy over one. Without a connection a call opens its own, from
DATABASE_URL unless configure() says otherwise, and commits.

What the database refuses is raised as Refused, and leaves the transaction to be rolled
back as any error of the database does.
"""

from __future__ import annotations

import datetime
import decimal
import json
import logging
import math
import operator
import os
import re
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union
from zoneinfo import ZoneInfo

__all__ = [
    "AsyncResult", "Day", "Failed", "HeartRate", "JobStatus", "Refused", "Reject", "Revoked", "StillWorking", "Unknown",
    "acwr", "batch_process_activities", "batch_update_acwr_calculations", "configure", "enqueue", "from_strava",
    "recalc", "rejects", "status", "sync", "wait",
]

MAX_ACTIVITIES = 1000  # in a job
MAX_IDS = 1000  # in a query
LIVE, IMPORT = 1, 3  # priorities: live jobs, for which an athlete waits, and imports
MAX_LIVE = 25  # recalculation jobs that still count as live
USER_SETTINGS = "user_settings"  # the application's table, for sync(heart_rate=…)

Activity = Mapping[str, Any]


# Errors


class Refused(ValueError):
    """Nothing was enqueued. faults lists every fault: the element in the list, its field, the value."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


class StillWorking(TimeoutError):
    """The timeout expired before all jobs finished. statuses has the status of each."""

    def __init__(self, statuses: Sequence[JobStatus]) -> None:
        super().__init__("jobs still queued: %s" % ", ".join(str(s.job_id) for s in statuses if s.state == "queued"))
        self.statuses = list(statuses)


class Failed(RuntimeError):
    """A job failed for good."""


class Revoked(RuntimeError):
    """A job was cancelled."""


class Unknown(LookupError):
    """The status of a job is unknown: its id was never issued, or it is too old."""


# Connections

_IDLE = 0  # the transaction status of a connection that is in no transaction, of libpq
_connect: Optional[Callable[[], Any]] = None
_schema = '"river"'


def configure(connect: Optional[Callable[[], Any]] = None, schema: str = "river") -> None:
    """Say how calls without a connection get one, and the schema of the worker's functions (river.schema).

    connect returns a new connection, which is closed after the call. None: to DATABASE_URL, with psycopg 3 where it is
    installed and otherwise psycopg2.
    """
    global _connect, _schema
    _connect = connect
    _schema = '"%s"' % schema.replace('"', '""').replace("%", "%%")


def _connect_to_database_url() -> Any:
    try:
        import psycopg as driver
    except ImportError:
        import psycopg2 as driver  # type: ignore[no-redef]
    return driver.connect(os.environ["DATABASE_URL"], connect_timeout=10)


def _driver_connection(connection: Any) -> Any:
    """The psycopg connection in what SQLAlchemy has."""
    if type(connection).__name__.startswith("Async"):
        raise TypeError("%s: this module needs a connection that is not asynchronous" % type(connection).__name__)
    if not hasattr(connection, "cursor"):
        connection = connection.connection  # a Connection's attribute, a Session's method
        if callable(connection):
            connection = connection().connection
    return getattr(connection, "driver_connection", connection)


@contextmanager
def _transaction(connection: Any) -> Iterator[Any]:
    """The caller's connection in the caller's transaction, or one of our own that commits at the end."""
    if connection is not None:
        yield _driver_connection(connection)
        return
    own = (_connect or _connect_to_database_url)()
    try:
        if not own.autocommit:
            _query(own, "SET LOCAL statement_timeout = '30s'")
        yield own
        if not own.autocommit:
            own.commit()
    finally:
        own.close()


@contextmanager
def _all_or_nothing(connection: Any) -> Iterator[None]:
    """What a connection that commits by itself does, in one transaction."""
    if not connection.autocommit or connection.info.transaction_status != _IDLE:
        yield
        return
    _query(connection, "BEGIN")
    try:
        yield
    except BaseException:
        _query(connection, "ROLLBACK")
        raise
    _query(connection, "COMMIT")


def _query(connection: Any, sql: str, *args: Any) -> List[Tuple[Any, ...]]:
    """Rows as tuples, also of an application whose cursors return dicts."""
    if getattr(getattr(connection, "pgconn", None), "pipeline_status", 0):
        raise RuntimeError("this module does not work in a pipeline")
    cursor = connection.cursor()
    try:
        cursor.execute(sql, args or None)
        if cursor.description is None:
            return []
        return [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in cursor.fetchall()]
    finally:
        cursor.close()


# What the worker's functions raise, and PostgreSQL for what is no date; the messages are for people.
_REFUSED = frozenset(["22023", "22007", "22008", "22P02", "22003"])


@contextmanager
def _refusals(offset: int = 0) -> Iterator[None]:
    """Raise what the worker's functions refuse as Refused. offset is the place in the caller's list of their first element."""
    try:
        yield
    except Exception as error:
        # sqlstate in psycopg 3, pgcode in psycopg2
        if (getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)) not in _REFUSED:
            raise
        message = getattr(error, "diag").message_primary
        moved = re.sub(r"(?m)^activities\[(\d+)\]", lambda place: "activities[%d]" % (int(place[1]) + offset), message)
        raise Refused(moved.split("\n")) from error


def _json(value: Any) -> str:
    return json.dumps(value, default=_plain, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if hasattr(value, "__index__"):  # numpy's integers
        return operator.index(value)
    if isinstance(value, decimal.Decimal) and value.is_finite() and value == value.to_integral_value():
        return int(value)
    if hasattr(value, "__float__"):
        return float(value)
    raise TypeError("%s cannot be enqueued: %r" % (type(value).__name__, value))


# Enqueue


def enqueue(activities: Iterable[Activity], *, connection: Any = None, priority: int = LIVE) -> List[int]:
    """Enqueue activities and return the ids of their jobs, one for each thousand.

    An activity is a mapping named like the columns of `activities`. A field that is absent is stored as NULL, unless
    the activity says "partial": True. More than 25 go behind what athletes wait for by themselves; a priority above 1
    (up to 4) sends any there.
    """
    listed: List[str] = []
    faults: List[str] = []
    for place, activity in enumerate(activities):
        try:
            listed.append(_activity(activity))
        except (TypeError, ValueError) as error:
            faults.append("activities[%d]: %s" % (place, error))
    if faults:
        raise Refused(faults)
    ids: List[int] = []
    if not listed:
        return ids
    with _transaction(connection) as c, _all_or_nothing(c):
        for start in range(0, len(listed), MAX_ACTIVITIES):
            text = "[%s]" % ",".join(listed[start:start + MAX_ACTIVITIES])
            with _refusals(start):
                [(job_id,)] = _query(c, "SELECT %s.enqueue_activity_ingest(%%s::text, %%s::integer)" % _schema, text, priority)
            ids.append(job_id)
    return ids


def _activity(activity: Activity) -> str:
    """An activity as JSON."""
    fields = dict(activity)
    if isinstance(fields.get("date"), datetime.datetime):
        fields["date"] = fields["date"].date()
    return _json(fields)


Change = Union[Tuple[int, Any], Tuple[int, Any, Any]]


def recalc(changes: Iterable[Change], *, connection: Any = None, priority: Optional[int] = None) -> List[int]:
    """Enqueue the recalculation around dates whose activities were changed without enqueue(); return the jobs' ids.

    A change is (user_id, date) or (user_id, first date, last date).
    """
    ranges, faults = [], []
    for place, change in enumerate(changes):
        user_id, first, last = change[0], change[1], change[-1]
        faults += ["changes[%d]: must have a date, got %r" % (place, d) for d in (first, last) if not isinstance(d, (datetime.date, str))]
        ranges.append({"user_id": user_id, "first": str(first), "last": str(last)})
    if faults:
        raise Refused(faults)
    if not ranges:
        return []
    if priority is None:
        priority = LIVE if len(ranges) <= MAX_LIVE else IMPORT
    with _transaction(connection) as c, _refusals():
        rows = _query(
            c, "SELECT %s.enqueue_acwr_recalc(user_id, first, last, %%s::integer)"
            " FROM jsonb_to_recordset(%%s::jsonb) AS changed (user_id integer, first date, last date)" % _schema, priority, _json(ranges))
    return [job_id for (job_id,) in rows]


# The status of jobs


@dataclass(frozen=True)
class Reject:
    """An activity that was not stored."""

    job_id: int
    activity_id: Optional[int]
    code: str  # stable: other_athlete, not_storable, invalid_date, out_of_range, invalid_text, invalid_value, unreadable
    field: Optional[str]  # the column, if one is the cause
    message: str  # a sentence for the athlete


@dataclass(frozen=True)
class JobStatus:
    """The status of a job. Counts are None if they are not known."""

    job_id: int
    kind: Optional[str]
    state: str  # queued, done, failed (for good), cancelled, unknown
    attempt: Optional[int]  # attempts so far
    next_attempt_at: Optional[datetime.datetime]  # of a queued job
    finished_at: Optional[datetime.datetime]
    activities: Optional[int]
    stored: Optional[int]
    unchanged: Optional[int]
    rejected: int
    rejects: Tuple[Reject, ...]
    results_written: Optional[bool]
    known_by: Optional[str]  # job: its row; record: its failure or cancellation; absence: the id was issued and is in no table

    @property
    def finished(self) -> bool:
        return self.state != "queued"


_STATUS = (
    "SELECT job_id, kind, state, attempt, next_attempt_at, finished_at, activities, stored, unchanged, rejected, rejects::text, results_written, known_by"
    " FROM %s.job_status(%%s::bigint[])")


def status(ids: Iterable[int], *, connection: Any = None) -> List[JobStatus]:
    """The statuses of jobs, in the order of the ids. docs/python.md says what "done" is based on."""
    wanted = list(ids)
    found: List[JobStatus] = []
    if not wanted:
        return found
    with _transaction(connection) as c:
        for start in range(0, len(wanted), MAX_IDS):
            for row in _query(c, _STATUS % _schema, wanted[start:start + MAX_IDS]):
                rejected = tuple(Reject(job_id=row[0], **r) for r in json.loads(row[10]))
                found.append(JobStatus(*row[:10], rejected, *row[11:]))
    return found


def rejects(ids: Iterable[int], *, connection: Any = None) -> List[Reject]:
    """The activities of jobs that were not stored, each with a sentence for its athlete."""
    return [r for s in status(ids, connection=connection) for r in s.rejects]


def wait(ids: Iterable[int], timeout: Optional[float] = None, *, connection: Any = None) -> List[JobStatus]:
    """Return the statuses of the jobs once all have finished, or raise StillWorking after timeout seconds.

    A connection that is given must be in no transaction: no worker sees a job before its enqueuer has committed.
    """
    wanted = list(ids)
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    pause = 0.02
    given = None if connection is None else _driver_connection(connection)
    if given is not None and given.info.transaction_status != _IDLE:
        raise RuntimeError("wait: the connection is in a transaction; commit it first, workers see its jobs only then")
    while True:
        try:
            statuses = status(wanted, connection=given)
        finally:
            if given is not None and not given.autocommit:
                given.rollback()  # end the transaction of the query: do not sleep in a transaction
        if all(s.finished for s in statuses):
            return statuses
        left = deadline - time.monotonic()
        if left <= 0:
            raise StillWorking(statuses)
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, 1.0)


# Results


@dataclass(frozen=True)
class Day:
    """A calendar day of an athlete, with or without an activity."""

    date: datetime.date
    total_load_miles: float
    trimp: float
    seven_day_avg_load: float
    twentyeight_day_avg_load: float
    seven_day_avg_trimp: float
    twentyeight_day_avg_trimp: float
    acute_chronic_ratio: float
    trimp_acute_chronic_ratio: float
    normalized_divergence: float
    quality: Tuple[str, ...]  # reasons to doubt the values; see README.md


_DAY = (
    "SELECT date, total_load_miles, trimp, seven_day_avg_load, twentyeight_day_avg_load, seven_day_avg_trimp, twentyeight_day_avg_trimp,"
    " acute_chronic_ratio, trimp_acute_chronic_ratio, normalized_divergence, to_json(quality)::text FROM acwr_series(")


def acwr(user_id: int, first: Optional[datetime.date] = None, last: Optional[datetime.date] = None, *,
         rounding: str = "none", connection: Any = None) -> List[Day]:
    """Every day from first to last, oldest first; without them from the first activity to today where the athlete lives.

    rounding is the worker's acwr.rounding.
    """
    if (first is None) != (last is None):
        raise ValueError("acwr: give both first and last, or neither")
    with _transaction(connection) as c, _refusals():
        if first is None:
            rows = _query(c, _DAY + "%s::integer, rounding => %s::text)", user_id, rounding)
        else:
            rows = _query(c, _DAY + "%s::integer, %s::date, %s::date, %s::text)", user_id, first, last, rounding)
    return [Day(*row[:10], tuple(json.loads(row[10]))) for row in rows]


# From a provider


@dataclass(frozen=True)
class HeartRate:
    """An athlete's heart rates for TRIMP, in beats per minute. The defaults are the application's."""

    resting: float = 44
    max: float = 178
    gender: str = "male"  # M, F, male or female


def sync(user_id: int, activities: Iterable[Activity], *, heart_rate: Union[HeartRate, str, None] = USER_SETTINGS, time_zone: Optional[str] = None,
         on_invalid: Optional[Callable[[Activity, str], None]] = None, connection: Any = None, priority: int = LIVE) -> List[int]:
    """Enqueue an athlete's activities as Strava's API lists them; return the jobs' ids, one for each thousand.

    Loads and TRIMP are computed as `enqueue ingest` does. One that cannot be read is given to on_invalid with the reason,
    and the others are enqueued; without on_invalid, Refused names all of them and nothing is enqueued. Heart rates are
    those that the athlete has entered in user_settings, with the application's defaults for missing ones, unless heart_rate
    is given; None: TRIMP is left out. It is also left out, with a warning in the log, if those entered make no sense.
    time_zone is the athlete's ("America/Denver"); without it, Strava's local time decides the day.
    """
    with _transaction(connection) as c:
        rate = _entered_heart_rate(c, user_id) if isinstance(heart_rate, str) else heart_rate
        return _sync(c, user_id, activities, rate, None if time_zone is None else ZoneInfo(time_zone), on_invalid, priority)


def _sync(connection: Any, user_id: int, activities: Iterable[Activity], heart_rate: Optional[HeartRate], zone: Optional[datetime.tzinfo],
          on_invalid: Optional[Callable[[Activity, str], None]], priority: int) -> List[int]:
    converted: List[Dict[str, Any]] = []
    places: List[int] = []
    faults: List[str] = []
    for place, activity in enumerate(activities):
        try:
            converted.append(from_strava(activity, user_id, heart_rate, zone))
            places.append(place)
        except ValueError as error:
            if on_invalid is not None:
                on_invalid(activity, str(error))
            else:
                faults.append("activities[%d]: %s" % (place, error))
    if faults:
        raise Refused(faults)
    try:
        return enqueue(converted, connection=connection, priority=priority)
    except Refused as refused:
        raise Refused([re.sub(r"^activities\[(\d+)\]", lambda found: "activities[%d]" % places[int(found[1])], fault) for fault in refused.faults]) from refused


# As JSON, so that any subset and types of the columns work. The tokens in the row stay in the database.
_ENTERED = (
    "SELECT coalesce(u->>'resting_hr', ''), coalesce(u->>'max_hr', ''), coalesce(u->>'gender', '')"
    " FROM (SELECT to_jsonb(user_settings) AS u FROM user_settings WHERE id = %s) AS entered")


def _entered_heart_rate(connection: Any, user_id: int) -> Optional[HeartRate]:
    """What the athlete has entered in user_settings, None if it makes no sense."""
    [(readable,)] = _query(connection, "SELECT has_table_privilege(to_regclass('user_settings'), 'SELECT')")
    if readable is None or not hasattr(user_id, "__index__"):  # there is no such table; enqueue() refuses what is no id
        return HeartRate()
    if not readable:
        raise PermissionError("this role may not read heart rates in user_settings: grant it SELECT, or give heart_rate")
    entered = _query(connection, _ENTERED, operator.index(user_id))
    resting, highest, gender = (text.strip() for text in (entered[0] if entered else ("", "", "")))
    try:
        rate = HeartRate(float(resting or 0) or HeartRate.resting, float(highest or 0) or HeartRate.max, gender or HeartRate.gender)
    except ValueError:
        rate = HeartRate(0, 0, "")
    if 20 <= rate.resting <= 120 and 80 <= rate.max <= 250 and rate.resting < rate.max and rate.gender.lower() in ("m", "f", "male", "female"):
        return rate
    logging.getLogger(__name__).warning(
        "user_settings of user %s: resting_hr %r, max_hr %r and gender %r make no sense; TRIMP is left out of this athlete's activities", user_id, resting, highest, gender)
    return None


_SPORTS: Tuple[Tuple[str, str], ...] = (
    ("strength", "strength weight weights weighttraining weightlifting powerlifting lifting workout workouts crossfit training gym hiit calisthenics"),
    ("cycling", "cycling cycle cyclocross bicycle bicycling bike bikes biking ebike emountainbike ride riding virtualride gravelride mountainbike"
                " mountainbikeride ebikeride emountainbikeride handcycle velomobile spin spinning"),
    ("swimming", "swim swims swimming"),
    ("rowing", "row rower rowing virtualrow kayak kayaking canoe canoeing paddle paddling"),
    ("backcountry_skiing", "ski skiing skimo backcountryski nordicski rollerski"),
    ("running", "run runs running jog jogging trailrun virtualrun treadmill"),
    ("swimming", "openwater pool"),
)
_ON_WATER = frozenset("openwater onwater outdoor kayak kayaking canoe canoeing paddle paddling".split())
_WITHOUT_LOAD = frozenset(
    "yoga pilates meditation stretching breathwork golf rest alpineski downhillski resortskiing snowboard snowboarding sail sailing surf surfing"
    " windsurf windsurfing kitesurf kitesurfing horse horseback motorcycle motorcycling motorsport".split())


def from_strava(activity: Activity, user_id: int, heart_rate: Optional[HeartRate] = HeartRate(), zone: Optional[datetime.tzinfo] = None) -> Dict[str, Any]:
    """An activity of Strava's list as enqueue() takes it; ValueError says what cannot be read."""
    if not isinstance(activity, Mapping):
        raise ValueError("must be an object, got %r" % (activity,))
    kind = _spaced(_text(activity, "sport_type") or _text(activity, "type") or "")
    words = _words(kind)
    start, from_utc = _start(activity, zone)
    known: Dict[str, Any] = {
        "activity_id": activity.get("id"), "user_id": user_id, "date": start.strftime("%Y-%m-%d"), "start_time": start.strftime("%H:%M:%S"),
        "partial": True, "name": _text(activity, "name"), "type": kind or None, "day_from_utc": from_utc or None,
    }
    if not isinstance(known["activity_id"], int) or isinstance(known["activity_id"], bool) or not 0 < known["activity_id"] < 2 ** 63:
        raise ValueError("id: must be a positive integer, got %r" % (known["activity_id"],))
    if not 1900 <= start.year <= 2999:
        raise ValueError("start_date_local: must lie between 1900 and 2999, got %r" % (known["date"],))
    if words & _WITHOUT_LOAD:
        known["unloaded"] = True
        return _without_none(known)

    metres, climbed, speed = (_quantity(activity, name) or 0.0 for name in ("distance", "total_elevation_gain", "average_speed"))
    elapsed, moving = _quantity(activity, "elapsed_time"), _quantity(activity, "moving_time")
    moving = elapsed if moving is None else moving
    average, highest = _quantity(activity, "average_heartrate") or 0.0, _quantity(activity, "max_heartrate") or 0.0
    if activity.get("has_heartrate") is False:
        average = highest = 0.0
    minutes = (moving or 0.0) / 60
    known.update(device_name=_text(activity, "device_name"), avg_heart_rate=average or None, max_heart_rate=highest or None)
    if moving is not None:
        known["duration_minutes"] = round(minutes, 2)
    if average == 0:
        known["trimp"] = 0.0
    elif heart_rate is not None:
        known["trimp"] = _trimp(minutes, average, heart_rate)
    if known.get("trimp"):
        known["trimp_calculation_method"] = "average"
    celsius = _number(activity, "average_temp")
    if celsius is not None:
        known["avg_temp_f"] = round(celsius * 9 / 5 + 32, 2)
    sport = _sport(words)
    effort = _number(activity, "perceived_exertion") or 0.0
    if sport == "strength" and 1 <= effort <= 10:
        known["strength_rpe"] = math.floor(effort + 0.5)
    mph = speed * 3600 * 0.000621371 if minutes == 0 else 0.0
    known.update(_external(sport, words, metres * 0.000621371, climbed * 3.28084, minutes, mph, known.get("strength_rpe") or 6))
    return _without_none(known)


def _without_none(values: Dict[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _text(activity: Activity, name: str) -> Optional[str]:
    value = activity.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("%s: must be a text that can be stored, got %r" % (name, value))
    return value


def _number(activity: Activity, name: str) -> Optional[float]:
    value = activity.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
        raise ValueError("%s: must be a number, got %r" % (name, value))
    return float(value)


def _quantity(activity: Activity, name: str) -> Optional[float]:
    value = _number(activity, name)
    if value is not None and value < 0:
        raise ValueError("%s: must not be negative, got %r" % (name, activity[name]))
    return value


def _start(activity: Activity, zone: Optional[datetime.tzinfo]) -> Tuple[datetime.datetime, bool]:
    """The local start, and whether it was computed from UTC."""
    name = "start_date" if zone is not None and activity.get("start_date") else "start_date_local"
    text = activity.get(name)
    if not text:
        raise ValueError("start_date_local: is required unless a time zone is set and start_date is given")
    try:
        # The local time has a Z as well, which means nothing.
        wall = datetime.datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%SZ" if str(text).endswith("Z") else "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        raise ValueError("%s: must be a time that exists, as 2026-01-31T16:20:00Z, got %r" % (name, text)) from None
    if name == "start_date":
        try:
            return wall.replace(tzinfo=datetime.timezone.utc).astimezone(zone), True
        except OverflowError:
            raise ValueError("%s: must lie between 1900 and 2999, got %r" % (name, text)) from None
    return wall, False


def _spaced(kind: str) -> str:
    """The display form: TrailRun becomes Trail Run, EBikeRide E-Bike Ride."""
    spaced = ""
    for i, letter in enumerate(kind):
        if i > 0 and letter.isupper():
            before, starts_word = kind[i - 1], kind[i + 1:i + 2].islower()
            if i == 1 and before == "E" and starts_word:
                spaced += "-"
            elif before.islower() or before.isupper() and starts_word:
                spaced += " "
        spaced += letter
    return spaced


def _words(kind: str) -> frozenset[str]:
    """The words of a display form in lower case, and every two neighbours as one."""
    words = [word.lower() for word in re.findall(r"[^\W_]+", kind)]
    return frozenset(words + [a + b for a, b in zip(words, words[1:])])


def _sport(words: frozenset[str]) -> str:
    for sport, of in _SPORTS:
        if not words.isdisjoint(of.split()):
            return sport
    return "running"


def _external(sport: str, words: frozenset[str], miles: float, feet: float, minutes: float, mph: float, effort: int) -> Dict[str, Any]:
    """The load in running-equivalent miles, and the columns beside it."""
    if mph == 0 and minutes > 0:
        mph = miles / (minutes / 60)
    on_water = bool(words & _ON_WATER)
    climbing = 0.0
    beside: Dict[str, Any] = {}
    if sport == "cycling":
        equivalent = miles / (4.0 if mph <= 12 else 3.5 if mph <= 16 else 2.9 if mph <= 20 else 2.4)
        climbing = feet / 1100
        beside = {"cycling_equivalent_miles": round(equivalent, 2), "cycling_elevation_factor": 1100.0}
    elif sport == "swimming":
        equivalent = miles * (4.2 if on_water else 4.0)
        beside = {"swimming_equivalent_miles": round(equivalent, 2)}
    elif sport == "rowing":
        equivalent = miles * (1.7 if on_water else 1.5)
        beside = {"rowing_equivalent_miles": round(equivalent, 2)}
    elif sport == "backcountry_skiing":
        equivalent, climbing = miles * 1.2, feet / 500
        beside = {"backcountry_skiing_equivalent_miles": round(equivalent + climbing, 2)}
    elif sport == "strength":
        equivalent = minutes / 60 * effort * 0.30
        beside = {"strength_equivalent_miles": round(equivalent, 2)}
    else:
        equivalent, climbing = miles, feet / 750
    return {
        "sport_type": sport, "distance_miles": round(miles, 2), "elevation_gain_feet": round(feet, 2), "elevation_load_miles": round(climbing, 2),
        "total_load_miles": round(equivalent + climbing, 2), "average_speed_mph": round(mph, 2) if mph > 0 else None, **beside,
    }


def _trimp(minutes: float, average: float, athlete: HeartRate) -> float:
    """Banister's training impulse from an average heart rate."""
    if min(minutes, average, athlete.resting, athlete.max, athlete.max - athlete.resting) <= 0:
        return 0.0
    k = 1.67 if athlete.gender.lower() in ("f", "female") else 1.92
    reserve = min(max((average - athlete.resting) / (athlete.max - athlete.resting), 0.0), 1.0)
    return round(minutes * reserve * 0.64 * math.exp(k * reserve), 2)


# In place of Celery


class AsyncResult:
    """The jobs that a task has enqueued, with Celery's interface. id is a text, of which the result can be made again.

    Of one that was enqueued in the caller's transaction nothing is known elsewhere before the caller commits: it asks by the
    caller's connection.
    """

    def __init__(self, id: str, connection: Any = None) -> None:
        self.id = id
        self._connection = connection
        self.job_ids = [int(job_id) for job_id in id.split(",") if job_id]

    def __repr__(self) -> str:
        return "<AsyncResult: %s>" % self.id

    @property
    def state(self) -> str:
        """PENDING, RETRY, SUCCESS, FAILURE or REVOKED. As with Celery, unknown ids are PENDING."""
        return _celery_state(status(self.job_ids, connection=self._connection))

    status = state

    def ready(self) -> bool:
        return self.state in ("SUCCESS", "FAILURE", "REVOKED")

    def successful(self) -> bool:
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        return self.state == "FAILURE"

    def get(self, timeout: Optional[float] = None, propagate: bool = True) -> Dict[str, Any]:
        """Wait, and return the counts and the rejects of all jobs together; a count that is not known is None.

        Raises StillWorking after timeout seconds, Unknown at once, and unless propagate is False Failed and Revoked.
        """
        statuses = wait(self.job_ids, timeout, connection=self._connection)
        for ended, error, what in (("unknown", Unknown, "is not known"), ("failed", Failed, "failed for good"), ("cancelled", Revoked, "was cancelled")):
            ids = [s.job_id for s in statuses if s.state == ended]
            if ids and (propagate or error is Unknown):
                raise error("job %s %s" % (", ".join(map(str, ids)), what))
        result: Dict[str, Any] = {
            name: sum(counts) if None not in counts else None
            for name in ("activities", "stored", "unchanged", "rejected") for counts in [[getattr(s, name) for s in statuses]]}
        result["rejects"] = [asdict(r) for s in statuses for r in s.rejects]
        written = {s.results_written for s in statuses}
        result["results_written"] = False if False in written else None if None in written else True
        return result


def _celery_state(statuses: Sequence[JobStatus]) -> str:
    states = {s.state for s in statuses}
    if "queued" in states:
        return "RETRY" if any(s.state == "queued" and s.attempt for s in statuses) else "PENDING"
    for state, word in (("unknown", "PENDING"), ("failed", "FAILURE"), ("cancelled", "REVOKED")):
        if state in states:
            return word
    return "SUCCESS"


class Task:
    """A function that enqueues, called like a Celery task."""

    def __init__(self, enqueues: Callable[..., List[int]]) -> None:
        self._enqueues = enqueues
        self.name, self.__doc__ = enqueues.__name__, enqueues.__doc__

    def delay(self, *args: Any, connection: Any = None, **kwargs: Any) -> AsyncResult:
        """Enqueue and return at once; with connection=… in its transaction, otherwise committed."""
        return AsyncResult(",".join(map(str, self._enqueues(*args, connection=connection, **kwargs))), connection)

    def apply_async(self, args: Sequence[Any] = (), kwargs: Optional[Mapping[str, Any]] = None, *, connection: Any = None) -> AsyncResult:
        return self.delay(*args, **dict(kwargs or {}), connection=connection)

    def __call__(self, *args: Any, **kwargs: Any) -> Dict[str, Any]:
        """Enqueue, commit, and wait for a worker to have done it."""
        if "connection" in kwargs:
            raise TypeError("%s: a task that is called commits and waits; with a connection use delay" % self.name)
        return self.delay(*args, **kwargs).get()


def _process(activity_data: Iterable[Activity], *, connection: Any = None) -> List[int]:
    """Store activities, dicts named like the columns of `activities`, with their ratios."""
    return enqueue(activity_data, connection=connection)


def _update(user_dates: Iterable[Change], *, connection: Any = None) -> List[int]:
    """Recalculate the ratios around each (user_id, date) whose activities changed."""
    return recalc(user_dates, connection=connection)


batch_process_activities = Task(_process)
batch_update_acwr_calculations = Task(_update)
