"""Uses trainingmonkey_worker and the blocks of docs/python.md as an application would; the argument says how.

DRIVER is the name of the driver's package.
"""

import datetime
import decimal
import importlib
import json
import math
import os
import sys
import time

import trainingmonkey_worker as worker
from trainingmonkey_worker import AsyncResult, batch_process_activities, batch_update_acwr_calculations

driver = importlib.import_module(os.environ["DRIVER"])


def connect():
    return driver.connect(os.environ["DATABASE_URL"])


worker.configure(connect)


def runs(first, count, **fields):
    """Activities of as many athletes on one day."""
    return [{"activity_id": 12_000_000_000 + i, "user_id": i, "date": datetime.date(2025, 9, 28), "name": "Läuft 'gut' 100 %s",
             "total_load_miles": decimal.Decimal("10.0"), "trimp": 8.0, **fields} for i in range(first, first + count)]


def commit(connection):
    print(*worker.enqueue(runs(1, 1), connection=connection))
    connection.commit()


def rollback(connection):
    worker.enqueue(runs(1, 3), connection=connection)
    worker.recalc([(1, datetime.date(2025, 9, 28))], connection=connection)
    connection.rollback()


def closed_without_commit(connection):
    worker.enqueue(runs(1, 3), connection=connection)


def commits_itself(_):
    print(*worker.enqueue(runs(1, 1)))


def set_trimp(connection):
    import edits
    print(*edits.set_trimp(connection, 12_000_000_001, 80))
    connection.commit()


def one_transaction_that_fails(connection):
    try:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE activities SET trimp = 1")
        worker.recalc([(1, "2025-09-28")], connection=connection)
        worker.enqueue([{"activity_id": 1, "user_id": 0, "date": "2025-02-30"}], connection=connection)
    except worker.Refused as error:
        print(*error.faults, sep="\n")
    connection.rollback()


def refused(_):
    for what in (
            lambda: worker.enqueue(runs(1, 1000) + [{"activity_id": 5, "user_id": 1, "date": "2025-09-28", "load": 3}]),
            lambda: worker.enqueue(runs(1, 1, name="\ud83d")),
            lambda: worker.recalc([(1, "2025-02-30")]),
            lambda: worker.recalc([(0, "2025-02-20")])):
        try:
            print("accepted", what())
        except worker.Refused as error:
            print(*error.faults, sep="\n")


def thousands(connection):
    print(*worker.enqueue(runs(1, 2500), connection=connection))
    connection.commit()


def many_dates(connection):
    dates = [(user, datetime.date(2025, 9, 28)) for user in range(1, 1001)]
    print(len(worker.recalc(dates, connection=connection)), len(worker.recalc([], connection=connection)), len(worker.enqueue([])))
    connection.commit()


def a_broken_one(connection):
    """A job of which one activity cannot be stored."""
    print(*worker.enqueue(runs(1, 2) + runs(3, 1, trimp=1e12), connection=connection))
    connection.commit()


def status(connection):
    for s in worker.status(map(int, sys.argv[2:]), connection=connection):
        print(s.job_id, s.kind, s.state, s.attempt, s.activities, s.stored, s.unchanged, s.rejected, s.results_written, s.known_by,
              *(f"{r.activity_id} {r.code} {r.field}: {r.message}" for r in s.rejects))
        assert s.finished_at is None or s.finished_at.tzinfo is not None
    assert worker.rejects(map(int, sys.argv[2:])) == [r for s in worker.status(map(int, sys.argv[2:])) for r in s.rejects]


def many_statuses(_):
    statuses = worker.status(range(1, 2501))
    print(len(statuses), [s.job_id for s in statuses] == list(range(1, 2501)), *sorted({s.state for s in statuses}))


def rows_as_dicts(_):
    if driver.__name__ == "psycopg":
        from psycopg.rows import dict_row
        connection = driver.connect(os.environ["DATABASE_URL"], row_factory=dict_row)
    else:
        from psycopg2.extras import RealDictCursor
        connection = driver.connect(os.environ["DATABASE_URL"], cursor_factory=RealDictCursor)
    ids = worker.enqueue(runs(1, 1), connection=connection)
    connection.commit()
    print(*(s.state for s in worker.wait(ids, 60, connection=connection)), worker.acwr(1, connection=connection)[0].acute_chronic_ratio)


def autocommit(connection):
    connection.autocommit = True
    ids = worker.enqueue(runs(1, 1), connection=connection)
    print(*(s.state for s in worker.wait(ids, 60, connection=connection)))


def wait_too_early(connection):
    ids = worker.enqueue(runs(1, 1), connection=connection)
    try:
        worker.wait(ids, 60, connection=connection)
    except RuntimeError as error:
        print(error)
    connection.commit()
    began = time.monotonic()
    try:
        worker.wait(ids, 0.2, connection=connection)
    except TimeoutError as error:
        print(error, error.statuses[0].state, 0.2 <= time.monotonic() - began < 5)
    print(connection.info.transaction_status == 0)


def tasks(_):
    """Prints the states of tasks: while nothing works, and what get() gives once something does."""
    stored = batch_process_activities.delay(runs(1, 2) + runs(3, 1, trimp=1e12))
    recalculated = batch_update_acwr_calculations.apply_async(args=([(1, "2025-09-28")],))
    nothing = batch_process_activities.delay([])
    many = batch_process_activities.delay(runs(10, 1500))
    print(stored.state, stored.ready(), stored.successful(), nothing.state, many.status, flush=True)
    sys.stdin.readline()  # until a worker has started
    again = AsyncResult(stored.id)
    got = again.get(timeout=60)
    print(json.dumps(got, sort_keys=True))
    print(again.ready(), again.successful(), again.failed(), again.state, recalculated.get(60)["results_written"], many.get(60)["stored"], nothing.get()["stored"])
    print(batch_process_activities(runs(5000, 1))["stored"])


def states(_):
    """Of jobs whose ids are given, as Celery's words, with what get() raises."""
    for job_id in sys.argv[2:]:
        result = AsyncResult(job_id)
        try:
            result.get(timeout=0)
            print(result.state, result.ready())
        except Exception as error:
            print(result.state, result.ready(), type(error).__name__, error)


def acwr(connection):
    days = worker.acwr(1, connection=connection)
    print(days[0].date, days[0].acute_chronic_ratio, days[0].total_load_miles, days[0].quality, days[-1].date >= datetime.date(2025, 11, 1))
    print(*(f"{d.date} {d.acute_chronic_ratio}" for d in worker.acwr(1, datetime.date(2025, 9, 27), datetime.date(2025, 9, 29), rounding="app")))


def sqlalchemy(_):
    import sqlalchemy
    from sqlalchemy.orm import Session

    engine = sqlalchemy.create_engine("postgresql+psycopg2://", creator=connect)
    with Session(engine) as session:
        worker.enqueue(runs(1, 1), connection=session)
        session.rollback()
        ids = worker.enqueue(runs(2, 1), connection=session)
        session.commit()
        print(*ids, *(s.state for s in worker.wait(ids, 60, connection=session)))
    with engine.begin() as connection:
        print(len(worker.status(ids, connection=connection)))


def convert(_):
    """The activities of Strava's list in a file as they would be enqueued."""
    from zoneinfo import ZoneInfo
    zone = ZoneInfo(sys.argv[3]) if len(sys.argv) > 3 else None
    with open(sys.argv[2]) as file:
        print(json.dumps([worker.from_strava(a, 7, zone=zone) for a in json.load(file)]))


def sync(_):
    good = {"id": 5, "sport_type": "Run", "start_date_local": "2025-09-28T07:00:00Z", "distance": 10000, "moving_time": 3600}
    bad = [{**good, "id": None}, {**good, "start_date_local": "2025-02-30T07:00:00Z"}, {**good, "distance": -1}, {**good, "moving_time": "x"}, {"id": 6}]
    try:
        worker.sync(7, [good] + bad)
    except worker.Refused as error:
        print(*error.faults, sep="\n")
    reasons = []
    ids = worker.sync(7, [{**good, "id": i} for i in range(1, 1500)] + bad, on_invalid=lambda activity, reason: reasons.append(reason))
    print(len(ids), len(reasons))


def heart_rates(connection):
    """One run of each of seven athletes."""
    def run(user_id, **given):
        worker.sync(user_id, [{"id": user_id, "sport_type": "Run", "start_date_local": "2025-09-28T07:00:00Z", "distance": 10000, "moving_time": 3600,
                               "average_heartrate": 150}], connection=connection, **given)
    for user_id in range(1, 6):
        run(user_id)
    run(6, heart_rate=worker.HeartRate(60, 180, "F"))
    run(7, heart_rate=None)
    connection.commit()


def odd(connection):
    """What applications hand over by mistake, or by habit; a line for each that is refused."""
    day = {"user_id": 57, "date": "2025-09-28", "total_load_miles": 3}
    good = {"id": 5, "sport_type": "Run", "start_date_local": "2025-09-28T07:00:00Z", "distance": 10000, "moving_time": 3600}

    class Whole:  # as numpy's integers
        def __index__(self):
            return 12_000_000_077

        def __float__(self):
            return 12_000_000_077.0

    def call_in_a_transaction():
        return batch_process_activities(runs(1, 1), connection=connection)

    def list_of(*listed):
        return lambda: worker.sync(7, listed)

    for what in (
            lambda: worker.enqueue([day, {**day, "activity_id": 1, "trimp": math.nan}]), lambda: worker.enqueue([7]), lambda: worker.enqueue([{**day, "activity_id": object()}]),
            lambda: worker.recalc([(1, None)]), lambda: worker.recalc([(71.5, "2025-09-28")]), lambda: worker.recalc([(2 ** 40, "2025-09-28")]),
            lambda: worker.acwr(2 ** 40), call_in_a_transaction, list_of({**good, "distance": -1}, good, {**good, "name": "a\0b"}), list_of(None),
            list_of({**good, "sport_type": 5}), list_of({**good, "distance": 10 ** 400}), list_of({**good, "id": -4}), list_of({**good, "start_date_local": "1700-01-01T00:00:00Z"}),
            lambda: worker.sync(7, [{**good, "start_date": "0001-01-01T00:00:00Z"}], time_zone="America/Denver")):
        try:
            print("accepted", what())
        except (worker.Refused, TypeError) as error:
            print(str(error).replace("\n", "; "))
    bad = [None, {**good, "sport_type": 5}, {**good, "distance": 10 ** 400}, {**good, "name": "a\0b"}, {**good, "id": -4}, {**good, "start_date_local": "1700-01-01T00:00:00Z"}]
    reasons = []
    print(len(worker.sync(7, bad + [good], on_invalid=lambda activity, reason: reasons.append(reason))), len(reasons))
    worker.enqueue([{**day, "activity_id": decimal.Decimal("12345678901234567"), "date": datetime.datetime(2025, 9, 28, 7)}, {**day, "activity_id": Whole()}])


def all_or_nothing(connection):
    """On a connection that commits by itself, a refusal in the second job takes back the first."""
    connection.autocommit = True
    listed = runs(1, 2500)
    listed[1700]["foo"] = 1
    try:
        worker.enqueue(listed, connection=connection)
    except worker.Refused as error:
        print(*error.faults)


def task_before_commit(connection):
    result = batch_process_activities.delay(runs(1, 1), connection=connection)
    print(result.state, result.ready())
    try:
        result.get(1)
    except RuntimeError as error:
        print(error)


def flask(_):
    from app import app

    client = app.test_client()
    answer = client.post("/users/7/activities", json=[{"activity_id": 9, "date": "2025-09-28", "total_load_miles": 7.5}])
    print(answer.status_code, client.post("/users/7/activities", json=[{"activity_id": 9, "date": "2025-09-28", "load": 7.5}]).get_json())
    synced = client.post("/users/7/sync", json=[{"id": 5, "type": "Run", "start_date_local": "2025-09-28T07:00:00Z", "distance": 1000}, {"id": 6}])
    print(synced.status_code, synced.get_json()["unreadable"])
    ids = ",".join(map(str, answer.get_json()["job_ids"] + synced.get_json()["job_ids"]))
    while not client.get("/jobs/" + ids).get_json()["finished"]:
        time.sleep(0.05)
    print(client.get("/jobs/" + ids).get_json(), client.get("/users/7/acwr").get_json()[0])


def background(_):
    import background as block
    print(AsyncResult(block.import_activities(runs(1, 1))).state, AsyncResult(block.recalculate([(1, "2025-09-28")])).state)


def fifty_a_second(connection):
    start = time.monotonic()
    for i in range(1000):
        time.sleep(max(0, start + i / 50 - time.monotonic()))
        worker.enqueue(runs(1001 + i, 1), connection=connection)
        connection.commit()


with_connection = connect()
globals()[sys.argv[1]](with_connection)
with_connection.close()
