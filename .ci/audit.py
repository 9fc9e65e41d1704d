"""Asks the OSV database for known vulnerabilities of the packages in constraints.txt that this system installs.

.ci/audit.yaml lists exceptions. Exit codes: 0 no other vulnerability, 1 some, 2 an exception is malformed or has
expired, 69 the database did not answer.
"""

import argparse
import json
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, NoReturn

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

LONGEST = timedelta(days=366)
"""Longest time between two reviews of an exception."""


class Excepted(BaseModel, extra="forbid", frozen=True, strict=True):
    """A known vulnerability that does not affect this project."""

    id: Annotated[str, Field(pattern=r"^(CVE|GHSA|PYSEC)-[\w-]+$")]
    package: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    reason: Annotated[str, Field(min_length=40)]
    reviewed: date
    expires: date

    @model_validator(mode="after")
    def _is_reviewed_each_year(self) -> "Excepted":
        if not self.reviewed < self.expires <= self.reviewed + LONGEST:
            raise ValueError("expires should be a day of the year after reviewed")
        return self


def main() -> None:
    arguments = parse_arguments()
    exceptions = load_exceptions(arguments.exceptions)
    for one in exceptions:
        if one.expires < date.today():
            stop(2, f"{arguments.exceptions}: {one.id} was excepted until {one.expires}; review it")
    unneeded, found = {*exceptions}, 0
    for package, known in ask(arguments.database, arguments.constraints):
        names = {known["id"], *known["aliases"]}
        if excepting := {one for one in exceptions if one.package == package["name"] and one.id in names}:
            unneeded -= excepting
            continue
        found += 1
        fixed = ", ".join(known["fix_versions"]) or "no release"
        print(f"{package['name']} {package['version']}: {', '.join(sorted(names))}, fixed in {fixed}")
    for one in unneeded:
        print(f"{arguments.exceptions}: {one.id} of {one.package} is no longer in the database; remove it")
    if found:
        stop(1, f"known vulnerabilities: {found}; run `make lock` to update, or except them in {arguments.exceptions}")
    print(f"no known vulnerabilities, {len(exceptions) - len(unneeded)} excepted")


def load_exceptions(path: Path) -> list[Excepted]:
    """Reads the exceptions; exits if one is malformed."""
    try:
        return [Excepted(**entry) for entry in yaml.safe_load(path.read_text())["exceptions"]]
    except ValidationError as error:
        first = error.errors()[0]
        stop(2, ": ".join([str(path), *map(str, first["loc"]), first["msg"]]))
    except OSError as error:
        stop(2, f"{path}: {error.strerror}")
    except (yaml.YAMLError, KeyError, TypeError):
        stop(2, f"{path} should be `exceptions:` and a list")


def ask(database: str, constraints: Path) -> list[tuple[dict[str, str], dict[str, list[str]]]]:
    """Returns pairs of a package and one of its known vulnerabilities. Exits if the database does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(constraints), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--osv-url", database]
    command += ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        reason = [f"exit code {done.returncode}", *done.stderr.strip().splitlines()][-1]
        stop(69, f"nothing was checked, as the database did not answer: {reason}")
    return [(package, known) for package in packages for known in package["vulns"]]


def stop(code: int, why: str) -> NoReturn:
    print(f"audit: {why}", file=sys.stderr)
    sys.exit(code)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make audit", description="Look for known vulnerabilities.")
    parser.add_argument("--constraints", type=Path, default=Path("constraints.txt"), metavar="FILE")
    parser.add_argument("--exceptions", type=Path, default=Path(".ci/audit.yaml"), metavar="FILE")
    parser.add_argument("--database", default="https://api.osv.dev/v1/query", metavar="URL")
    return parser.parse_args()


if __name__ == "__main__":
    main()
