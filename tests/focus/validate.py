"""Run focus-validator on a file, in an environment that has it, and print the outcome of each rule as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

# What a provider of tokens supports: the others are of regions, reservations, commitments and the like.
CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED",
    "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "TAGGING_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
)


def main() -> None:
    """Print `passed` and `failed` rules, and by composite rule the `alternatives` of which one must hold."""
    file = Path(sys.argv[1]).resolve()
    package = find_spec("focus_validator")
    assert package is not None
    assert package.origin is not None
    # It looks for its list of currencies below the working directory.
    os.chdir(Path(package.origin).parents[1])
    from focus_validator.validator import Validator

    with contextlib.redirect_stdout(sys.stderr):
        results = Validator(
            data_filename=str(file),
            output_type="console",
            output_destination=None,
            rules_version="1.2",
            focus_dataset="CostAndUsage",
            rules_block_remote_download=True,
            applicability_criteria=",".join(CRITERIA),
        ).validate()
    judged = {rule: told for rule, told in results.by_rule_id.items() if not told.get("details", {}).get("skipped")}
    outcomes = {rule: bool(told["ok"]) for rule, told in judged.items()}
    json.dump(
        {
            "passed": sorted(rule for rule, is_ok in outcomes.items() if is_ok),
            "failed": sorted(rule for rule, is_ok in outcomes.items() if not is_ok),
            "alternatives": {rule: found for rule, told in results.rules.items() if (found := _alternatives(told))},
        },
        sys.stdout,
    )


def _alternatives(rule: object) -> list[str]:
    requirement = rule.validation_criteria.requirement  # type: ignore[attr-defined]
    if requirement.get("CheckFunction") != "OR":
        return []
    return [item["ModelRuleId"] for item in requirement["Items"] if "ModelRuleId" in item]


if __name__ == "__main__":
    main()
