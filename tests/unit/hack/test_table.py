"""What the benchmark's driver makes of a harness, here one that measures nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TABLE = Path(__file__).parents[3] / "hack/bench/table.py"
HARNESS = """
import json, sys
option = lambda name: sys.argv[sys.argv.index(name) + 1]
rates = {"kcpctl": 60, "limit-meta1": 80, "lightkube": 15, "client-go-1cpu": 10}
with open(option("--out"), "a") as out:
    for peer in option("--peers").split(","):
        row = {"short": peer, "n": int(option("--n"))}
        if peer in rates:
            row |= {"sync_obj_s": rates[peer], "rss_per_obj": 3000}
        else:
            row |= {"error": f"Traceback\\nModuleNotFoundError: {peer}"}
        print(json.dumps(row), file=out)
"""


def run(*arguments: object) -> str:
    command = [sys.executable, str(TABLE), "--quick", "--only", "informers", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_rows_of_a_harness_become_a_table_and_who_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(HARNESS)
    document, figures = tmp_path / "numbers.md", tmp_path / "figures.json"
    document.write_text("before\n<!-- table.py -->old<!-- end of table.py -->\nafter\n")
    printed = run("--harness", tmp_path, "--json", figures, "--into", document)
    assert "| initial sync, objects/s | 60.0 | 15.00 (lightkube) | 10.00 / - | 80.0 |" in printed
    assert "Left out: informer (ModuleNotFoundError: informer)" in printed
    assert "Left out: client-go typed (ModuleNotFoundError: client-go-typed-1cpu)" in printed
    assert "Left out: compact mode" in printed
    kept = json.loads(figures.read_text())
    assert kept["samples"]["sync"]["kcpctl"] == [60]
    text = document.read_text()
    assert text.startswith("before\n<!-- table.py -->\n\n| metric |")
    assert text.endswith("\n\n<!-- end of table.py -->\nafter\n")
    assert "old" not in text


def test_without_a_harness_the_informers_are_left_out() -> None:
    assert "Left out: informers (no --harness given)" in run()
