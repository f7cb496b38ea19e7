"""Holds the JSON Schemas that `tripline schema` prints to the files that they are of.

Valid are: all shipped rules and rule tests, rules in documents, the golden files of plans, every
configuration that can be used, and real alerts. Invalid are those golden files of diagnostics whose
mistake is one of form: a key, a type, a word. Usage: schema_check.py TRIPLINE
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema
import openapi_spec_validator
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIAGNOSTICS = ROOT / "tests/data/diagnostics"

# Files of a rule directory that are no rules.
NOT_RULES = {"schedules.yaml", "identities.yaml", "risk.yaml"}

# Codes of mistakes of form: unknown and missing keys, wrong types, words that are none, rules for other
# logs, unknown modifiers and kinds, timespans that are none.
FORM = ("R001", "R002", "R003", "R004", "R006", "R007", "R020", "R050", "R055")
# What of these a schema cannot know: it looks at one document, and at each key by itself.
NOT_FORM = {"R004_levels_do_not_ascend", "R055_zero"}


class Loader(yaml.SafeLoader):
    """YAML as Tripline reads it: dates are texts, and only `true` and `false` are booleans."""


Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(true|false)$"), ["t", "f"]
)


def documents(text: str):
    return [one for one in yaml.load_all(text, Loader) if one is not None]


class Checker:
    def __init__(self, binary: str):
        self.binary = str(pathlib.Path(binary).resolve())
        self.passed = self.failed = 0

    def tripline(self, *arguments: str, **more) -> str:
        command = [self.binary, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout

    def schema(self, what: str):
        schema = json.loads(self.tripline("schema", what))
        kind = jsonschema.validators.validator_for(schema)
        kind.check_schema(schema)
        return kind(schema, format_checker=kind.FORMAT_CHECKER)

    def note(self, name: str, problem: str):
        if problem:
            print(f"schema: {name}: {problem}")
        self.passed += not problem
        self.failed += bool(problem)

    def valid(self, schema, name: str, values):
        for value in values:
            error = jsonschema.exceptions.best_match(schema.iter_errors(value))
            if error:
                self.note(name, f"{error.json_path}: {error.message[:200]}")
                return
        self.note(name, "" if values else "there is nothing in it")

    def invalid(self, schema, name: str, values):
        wrong = any(not schema.is_valid(value) for value in values)
        self.note(name, "" if wrong else "the schema does not see what is wrong")


def is_rule(value) -> bool:
    return isinstance(value, dict) and bool({"detection", "correlation", "filter"} & value.keys())


def rules_in_documents(path: pathlib.Path):
    """Rules in the fenced blocks of a document."""
    blocks = re.findall(r"^```ya?ml\n(.*?)^```", path.read_text("utf-8"), re.M | re.S)
    return [one for block in blocks for one in documents(block) if is_rule(one)]


def check_rules(checker: Checker):
    schema = checker.schema("rules")
    for path in sorted((ROOT / "rules").glob("*.yaml")):
        is_test = path.name.endswith(".test.yaml")
        if not is_test and path.name not in NOT_RULES:
            checker.valid(schema, f"rules/{path.name}", documents(path.read_text("utf-8")))
    for path in sorted((ROOT / "tests/data/rules").glob("*.yaml")):
        checker.valid(schema, f"tests/data/rules/{path.name}", documents(path.read_text("utf-8")))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        if found := rules_in_documents(path):
            checker.valid(schema, path.name, found)
    for path in sorted(DIAGNOSTICS.glob("*.yaml")):
        text = path.read_text("utf-8")
        if text.startswith(("# list ", "# schedules", "# risk", "# identities")):
            continue
        if path.name.startswith(FORM) and path.stem not in NOT_FORM:
            checker.invalid(schema, f"tests/data/diagnostics/{path.name}", documents(text))


def check_tests(checker: Checker):
    schema = checker.schema("tests")
    for path in sorted((ROOT / "rules").glob("*.test.yaml")):
        checker.valid(schema, f"rules/{path.name}", documents(path.read_text("utf-8")))
    for wrong in ({"tests": [{"name": "a", "events": []}]}, {"base": {"verbs": "get"}, "tests": []}):
        checker.invalid(schema, "a wrong test", [wrong])


def check_identities(checker: Checker):
    schema = checker.schema("identities")
    path = ROOT / "rules/identities.yaml"
    checker.valid(schema, "rules/identities.yaml", documents(path.read_text("utf-8")))
    for wrong in ({"identities": [{"human": True}]}, {"identities": [{"users": 1}]}, {"people": []}):
        checker.invalid(schema, "wrong identities", [wrong])


def check_frameworks(checker: Checker):
    schema = checker.schema("framework")
    for path in sorted((ROOT / "frameworks").glob("*.yaml")):
        checker.valid(schema, f"frameworks/{path.name}", documents(path.read_text("utf-8")))
    nameless = {"framework": "x", "controls": [{"title": "y", "shows": ["coverage"]}]}
    checker.invalid(schema, "a control without an id", [nameless])


def check_configuration(checker: Checker):
    schema = checker.schema("config")
    usable = [
        path
        for path in sorted((ROOT / "tests/data/config").glob("*.yaml"))
        if path.with_suffix(".out").read_text("utf-8").endswith("\nusable\n")
    ]
    for path in [ROOT / "tripline.example.yaml", ROOT / "deploy/compose/tripline.yaml", *usable]:
        checker.valid(schema, path.name, documents(path.read_text("utf-8")))
    checker.invalid(schema, "a wrong configuration", [{"http": {"listn": ":1"}}])


def check_alerts(checker: Checker):
    schema = checker.schema("alert")
    with tempfile.TemporaryDirectory() as directory:
        events = pathlib.Path(directory, "events.jsonl")
        checker.tripline(
            "generate", "--for", "20m", "--stories", "all", "--output", str(events)
        )
        lines = checker.tripline(
            "backtest", "--rules", "rules", "--format", "jsonl", str(events), cwd=ROOT
        ).splitlines()
    alerts = [json.loads(line) for line in lines]
    checker.note("alerts", "" if len(alerts) > 20 else f"only {len(alerts)} alerts")
    checker.valid(schema, "alerts", alerts)
    checker.invalid(schema, "a wrong alert", [alerts[0] | {"state": "pending"}])


def check_api(checker: Checker):
    document = json.loads(checker.tripline("schema", "api"))
    validator = openapi_spec_validator.OpenAPIV31SpecValidator
    for error in validator(document).iter_errors():
        checker.note("api", f"{error.json_path}: {error.message[:200]}")
    checker.note("api", "" if len(document["paths"]) > 10 else "there is nothing in it")
    del document["info"]["title"]
    wrong = any(validator(document).iter_errors())
    checker.note("a wrong api", "" if wrong else "the validator does not see what is wrong")


def main() -> int:
    checker = Checker(sys.argv[1])
    checks = (check_rules, check_tests, check_identities, check_frameworks, check_configuration, check_alerts, check_api)
    for check in checks:
        check(checker)
    print(f"schema result: {checker.passed} passed, {checker.failed} failed")
    return 1 if checker.failed else 0


if __name__ == "__main__":
    sys.exit(main())
