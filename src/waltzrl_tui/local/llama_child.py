"""The process in which llama.cpp's server runs: `python -m waltzrl_tui.local.llama_child`.

It reads one line of JSON (see `Settings`) from stdin, writes one line with the port to stdout,
serves until stdin closes, and so never outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TypedDict


class Settings(TypedDict):
    """What the parent asks for. The key is sent here, not as an argument: `ps` shows those."""

    gguf: str
    adapters: list[str]
    key: str
    threads: int
    parallel: int
    context: int


def main() -> int:
    settings: Settings = json.loads(sys.stdin.readline())
    _die_with_parent()
    # The engine prints to the process's own stdout; the parent must read only the port there.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        server, port = _serve(settings)
    except (RuntimeError, ValueError, OSError) as error:
        answer.write(json.dumps({"error": str(error) or type(error).__name__}) + "\n")
        answer.flush()
        return 1
    answer.write(json.dumps({"port": port}) + "\n")
    answer.flush()
    sys.stdin.read()
    # The engine's own shutdown waits for streams nobody reads any more.
    del server
    os._exit(0)


def _serve(settings: Settings) -> tuple[object, int]:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["gguf"]
    params.n_parallel = settings["parallel"]
    params.n_ctx = settings["context"]
    params.kv_unified = False
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["key"]]
    params.n_threads_http = settings["parallel"] + 2
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_props = False
    params.warmup = False
    params.fit_params = False
    params.verbosity = -1
    # llama.cpp's prompt cache in RAM does not tell adapters apart (ggml-org/llama.cpp#26207):
    # with it, one adapter continues from what another computed.
    params.cache_ram_mib = 0
    params.lora_init_without_apply = True
    adapters = []
    for path in settings["adapters"]:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path = path
        adapter.scale = 1.0
        adapters.append(adapter)
    params.lora_adapters = adapters
    server = xllamacpp.Server(params)
    return server, int(str(server.listening_address).rsplit(":", 1)[1].rstrip("/"))


def _die_with_parent() -> None:
    """On Linux, ask the kernel to end this process with its parent, even if stdin stays open."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
