"""The runner contract: its messages, the driver's session, the server loop of a Python runner."""
