"""Measures how faithful the maps of each method and layer are: ``python evaluate.py FOLDER [PART ...]``.

It reports the figures of ``livecam evaluate`` for the default model: for every method, for Score-CAM on fewer images,
for maps of several layers, and for maps of twice the size. Maps that keep more of an image lose less confidence, so it
also reports the average drop of maps that are made equally bright.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from measuring import conditions, markdown_table, median_ms, ratio_text, write_section

from live_cam.evaluation import faithfulness
from live_cam.evaluation.evaluate import Evaluation, Row, run_evaluation
from live_cam.explain.explainer import ModelExplainer
from live_cam.explain.load import load_explainer
from live_cam.gradmodel.cam_methods import CAM_METHODS
from live_cam.settings import EvaluationSettings, ExplainerSettings
from live_cam.sources.image import read_image
from live_cam.timing_harness import interleaved, timed

# The default model's last layers with maps of 28x28, 14x14 and 7x7.
_EARLY, _MIDDLE, _LAST = "block4a_expand_activation", "block6a_expand_activation", "top_activation"
_COMBINED = f"{_EARLY},{_MIDDLE},{_LAST}"
# Combined with itself: the map only goes through the tanh with which layers are combined.
_TANH_ALONE = f"{_LAST},{_LAST}"
_KEPT_SHARES = (0.25, 0.4)
_SCORE_CAM_IMAGES = 6
_SIZES = (224, 448)

_FIGURES = (
    ("kept_percent", "kept %", ".1f"),
    ("average_drop_percent", "drop %, low is good", ".1f"),
    ("increase_percent", "increase %, high", ".1f"),
    ("insertion_auc", "insertion, high", ".3f"),
    ("deletion_auc", "deletion, low", ".3f"),
    ("head_similarity", "random head, low", ".3f"),
)


def methods(folder: Path) -> str:
    """Every method that needs one call of the network, on the last layer and on three combined layers."""
    evaluation = _evaluated(folder, tuple(CAM_METHODS), ("",))
    several = _evaluated(folder, ("grad-cam", "layercam"), (_MIDDLE, _EARLY, _COMBINED))
    table = _table([*evaluation.rows, *several.rows, evaluation.baseline])
    return (
        f"{_about(evaluation)}, {len(evaluation.images)} photographs, each explained for its top class. "
        "`livecam evaluate --help` explains the columns.\nCombined: "
        f"`{_COMBINED}`, with maps of 28x28, 14x14 and 7x7.\n\n{table}"
    )


def brightness(folder: Path) -> str:
    """The average drop of combined layers, beside that of equally bright maps."""
    asked = (("grad-cam", ""), ("layercam", ""), ("layercam", _TANH_ALONE), ("layercam", _COMBINED))
    evaluations = [_evaluated(folder, (method,), (layer,), checks_head=False) for method, layer in asked]
    rows = [evaluation.rows[0] for evaluation in evaluations]
    explainer = load_explainer()
    images = [read_image(image.path) for image in evaluations[0].images]
    classes = [image.explained.class_index for image in evaluations[0].images]
    lines = []
    for row in [*rows, evaluations[0].baseline]:
        maps = [score.heatmap for score in row.scores]
        drops = (equally_bright_drop(explainer, images, classes, maps, share) for share in _KEPT_SHARES)
        own = [format(row.metrics[name] or 0, ".1f") for name in ("kept_percent", "average_drop_percent")]
        lines.append([_name(row), *own, *(format(drop, ".1f") for drop in drops)])
    headings = [f"drop % with {100 * share:.0f} % kept" for share in _KEPT_SHARES]
    return (
        "The average drop is the confidence that is lost when the map dims the image, so a brighter map always loses "
        "less.\nIn the last columns each map is raised to the power that gives all maps the same mean: the order of "
        "its values stays, and its brightness has no effect.\n"
        "LayerCAM of combined layers drops less than Grad-CAM of one layer because of the tanh with which layers are "
        "combined: it brightens the map.\nThe last layer alone gains as much by it, and between equally bright maps "
        "there is no such difference. Combining layers gives a finer map.\n\n"
        + markdown_table(["map", "kept %", "drop %", *headings], lines)
    )


def equally_bright_drop(
    explainer: ModelExplainer,
    images: Sequence[np.ndarray],
    classes: Sequence[int],
    maps: Iterable[np.ndarray],
    share: float,
) -> float:
    """Returns the average drop in percent of maps that keep the same share of their image.

    Args:
        explainer: Computes the confidences.
        images: (height, width, 3) uint8, BGR.
        classes: The explained class of each image.
        maps: The heatmap of each image, (h, w) float32.
        share: Mean of each map, relative to its maximum, after it is raised to a power.
    """
    drops = []
    for image, class_index, heatmap in zip(images, classes, maps, strict=True):
        pixels = explainer.preprocess(image).pixels[0].copy()
        heat = raise_to_mean(faithfulness.heat_on_input(heatmap, (pixels.shape[1], pixels.shape[0])), share)
        dimmed = faithfulness.dim(pixels, heat, np.ones(heat.shape, bool))
        confidence, left = (explainer.forward(shown)[class_index] for shown in (pixels, dimmed))
        drops.append(faithfulness.drop_percent(float(confidence), float(left)))
    return float(np.mean(drops))


def raise_to_mean(heat: np.ndarray, share: float) -> np.ndarray:
    """Returns the map, (h, w) in [0, 1], to the power at which its mean is ``share``, as near as its zeros allow."""
    low, high = 0.01, 20.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if float((heat**middle).mean()) > share else (low, middle)
    return heat**low


def score_cam(folder: Path) -> str:
    """Score-CAM, which needs a forward pass for each of 1280 channels, beside other methods on the same images."""
    asked = ("grad-cam", "layercam", "score-cam")
    evaluation = _evaluated(folder, asked, ("",), checks_head=False, max_images=_SCORE_CAM_IMAGES)
    return f"The first {len(evaluation.images)} photographs.\n\n{_table([*evaluation.rows, evaluation.baseline])}"


def input_size(folder: Path) -> str:
    """``--input-size 448``: maps of 14x14 of a network that was trained on 224x224."""
    explainers = {size: load_explainer(input_size=size) for size in _SIZES}
    image = read_image(_first_image_path(folder))
    inputs = {size: explainer.preprocess(image) for size, explainer in explainers.items()}
    actions = {
        str(size): timed(lambda index, size=size: explainers[size].explain_input(inputs[size])) for size in _SIZES
    }
    timings = interleaved(actions, 100, 5)
    small, large = (timings[str(size)] for size in _SIZES)
    lines, first_classes = [], []
    for size in _SIZES:
        evaluation = _evaluated(folder, ("grad-cam", "layercam"), ("",), checks_head=False, input_size=size)
        confidence = np.mean([evaluated.explained.probability for evaluated in evaluation.images])
        classes = [evaluated.explained.class_index for evaluated in evaluation.images]
        first_classes = first_classes or classes
        same = sum(now == first for now, first in zip(classes, first_classes, strict=True))
        rows_and_columns = "x".join(str(side) for side in evaluation.rows[0].scores[0].heatmap.shape)
        for row in (*evaluation.rows, evaluation.baseline):
            figures = [format(row.metrics[name], spec) for name, _, spec in _FIGURES[:-1]]
            lines.append(
                [f"{size}, {rows_and_columns}", row.method, f"{same} of {len(classes)}", f"{confidence:.2f}", *figures]
            )
    headings = [heading for _, heading, _ in _FIGURES[:-1]]
    return (
        "The network mostly keeps its class. Its probabilities become smaller: the head averages over four times as "
        "many places, of an object\nlarger than those it was trained on. So compare only with random maps of the same "
        "size.\n\n"
        f"One explanation takes {median_ms(small):.1f} ms at 224 and {median_ms(large):.1f} ms at 448, "
        f"{ratio_text(large.ratios_to(small))} times as long.\n\n"
        + markdown_table(["input, map", "method", f"class as at {_SIZES[0]}", "mean confidence", *headings], lines)
    )


def _first_image_path(folder: Path) -> Path:
    return min(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})


def _evaluated(
    folder: Path,
    names: tuple[str, ...],
    layers: tuple[str, ...],
    checks_head: bool = True,
    max_images: int | None = None,
    **explainer: object,
) -> Evaluation:
    settings = EvaluationSettings(
        folder, names, layers, max_images=max_images, checks_head=checks_head, explainer=ExplainerSettings(**explainer)
    )
    return run_evaluation(settings, lambda line: print(line, file=sys.stderr))


def _about(evaluation: Evaluation) -> str:
    width, height = evaluation.about["input_size_wh"]
    return f"{evaluation.about['model']} at {width}x{height}"


def _name(row: Row) -> str:
    places = {_COMBINED: "combined layers", _TANH_ALONE: f"`{_LAST}` with tanh", "": ""}
    layer = places.get(row.layer, f"`{row.layer}`")
    return ", ".join(part for part in (row.method, layer) if part)


def _table(rows: Sequence[Row]) -> str:
    columns = [figure for figure in _FIGURES if any(row.metrics[figure[0]] is not None for row in rows)]
    lines = [[_name(row), *(_cell(row.metrics[name], spec) for name, _, spec in columns)] for row in rows]
    return markdown_table(["map", *(heading for _, heading, _ in columns)], lines)


def _cell(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


PARTS = {"methods": methods, "brightness": brightness, "score-cam": score_cam, "input-size": input_size}
_TITLES = {
    "methods": "How faithful the maps are",
    "brightness": "Why LayerCAM of combined layers drops less",
    "score-cam": "Score-CAM",
    "input-size": "Finer maps from a larger input",
}


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, metavar="FOLDER", help="folder of images")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--no-write", action="store_true", help="do not change RESULTS.md")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; give one of {', '.join(PARTS)}")
    return options


def main() -> None:
    """Prints each part and writes it into the results."""
    options = _parsed()
    for name in options.parts or PARTS:
        text = f"## {_TITLES[name]} (evaluate.py {name})\n\n{PARTS[name](options.images)}\n\n{conditions()}"
        print(text, flush=True)
        if not options.no_write:
            write_section(f"evaluate.py {name}", text)


if __name__ == "__main__":
    main()
