"""The application's standard formula with its rounding: reads "user date load trimp" of each activity, one a line, and
prints "user date" and the seven values of each day that has one."""
import sys
from collections import defaultdict
from datetime import date, timedelta


def mean(loads, day, days):
    return round(sum(loads[day - timedelta(n)] for n in range(days)) / days, 2)


def ratio(acute, chronic):
    return round(acute / chronic, 2) if chronic else 0.0


def divergence(external, internal):
    return round((external - internal) / ((external + internal) / 2), 3) if external or internal else 0.0


athletes = defaultdict(lambda: (defaultdict(float), defaultdict(float)))
days = set()
for line in sys.stdin:
    user, day, load, trimp = line.split()
    day = date.fromisoformat(day)
    athletes[int(user)][0][day] += float(load)
    athletes[int(user)][1][day] += float(trimp)
    days.add((int(user), day))
for user, day in sorted(days):
    loads, trimps = athletes[user]
    load7, load28, trimp7, trimp28 = mean(loads, day, 7), mean(loads, day, 28), mean(trimps, day, 7), mean(trimps, day, 28)
    external, internal = ratio(load7, load28), ratio(trimp7, trimp28)
    print(user, day, load7, load28, trimp7, trimp28, external, internal, divergence(external, internal))
