"""Boxes from VOC, COCO and plain tables; files that are damaged, malicious or of another kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from live_cam.errors import SettingError, SourceError
from live_cam.evaluation.boxes import read_annotations, read_json, read_voc

VOC = """<?xml version="1.0"?>
<annotation><filename>cat.jpg</filename><size><width>100</width><height>50</height><depth>3</depth></size>
<object><name>cat</name><bndbox><xmin>11</xmin><ymin>6</ymin><xmax>60</xmax><ymax>50</ymax></bndbox></object>
<object><name>dog</name><bndbox><xmax>2</xmax><xmin>1</xmin><ymin>1</ymin><ymax>1</ymax></bndbox></object>
</annotation>"""
BILLION_LAUGHS = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><annotation><object><name>&c;</name></object></annotation>"""
FOREIGN_FILE = (
    '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation><object><name>&e;</name></object></annotation>'
)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_voc_counts_from_one_and_includes_the_last_pixel(tmp_path: Path):
    annotation = read_voc(written(tmp_path, "cat.xml", VOC))
    assert [(box.name, box.xyxy) for box in annotation.boxes] == [("cat", (10, 5, 60, 50)), ("dog", (0, 0, 2, 1))]
    assert annotation.size_wh == (100, 50)


def test_boxes_are_fractions_of_the_annotated_image(tmp_path: Path):
    annotation = read_voc(written(tmp_path, "cat.xml", VOC))
    # The evaluated image is a copy with a tenth of the size.
    assert annotation.fractions_xyxy((10, 5), "Cat").tolist() == [[0.1, 0.1, 0.6, 1.0]]


def test_all_boxes_count_if_none_has_the_name_of_the_class(tmp_path: Path):
    assert len(read_voc(written(tmp_path, "cat.xml", VOC)).fractions_xyxy((10, 5), "tabby")) == 2


def test_a_voc_size_of_zero_is_ignored(tmp_path: Path):
    text = VOC.replace("<width>100", "<width>0")
    assert read_voc(written(tmp_path, "cat.xml", text)).size_wh is None


@pytest.mark.parametrize("text", [BILLION_LAUGHS, FOREIGN_FILE])
def test_xml_that_defines_entities_is_refused_unparsed(tmp_path: Path, text: str):
    with pytest.raises(SourceError, match="document type"):
        read_voc(written(tmp_path, "cat.xml", text))


def test_another_encoding_does_not_hide_entities(tmp_path: Path):
    path = tmp_path / "cat.xml"
    path.write_bytes(BILLION_LAUGHS.replace("?>", ' encoding="utf-16"?>', 1).encode("utf-16"))
    with pytest.raises(SourceError, match="not UTF-8"):
        read_voc(path)
    path.write_bytes(BILLION_LAUGHS.replace("?>", ' encoding="utf-16-le"?>', 1).encode("utf-16-le"))
    with pytest.raises(SourceError, match=r"document type|not a Pascal VOC"):
        read_voc(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a Pascal VOC annotation"),
        ("<annotation><object>", "not a Pascal VOC annotation"),
        ("<annotation><object><name>cat</name></object></annotation>", "an object has no bndbox"),
        (VOC.replace("<xmin>11</xmin>", ""), "bndbox has no xmin"),
        (VOC.replace("<xmin>11", "<xmin>eleven"), "eleven"),
        (VOC.replace("<xmin>11", "<xmin>nan"), "is empty"),
        (VOC.replace("<xmin>11", "<xmin>99"), "is empty"),
    ],
)
def test_a_damaged_voc_file_is_a_one_line_error(tmp_path: Path, text: str, message: str):
    with pytest.raises(SourceError, match=message) as raised:
        read_voc(written(tmp_path, "cat.xml", text))
    assert "\n" not in str(raised.value)


def test_a_voc_file_of_a_megabyte_is_not_read(tmp_path: Path):
    with pytest.raises(SourceError, match="too many for the boxes"):
        read_voc(written(tmp_path, "cat.xml", VOC + " " * (1 << 20)))


def test_a_table_of_names_and_edges(tmp_path: Path):
    path = written(tmp_path, "boxes.json", json.dumps({"a.jpg": [[1, 2, 3, 4], [0, 0, 1.5, 1]], "b.jpg": []}))
    boxes = read_json(path)
    assert [box.xyxy for box in boxes["a.jpg"].boxes] == [(1, 2, 3, 4), (0, 0, 1.5, 1)]
    assert boxes["a.jpg"].fractions_xyxy((10, 10), "cat")[0].tolist() == [0.1, 0.2, 0.3, 0.4]


def test_coco_boxes_are_left_top_width_height(tmp_path: Path):
    coco = {
        "images": [{"id": 7, "file_name": "val/a.jpg", "width": 20, "height": 10}],
        "annotations": [{"image_id": 7, "category_id": 3, "bbox": [2, 1, 8, 4]}],
        "categories": [{"id": 3, "name": "cat"}],
    }
    annotation = read_json(written(tmp_path, "coco.json", json.dumps(coco)))["a.jpg"]
    assert [(box.name, box.xyxy) for box in annotation.boxes] == [("cat", (2, 1, 10, 5))]
    assert np.allclose(annotation.fractions_xyxy((999, 999), "cat"), [[0.1, 0.1, 0.5, 0.5]])


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", '"cat"', "{", '{"a": 1}', '{"a": [1, 2, 3, 4]}', '{"a": [[1, 2, 3]]}', '{"a": [[1, 2, "x", 4]]}',
        '{"a": [[0, 0, NaN, 4]]}', '{"a": [[3, 0, 1, 4]]}', '{"images": [], "annotations": [{}]}',
        '{"images": 3, "annotations": 4}', "[" * 100_000, '{"a": [[0, 0, 1' + "0" * 400 + ", 4]]}",
    ],
)  # fmt: skip
def test_json_of_another_kind_is_a_one_line_error(tmp_path: Path, text: str):
    with pytest.raises(SourceError, match="holds no boxes") as raised:
        read_json(written(tmp_path, "boxes.json", text))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_images_are_matched_by_name(tmp_path: Path):
    written(tmp_path, "cat.xml", VOC)
    images = [Path("elsewhere/cat.jpg"), Path("elsewhere/dog.jpg")]
    assert read_annotations(tmp_path, images).keys() == {"cat.jpg"}
    with pytest.raises(SettingError, match="no image has boxes"):
        read_annotations(tmp_path, images[1:])


def test_a_missing_file_of_boxes_is_a_source_error(tmp_path: Path):
    with pytest.raises(SourceError, match="no such file or folder"):
        read_annotations(tmp_path / "nowhere.json", [Path("cat.jpg")])
