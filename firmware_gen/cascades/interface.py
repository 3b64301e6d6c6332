"""What ``model.h`` says of a cascade."""

from __future__ import annotations

from multigraft.firmware_gen.cascades.cascade import Cascade


def header_notes(cascade: Cascade) -> tuple[str, ...]:
    """Lines for ``model.h``: the size of the frame, and what answers about boxes look like."""
    colour = "R, G, B" if cascade.channels == 3 else "grey"
    return (
        "",
        f"#define MODEL_FRAME_HEIGHT {cascade.height}",
        f"#define MODEL_FRAME_WIDTH {cascade.width}",
        f"#define MODEL_FRAME_CHANNELS {cascade.channels}",
        "",
        f"/* model_inputs[0] is the frame: unsigned bytes, {colour}, rows from the top. Tasks that look at boxes cut",
        "   their crops out of it and run once for each.",
        "   TASK/boxes: rows of model_box, of which TASK/count are filled, by falling score on each part looked at.",
        "   TASK/crops: how many boxes of TASK were looked at, then their numbers; then TASK/answers of a task that",
        "   looked holds an answer for each in turn. What is not filled is 0. */",
        "typedef struct {",
        "    float left, top, right, bottom; /* pixels of the frame: edges, so a whole one is 0, 0, width, height */",
        "    float score;",
        "    float index;  /* of the class */",
        "    float within; /* number of the box that the task looked at, or -1 */",
        "} model_box;",
    )
