"""Uses tasks.py and edits.py as an application would; the argument says how."""

import datetime
import os
import sys
import time

import psycopg2

from edits import set_trimp
from tasks import batch_process_activities, batch_update_acwr_calculations


def runs(first, count):
    """Activities of as many athletes on one day."""
    return [{"activity_id": 12_000_000_000 + i, "user_id": i, "date": datetime.date(2025, 9, 28),
             "name": "Läuft 'gut'", "total_load_miles": 10.0, "trimp": 8.0} for i in range(first, first + count)]


def commit(connection):
    print(*batch_process_activities(connection, runs(1, 1)))
    connection.commit()


def rollback(connection):
    batch_process_activities(connection, runs(1, 3))
    batch_update_acwr_calculations(connection, [(1, datetime.date(2025, 9, 28))])
    connection.rollback()


def closed_without_commit(connection):
    batch_process_activities(connection, runs(1, 3))


def one_transaction(connection):
    print(*set_trimp(connection, 12_000_000_001, 80))


def one_transaction_that_fails(connection):
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("UPDATE activities SET trimp = 1")
            batch_update_acwr_calculations(connection, [(1, "2025-09-28")])
            batch_process_activities(connection, [{"activity_id": 1, "user_id": 0, "date": "2025-02-30"}])
    except psycopg2.errors.InvalidParameterValue as error:
        print(error.diag.message_primary)


def thousands(connection):
    print(*batch_process_activities(connection, runs(1, 2500)))
    connection.commit()


def many_dates(connection):
    dates = [(user, datetime.date(2025, 9, 28)) for user in range(1, 1001)]
    print(len(batch_update_acwr_calculations(connection, dates)), len(batch_update_acwr_calculations(connection, [])))
    connection.commit()


def fifty_a_second(connection):
    start = time.monotonic()
    for i in range(1000):
        time.sleep(max(0, start + i / 50 - time.monotonic()))
        batch_process_activities(connection, runs(1001 + i, 1))
        connection.commit()


with_connection = psycopg2.connect(os.environ["DATABASE_URL"])
globals()[sys.argv[1]](with_connection)
with_connection.close()
