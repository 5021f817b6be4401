"""The architectures written once for every framework of arrays and functions: JAX and MLX.

`ops.py` is what an architecture is made of, `jax_ops.py` and `mlx_ops.py` each framework's own best way to do it; one
module an architecture; `programs.py` the tasks of the contract on top. Images and signals have their channels last in
here; parameters are a flat dictionary under the names of the public checkpoint.
"""
