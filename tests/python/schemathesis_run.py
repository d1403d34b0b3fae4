"""Fuzzes every operation of a running hub's HTTP API with schemathesis, unmodified.

    python tests/python/schemathesis_run.py BASE_URL --token-file FILE --examples N
        [--schema /openapi.json] [--exclude-path PATH]... [--checks NAMES] [--seed N] [--max-time SECONDS]

Run it with the Python of the tests: `node tools/python.mjs tests/python/schemathesis_run.py …`.
The token is read from its file and never stands in an argument. Exit code 0: every
answer fits the document and none is a server error. The last line of standard output
is one object: {"ok", "exit_code", "seed", "operations", "cases", "failures": [{"check", "operation", "message"}]}.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

from schemathesis.cli import schemathesis

# "0 server errors, 0 schema breaks". What a client may or must send is decided by the
# hub's own tests, because a document cannot say which ids exist.
CHECKS = ",".join(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base_url")
    parser.add_argument("--token-file", type=pathlib.Path)
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--schema", default="/openapi.json")
    parser.add_argument("--exclude-path", action="append", default=[])
    parser.add_argument("--checks", default=CHECKS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-time", type=int)
    options = parser.parse_args()

    base = options.base_url.rstrip("/")
    token = options.token_file.read_text(encoding="utf-8").strip() if options.token_file else None
    with tempfile.TemporaryDirectory() as folder:
        # It keeps what it found in the working folder.
        os.chdir(folder)
        report = pathlib.Path(folder, "report.ndjson")
        arguments = ["run", base + options.schema, "--url", base, "--no-color"]
        arguments += ["--max-examples", str(options.examples), "--seed", str(options.seed)]
        arguments += ["--checks", options.checks, "--continue-on-failure", "--no-shrink"]
        arguments += ["--generation-database", "none", "--request-timeout", "30", "--max-redirects", "0"]
        arguments += ["--suppress-health-check", "all", "--warnings", "off"]
        arguments += ["--report", "ndjson", "--report-ndjson-path", str(report)]
        if token:
            arguments += ["--header", f"Authorization: Bearer {token}"]
        if options.max_time:
            arguments += ["--max-time", str(options.max_time)]
        for path in options.exclude_path:
            arguments += ["--exclude-path", path]
        exit_code = run(arguments)
        print(json.dumps(summary(report, exit_code, options.seed)), flush=True)
        os.chdir("/")
    return exit_code


def run(arguments: list[str]) -> int:
    """The command line of schemathesis, in this process, so that no argument shows the token."""
    try:
        result = schemathesis.main(args=arguments, standalone_mode=False)
    except SystemExit as end:
        result = end.code
    except Exception as error:  # click's own errors, when it is not standalone
        print(f"schemathesis: {error}", file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


def summary(report: pathlib.Path, exit_code: int, seed: int) -> dict:
    operations, cases, failures = set(), 0, {}
    for line in report.read_text(encoding="utf-8").splitlines() if report.exists() else []:
        finished = json.loads(line).get("ScenarioFinished")
        if not finished:
            continue
        recorder = finished.get("recorder", {})
        operations.add(recorder.get("label"))
        cases += len(recorder.get("cases", {}))
        for identifier, checks in recorder.get("checks", {}).items():
            value = recorder.get("cases", {}).get(identifier, {}).get("value", {})
            operation = f"{value.get('method')} {value.get('path')}"
            for check in checks:
                if check.get("status") == "failure":
                    failure = check.get("failure_info", {}).get("failure", {})
                    text = failure.get("message") or failure.get("title") or ""
                    failures.setdefault((check.get("name"), operation), text)
    return {
        "ok": exit_code == 0,
        "exit_code": exit_code,
        "seed": seed,
        "operations": len(operations),
        "cases": cases,
        "failures": [{"check": c, "operation": o, "message": m[:500]} for (c, o), m in sorted(failures.items())],
    }


if __name__ == "__main__":
    sys.exit(main())
