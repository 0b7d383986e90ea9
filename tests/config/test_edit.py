"""One value changes; every other byte stays."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmroute.config.edit import remove_key, set_value
from llmroute.errors import ConfigError, ConfigWriteError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

THEIRS = """\
# my settings
strategy = "balanced"  # the default

[timeouts]   # seconds
total_s = 100

# a separator that is no line end: \u2028 day = 9
note = '''
[budgets]
month = 3 # not a setting
'''

[ budgets ]  # what I can afford
 day=1.5# a day
"month"  =  20   # a "month" = # sign

[budgets.workspaces."my team"]
day = 1
"""


@pytest.mark.parametrize(
    ("table", "key", "value", "before", "after"),
    [
        ((), "strategy", "x # y", '"balanced"', '"x # y"'),
        (("timeouts",), "total_s", 7, "total_s = 100", "total_s = 7"),
        (("budgets",), "day", 2, "day=1.5#", "day=2#"),
        (("budgets",), "month", 30.5, "=  20   #", "=  30.5   #"),
        (("budgets",), "total", 9, "sign\n", "sign\ntotal = 9\n"),
        (("budgets", "workspaces", "my team"), "day", 4, "day = 1\n", "day = 4\n"),
        (("budgets", "workspaces", "my team"), "week", 4, "day = 1\n", "day = 1\nweek = 4\n"),
        (
            ("budgets", "workspaces", "a.b"),
            "week",
            4,
            "day = 1\n",
            'day = 1\n\n[ budgets .workspaces."a.b"]\nweek = 4\n',
        ),
        ((), "workspace", 'q"\\', "default\n", 'default\nworkspace = "q\\"\\\\"\n'),
    ],
)
def test_a_value_is_set_in_its_place(  # noqa: PLR0913, PLR0917
    table: tuple[str, ...], key: str, value: Any, before: str, after: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(THEIRS)
    assert THEIRS.count(before) == 1
    set_value(path, table, key, value)
    assert path.read_text() == THEIRS.replace(before, after)


def test_a_new_file_is_private_and_an_old_one_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    set_value(path, ("budgets",), "month", 20)
    assert path.read_text() == "[budgets]\nmonth = 20\n"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    set_value(link, ("budgets",), "month", 21)
    assert link.is_symlink()
    assert path.read_text() == "[budgets]\nmonth = 21\n"
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("budgets.month = 1", "budgets.month = 1\nbudgets.day = 5\n"),
        ("[budgets]\r\nmonth = 1\r\n", "[budgets]\r\nmonth = 1\r\nday = 5\r\n"),
        ("[budgets]", "[budgets]\nday = 5\n"),
        ("budgets = {month = 1} # mine\n", "budgets = {month = 1,day = 5} # mine\n"),
        ("budgets = { day = 1 } # mine\n", "budgets = { day = 5 } # mine\n"),
        ("[budgets.workspaces.w]\nday = 1", "[budgets]\nday = 5\n\n[budgets.workspaces.w]\nday = 1"),
    ],
)
def test_a_key_is_added_in_the_style_of_the_file(text: str, after: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode())
    set_value(path, ("budgets",), "day", 5)
    assert path.read_bytes().decode() == after


@pytest.mark.parametrize("text", ["budgets = 3", "[[budgets]]\nday = 1", "budgets = "])
def test_what_cannot_be_changed_cleanly_is_left_alone_and_said(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        set_value(path, ("budgets",), "day", 5)
    assert path.read_text() == text


def test_a_multi_line_list_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[chains]\nmine = [\n  "a", # first\n  "b",\n] # end\nother = ["x"]\n')
    set_value(path, ("chains",), "mine", ["c/d"])
    assert path.read_text() == '[chains]\nmine = ["c/d"] # end\nother = ["x"]\n'


def test_a_removed_key_takes_its_line_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(THEIRS)
    remove_key(path, ("budgets",), "day")
    remove_key(path, ("budgets",), "never set")
    assert path.read_text() == THEIRS.replace(" day=1.5# a day\n", "")


def test_twenty_processes_that_change_one_file_at_once_keep_twenty(tmp_path: Path) -> None:
    path = tmp_path / "real" / "config.toml"
    path.parent.mkdir()
    path.write_text(THEIRS)
    path.chmod(0o640)
    link = tmp_path / "config.toml"
    link.symlink_to(path)
    context = multiprocessing.get_context("fork")
    starting = context.Barrier(20)

    def change(number: int) -> None:
        starting.wait(10)
        set_value(link, ("budgets", "workspaces", f"w{number}"), "day", number)

    processes = [context.Process(target=change, args=(number,)) for number in range(20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 20
    kept = tomllib.loads(path.read_text())["budgets"]["workspaces"]
    assert {name: table["day"] for name, table in kept.items()} == {
        "my team": 1,
        **{f"w{number}": number for number in range(20)},
    }
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in path.parent.iterdir()] == ["config.toml"], "nothing is left beside it"


def test_a_process_that_stopped_while_it_holds_the_lock_hangs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(THEIRS)
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        changes: tuple[Callable[[], None], ...] = (
            lambda: set_value(path, ("budgets",), "day", 5, wait_s=0.1),
            lambda: remove_key(path, ("budgets",), "day", wait_s=0.1),
        )
        for change in changes:
            with pytest.raises(ConfigWriteError, match=r"another process has held its lock for 0\.1 s") as caught:
                change()
            assert caught.value.exit_code == 3
    assert path.read_text() == THEIRS


def test_a_folder_that_cannot_be_written_needs_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_args: object, **_kwargs: object) -> int:
        raise OSError(30, "Read-only file system")

    path = tmp_path / "config.toml"
    path.write_text(THEIRS)
    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(ConfigWriteError, match="cannot be written: Read-only") as caught:
        set_value(path, ("budgets",), "day", 5)
    assert caught.value.exit_code == 3


def test_a_byte_order_mark_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[budgets]\nmonth = 1\n")
    set_value(path, ("budgets",), "day", 5)
    assert path.read_bytes() == b"\xef\xbb\xbf[budgets]\nmonth = 1\nday = 5\n"
    remove_key(path, ("budgets",), "month")
    assert path.read_bytes() == b"\xef\xbb\xbf[budgets]\nday = 5\n"


names = st.text(st.sampled_from("ab-_. \"'#=[]é"), min_size=1, max_size=4)
scalars = st.one_of(st.integers(0, 9), st.booleans(), st.text(st.sampled_from("a#\"'=[]\n\\é\t"), max_size=5))


def quoted(text: str) -> str:
    return '"' + "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in text) + '"'


def written(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else str(value).lower()


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    tables=st.dictionaries(names, st.dictionaries(names, scalars, max_size=3), max_size=3),
    comment=st.text(st.sampled_from(" #=[]\"'é"), max_size=6),
    table=names,
    key=names,
    value=scalars,
)
def test_any_file_keeps_everything_else_and_says_what_was_meant(  # noqa: PLR0913, PLR0917
    tables: dict[str, dict[str, Any]], comment: str, table: str, key: str, value: Any, tmp_path: Path
) -> None:
    text = f"#{comment}\ntop = 1 #{comment}\n"
    for name, keys in tables.items():
        text += f"\n[{quoted(name)}] #{comment}\n"
        text += "".join(f"{quoted(k)} = {written(v)} #{comment}\n" for k, v in keys.items())
    path = tmp_path / "config.toml"
    path.write_text(text)
    before = tomllib.loads(text)
    set_value(path, (table,), key, value)
    before.setdefault(table, {})[key] = value
    assert tomllib.loads(path.read_text()) == before
    old, new = text.splitlines(), path.read_text().splitlines()
    changed = set(old) - set(new)
    assert len(changed) <= 1
    assert all(quoted(key) in line for line in changed)
    remove_key(path, (table,), key)
    del before[table][key]
    assert tomllib.loads(path.read_text()) == before
