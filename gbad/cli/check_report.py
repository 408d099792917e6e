"""Print what `gbad check` found."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gbad.data.check import INCOMPLETE, PROBLEMS, CheckReport
from gbad.runtime.text import counted, printable


def print_report(report: CheckReport, console: Console) -> None:
    """Print the counts of each list, the number of findings of each problem, and the verdict.

    Parameters
    ----------
    report : CheckReport
        What `check_dataset` found.
    console : rich Console
        Where to print.
    """
    counts = Table(
        title=escape(f"{report.data}: {counted(report.images, 'image')}"), title_justify="left", box=box.SIMPLE_HEAD
    )
    counts.add_column("subset")
    for entry in report.counts:
        counts.add_column(escape(f"{entry.subset} {entry.part}"), justify="right", min_width=9)
    counts.add_row("rows", *(f"{entry.rows:,}" for entry in report.counts))
    counts.add_row("found", *(f"{entry.found:,}" for entry in report.counts))
    usable = ["–" if entry.usable is None else f"{entry.usable:,}" for entry in report.counts]
    counts.add_row("usable", *usable, end_section=True)
    for name in dict.fromkeys(name for entry in report.counts for name in entry.classes):
        counts.add_row(
            escape(name), *(f"{entry.classes[name]:,}" if name in entry.classes else "–" for entry in report.counts)
        )
    counts.add_row("threat-free", *(f"{entry.threat_free:,}" for entry in report.counts))
    console.print(counts)

    if report.totals:
        findings = Table(title="Findings", title_justify="left", box=box.SIMPLE_HEAD)
        findings.add_column("problem")
        findings.add_column("number", justify="right")
        findings.add_column("meaning")
        findings.add_column("first")
        for problem, number in report.totals.items():
            first = report.problems[report.problems["problem"] == problem].iloc[0]
            style = "red" if problem in INCOMPLETE else ""
            findings.add_row(
                problem,
                f"{number:,}",
                PROBLEMS[problem],
                escape(printable(first["name"] or first["path"])),
                style=style,
            )
        console.print(findings)
    if report.mislabelled_ids is not None:
        matched = report.problems.loc[report.problems["problem"] == "mislabelled", "name"].nunique()
        console.print(
            f"{matched:,} of the {report.mislabelled_ids:,} names on the list of mislabelled images are here."
        )
    lacking = sum(number for problem, number in report.totals.items() if problem in INCOMPLETE)
    verdict = (
        f"[red]incomplete[/]: {counted(lacking, 'file')} missing or of no use" if lacking else "[green]complete[/]"
    )
    console.print(f"Subset {escape(report.subset)} is {verdict}.")
