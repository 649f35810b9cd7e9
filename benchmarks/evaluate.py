"""How far the maps of each method and layer tell the truth: ``python evaluate.py FOLDER_OF_PICTURES [PART ...]``.

The figures of ``livecam evaluate`` for every method on the default model, for Score-CAM on fewer pictures, for maps of
several layers and for maps of twice the size; and, as maps that keep more of a picture lose less, the average drop of
maps made equally bright.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from measuring import conditions, markdown_table, median_ms, ratio_text, write_section

from live_cam.cam import CAM_METHODS
from live_cam.evaluation import faithfulness
from live_cam.evaluation.evaluate import Evaluation, EvaluationSettings, Row, run_evaluation
from live_cam.explainer import Explainer
from live_cam.loading import load_explainer
from live_cam.measuring import interleaved, timed
from live_cam.sources.image import read_picture

# Of the default model: the last maps of 28x28, of 14x14 and of 7x7.
_EARLY, _MIDDLE, _LAST = "block4a_expand_activation", "block6a_expand_activation", "top_activation"
_FUSED = f"{_EARLY},{_MIDDLE},{_LAST}"
# Fused with itself: the layer's own map through the fusion's tanh, nothing else.
_TANH_ALONE = f"{_LAST},{_LAST}"
_KEPT_SHARES = (0.25, 0.4)
_SCORE_CAM_PICTURES = 6
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
    """Every method that runs inside the one pass, on the last layer and fused over three."""
    evaluation = _evaluated(folder, tuple(CAM_METHODS), ("",))
    several = _evaluated(folder, ("grad-cam", "layercam"), (_MIDDLE, _EARLY, _FUSED))
    table = _table([*evaluation.rows, *several.rows, evaluation.baseline])
    return (
        f"{_about(evaluation)}, {len(evaluation.pictures)} photographs, each about its top class. What the columns "
        "say: `livecam evaluate --help`.\nFused: "
        f"`{_FUSED}`, maps of 28x28, 14x14 and 7x7.\n\n{table}"
    )


def brightness(folder: Path) -> str:
    """Why fused LayerCAM loses less: what is left of it at equal brightness."""
    asked = (("grad-cam", ""), ("layercam", ""), ("layercam", _TANH_ALONE), ("layercam", _FUSED))
    evaluations = [_evaluated(folder, (method,), (layer,), checks_head=False) for method, layer in asked]
    rows = [one.rows[0] for one in evaluations]
    explainer = load_explainer()
    images = [read_picture(picture.path) for picture in evaluations[0].pictures]
    classes = [picture.explained.class_index for picture in evaluations[0].pictures]
    lines = []
    for row in [*rows, evaluations[0].baseline]:
        maps = [one.heatmap for one in row.scores]
        drops = (equally_bright_drop(explainer, images, classes, maps, share) for share in _KEPT_SHARES)
        own = [format(row.figures[name] or 0, ".1f") for name in ("kept_percent", "average_drop_percent")]
        lines.append([_name(row), *own, *(format(drop, ".1f") for drop in drops)])
    headings = [f"drop % with {100 * share:.0f} % kept" for share in _KEPT_SHARES]
    return (
        "The average drop asks how much confidence is lost when the map dims the picture, so a brighter map loses "
        "less, whatever it shows.\nIn the last columns each map is raised to the power that makes its mean the same: "
        "its order of places stays, its brightness does not count.\n"
        "What fused LayerCAM gains over single-layer Grad-CAM is the fusion's tanh, which brightens the map: the last "
        "layer alone gains\nas much by it, and at equal brightness the lead is gone. What fusing does add is the finer "
        "map.\n\n" + markdown_table(["map", "kept %", "drop %", *headings], lines)
    )


def equally_bright_drop(
    explainer: Explainer, images: Sequence[np.ndarray], classes: Sequence[int], maps: Iterable[np.ndarray], share: float
) -> float:
    """The average drop in per cent, each map (h, w) raised to the power that leaves ``share`` of the picture."""
    drops = []
    for image, class_index, heatmap in zip(images, classes, maps, strict=True):
        pixels = explainer.preprocess(image).pixels[0].copy()
        heat = with_mean(faithfulness.heat_on_input(heatmap, (pixels.shape[1], pixels.shape[0])), share)
        dimmed = faithfulness.dimmed(pixels, heat, np.ones(heat.shape, bool))
        confidence, left = (explainer.forward(one)[class_index] for one in (pixels, dimmed))
        drops.append(faithfulness.drop_percent(float(confidence), float(left)))
    return float(np.mean(drops))


def with_mean(heat: np.ndarray, share: float) -> np.ndarray:
    """(h, w) in [0, 1] to the power at which its mean is ``share``, as near as its zeros allow."""
    low, high = 0.01, 20.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if float((heat**middle).mean()) > share else (low, middle)
    return heat**low


def score_cam(folder: Path) -> str:
    """Score-CAM, which takes a forward pass for each of 1280 channels, beside others on the same pictures."""
    asked = ("grad-cam", "layercam", "score-cam")
    evaluation = _evaluated(folder, asked, ("",), checks_head=False, max_images=_SCORE_CAM_PICTURES)
    return f"The first {len(evaluation.pictures)} photographs.\n\n{_table([*evaluation.rows, evaluation.baseline])}"


def input_size(folder: Path) -> str:
    """``--input-size 448``: maps of 14x14 from a network that was trained on 224x224."""
    explainers = {size: load_explainer(input_size=size) for size in _SIZES}
    image = read_picture(_first_picture(folder))
    inputs = {size: one.preprocess(image) for size, one in explainers.items()}
    actions = {
        str(size): timed(lambda index, size=size: explainers[size].explain_input(inputs[size])) for size in _SIZES
    }
    timings = interleaved(actions, 100, 5)
    small, large = (timings[str(size)] for size in _SIZES)
    lines, first_classes = [], []
    for size in _SIZES:
        evaluation = _evaluated(folder, ("grad-cam", "layercam"), ("",), checks_head=False, input_size=size)
        confidence = np.mean([picture.explained.probability for picture in evaluation.pictures])
        classes = [picture.explained.class_index for picture in evaluation.pictures]
        first_classes = first_classes or classes
        same = sum(one == other for one, other in zip(classes, first_classes, strict=True))
        rows_and_columns = "x".join(str(side) for side in evaluation.rows[0].scores[0].heatmap.shape)
        for row in (*evaluation.rows, evaluation.baseline):
            figures = [format(row.figures[name], spec) for name, _, spec in _FIGURES[:-1]]
            lines.append(
                [f"{size}, {rows_and_columns}", row.method, f"{same} of {len(classes)}", f"{confidence:.2f}", *figures]
            )
    headings = [heading for _, heading, _ in _FIGURES[:-1]]
    return (
        "The network mostly keeps its class. Its probabilities shrink: the head averages over four times the places, "
        "of an object larger than\nthose it was trained on. So compare with the random maps of the same size only.\n\n"
        f"One pass: {median_ms(small):.1f} ms at 224, {median_ms(large):.1f} ms at 448, "
        f"{ratio_text(large.ratios_to(small))} times as long.\n\n"
        + markdown_table(["input, map", "method", f"class as at {_SIZES[0]}", "mean confidence", *headings], lines)
    )


def _first_picture(folder: Path) -> Path:
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
        folder, names, layers, max_images=max_images, checks_head=checks_head, explainer=explainer
    )
    return run_evaluation(settings, lambda line: print(line, file=sys.stderr))


def _about(evaluation: Evaluation) -> str:
    width, height = evaluation.about["input_size_wh"]
    return f"{evaluation.about['model']} at {width}x{height}"


def _name(row: Row) -> str:
    places = {_FUSED: "fused", _TANH_ALONE: f"`{_LAST}` through the fusion's tanh", "": ""}
    layer = places.get(row.layer, f"`{row.layer}`")
    return ", ".join(part for part in (row.method, layer) if part)


def _table(rows: Sequence[Row]) -> str:
    columns = [one for one in _FIGURES if any(row.figures[one[0]] is not None for row in rows)]
    lines = [[_name(row), *(_cell(row.figures[name], spec) for name, _, spec in columns)] for row in rows]
    return markdown_table(["map", *(heading for _, heading, _ in columns)], lines)


def _cell(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


PARTS = {"methods": methods, "brightness": brightness, "score-cam": score_cam, "input-size": input_size}
_TITLES = {
    "methods": "How faithful the maps are",
    "brightness": "Why LayerCAM over several layers drops less",
    "score-cam": "Score-CAM",
    "input-size": "Sharper maps from a larger input",
}


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, metavar="FOLDER", help="of pictures")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md alone")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
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
