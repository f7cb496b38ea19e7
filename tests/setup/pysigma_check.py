"""Parses every shipped rule file with pySigma, the reference implementation of Sigma.

A Tripline rule file must stay loadable by other Sigma tools; our own extensions live below the
`tripline` key, which pySigma keeps as a custom attribute. Tests, lists, schedules and other settings are not Sigma.
Usage: pysigma_check.py RULES_DIRECTORY
"""

import pathlib
import sys

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule

NOT_SIGMA = {"schedules.yaml", "identities.yaml", "risk.yaml"}


def rule_files(root: pathlib.Path):
    """Rule files below `root`, in order."""
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".yml", ".yaml")):
        is_test = path.name.endswith((".test.yaml", ".test.yml"))
        if not is_test and path.name not in NOT_SIGMA and "lists" not in path.parts:
            yield path


def load(path: pathlib.Path):
    """One file as a collection, and what pySigma finds wrong in it by itself, as text."""
    try:
        collection = SigmaCollection.from_yaml(
            path.read_text("utf-8"), collect_errors=True, resolve_references=False
        )
    except Exception as error:  # whatever it raises, the file does not load
        return SigmaCollection([]), [repr(error)]
    found = [str(error) for error in collection.errors]
    if not collection.rules:
        found.append("no rule in it")
    for rule in collection.rules:
        # Conditions are parsed lazily.
        for condition in getattr(getattr(rule, "detection", None), "parsed_condition", []):
            try:
                _ = condition.parsed
            except Exception as error:
                found.append(repr(error))
    return collection, found


def main() -> int:
    files = {path: load(path) for path in rule_files(pathlib.Path(sys.argv[1]))}
    # A correlation may name rules of other files.
    everything = SigmaCollection.merge(
        (collection for collection, _ in files.values()), resolve_references=False
    )
    failed = 0
    for path, (collection, found) in files.items():
        for rule in collection.rules:
            try:
                if isinstance(rule, SigmaCorrelationRule):
                    rule.resolve_rule_references(everything)
            except Exception as error:
                found.append(repr(error))
        for problem in found:
            print(f"pySigma: {path}: {problem}")
        failed += bool(found)
    print(f"pySigma result: {len(files) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
