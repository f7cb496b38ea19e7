"""Parses every shipped rule file with pySigma, the reference implementation of Sigma.

A Tripline rule file must stay loadable by other Sigma tools; our own extensions live below the
`tripline` key, which pySigma keeps as a custom attribute. Tests, lists and schedules are not Sigma.
Usage: pysigma_check.py RULES_DIRECTORY
"""

import pathlib
import sys

from sigma.collection import SigmaCollection

NOT_SIGMA = {"schedules.yaml", "identities.yaml"}


def rule_files(root: pathlib.Path):
    """Rule files below `root`, in order."""
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".yml", ".yaml")):
        is_test = path.name.endswith((".test.yaml", ".test.yml"))
        if not is_test and path.name not in NOT_SIGMA and "lists" not in path.parts:
            yield path


def problems(path: pathlib.Path):
    """What pySigma finds wrong in one file, as text."""
    try:
        collection = SigmaCollection.from_yaml(path.read_text("utf-8"), collect_errors=True)
    except Exception as error:  # whatever it raises, the file does not load
        return [repr(error)]
    found = [str(error) for error in collection.errors]
    for rule in collection.rules:
        found += [str(error) for error in rule.errors]
        # Conditions are parsed lazily.
        for condition in getattr(getattr(rule, "detection", None), "parsed_condition", []):
            try:
                _ = condition.parsed
            except Exception as error:
                found.append(repr(error))
    return found or ([] if collection.rules else ["no rule in it"])


def main() -> int:
    passed = failed = 0
    for path in rule_files(pathlib.Path(sys.argv[1])):
        found = problems(path)
        for problem in found:
            print(f"pySigma: {path}: {problem}")
        passed, failed = (passed, failed + 1) if found else (passed + 1, failed)
    print(f"pySigma result: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
