"""The application's standard formula with its rounding, straight from the rule: a load is what float() makes of the text that
PostgreSQL shows of a real, the activities of a window are added one by one in the order of date and id, and a mean is rounded by
round(). Reads "user date activity_id load trimp" of each activity, one a line, and prints "user date" and the seven values of
each day that has one."""
import sys
from collections import defaultdict
from datetime import date, timedelta


def mean(activities, day, days, column):
    first = day - timedelta(days - 1)
    total = 0.0
    for activity in activities:  # not sum(), which compensates from Python 3.12 on
        if first <= activity[0] <= day:
            total += activity[column]
    return round(total / days, 2)


def ratio(acute, chronic):
    return round(acute / chronic, 2) if chronic else 0.0


def divergence(external, internal):
    return round((external - internal) / ((external + internal) / 2), 3) if external or internal else 0.0


LOAD, TRIMP = 2, 3
athletes = defaultdict(list)
for line in sys.stdin:
    user, day, activity_id, load, trimp = line.split()
    athletes[int(user)].append((date.fromisoformat(day), int(activity_id), float(load), float(trimp)))
for user, activities in sorted(athletes.items()):
    activities.sort()
    for day in sorted({activity[0] for activity in activities}):
        first = day - timedelta(27)
        window = [activity for activity in activities if first <= activity[0] <= day]
        load7, load28 = mean(window, day, 7, LOAD), mean(window, day, 28, LOAD)
        trimp7, trimp28 = mean(window, day, 7, TRIMP), mean(window, day, 28, TRIMP)
        external, internal = ratio(load7, load28), ratio(trimp7, trimp28)
        print(user, day, load7, load28, trimp7, trimp28, external, internal, divergence(external, internal))
