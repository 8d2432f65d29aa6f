"""A small TrainingMonkey: a button syncs 300 activities, the page shows how far that is and then the new ratio.

Run it beside `worker dev`, with the DATABASE_URL that it prints; see README.md.
"""

import datetime
import os
import sys
from pathlib import Path

import psycopg2
from flask import Flask, jsonify, redirect, render_template, request, url_for
from flask_sqlalchemy import SQLAlchemy

sys.path.insert(0, str(Path(__file__).parents[2] / "clients" / "python"))  # an application installs or copies it

from trainingmonkey_worker import acwr, status, sync  # noqa: E402

ATHLETE = 7
ACTIVITIES = 300
IN_A_JOB = 25  # so that there is progress to see, and all of them are what an athlete waits for

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql+psycopg2://"
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"creator": lambda: psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=10)}
db = SQLAlchemy(app)


def list_of_the_provider():
    """What Strava would list: a run on each of the last 300 days, of which one has a heart rate that nobody has."""
    today = datetime.date.today()
    for i in range(ACTIVITIES):
        day = today - datetime.timedelta(days=ACTIVITIES - 1 - i)
        yield {
            "id": 15_000_000_000 + day.toordinal(), "name": f"Morning run {i + 1}", "sport_type": "TrailRun",
            "start_date_local": f"{day.isoformat()}T07:00:00Z", "distance": 6000 + 100 * (i % 40), "moving_time": 2400 + 30 * (i % 40),
            "total_elevation_gain": 100, "has_heartrate": True, "average_heartrate": 1e12 if i == 211 else 140 + i % 20,
        }


def job_ids():
    """Those in the page's address, as far as they are any."""
    return [int(word) for word in request.args.get("jobs", "").split(",") if word.isdecimal() and len(word) < 19][:100]


def total(counts):
    """None where one is not known any more."""
    counts = list(counts)
    return None if None in counts else sum(counts)


def latest():
    days = acwr(ATHLETE, connection=db.session)
    return days[-1] if days else None


@app.get("/")
def page():
    return render_template("page.html", jobs=job_ids(), day=latest(), activities=ACTIVITIES)


@app.post("/sync")
def start():
    """Enqueue everything in one transaction and answer at once."""
    listed = list(list_of_the_provider())
    ids = []
    for first in range(0, len(listed), IN_A_JOB):
        ids += sync(ATHLETE, listed[first:first + IN_A_JOB], connection=db.session)
    db.session.commit()
    return redirect(url_for("page", jobs=",".join(map(str, ids))), code=303)


@app.get("/progress")
def progress():
    statuses = status(job_ids(), connection=db.session)
    names = {a["id"]: a["name"] for a in list_of_the_provider()}
    day = latest()
    return jsonify(
        jobs=len(statuses),
        finished=sum(s.finished for s in statuses),
        failed=sum(s.state in ("failed", "cancelled", "unknown") for s in statuses),
        stored=total(s.stored for s in statuses),
        unchanged=total(s.unchanged for s in statuses),
        rejects=[{"name": names.get(r.activity_id, str(r.activity_id)), "message": r.message} for s in statuses for r in s.rejects],
        ratio=day and round(day.acute_chronic_ratio, 2))


if __name__ == "__main__":
    if "DATABASE_URL" not in os.environ:
        sys.exit("DATABASE_URL is not set; `worker dev` prints the one to export")
    app.run(port=int(os.environ.get("PORT", "5000")))
