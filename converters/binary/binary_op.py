"""Binary operators with their options, as the file holds them (docs/binary.md)."""

from __future__ import annotations

from multigraft.tflite.graph import Op


def binary_op(kind: str, inputs: tuple[str, ...], output: str, **options: int) -> Op:
    """A custom operator of Larq Compute Engine's set with its options as a FlexBuffers map."""
    from flatbuffers import flexbuffers

    content = b""
    if options:
        builder = flexbuffers.Builder()
        with builder.Map():
            for key, number in options.items():
                builder.Key(key)
                builder.Int(number)
        content = bytes(builder.Finish())
    return Op("CUSTOM", inputs, (output,), custom_code=kind, custom_options=content)
