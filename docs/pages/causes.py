"""What is behind the errors that users meet most, written by hand: problem to cause.

A key is the problem as :mod:`docs.pages.error_sentences` reads it, whatever stands in its angle marks. A key
that no error says any more is an error of the page (``tests/docs/test_troubleshooting.py``).
"""

from __future__ import annotations

CAUSES = {
    "‹settings file: key› is not a setting": "A key is misspelt or stands in another table. "
    "TOML gives every key to the last `[table]` above it, so `frames` for all tasks has to stand before the first one.",
    "‹settings file: key› is not TOML: ‹reason›‹reason›": "Text without quotes, a missing bracket, or a path with "
    "single backslashes. The message names line and column.",
    "‹settings file: key› names ‹value›, which does not exist beside the settings file": "Paths are relative to the "
    "settings file, not to the folder you are in.",
    "‹path› holds ‹number of frames› frames, and showing an agreement of ‹min agreement› at a confidence of "
    "‹confidence› takes ‹needed› held-out frames besides those for fitting and choosing": "A bound is shown by "
    "counting: with few frames, even agreement on every one of them is no proof. 0.97 at 95 % takes 99 frames without "
    "a miss, and others to fit and to choose.",
    "‹written› misses the budget: ‹misses›": "What was written was measured and does not keep all of `[budget]`: "
    "int8 took more than grafting left, or no plan keeps all limits. The report's Pareto front shows what there is.",
    "‹path› does not exist": "A path is misspelt, or relative to another folder than the one you are in.",
    "the original network gives NaN or infinity": "Usually a wrong `mean` or `scale`: the network was trained on "
    "numbers around 0 and gets 0 to 255, or the other way round.",
    "‹where› takes ‹found› and its preprocessing makes ‹shape›": "`size` is height first, then width. A grey network "
    'needs `color = "grey"`.',
    "‹model› may run code of its author when PyTorch opens it": "PyTorch evaluates parts of such a file. A file from "
    "somebody else can hold a command.",
    "‹where›: ‹node› is in training mode": "The network was exported without `eval()`.",
    "‹path› keeps weights in ‹location›, which is not beside it": "Large ONNX files keep their weights in a second "
    "file. Both have to be copied.",
    "the environment of onnx2tf could not be made (‹last›)": "The converter lives in an environment of its own, which "
    "is made once, and needs a package index for that. Later work needs no network.",
    "the float model differs from the ONNX model by ‹of range› of the range of ‹worst›, and at most ‹float tolerance› "
    "is allowed: ‹first›": "An operator was converted wrongly. Nothing is built on such a result.",
    "‹number of missing› tensors have no range, the first is ‹missing›": "int8 needs the least and greatest value of "
    "every tensor, from frames or from a device's statistics.",
    "‹path› is not a whole .graft file (‹reason›)": "The copy was interrupted, or a tool changed line ends.",
    "‹path›: ‹name› is not what was built: ‹number of held› bytes with another SHA-256 digest": "A file inside the "
    "bundle was changed after the build.",
    "‹where› has schema ‹data› and this multigraft reads schema ‹array schema›": "Workstation and device have "
    "different versions of multigraft.",
    "self-test: output ‹name› of task ‹task› differs by ‹max lsb› LSB from that of ‹made by›, and at most ‹max lsb› "
    "are usual": "int8 kernels differ a little between processors and interpreter versions. More than a little is a "
    "damaged model, a faulty interpreter, or a network whose answers hang on rounding (signs, weights of 4 bits). What "
    "the last does is measured by a build on a machine that has this interpreter, and allowed then.",
    "no TFLite interpreter is installed": "Neither ai-edge-litert nor tflite-runtime is installed in this environment.",
    "tflite-runtime does not work with numpy ‹version›": "tflite-runtime 2.14 was built for numpy 1.",
    "the Raspberry Pi camera needs picamera2, which is ‹reason›": "picamera2 comes with Raspberry Pi OS, and a plain "
    "virtual environment does not see it.",
    "‹device› cannot be opened as a camera": "Another program holds it, or your user may not open it. A new group "
    "counts after the next login.",
    "there is no ‹device›": "A USB camera often has two numbers, of which only the first gives pictures.",
    "reading images needs Pillow, which is ‹reason›": "A device installs numpy and an interpreter only. "
    "Images need one more package.",
    "‹path› may not be read": "Since 2020 Linux lets only root read the processor's energy counter.",
    "‹path› is in use by another collector": "A collector runs already, perhaps as a service or in another terminal.",
    "‹path› was begun with another ‹name›": "A collection is resumed with the options it was begun with.",
    "the statistics hold sums over ‹least› frames, fewer than the minimum of ‹minimum frames›": "Nothing is written "
    "that sums over so few frames, so that no frame can be guessed from it.",
    "network ‹network› is not the one that the statistics are of: its SHA-256 differs": "The network was exported "
    "again or replaced after `multigraft calibrate prepare`.",
    "numpy ‹version› multiplies matrices wrongly on this processor (by up to ‹worst›)": "Some builds of OpenBLAS take "
    "an Arm processor for another one.",
    "there is no serial port ‹port›": "The cable may be for charging only, or the port has another number since the "
    "board was plugged in again.",
    "‹port› may not be opened": "Serial ports belong to a group. A new group counts after the next login.",
    "the device at ‹name› answers ‹asked› with ‹what›": "What a board says is checked before it is used: "
    "lengths, numbers, names and sizes have to be those that firmware of this version can send.",
    "the device at ‹name› stopped answering, or takes longer than ‹timeout s› s": "A network of 100 million "
    "multiplications takes some seconds on a small board.",
    "the device at ‹name› does not answer": "The board runs other firmware, hangs, or its UART is on another port.",
    "the device at ‹target› runs ‹model›, which is not the model of this project": "The board was flashed "
    "from another project, or the project was generated again since.",
    "‹name› finds no board": "The board is not in its boot loader, or the debug probe is not connected.",
    "no board shows its UF2 drive": "The drive appears only in the boot loader.",
    "the model needs ‹size› bytes of RAM and there are ‹there›, ‹missing› too few": "The arena holds all tensors that "
    "live at the same time. `multigraft firmware report --picture` draws where they are on a larger board.",
    "the weights need ‹constant bytes› bytes of flash, ‹constant bytes› more than there are": "All tasks' weights lie "
    "in flash. Deeper sharing makes them fewer.",
    "the model's ‹tensor› is ‹dtype›, not ‹stored›": "The model, or the bundle, is of real numbers: one built with "
    '`precision = "float32"` or `"dynamic"`.',
    "‹prefix›‹name› is not installed": "The compiler for this board's core is a package of the system.",
    "multigraft ‹command› needs ‹package›, which is ‹reason›": "This command is for the workstation, and only "
    "what a device needs was installed. A package that is installed and cannot be imported was often built for another "
    "numpy, or lacks a library of the system.",
}

SYMPTOMS = (
    (
        "Agreement is low at every share point.",
        "`mean`, `scale` or `color` of one network is not what it was trained with.",
        "Build with that task alone, and compare what `multigraft run` answers with your training code.",
    ),
    (
        "A task stays unshared.",
        "No plan keeps the budget, or the networks see different things.",
        "Read the Pareto front in the report. Lower `min_agreement`, or give more frames.",
    ),
    (
        "The bound is far below the agreement.",
        "Few frames were held out.",
        "Give more unlabeled frames.",
    ),
    (
        "int8 agrees much less than the graft.",
        "One layer loses precision.",
        "Look at the layer errors in the report. Name that layer in `keep_float`.",
    ),
    (
        "The bundle is no faster than separate models.",
        "The shared part is small, or preprocessing dominates.",
        "`multigraft bench` shows both. Use `--threads 2` or a smaller input.",
    ),
    (
        "Latency rises after some minutes.",
        "The processor is hot and slows down.",
        "Cool it. On a Raspberry Pi, `vcgencmd get_throttled` prints `0x0` if it was never slowed down.",
    ),
    (
        'Energy is "not measured".',
        "The machine has no sensor, or it may not be read.",
        "The report names the reason. [Energy](energy.md) lists what measures.",
    ),
    (
        "`validate` agrees less than the report said.",
        "The camera sees other things than the frames at home.",
        "Collect on the device and [build again](calibration.md).",
    ),
)
"""What a user sees where nothing failed, its cause, and what to do."""
