"""What a function of the user may return, and what is said of everything else."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multigraft.answers.class_map import ClassMap
from multigraft.answers.detections import Detections
from multigraft.answers.families.table import decoded
from multigraft.answers.own_format import MOST, OwnFormat
from multigraft.answers.text import Text
from multigraft.errors import ConfigurationError, InputError, UsageError
from multigraft.own_code import require_trust

BOXES = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
SCORES = [0.25, 0.75]
OUTPUT = np.zeros((3, 4), np.float32)


def answer(returned: Any, labels: tuple[str, ...] = ()) -> Any:
    return OwnFormat("own:decode", lambda outputs, labels, size: returned, (8, 8)).decoder(labels)([OUTPUT])


@pytest.mark.parametrize(
    "returned",
    [
        {"boxes": BOXES, "scores": SCORES, "classes": [0, 1]},
        np.concatenate([BOXES, np.array([[0.25, 0], [0.75, 1]])], axis=1),
        Detections(BOXES.astype(np.float32), np.array(SCORES, np.float32), np.array([0, 1], np.int32)),
    ],
    ids=["a dict", "rows", "detections"],
)
def test_boxes_in_any_form_are_detections_by_falling_score(returned: Any) -> None:
    found = answer(returned, ("a", "b"))
    assert isinstance(found, Detections)
    assert found.boxes.tolist() == BOXES[::-1].tolist() and found.boxes.dtype == np.float32
    assert (found.scores.tolist(), [found.label(0), found.label(1)]) == ([0.75, 0.25], ["b", "a"])


def test_nothing_found_and_much_found_are_answers() -> None:
    assert len(answer({"boxes": [], "scores": []})) == 0
    assert len(answer(np.zeros((0, 6)))) == 0
    many = answer({"boxes": np.tile(BOXES[:1], (5000, 1)), "scores": np.linspace(0, 1, 5000)})
    assert len(many) == MOST and many.scores.min() > 0.79


def test_keypoints_without_a_confidence_are_sure() -> None:
    found = answer({"boxes": BOXES, "scores": SCORES, "keypoints": np.ones((2, 5, 2))})
    assert found.keypoints.shape == (2, 5, 3) and (found.keypoints == 1).all()


def test_maps_and_text_pass() -> None:
    classes = ClassMap(np.zeros((2, 2), np.int32), ())
    assert answer(classes) is classes
    assert answer("abc") == Text("abc", 1.0)


def test_no_numbers_never_win() -> None:
    found = answer({"boxes": [[0, 0, 1, 1], [np.nan, 0, 1, 1], [0, 0, 9, 9]], "scores": [0.5, 0.9, np.nan]})
    assert found.boxes.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (None, "own:decode returns NoneType, which is no answer"),
        (np.zeros((2, 4)), r"an array of shape \(2, 4\) in place of \(n, 5\) or \(n, 6\)"),
        ({"boxes": BOXES}, "no scores"),
        ({"boxes": BOXES, "scores": SCORES, "score": 1}, "an entry 'score', which is none of boxes"),
        ({"boxes": BOXES, "scores": [0.5]}, r"scores of shape \(1,\) in place of \(2,\)"),
        ({"boxes": [[1, 2, 3]], "scores": [0.5]}, r"boxes of shape \(1, 3\) in place of \(1, 4\)"),
        ({"boxes": [["a"] * 4], "scores": [0.5]}, "boxes that are no numbers"),
        ({"boxes": BOXES, "scores": SCORES, "classes": [0, 2]}, "class 2 of 2 labels"),
        ({"boxes": BOXES, "scores": SCORES, "classes": [-1, 0]}, "class -1 of 2 labels"),
        ({"boxes": BOXES, "scores": SCORES, "classes": [0.5, 0]}, "classes that are no whole numbers"),
        ({"boxes": BOXES, "scores": SCORES, "classes": [np.nan, 0]}, "classes that are no whole numbers"),
        ({"boxes": BOXES, "scores": SCORES, "keypoints": np.zeros((2, 5))}, r"keypoints of shape \(2, 5\) for 2 boxes"),
        ({"boxes": 3, "scores": 4}, "returns"),
        (threading.Lock(), "returns lock, which is no answer"),
    ],
)
def test_everything_else_is_one_sentence(returned: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        answer(returned, ("a", "b"))
    assert "\n" not in str(caught.value)


def test_a_function_that_fails_is_named_and_gets_copies() -> None:
    def decode(outputs: Any, labels: Any, size: Any) -> Any:
        outputs[0][:] = 1
        raise KeyError(f"{labels} {size}\nmore")

    given = np.zeros((1, 2, 3), np.float32)
    with pytest.raises(ConfigurationError, match=r"own:decode fails \(KeyError: .*'a'.*8, 9"):
        list(decoded(OwnFormat("own:decode", decode, (8, 9)), ("a",), [given]))
    assert not given.any()


def test_a_function_is_imported_from_its_folder_and_known_by_its_code(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"own_module_{number}.py").write_text(
            f"def decode(outputs, labels, size):\n    return '{number}'\n"
        )
    one, other = (OwnFormat.load(f"own_module_{number}:decode", tmp_path) for number in (1, 2))
    assert one.decoder(())([OUTPUT]) == Text("1", 1.0)
    assert one.digest != other.digest and one.digest in repr(one) and "0x" not in repr(one)
    for name, sentence in (
        ("own_module_3:decode", "module own_module_3 of own_module_3:decode cannot be imported"),
        ("own_module_1:missing", "module own_module_1 has no function 'missing'"),
    ):
        with pytest.raises(InputError, match=sentence):
            OwnFormat.load(name, tmp_path)


def test_nobody_runs_code_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MULTIGRAFT_TRUST_CODE", raising=False)
    with pytest.raises(UsageError, match=r"own:decode runs Python code .* add --trust-code"):
        require_trust("own:decode", False)
    require_trust("own:decode", True)
    monkeypatch.setenv("MULTIGRAFT_TRUST_CODE", "1")
    require_trust("own:decode", False)
