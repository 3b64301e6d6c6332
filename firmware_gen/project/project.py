"""The generated C project as data: file names and texts, and what the board's part has to know to link against it.

``model.h`` declares all of the interface::

    int model_run(uint32_t task_mask);         0, or -1 if the mask names no task or one that is not there
    const model_tensor model_inputs[MODEL_INPUT_COUNT];
    const model_tensor model_outputs[MODEL_OUTPUT_COUNT];   valid for the tasks that ran, until the next run
    const model_task model_tasks[MODEL_TASK_COUNT];

Inputs and outputs lie in the static arena: a run destroys the inputs, so fill them before every run. With
``MODEL_PROFILE`` defined, ``model_profile(step)`` is called before each step and once more at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from multigraft.firmware_gen.boards.cores import CoreFeatures
from multigraft.firmware_gen.memory.planner import ArenaPlan
from multigraft.firmware_gen.project.naming import DEFAULT
from multigraft.tensors.joining import Joined


@dataclass(frozen=True)
class Port:
    """An input or output of the model: int8, NHWC, ``real = scale * (stored - zero_point)``; or float32, scale 0."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    offset: int
    size: int
    region: int = 0
    dtype: str = "int8"


@dataclass(frozen=True)
class ProjectTask:
    """A task: bit ``1 << index`` of the mask; its answers by their place in :attr:`Project.outputs`.

    ``joined`` says how outputs of the network are made of them where those were parted.
    """

    name: str
    outputs: tuple[int, ...]
    joined: tuple[Joined, ...] = ()


@dataclass(frozen=True)
class ProjectRegion:
    """Memory the arena lies in: bytes taken, and bytes there are, None if that is not known."""

    name: str
    size: int
    capacity: int | None
    section: str


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates of all tasks together, and bytes of all weights and biases."""

    macs: int = 0
    weights_bytes: int = 0


@dataclass(frozen=True)
class StepReport:
    """One step as the memory report and the profiler name it."""

    operator: str
    output: str
    tasks: int
    macs: int
    constant_bytes: int
    scratch_bytes: int


@dataclass(frozen=True)
class ProjectExit:
    """An early exit of a task.

    Attributes:
        name: Its segment.
        task: Place in :attr:`Project.tasks`.
        number: Which of the exits of its task it is, from 1 on.
        output: Place of its answer in :attr:`Project.outputs`.
        said: Place of the output that tells by which exit the task left.
        whole: Place of the answer of the whole network.
        rate: Share of the frames that reached it and took it when its threshold was tested.
        macs: Multiply-accumulates of a frame whose task leaves here, all tasks being asked for and no other leaving.
    """

    name: str
    task: int
    number: int
    output: int
    said: int
    whole: int
    rate: float
    macs: int


@dataclass(frozen=True)
class ProjectLearning:
    """A task whose last layer the board may solve anew.

    Attributes:
        task: Place in :attr:`Project.tasks`.
        classes: How many it can have.
        features: Inputs of that layer.
        ram_bytes: RAM of sums and layer, beside the arena.
        solving_bytes: Of the arena, while the layer is solved.
        known_frames: Frames of classes that it knows, whose sums are in flash.
    """

    task: int
    classes: int
    features: int
    ram_bytes: int
    solving_bytes: int
    known_frames: int


@dataclass(frozen=True)
class Part:
    """A model with a prefix: how many of all inputs, outputs, tasks, steps and exits are its own."""

    prefix: str
    inputs: int
    outputs: int
    tasks: int
    steps: int
    exits: int = 0


@dataclass(frozen=True)
class Project:
    """Everything that was generated for a model on one core.

    Attributes:
        name: The model's name.
        core: What it was generated for.
        files: File name to text; ``model.c`` is the only one to compile, the rest are headers.
        inputs: In the order of ``model_inputs``.
        outputs: In the order of ``model_outputs``.
        tasks: In the order of their bits.
        steps: In running order.
        plan: Where tensors and scratch lie in the arena.
        lifetimes: Buffer name to its bytes, the first and the last step it is in use.
        constant_bytes: Bytes of weights and tables in flash.
        regions: Memories the arena lies in, only those that are used.
        variable_bytes: RAM of what is kept between inferences, beside the arena: variables, sound, audits of exits, and
            what was learnt.
        given: Work of the model as it came.
        left: Work of the model that is generated, after exact pruning.
        prefix: What the library is called, and for a single model its symbols.
        parts: Models with prefixes of their own, in the order of inputs, outputs, tasks, steps and exits; else none.
        exits: Early exits, in running order.
        learning: What the board may learn; None for nothing.
    """

    name: str
    core: CoreFeatures
    files: Mapping[str, str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    tasks: tuple[ProjectTask, ...]
    steps: tuple[StepReport, ...]
    plan: ArenaPlan
    lifetimes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    constant_bytes: int = 0
    regions: tuple[ProjectRegion, ...] = ()
    variable_bytes: int = 0
    given: Work = Work()
    left: Work = Work()
    prefix: str = DEFAULT
    parts: tuple[Part, ...] = ()
    exits: tuple[ProjectExit, ...] = ()
    learning: ProjectLearning | None = None

    @property
    def arena_bytes(self) -> int:
        """RAM the model needs, over all regions: inputs, outputs, everything between, and scratch."""
        return self.plan.total
