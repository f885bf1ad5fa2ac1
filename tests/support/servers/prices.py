"""A loopback server that answers as the providers' price APIs do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]
"""A status and a document, or raw text."""


@dataclass
class PriceServer:
    """What it answers by path, and what it was asked: path, bearer and body."""

    answers: dict[str, Answer | Callable[[], Answer]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    url: str = ""


@contextmanager
def price_server(answers: dict[str, Any]) -> Iterator[PriceServer]:
    made = PriceServer(dict(answers))

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path = self.path.partition("?")[0]
            made.asked.append((path, self.headers.get("Authorization", ""), body))
            found = made.answers.get(path, (404, {}))
            status, document = found() if callable(found) else found
            text = document if isinstance(document, str) else json.dumps(document)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = _answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


HF_HARDWARE = [
    {
        "name": "l4x1",
        "prettyName": "Nvidia L4",
        "cpu": "8 vCPU",
        "ram": "30 GB",
        "accelerator": {"type": "gpu", "model": "L4", "quantity": "1", "vram": "24 GB"},
        "unitCostMicroUSD": 15000,
        "unitCostUSD": 0.015,
        "unitLabel": "minute",
    }
]
RUNPOD_GPUS = {
    "gpus": [
        {
            "id": "NVIDIA GeForce RTX 4090",
            "name": "RTX 4090",
            "pool": "ADA_24",
            "manufacturer": "NVIDIA",
            "memory": 24,
            "secure": True,
            "community": True,
            "price": {"secure": 0.44, "community": 0.31, "serverless": 1.1},
            "maxCount": {"secure": 8, "community": 4},
        }
    ]
}
VAST_OFFERS = {
    "offers": [
        {"gpu_name": "RTX 4090", "num_gpus": 1, "dph_total": usd, "gpu_ram": 24564}
        for usd in (0.30, 0.40, 0.50)
    ]
    + [{"gpu_name": "A100 SXM4", "num_gpus": 1, "dph_total": 0.6, "gpu_ram": 40960}]
}
LAMBDA_TYPES = {
    "data": {
        "gpu_1x_a10": {
            "instance_type": {"name": "gpu_1x_a10", "price_cents_per_hour": 75},
            "regions_with_capacity_available": [],
        }
    }
}
TOGETHER_MODELS = [
    {"id": "Qwen/Qwen3-8B", "pricing": {"finetune": 0.55, "input": 0.2, "output": 0.2}},
    {"id": "meta-llama/Llama-3.3-70B-Instruct-Reference", "pricing": {"finetune": 0}},
]
TOGETHER_HARDWARE = {
    "object": "list",
    "data": [
        {
            "id": "1x_nvidia_h100_80gb_sxm",
            "pricing": {"cents_per_minute": 5.5},
            "specs": {"gpu_type": "h100-80gb", "gpu_count": 1},
        }
    ],
}
EVERYTHING: dict[str, Answer] = {
    "/api/jobs/hardware": (200, HF_HARDWARE),
    "/v2/catalog/gpus": (200, RUNPOD_GPUS),
    "/api/v0/bundles/": (200, VAST_OFFERS),
    "/api/v1/instance-types": (200, LAMBDA_TYPES),
    "/v1/models": (200, TOGETHER_MODELS),
    "/v1/hardware": (200, TOGETHER_HARDWARE),
}
