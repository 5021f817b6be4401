"""One module a Python framework, each a runner behind the contract."""
