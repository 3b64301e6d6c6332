"""``docs/answers.md``: kinds of answers, with the table of families as the code has it."""

from __future__ import annotations

from multigraft.answers.families.table import FAMILIES
from multigraft.answers.own_format import MOST
from multigraft.runtime.formats.table_rows import COLUMNS

_PAGE = """# Answers

What a network says becomes what a person uses: boxes, poses, masks or text, in pixels of the frame as it came.
Coordinates begin at the upper left corner of the frame, and the centre of its first pixel is 0.5, 0.5.

![Nine made-up pictures, each with one kind of answer drawn](answers.png)

    multigraft run home.graft --source camera --draw out/ --frames 100

`--draw` writes each frame with its answers as PNG. It needs Pillow (`'multigraft[images]'`). Frames of fewer than 320
pixels are magnified in whole steps. Pictures from a folder keep their names, other frames are `frame-000000.png` and
so on. Without `--frames` the first 1000 are drawn. A folder that holds files needs `--force`.

## Choosing a format

A task's `[task.answer]` says how its outputs are read ([settings](settings.md)). `format = "auto"` looks at shapes
and names, and says at build what it took. Name the format where nothing was recognised; what does not fit is then
said. `"raw"` leaves outputs as they are. Without `[task.answer]` a detection is read as with `"auto"`. So is a
segmentation whose outputs are maps in the form of the input. Its classes lie on the frame at the frame's size.

`score_threshold`, `iou_threshold` and `most` change when an answer counts; each family has defaults of its own. Lines
of text (`db-text`) also have `core_threshold`, `unclip_ratio` and `min_size`.

| format | for kinds | what it is |
|---|---|---|
{families}

## A function of your own

Where no family and no table of roles fits, a function decodes: `format = "decoding:decode"` names `decode` in
`decoding.py` beside the settings.

```python
import numpy as np


def decode(outputs, labels, size):
    boxes, scores = outputs  # float32, without the batch axis, as the original network gives them
    return {{"boxes": boxes, "scores": scores}}  # left, top, right, bottom in pixels of the network input
```

`labels` are the task's, `size` is height and width of the input. Besides `boxes` and `scores` the dict may hold
`classes`, `keypoints` and `corners`. Rows of left, top, right, bottom, score, class will do, and so will a text or an
answer of `multigraft.answers`. The {most} surest boxes are kept.

It is code, so it runs only where you say so, with `--trust-code`: `build` and `eval` judge by it. A bundle neither
carries nor names it, and a device gives the outputs as they are. On a device that has the file, say
`multigraft run home.graft --decode person=decoding:decode --trust-code`, or `Engine(bundle, own={{...}})` with an
`OwnFormat`. No other task can look at its boxes.

## A task on another's boxes

A task may look at what another one finds, in place of whole frames:

```toml
[task.on]
task = "person"    # whose boxes
margin = 0.2       # added on each side, as a share of the box
top = 4            # boxes per frame, the surest first
```

`labels` chooses classes of boxes, and `deadline_us` stops before further boxes. `level = [0, 1]` turns the crop until
these two keypoints lie level. Tasks on the same boxes share a trunk like tasks on the same frame. Where nothing was
found, nothing runs. The line of `run` says how many boxes were looked at and how long that took; `multigraft bench`
measures it by their number.

A build cuts its unlabeled frames out itself, with the network that finds the boxes. `frames` of the task, if you name
some, are such crops. A device collects statistics of crops, too ([how](calibration.md#crops)).
[Firmware](firmware.md#tasks-on-anothers-boxes) finds the boxes and cuts the crops on the device.

## How good it is

    multigraft eval home.graft --labelled coco.json --settings multigraft.toml

`eval` gives mean average precision on boxes in COCO's form (`'multigraft[eval]'`), or accuracy on an .npz file of
`frames` and `labels`. With `--settings` the original networks stand beside the bundle. A task on another's boxes is not
judged.

## What `run` prints

| `--format` | what comes |
|---|---|
| `jsonl` | a line of JSON per frame, as soon as it is answered |
| `coco` | a COCO results list at the end: boxes, scores, keypoints, masks as run lengths |
| `csv` | a table, one row per answer |

`-o FILE` writes there. The file appears when the run ends, also after an interrupt, with the frames that were
answered.

In a COCO list, `image_id` is the number that a picture's name is, else the number of the frame. `category_id` is what
the settings say: `labels = "instances.json"` takes names and numbers of classes from a COCO file, `category_ids` of
`[task.answer]` lists them. Where they say nothing it is the number of the class plus 1. With `--coco instances.json`
both are the file's, pictures by their names and classes by theirs, as `eval` has them; a class that the file does not
know is left out. `task` and `label` stand beside COCO's own keys.

The columns of a table are always the same: {columns}. What a row does not have is empty. `kind` says what it is:

| `kind` | one row for | filled |
|---|---|---|
| `class` | a classification | `label`, `index`, `score` |
| `box` | a detection | `number`, `label`, `index`, `score`, `left` to `bottom`, `id`, `points` |
| `label` | a class of several at once | `number`, `label`, `index`, `score` |
| `pixels` | a class of a class map | `label`, `index`, `value`: pixels |
| `map` | a dense map | `value`: least, mean, most |
| `text` | a line of text | `value`, `score` |
| `embedding` | a vector | `label`, `score`: nearest known one; else `value` |
| `value` | a number | `number`, `value` |
| `raw` | an output | `number`, `value`: its shape |

`box` is the number of the box that a task on another's boxes looked at. `points` are keypoints, else corners.
Each is x, y and, of keypoints, a confidence; points are parted by semicolons.

## Quiet answers

| option | what it does |
|---|---|
| `--steady N` | a class changes when more than half of the last N frames say so; things vanish after N frames away |
| `--enter S --leave S` | classes of boxes and labels come in at one score and leave at a lower one |
| `--track` | each thing keeps an `id` over frames (`'multigraft[track]'`) |
| `--events` | a line when something appears or vanishes, and nothing else |

A score that wobbles around a threshold makes things come and go. Between `--leave` and `--enter` nothing changes:
what is there stays, and what is not there does not come. [`serve --mqtt`](mqtt.md) takes `--steady`, `--enter` and
`--leave`, too.

With `--track --events` one person is one event, however many frames show it. A thing that is out of sight for more
than 30 frames has vanished.
"""


def markdown() -> str:
    """The page."""
    rows = [
        f"| `{f.name}` | {', '.join(f.kinds)} | {f.meaning.replace('|', chr(92) + '|')} |" for f in FAMILIES.values()
    ]
    return _PAGE.format(families="\n".join(rows), most=MOST, columns=", ".join(f"`{column}`" for column in COLUMNS))
