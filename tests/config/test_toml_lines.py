"""Each setting of config.toml is found on the line on which it is set."""

from __future__ import annotations

import pytest

from llmroute.config.toml_lines import key_lines

DOCUMENT = '''# a comment = 1
strategy = "balanced"

[chains]
LONG = [
    "openai/a",  # [not_a_table]
    "openai/b = 1",
]
SHORT = ["openai/c"]
[budgets]
month = 20
workspaces."night ly".day = 1
[budgets.workspaces.w]
day = 2
[models."openai/ft:gpt"]
notice = """
input = 3
[timeouts]
"""
[providers]
openai = { base_url = "https://a.example/v1", organization = "o" }
'''


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_each_key_has_the_line_on_which_it_begins(newline: str) -> None:
    assert key_lines(DOCUMENT.replace("\n", newline)) == {
        ("strategy",): 2,
        ("chains", "LONG"): 5,
        ("chains", "SHORT"): 9,
        ("budgets", "month"): 11,
        ("budgets", "workspaces", "night ly", "day"): 12,
        ("budgets", "workspaces", "w", "day"): 14,
        ("models", "openai/ft:gpt", "notice"): 16,
        ("providers", "openai", "base_url"): 21,
        ("providers", "openai", "organization"): 21,
    }


def test_a_last_line_without_a_newline_counts() -> None:
    assert key_lines("a = 1\nb = 2") == {("a",): 1, ("b",): 2}
