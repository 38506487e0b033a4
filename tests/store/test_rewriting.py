import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from ollmlx.gguf import Gguf, header
from ollmlx.store.ollama import rewriting
from tests.store.shelf import write_gguf


def projector(path: Path, alignment: int) -> Path:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_custom_alignment(alignment)
    for name in ("mm.0.weight", "blk.10.a.weight", "blk.9.a.weight", "v.class_embd"):
        writer.add_tensor(name, np.arange(5, dtype=np.float32) + len(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("alignment", [8, 32, 256])
def test_values_and_tensors_are_those_of_the_original(tmp_path: Path, alignment: int) -> None:
    source, target = projector(tmp_path / "p.gguf", alignment), tmp_path / "made.gguf"
    rewriting.with_projector_type(source, target)
    old, new = Gguf(source), Gguf(target)
    added = {"clip.projector_type": "mlp", "general.parameter_count": 20}
    assert new.meta == {**old.meta, **added}
    assert list(new.meta) == sorted(new.meta)
    assert [*new.tensors] == ["blk.9.a.weight", "blk.10.a.weight", "mm.0.weight", "v.class_embd"]
    for name, tensor in new.tensors.items():
        np.testing.assert_array_equal(tensor.data, old.tensors[name].data)
    assert all(info.offset % alignment == 0 for info in header(target).tensors)


def test_a_tensor_of_unknown_size_is_not_copied(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "w.gguf", "clip")
    name = b"output.weight" + struct.pack("<IQQ", 2, 32, 4)
    data = path.read_bytes()
    at = data.index(name) + len(name)
    path.write_bytes(data[:at] + struct.pack("<I", 99) + data[at + 4 :])
    with pytest.raises(rewriting.CannotRewrite, match=r"output\.weight.*unknown type 99"):
        rewriting.with_projector_type(path, tmp_path / "made.gguf")
