"""Which backups go, by age and by days, weeks and months."""

from __future__ import annotations

import calendar
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsplay import __version__
from opsplay.agent import backups
from opsplay.agent.backups import Backup, folder_name
from opsplay.agent.retention import DAY, RETENTION, expired
from opsplay.agent.sizes import bytes_of, existing, free_bytes, tree_size
from opsplay.agent.spec import validate

NOW = float(calendar.timegm((2026, 11, 28, 12, 0, 0)))


def made(days: float, tag: str = "", level: str = "read", proof: Any = None) -> Backup:
    """A backup that is so many days old."""
    at = backups.moment(NOW - days * DAY)
    data = {"kind": "pg_backup", "name": "app", "files": [], "started": at, "finished": at, "tag": tag}
    data["verified"] = {"level": level} if level else None
    stamp = time.strftime(backups.STAMP, time.gmtime(NOW - days * DAY))
    return Backup(f"/srv/app/{stamp}", data, proof)


def goes(known: list[Backup], pointed: int = -1, **rules: Any) -> list[int]:
    """The places in `known` of those that go."""
    params = validate(RETENTION, rules)
    found = expired(known, params, known[pointed].stamp if pointed >= 0 else "", NOW)
    return [place for place, backup in enumerate(known) if backup in found]


def test_age_counts_to_the_second() -> None:
    """find -mtime +30 keeps a file of 30 days and one hour until its 31st day is over."""
    known = [made(40), made(30 + 1 / 24), made(30 + 1 / DAY), made(30), made(29), made(3), made(2), made(1)]
    assert goes(known, keep_days=30) == [0, 1, 2]


@pytest.mark.parametrize(
    ("known", "rules", "gone"),
    [
        ([made(40), made(39), made(38), made(37)], {"keep_days": 30}, [0]),
        ([made(40), made(39)], {"keep_days": 30, "keep_min": 1}, [0]),
        ([made(40), made(39), made(38, level=""), made(37, level="")], {"keep_days": 30, "keep_min": 1}, [0]),
        ([made(40, level=""), made(39, level="")], {"keep_days": 30}, []),
        ([made(40, level=""), made(39, level="", proof={"at": 1}), made(38)], {"keep_days": 30, "keep_min": 2}, [0]),
        ([made(40, "emergency"), made(39, "before-2.0"), made(38), made(1)], {"keep_days": 30, "keep_min": 1}, [2]),
        ([made(40), made(39), made(38), made(1)], {"keep_min": 1}, []),
    ],
    ids=["keep_min", "keep_min-1", "unverified-ones-do-not-count", "none-verified", "proven-counts", "tagged", "no-rule"],
)
def test_the_last_good_ones_stay(known: list[Backup], rules: dict[str, Any], gone: list[int]) -> None:
    assert goes(known, **rules) == gone


def test_what_latest_leads_to_stays() -> None:
    known = [made(age) for age in (50, 49, 48, 3, 2, 1)]
    assert goes(known, pointed=1, keep_days=30) == [0, 2]


def test_days_weeks_and_months_over_400_days() -> None:
    """Pruned after each night's backup: exactly 7 + 4 + 12 stay in the end, the newest always."""
    rules = validate(RETENTION, {"keep_daily": 7, "keep_weekly": 4, "keep_monthly": 12})
    known: list[Backup] = []
    for day in range(440, -1, -1):
        known.append(made(day))
        gone = expired(known, rules, known[-1].stamp, NOW - day * DAY)
        known = [backup for backup in known if backup not in gone]
        assert known[-1].stamp == made(day).stamp
    ages = [round((NOW - backup.finished) / DAY) for backup in reversed(known)]
    assert len(ages) == 23
    assert ages[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert len({time.strftime("%G-%V", time.gmtime(backup.finished)) for backup in known[12:16]}) == 4
    assert len({backup.data["finished"][:7] for backup in known[:12]}) == 12


@given(
    ages=st.lists(st.floats(0, 500), min_size=1, max_size=40, unique_by=lambda age: int(age * DAY)),
    rules=st.fixed_dictionaries({}, optional={
        "keep_days": st.integers(1, 400), "keep_daily": st.integers(1, 9), "keep_weekly": st.integers(1, 9),
        "keep_monthly": st.integers(1, 9), "keep_min": st.integers(1, 9),
    }),
)  # fmt: skip
def test_whatever_the_rules_are(ages: list[float], rules: dict[str, int]) -> None:
    """The newest keep_min stay; pruning again prunes nothing."""
    known = [made(age) for age in sorted(ages, reverse=True)]
    gone = goes(known, **rules)
    kept = [place for place in range(len(known)) if place not in gone]
    assert kept[-rules.get("keep_min", 3) :] == list(range(len(known)))[-rules.get("keep_min", 3) :]
    assert goes([known[place] for place in kept], **rules) == []


def test_sizes_names_and_version() -> None:
    assert [bytes_of(text) for text in ("52428800", "50M", "50 MiB", "1.5k", "2G")] == [
        52428800, 52428800, 52428800, 1536, 2 << 30,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="'fifty' is no size"):
        bytes_of("fifty")
    assert [folder_name(name) for name in ("app", "..", "a/b", "my db", ".x", "ä")] == [
        "app", "%2E.", "a%2Fb", "my%20db", "%2Ex", "ä",
    ]  # fmt: skip
    assert __version__ == backups.OPSPLAY


def test_sizes_of_trees_and_room_where_nothing_is_yet(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (below / "file").write_bytes(b"x" * 100)
    (tmp_path / "a" / "other").write_bytes(b"x" * 23)
    (tmp_path / "a" / "link").symlink_to(below / "file")
    assert [tree_size(str(path)) for path in (tmp_path, below / "file", tmp_path / "none")] == [123, 100, 0]
    assert existing(f"{below}/not/yet") == str(below) and existing("/") == "/" and existing("not-yet") == "."
    assert free_bytes(f"{below}/not/yet") > 0


def test_increments_that_have_lost_their_base_protect_nothing_and_nobody() -> None:
    """The last good ones stay: three newer ones that cannot come back are none."""
    known = [made(50), made(45), made(40), made(3), made(2), made(1)]
    for broken in known[3:]:
        broken.data["increment_of"] = {"stamp": "20200101T000000Z", "manifest_sha256": ""}
    assert goes(known, keep_days=30, keep_min=2) == [0]
    for on_last in known[3:]:
        on_last.data["increment_of"]["stamp"] = known[2].stamp
    assert goes(known, keep_days=30, keep_min=2) == [0, 1]
