"""The exporter, run by `graphs.py` in an environment of its own: one task of one model as an ONNX file.

    export.py SPEC.json FOLDER

Writes `FOLDER/graph.onnx`, without any weights, and `FOLDER/graph.json`. Ends with 2 and one JSON line of code and
message on standard output when the model or the task is not one that it has.
"""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir

    from arena_py.frameworks.onnx.spec import GraphSpec
    from arena_py.frameworks.onnx.tracing import Traced

PACKAGE = Path(__file__).resolve().parents[2]
OPSET = 20
"""The newest with all operators that the exporter has lowerings for; `Gelu` came with it."""


def main(arguments: list[str]) -> int:
    """Run and return the exit code."""
    import msgspec  # noqa: PLC0415 (after the bootstrap)

    from arena_py.contract.adapter import RunnerError  # noqa: PLC0415 (as above)
    from arena_py.frameworks.onnx.spec import GraphSpec, Refusal  # noqa: PLC0415 (as above)

    spec_path, folder = map(Path, arguments)
    spec = msgspec.json.decode(spec_path.read_bytes(), type=GraphSpec)
    try:
        _export(spec, folder)
    except RunnerError as error:
        sys.stdout.write(msgspec.json.encode(Refusal(error.code, error.message)).decode() + "\n")
        return 2
    return 0


def _export(spec: GraphSpec, folder: Path) -> None:
    import msgspec  # noqa: PLC0415 (after the bootstrap)
    import onnx_ir  # noqa: PLC0415 (seconds)

    from arena_py.frameworks.onnx.spec import Graph  # noqa: PLC0415 (as above)
    from arena_py.frameworks.onnx.tracing import trace  # noqa: PLC0415 (as above)
    from arena_py.models import define  # noqa: PLC0415 (as above)

    architecture = define(spec.architecture, spec.config)
    traced = trace(architecture, spec.task, spec.shapes, spec.optimizer)
    whole, folded = folder / "traced.onnx", folder / "graph.onnx"
    onnx_ir.save(_translated(traced), whole)
    _fold(whole, folded)
    whole.unlink()
    model = onnx_ir.load(folded)
    unused = {value.name for value in model.graph.inputs if not value.uses()}
    if spec.task == "infer":
        _initialise(model, traced)
        onnx_ir.save(model, folded)
    stored = [name for name in traced.stored if name not in unused]
    inputs = [name for name in traced.inputs if name not in traced.stored]
    (folder / "graph.json").write_bytes(msgspec.json.encode(Graph(inputs, stored, traced.outputs)))


def _translated(traced: Traced) -> onnx_ir.Model:
    """The graph in ONNX, by torch's own exporter."""
    import torch  # noqa: PLC0415 (seconds)

    # Where each node came from is asked for by nobody here, and finding it out is a fifth of the time.
    torch.fx.config.do_not_emit_stack_traces = True
    exported: Any = torch.export.export(traced.graph, tuple(traced.inputs.values()))

    def convert() -> Any:
        # Its rewriter takes minutes for the gradient of a UNet, and ONNX Runtime has the same rules.
        options: Any = {"dynamo": True, "optimize": False, "verbose": False, "opset_version": OPSET}
        program: Any = torch.onnx.export(exported, **options)
        return program.model

    # The exporter would trace the graph twice more, which is half of its time, to decompose what is decomposed already.
    exported.run_decompositions = lambda *_, **_options: exported
    try:
        model = convert()
    except torch.onnx.OnnxExporterError:
        del exported.run_decompositions  # An operator that only this takes apart, as another activation may have.
        model = convert()
    for value, name in zip(model.graph.inputs, traced.inputs, strict=True):
        value.name = name
    _name_outputs(model, traced.outputs)
    return model


def _name_outputs(model: Any, names: list[str]) -> None:
    """Give every output a node of its own: one may be an input as it is, or the same as another."""
    import onnx_ir  # noqa: PLC0415 (seconds)

    graph = model.graph
    for index, name in enumerate(names):
        value = graph.outputs[index]
        copy = onnx_ir.node("Identity", [value])
        copy.outputs[0].name, copy.outputs[0].shape, copy.outputs[0].type = name, value.shape, value.type
        graph.append(copy)
        graph.outputs[index] = copy.outputs[0]


def _fold(source: Path, target: Path) -> None:
    """ONNX Runtime's optimisations that keep to standard operators, with the weights unknown."""
    import onnxruntime  # noqa: PLC0415 (after the bootstrap)

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def _initialise(model: Any, traced: Traced) -> None:
    """Make the parameters initializers without values, which the runner supplies before anything is optimised."""
    import onnx_ir  # noqa: PLC0415 (seconds)

    by_name = {value.name: value for value in model.graph.inputs}
    for name in traced.stored:
        value = by_name[name]
        model.graph.inputs.remove(value)
        shape = onnx_ir.Shape(traced.inputs[name].shape)
        value.const_value = onnx_ir.ExternalTensor(
            "weights", 0, 4 * traced.inputs[name].numel(), onnx_ir.DataType.FLOAT, shape=shape, name=name
        )
        if value.uses():
            model.graph.register_initializer(value)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    # A process for one graph, which grows until it is written: looking for garbage costs a tenth and finds little.
    gc.disable()
    run_path(str(PACKAGE / "worker.py"))["bootstrap"]()
    sys.exit(main(sys.argv[1:]))
