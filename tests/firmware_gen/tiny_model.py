"""A model small enough to be checked by eye, in C and in Python, with the interface of generated ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from multigraft.firmware_gen.boards.board import Board
from multigraft.firmware_gen.project.app_files import AppModel, AppTensor
from multigraft.firmware_gen.project.project_files import project_files
from multigraft.tensors.arrays import Array

HEADER = """
#ifndef MODEL_H
#define MODEL_H
#include <stdint.h>
#define MODEL_STEP_COUNT 2
typedef struct { const char *name; int8_t *data; uint32_t bytes; float scale; int32_t zero_point; } model_tensor;
extern const model_tensor model_inputs[1];
extern const model_tensor model_outputs[2];
int model_run(uint32_t task_mask);
#ifdef MODEL_PROFILE
void model_profile(uint32_t step);
#endif
#endif
"""
SOURCE = """
#include "model.h"
static int8_t frame[16], sum[4], difference[300];
const model_tensor model_inputs[1] = {{"frame", frame, sizeof frame, 0.5f, -3}};
const model_tensor model_outputs[2] = {
    {"sum", sum, sizeof sum, 0.00390625f, -128}, {"difference", difference, sizeof difference, 0.25f, 1}};
#ifdef MODEL_PROFILE
#define STEP(number) model_profile(number)
#else
#define STEP(number) ((void)0)
#endif

int model_run(uint32_t task_mask) {
    if ((task_mask & 1u) != 0) {
        STEP(0);
        for (int i = 0; i < 4; i++) {
            const int8_t *x = frame + i;
            sum[i] = (int8_t)((x[0] + x[4] + x[8] + x[12]) / 4);
        }
    }
    if ((task_mask & 2u) != 0) {
        STEP(1);
        for (int i = 0; i < 300; i++) {
            difference[i] = (int8_t)(frame[i % 16] - i);
        }
    }
    STEP(2);
    for (int i = 0; i < 16; i++) {
        frame[i] = 99; /* As generated models do, which use the memory again. */
    }
    return 0;
}
"""
MODEL = AppModel(
    "tiny",
    "ab" * 32,
    (AppTensor("frame", "int8", (1, 4, 4, 1), 0.5, -3),),
    (
        AppTensor("sum", "int8", (1, 4), 1 / 256, -128),
        AppTensor("difference", "int8", (1, 300), 0.25, 1),
    ),
    {"mean": (0,), "slope": (1,)},
    arena_bytes=320,
)


def reference(frame: Array) -> tuple[Array, Array]:
    """What the C code computes: int8 (16,) -> int8 (4,) and (300,)."""
    sums = frame.reshape(4, 4).astype(int).sum(axis=0)
    mean = (np.sign(sums) * (np.abs(sums) // 4)).astype(np.int8)
    slope = (frame[np.arange(300) % 16].astype(int) - np.arange(300)).astype(np.uint8).view(np.int8)
    return mean, slope


def write_project(board: Board, folder: Path) -> Path:
    files = {**project_files(board, MODEL), "src/model.h": HEADER, "src/model.c": SOURCE}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def build(board: Board, folder: Path, *variables: str) -> Path:
    """Write and build the project; returns the folder."""
    write_project(board, folder)
    make(folder, *(() if board.uart else ("library",)), *variables)
    return folder


def make(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["make", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
