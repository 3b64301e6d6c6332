"""``multigraft study``: what predicts accuracy after sharing a trunk, over all share points of labelled networks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from multigraft import files
from multigraft.cli.shared.json_text import json_text
from multigraft.cli.shared.settings_options import check_folder, load_frames, use_one_thread
from multigraft.cli.shared.table import print_table
from multigraft.cli.shared.trust import add_trust_argument

if TYPE_CHECKING:
    from multigraft.converters.study.study import Correlation, Study

RESULT = "study.json"
PLOT = "study.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    use_one_thread()
    parser.add_argument("settings", help="a multigraft.toml whose tasks name labelled frames (labelled = ...)")
    parser.add_argument(
        "-o",
        "--output",
        default="study-out",
        metavar="FOLDER",
        help=f"receives {RESULT} and {PLOT} (default: %(default)s)",
    )
    add_trust_argument(parser)


def execute(options: argparse.Namespace) -> int:
    """Graft at all share points, write the figures, and print the correlations or with ``--json`` all figures."""
    from multigraft.converters.job.progress import terminal_report
    from multigraft.converters.settings.settings import Settings
    from multigraft.converters.study.study import study_settings
    from multigraft.converters.study.study_plot import write_scatter

    settings = Settings.load(options.settings, trusts_code=options.trust_code)
    folder = Path(options.output)
    check_folder(folder)
    with terminal_report() as report:
        study = study_settings(settings, load_frames, report)
    folder.mkdir(exist_ok=True)
    text = json_text(study.to_json(), indent=1)
    files.write_bytes(folder / RESULT, text.encode() + b"\n")
    write_scatter(study, folder / PLOT)
    if options.json:
        print(text)
        return 0
    _print(study)
    print(f"All figures are in {folder / RESULT}, the scatter plots in {folder / PLOT}.")
    return 0


def _print(study: Study) -> None:
    from multigraft.converters.study.study import PREDICTOR_TEXT, PREDICTORS

    rows: dict[tuple[str, str, str], list[str]] = {}
    for correlation in study.correlations:
        row = rows.setdefault((correlation.group, correlation.sharing, correlation.outcome), [str(correlation.points)])
        row.append(_figure(correlation))
    print_table(
        "Pearson's r (and p) between labelled accuracy after sharing and what is known without labels",
        ("networks", "sharing", "of", "points", *(PREDICTOR_TEXT[p] for p in PREDICTORS)),
        [(*key, *row) for key, row in rows.items()],
    )
    print("accuracy: on labelled frames; kept: accuracy as a share of the original network's.")
    print("p takes grafts as independent points, which those of few networks are not quite.")
    names = dict.fromkeys(p.target for p in study.points)
    for name in names:
        own = [p for p in study.points if p.target == name]
        best = {s: max((p.accuracy for p in own if p.sharing == s), default=None) for s in ("raw", "refitted")}
        reach = ", ".join(f"{sharing} up to {value:.1%}" for sharing, value in best.items() if value is not None)
        print(f"{name}: {own[0].original_accuracy:.1%} on {study.labelled_frames[name]:,} labelled frames; {reach}.")


def _figure(correlation: Correlation) -> str:
    return (
        "-"
        if correlation.r is None or correlation.p_value is None
        else f"{correlation.r:+.2f} ({correlation.p_value:.1g})"
    )
