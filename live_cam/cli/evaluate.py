"""``livecam evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live_cam.cli import options
from live_cam.cli.shared_options import with_settings
from live_cam.settings import ExplainerSettings

if TYPE_CHECKING:
    from live_cam.evaluation.evaluate import Evaluation, Row

Images = Annotated[Path, typer.Option("--images", metavar="DIR", help="A folder of images.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="One method or several, comma-separated; may be repeated. Default: grad-cam,layercam.",
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="NAME",
        help="A layer; repeat it to compare several. Comma-separated layers are combined. Default: the default layer.",
    ),
]
Boxes = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR|FILE.json",
        help="Where the objects are, for the pointing game: a folder of VOC files, COCO's JSON, or a JSON object of "
        "file names to lists of boxes, each left, top, right and bottom. Default: not measured.",
    ),
]
MaxImages = Annotated[int | None, typer.Option(metavar="N", min=1, help="Only the first N images by name.")]
Sanity = Annotated[
    bool,
    typer.Option(
        "--sanity/--no-sanity",
        help="Compare with the maps of the network with a random last layer, which loads TensorFlow and the model. "
        "Default: compared.",
    ),
]
Seed = Annotated[
    int, typer.Option(metavar="N", min=0, help="Seed of all random numbers; the same seed gives the same figures.")
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON, also those of each image.")
]
Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png",
        help="Draw the curves, and a contact sheet of the maps as FILE-maps.png; also .pdf and .svg. Needs matplotlib.",
    ),
]


@with_settings(
    "model", "weights", "labels", "preprocess", "fit", "input_size", "output_name", "unsafe", "custom_objects",
    "engine", "threads", "precision", "calibrate", "score",
)  # fmt: skip
def evaluate(
    *,
    images: Images,
    explainer: ExplainerSettings,
    method: Methods = None,
    layer: Layers = None,
    boxes: Boxes = None,
    max_images: MaxImages = None,
    sanity: Sanity = True,
    seed: Seed = 0,
    json: Json = None,
    plot: Plot = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Measures on a folder of images how far heatmaps can be trusted, by method and layer.

    Drop, increase: how much confidence is lost, and how often gained, when the map dims the image.

    Insertion, deletion: area under the confidence while pixels appear out of a blur, or turn gray, hottest first.

    Pointing: share of the map's heat that is inside the boxes.

    Random head: rank correlation with maps of a random last layer; near 1, a map does not show what that layer learned.

    All figures are about the top class, beside those of random maps. Compare drops only of maps that keep about as
    much.
    """
    from live_cam.cli.console import Console
    from live_cam.evaluation.evaluate import run_evaluation
    from live_cam.evaluation.plots import check_plot, write_plots
    from live_cam.settings import EvaluationSettings
    from live_cam.sinks.atomic_file import check_output
    from live_cam.sinks.report import write_report

    if json is not None:
        check_output(json, overwrite)
    if plot is not None:
        check_plot(plot, overwrite)
    methods = tuple(name.strip() for text in method or () for name in text.split(",") if name.strip())
    settings = EvaluationSettings(
        images=images,
        methods=methods or EvaluationSettings.methods,
        layers=tuple(layer or [""]),
        boxes=boxes,
        max_images=max_images,
        checks_head=sanity,
        seed=seed,
        explainer=explainer,
    )
    with Console(quiet) as console:
        evaluation = run_evaluation(settings, console.line, console.step)
    print(table(evaluation))
    if json is not None:
        write_report(json, evaluation.report, overwrite)
    if plot is not None:
        write_plots(plot, evaluation, overwrite)


# Name in ``Row.metrics``, two lines of the header, format. What was not measured has no column.
_COLUMNS = (
    ("kept_percent", "kept %", "alike", ".1f"),
    ("average_drop_percent", "drop %", "low", ".1f"),
    ("increase_percent", "increase %", "high", ".1f"),
    ("insertion_auc", "insertion", "high", ".3f"),
    ("deletion_auc", "deletion", "low", ".3f"),
    ("pointing", "pointing", "high", ".3f"),
    ("head_similarity", "random head", "low", ".3f"),
)


def table(evaluation: Evaluation) -> str:
    """Returns a row for each method and layer, and one for random maps; the header says if high or low is good."""
    columns = [column for column in _COLUMNS if any(row.metrics[column[0]] is not None for row in evaluation.rows)]
    about, count = evaluation.about, len(evaluation.images)
    width, height = about["input_size_wh"]
    skipped = f", {len(evaluation.skipped)} skipped" if evaluation.skipped else ""
    int8 = " int8" if about["precision"] == "int8" else ""
    return "\n".join(
        [
            f"{about['model']} on {about['engine']}{int8}, {width}x{height}, {count} image{'s' * (count > 1)}{skipped}",
            f"{'':<12}" + "".join(f"{heading:>12}" for _, heading, _, _ in columns) + "  layer",
            f"{'':<12}" + "".join(f"{good:>12}" for _, _, good, _ in columns),
            *(_line(row, columns) for row in (*evaluation.rows, evaluation.baseline)),
        ]
    )


def _line(row: Row, columns: list[tuple[str, str, str, str]]) -> str:
    metrics = row.metrics
    cells = ("-" if metrics[name] is None else format(metrics[name], spec) for name, _, _, spec in columns)
    return f"{row.method:<12}{''.join(f'{cell:>12}' for cell in cells)}  {row.layer}".rstrip()
