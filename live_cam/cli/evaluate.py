"""``livecam evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from live_cam.cli import options

if TYPE_CHECKING:
    from live_cam.evaluation.evaluate import Evaluation, Row

Images = Annotated[Path, typer.Option("--images", metavar="DIR", help="A folder of pictures.")]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", metavar="NAME", help="Several with commas, or again; grad-cam,layercam if not given."),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        metavar="NAME",
        help="Again for each to compare; names with commas between are fused. The default layer if not given.",
    ),
]
Boxes = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR|FILE.json",
        help="Where the objects are, for the pointing game: a folder of VOC files, COCO's JSON, or a JSON table of "
        "file names to lists of left, top, right and bottom.",
    ),
]
MaxImages = Annotated[int | None, typer.Option(metavar="N", min=1, help="The first N pictures only.")]
Sanity = Annotated[
    bool,
    typer.Option(
        "--sanity/--no-sanity",
        help="Compare with the maps of a network whose head is random; loads TensorFlow and the model.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="The same number, the same figures.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="All figures, of each picture too.")]
Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.png",
        help="The curves, and beside them FILE-maps.png, a contact sheet; also .pdf and .svg. Needs matplotlib.",
    ),
]


def evaluate(
    images: Images,
    model: options.Model = "efficientnet-lite0",
    weights: options.Weights = None,
    labels: options.Labels = None,
    preprocess: options.Preprocess = "auto",
    fit: options.Fit = "stretch",
    input_size: options.InputSize = None,
    output_name: options.OutputName = None,
    unsafe_model: options.UnsafeModel = False,
    engine: options.Engine = "auto",
    threads: options.Threads = None,
    score: options.Score = "logit",
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
    """Measures, on pictures of one's own, whether heatmaps can be trusted, by method and layer.

    Drop, increase: confidence lost, how often gained, when the map dims the picture. Compare maps that keep alike.

    Insertion, deletion: pixels come out of a blur, or turn grey, hottest first; the area under the confidence.

    Pointing: the share of the map's heat inside the boxes.

    Random head: rank correlation with maps of a random last layer; near 1, a map does not show what that one learned.

    All of it about each picture's top class, and all beside maps of noise.
    """
    from live_cam.cli.bar import StepBar
    from live_cam.evaluation.evaluate import DEFAULT_METHODS, EvaluationSettings, run_evaluation
    from live_cam.evaluation.plot import check_plot, write_plots
    from live_cam.sinks.partial import check_output
    from live_cam.sinks.report import write_report

    if json is not None:
        check_output(json, overwrite)
    if plot is not None:
        check_plot(plot, overwrite)
    asked = {
        "model": model,
        "weights": weights,
        "labels": labels,
        "preprocess": preprocess,
        "fit": fit,
        "input_size": input_size,
        "output_name": output_name,
        "unsafe": unsafe_model,
        "engine": engine,
        "threads": threads,
        "score": score,
    }
    methods = tuple(name.strip() for text in method or DEFAULT_METHODS for name in text.split(",") if name.strip())
    settings = EvaluationSettings(
        images, methods, tuple(layer or [""]), boxes, max_images, sanity, seed, explainer=asked
    )  # fmt: skip
    with StepBar(quiet) as bar:
        evaluation = run_evaluation(settings, bar.line, bar.move)
    print(table(evaluation))
    if json is not None:
        write_report(json, evaluation.report, overwrite)
    if plot is not None:
        write_plots(plot, evaluation, overwrite)


# Name in ``Row.figures``, two lines of heading, format. What was not measured has no column.
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
    """A row for each method and layer, random maps last; below the names, whether high or low is good."""
    columns = [one for one in _COLUMNS if any(row.figures[one[0]] is not None for row in evaluation.rows)]
    about, count = evaluation.about, len(evaluation.pictures)
    width, height = about["input_size_wh"]
    skipped = f", {len(evaluation.skipped)} skipped" if evaluation.skipped else ""
    return "\n".join(
        [
            f"{about['model']} on {about['engine']}, {width}x{height}, {count} picture{'s' * (count > 1)}{skipped}",
            f"{'':<12}" + "".join(f"{heading:>12}" for _, heading, _, _ in columns) + "  layer",
            f"{'':<12}" + "".join(f"{good:>12}" for _, _, good, _ in columns),
            *(_line(row, columns) for row in (*evaluation.rows, evaluation.baseline)),
        ]
    )


def _line(row: Row, columns: list[tuple[str, str, str, str]]) -> str:
    figures = row.figures
    cells = ("-" if figures[name] is None else format(figures[name], spec) for name, _, _, spec in columns)
    return f"{row.method:<12}{''.join(f'{cell:>12}' for cell in cells)}  {row.layer}".rstrip()
