"""Paid answers are in the results file, whatever happens to the run that wrote it."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmroute.batch.failures_file import FailuresFile
from llmroute.batch.results_file import ResultsFile
from llmroute.cli.flag_names import in_flags
from llmroute.errors import RequestError


def answer(key: object, text: str = "yes", cost: float | None = 0.5) -> dict[str, Any]:
    return {"id": key, "content": text, "cost_usd": cost}


def failure(key: object) -> dict[str, Any]:
    return {"id": key, "error": {"type": "transient", "attempts": [{"cost_usd": 0.25}, {"cost_usd": None}]}}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(path: Path, keys: list[Any], came: list[int], *, in_order: bool = True, resume: bool = True) -> list[Any]:
    """Meet every key, answer in the order in which answers `came`; return the keys that were asked."""
    results = ResultsFile(path, resume=resume)
    asked = [place for place, key in enumerate(keys) if not results.register(place, key)]
    for place in came:
        if place in asked:
            results.write(place, answer(keys[place]))
    results.finish(in_order=in_order)
    return [keys[place] for place in asked]


@given(st.permutations(range(8)), st.integers(0, 8), st.permutations(range(8)))
def test_after_any_order_of_answers_and_any_interruption_each_answer_is_there_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, came: list[int], broken_after: int, later: list[int]
) -> None:
    path = tmp_path_factory.mktemp("results") / "out.jsonl"
    keys = [f"k{number}" for number in range(8)]
    first = ResultsFile(path, resume=False)
    for place, key in enumerate(keys):
        first.register(place, key)
    for place in came[:broken_after]:
        first.write(place, answer(keys[place]))
    first.close()  # as a kill leaves it
    asked = run(path, keys, later)
    assert asked == [keys[place] for place in range(8) if place not in came[:broken_after]]
    assert [line["id"] for line in lines(path)] == keys


@given(st.integers(0, 60))
def test_a_partial_last_line_is_removed_and_its_request_sent_again(
    tmp_path_factory: pytest.TempPathFactory, kept: int
) -> None:
    path = tmp_path_factory.mktemp("results") / "out.jsonl"
    whole = json.dumps(answer("b", "ü")).encode()
    cut = min(kept, len(whole) - 1)
    path.write_bytes(json.dumps(answer("a")).encode() + b"\n" + whole[:cut])
    assert run(path, ["a", "b"], [0, 1]) == ["b"]
    assert lines(path) == [answer("a"), answer("b")]


def test_a_complete_last_line_without_a_line_end_is_used(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps(answer("a")))
    assert run(path, ["a", "b"], [1]) == ["b"]
    assert [line["id"] for line in lines(path)] == ["a", "b"]


def test_a_failure_is_sent_again_and_its_line_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (failure("a"), answer("b"), failure("c"))))
    results = ResultsFile(path, resume=True)
    assert results.earlier_cost_usd == 1.0
    assert [results.register(place, key) for place, key in enumerate("abc")] == [False, True, False]
    results.write(2, failure("c"))
    results.write(0, answer("a"))
    results.finish(in_order=False)
    again = [{**failure("c"), "cost_before_usd": 0.25}, {**answer("a"), "cost_before_usd": 0.25}]
    assert lines(path) == [answer("b"), *again]
    later = ResultsFile(path, resume=True)
    assert later.earlier_cost_usd == 1.75, "what failed was paid for too, whenever it is counted"
    later.close()


def test_a_failure_is_counted_once_where_a_kill_left_it_beside_the_later_line_with_its_cost(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for later in (failure("a"), answer("a")):
        results = ResultsFile(path, resume=True)
        results.register(0, "a")
        results.write(0, later)
        results.close()  # as a kill leaves it
    results = ResultsFile(path, resume=True)
    assert len(lines(path)) == 2
    assert results.earlier_cost_usd == 0.75
    results.close()


def test_a_failure_that_is_not_sent_again_stays(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (failure("a"), answer("b"))))
    assert run(path, ["a", "b"], []) == ["a"]
    assert lines(path) == [failure("a"), answer("b")]


def test_an_invalid_line_has_one_result_after_any_number_of_runs(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    bad = {"id": 2, "line": 2, "error": {"type": "usage"}}
    path.write_text("".join(json.dumps(line) + "\n" for line in (answer("a"), bad)))
    results = ResultsFile(path, resume=True)
    assert results.register(0, "a")
    results.write(1, bad)
    results.finish(in_order=True)
    assert lines(path) == [answer("a"), bad]


def test_a_later_failure_does_not_replace_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (answer("a"), failure("a"))))
    assert run(path, ["a"], []) == []
    assert lines(path) == [answer("a")]


def test_lines_of_other_inputs_and_programs_stay_in_front(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"mine": 1}\nnoise\n' + json.dumps(answer("old")) + "\n" + json.dumps(failure("gone")) + "\n")
    assert run(path, ["b", "a"], [1, 0]) == ["b", "a"]
    found = path.read_text().splitlines()
    assert found[:2] == ['{"mine": 1}', "noise"]
    assert [json.loads(line)["id"] for line in found[2:]] == ["old", "gone", "b", "a"]


def test_a_line_that_is_nested_too_deeply_stays_in_front(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    strange = "[" * 100_000
    path.write_text(f"{strange}\n")
    assert run(path, ["a"], [0]) == ["a"]
    first, second = path.read_text().splitlines()
    assert (first, json.loads(second)["id"]) == (strange, "a")


def test_a_last_line_of_another_program_is_not_truncated(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("first\nsecond, without an end")
    assert run(path, ["a"], [0]) == ["a"]
    assert path.read_text().startswith("first\nsecond, without an end\n")


def test_results_cannot_be_written_to_the_input(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "precious"}\n')
    with path.open("rb") as source, pytest.raises(RequestError, match="is the input"):
        ResultsFile(path, resume=True, source=source.fileno())
    assert path.read_text() == '{"prompt": "precious"}\n'


def test_a_link_to_the_results_file_stays_a_link_after_sorting(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    run(tmp_path / "out.jsonl", ["a", "b"], [1, 0])
    assert (tmp_path / "out.jsonl").is_symlink()
    assert [line["id"] for line in lines(tmp_path / "elsewhere.jsonl")] == ["a", "b"]


def test_a_duplicate_id_is_an_error(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path / "out.jsonl", resume=False)
    results.register(0, 1)
    results.register(1, "1")
    with pytest.raises(RequestError, match='the id "1" is used by an earlier line'):
        results.register(2, "1")
    results.close()


def test_a_file_with_content_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("precious\n")
    with pytest.raises(RequestError) as caught:
        ResultsFile(path, resume=False)
    assert "--resume" in in_flags(caught.value.hint or "")
    assert path.read_text() == "precious\n"
    path.write_text("")
    ResultsFile(path, resume=False).close()


def _open_another(path: Path, told: Any) -> None:
    try:
        ResultsFile(path, resume=True)
    except RequestError as error:
        told.put(error.message)


def test_two_runs_do_not_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    results = ResultsFile(path, resume=False)
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    other = context.Process(target=_open_another, args=(path, told))
    other.start()
    assert "another run" in told.get(timeout=30)
    other.join()
    results.close()
    ResultsFile(path, resume=True).close()


def test_a_failed_write_leaves_no_partial_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.symlink_to("/dev/full")
    results = ResultsFile(path, resume=False)
    with pytest.raises(OSError, match="No space left"):
        results.write(0, answer("a"))
    results.close()


def test_sorting_preserves_the_mode_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch(mode=0o600)
    path.chmod(0o640)
    run(path, ["a", "b"], [1, 0])
    assert [line["id"] for line in lines(path)] == ["a", "b"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_finished_list_of_failures_replaces_the_older_one(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl.failed"
    path.write_text("older\n")
    failed = FailuresFile(path)
    failed.write({"id": "ä", "prompt": "x"})
    assert path.read_text() == "older\n", "it may be what is being read"
    failed.finish()
    assert lines(path) == [{"id": "ä", "prompt": "x"}]
    dropped = FailuresFile(path)
    dropped.write({"id": 1})
    dropped.discard()
    assert lines(path) == [{"id": "ä", "prompt": "x"}], "a run that was broken off leaves the older list"
    FailuresFile(path).finish()
    assert [entry.name for entry in tmp_path.iterdir()] == []


def test_files_of_other_programs_stay_whatever_their_names(tmp_path: Path) -> None:
    names = [f"out.jsonl{kind}.new-{end}" for kind in ("", ".failed") for end in (os.getpid(), "1", "0123abcd")]
    for name in names:
        (tmp_path / name).write_text("of others")
    (tmp_path / "out.jsonl.new-folder").mkdir()
    path = tmp_path / "out.jsonl"
    failed = FailuresFile(tmp_path / "out.jsonl.failed")
    run(path, ["a", "b", "c"], [2, 1, 0])
    failed.write({"id": "a"})
    failed.finish()
    with pytest.raises(RequestError):
        ResultsFile(path, resume=False)
    assert {(tmp_path / name).read_text() for name in names} == {"of others"}
    left = {entry.name for entry in tmp_path.iterdir()} - {*names, "out.jsonl.new-folder"}
    assert left == {"out.jsonl", "out.jsonl.failed"}


@pytest.mark.parametrize("target", ["precious", "not there"])
def test_links_with_names_of_temporary_files_are_not_followed(target: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    for name in ("out.jsonl", "out.jsonl.failed"):
        (tmp_path / f"{name}.new-{os.getpid()}").symlink_to(tmp_path / target)
    run(tmp_path / "out.jsonl", ["a", "b"], [1, 0])
    failed = FailuresFile(tmp_path / "out.jsonl.failed")
    failed.write({"id": "a", "prompt": "a secret"})
    failed.finish()
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "not there").exists()


def test_a_folder_in_place_of_the_list_of_failures_is_an_oserror_and_leaves_no_new_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.jsonl.failed"
    path.mkdir()
    FailuresFile(path).finish()
    failed = FailuresFile(path)
    failed.write({"id": 1})
    with pytest.raises(IsADirectoryError):
        failed.finish()
    failed.discard()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.jsonl.failed"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_new_files_are_private_and_existing_ones_keep_their_mode(umask: int, tmp_path: Path) -> None:
    path, list_ = tmp_path / "out.jsonl", tmp_path / "out.jsonl.failed"

    def write() -> set[int]:
        results = ResultsFile(path, resume=True)
        for place, key in ((1, "b"), (0, "a")):
            results.register(place, key)
            results.write(place, answer(key))
        results.finish(in_order=True)
        failed = FailuresFile(list_)
        failed.write({"id": 1, "prompt": "a secret"})
        failed.finish()
        return {file.stat().st_mode & 0o777 for file in (path, list_)}

    before = os.umask(umask)
    try:
        assert write() == {0o600}
        path.chmod(0o664)
        list_.chmod(0o664)
        assert write() == {0o664}
    finally:
        os.umask(before)


def test_a_withdrawn_run_leaves_the_file_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    ResultsFile(path, resume=False).withdraw()
    assert not path.exists()
    for left in ('{"id": "a", "content": "x"}\n{"id": "b", "con', '{"id": "a", "content": "x"}'):
        path.write_text(left)
        ResultsFile(path, resume=True).withdraw()
        assert path.read_text() == left


def test_two_runs_may_write_to_the_same_device() -> None:
    both = [ResultsFile(Path("/dev/null"), resume=False) for _ in range(2)]
    for each in both:
        each.write(0, answer("a"))
        each.close()
