"""What ``model.h`` says of a cascade."""

from __future__ import annotations

from multigraft.firmware_gen.cascades.cascade import Cascade

_CLOCK = (
    "",
    "/* Yours: microseconds of a clock that runs on through 32 bits. After its deadline a task begins with no further",
    "   box; without this function there are no deadlines. */",
    "#define MODEL_HAS_DEADLINES 1",
    "#ifdef __cplusplus",
    'extern "C"',
    "#endif",
    "uint32_t model_microseconds(void);",
)


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
        "   TASK/count, int32_t: how many boxes; TASK/boxes: rows of model_box, so many of them filled, by falling",
        "   score on each part looked at. TASK/crops, int32_t: how many boxes of TASK were looked at, then their",
        "   numbers; TASK/answers of a task that looked: an answer for each in turn. What is not filled is 0. */",
        "typedef struct {",
        "    float left, top, right, bottom; /* pixels of the frame: edges, so a whole one is 0, 0, width, height */",
        "    float score;",
        "    float index;  /* of the class */",
        "    float within; /* number of the box that the task looked at, or -1 */",
        "} model_box;",
        *(_CLOCK if any(s.on is not None and s.on.deadline_us is not None for s in cascade.stages) else ()),
    )
