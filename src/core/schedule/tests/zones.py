#!/usr/bin/env python3
"""Writes zones.txt: the times of schedules around the changes of the clock, by Python's zoneinfo.

It shares no code and no method with the operator: a time with * or / in its minute or hour is found by looking at the
clock in each minute, a fixed one by the clock before and after it. Run it in this folder when the rule or the zones
change: ./zones.py >zones.txt
"""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

ZONES = ["Europe/London", "Europe/Stockholm", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Atlantic/Azores"]
EXPRESSIONS = [
    "30 2 * * *", "0 2 * * *", "0 3 * * *", "30 1 * * *", "45 1 * * *", "0 0 * * *", "15 0 * * *", "0,30 0-3 * * *",
    "30 2,14 * * *", "*/30 * * * *", "0 * * * *", "*/20 1-3 * * *", "5 0 * * 0", "10 2 1-7 * SUN", "* 2 * * *",
]
YEARS = (2026, 2026)
AROUND = timedelta(hours=30)
MINUTE = timedelta(minutes=1)
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def values(field, low, high):
    found = set()
    for item in field.split(","):
        item, _, step = item.partition("/")
        if item == "*":
            first, last = low, high
        else:
            first, _, last = item.partition("-")
            first = int(first)
            last = int(last) if last else first
        found.update(range(first, last + 1, int(step or 1)))
    return found


class Cron:
    def __init__(self, text):
        minute, hour, day, month, weekday = text.split()
        for number, name in enumerate(DAYS):
            weekday = weekday.replace(name, str(number))
        self.minutes, self.hours = values(minute, 0, 59), values(hour, 0, 23)
        self.days, self.months, self.weekdays = values(day, 1, 31), values(month, 1, 12), values(weekday, 0, 6)
        self.any_day, self.any_weekday = day == "*", weekday == "*"
        self.follows_clock = any(sign in minute + hour for sign in "*/")

    def shows(self, at):
        by_day, by_weekday = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        day = (by_day and by_weekday) if self.any_day or self.any_weekday else (by_day or by_weekday)
        return at.minute in self.minutes and at.hour in self.hours and at.month in self.months and day


def changes(zone):
    at = datetime(YEARS[0], 1, 1, tzinfo=timezone.utc)
    end = datetime(YEARS[1] + 1, 1, 1, tzinfo=timezone.utc)
    while at < end:
        if (at - MINUTE).astimezone(zone).utcoffset() != at.astimezone(zone).utcoffset():
            yield at
        at += MINUTE


def times(cron, zone, change):
    first, last = change - AROUND, change + AROUND
    found = set()
    if cron.follows_clock:
        at = first
        while at <= last:
            if at > first and cron.shows(at.astimezone(zone)):
                found.add(at)
            at += MINUTE
        return sorted(found)
    clock = (first - timedelta(days=1)).astimezone(zone).replace(tzinfo=None, second=0)
    while clock <= last.astimezone(zone).replace(tzinfo=None) + timedelta(days=1):
        if cron.shows(clock):
            moment = clock.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)
            exists = moment.astimezone(zone).replace(tzinfo=None) == clock
            found.add(moment if exists else change)
        clock += MINUTE
    return sorted(at for at in found if first < at <= last)


def main():
    write = lambda at: at.strftime("%Y-%m-%dT%H:%MZ")
    print("# zone | schedule | after | the times up to 60 hours later. Written by zones.py.")
    for name in ZONES:
        zone = ZoneInfo(name)
        for change in changes(zone):
            for text in EXPRESSIONS:
                found = times(Cron(text), zone, change)
                print(name, text, write(change - AROUND), " ".join(write(at) for at in found), sep=" | ")


main()
